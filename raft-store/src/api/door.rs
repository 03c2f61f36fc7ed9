//! The door: what is not proposed at all.
//!
//! Nobody's word is needed for that: `apply` checks every command again, on every node. The door
//! keeps the log free of what was never authorized, so that nobody can fill it, and answers
//! repeated commands from what is known.

use tidegate_domain::apply::{Claim, Verified, authorize, is_urgent};
use tidegate_domain::id::{Index, LogTime};
use tidegate_domain::rejection::Unauthorized;
use tidegate_domain::{Command, Rejection, Stamp, State, admit};

use crate::storage::StateStore;

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

/// Looks at a command as the state sees it at log time `now`. Takes the time that its signatures
/// take, but keeps nobody else from the state meanwhile.
pub(super) fn examine(store: &StateStore, command: &[u8], now: u64) -> Admission {
    let now = LogTime(now);
    let admitted = verify(store, command, now).and_then(|verified| {
        store.read_next(now, |state, stamp| {
            admission(state, stamp, command, &verified)
        })
    });
    admitted.unwrap_or_else(|unauthorized| Admission::Refused(Box::new(unauthorized.into())))
}

fn verify(
    store: &StateStore,
    command: &[u8],
    now: LogTime,
) -> Result<Verified<Command>, Unauthorized> {
    let claim = Claim::read(command)?;
    let counted = store.read_next(now, |state, stamp| claim.count(state, stamp))?;
    counted.verify()
}

/// What is to be done with a command that was verified a moment ago, in this state or in one before
/// it.
fn admission(
    state: &State,
    stamp: Stamp,
    command: &[u8],
    verified: &Verified<Command>,
) -> Result<Admission, Unauthorized> {
    if state.keys().revision != verified.keys() {
        // Keys have changed meanwhile: rare enough to do all of it under the lock.
        authorize(state, command, stamp)?;
    }
    if let Some(spent) = state.spent().get(&verified.terms().id) {
        return Ok(Admission::Applied(spent.index));
    }
    if matches!(verified.get(), Command::RaiseStateVersion(_))
        && let Err(rejection @ Rejection::BadStateVersion { .. }) = admit(state, command, stamp)
    {
        return Ok(Admission::Refused(Box::new(rejection)));
    }
    let urgent = is_urgent(verified.get());
    Ok(Admission::Propose { urgent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::command::{RegisterVariant, RevokeKey, seal};
    use tidegate_domain::key::Role;
    use tidegate_domain::testing::{Fleet, reason, traits};

    #[test]
    fn a_key_that_is_revoked_while_its_signature_is_verified_counts_no_more() {
        let mut fleet = Fleet::new();
        let proposal = fleet.proposal(RegisterVariant {
            traits: traits("m1/r1/eu/none"),
        });
        let signer = fleet.keys.key(Role::Operator, 0).clone();
        let command = seal(&proposal, &[&signer]).to_bytes();
        let verified = authorize(&fleet.state, &command, fleet.stamp()).unwrap();
        let looked = |fleet: &Fleet| admission(&fleet.state, fleet.stamp(), &command, &verified);
        assert_eq!(looked(&fleet), Ok(Admission::Propose { urgent: false }));
        fleet.accept(RevokeKey {
            key: fleet.keys.public(Role::Operator, 0),
            strand: true,
            reason: reason(),
        });
        let refused = looked(&fleet).unwrap_err();
        assert!(
            matches!(refused, Unauthorized::TooFewSignatures { found: 0, .. }),
            "{refused:?}"
        );
    }
}
