//! The door: what is not proposed at all.
//!
//! Nobody's word is needed for that: `apply` checks every command again, on every node. The door
//! keeps the log free of what was never authorized, so that nobody can fill it, and answers
//! repeated commands from what is known.

use tidegate_domain::apply::{authorize, is_urgent};
use tidegate_domain::id::{Hash, Index, LogTime};
use tidegate_domain::{Command, Rejection, Stamp, State, admit};

/// What is to be done with a command that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is to be proposed; whatever comes of it is recorded.
    Propose {
        /// It stops harm, and is let in for longer than others when room runs out.
        urgent: bool,
    },
    /// It was applied before, as this entry.
    Applied(Index),
    /// It is no command, is not signed by whom its kind demands, or asks for rules that this build
    /// does not know (nodes of other builds might not agree).
    Refused(Box<Rejection>),
}

/// Looks at a command as the state with chain head `chain` sees it at log time `now`.
pub(super) fn examine(state: &State, chain: [u8; 32], command: &[u8], now: u64) -> Admission {
    let stamp = Stamp {
        time: LogTime(now),
        index: state.meta().next,
        chain: Hash(chain),
    };
    let verified = match authorize(state, command, stamp) {
        Ok(verified) => verified,
        Err(unauthorized) => return Admission::Refused(Box::new(unauthorized.into())),
    };
    if let Some(spent) = state.spent().get(&verified.terms().id) {
        return Admission::Applied(spent.index);
    }
    if matches!(verified.get(), Command::RaiseStateVersion(_))
        && let Err(rejection @ Rejection::BadStateVersion { .. }) = admit(state, command, stamp)
    {
        return Admission::Refused(Box::new(rejection));
    }
    let urgent = is_urgent(verified.get());
    Admission::Propose { urgent }
}
