//! The door: what is not proposed at all.
//!
//! Nobody's word is needed for that: `apply` checks every command again, on every node. The door
//! keeps the log free of what would leave the state as it is and spend no id, so that nobody can
//! fill it with the same bytes again and again, and answers repeated commands from what is known.

use std::io;

use tidegate_domain::apply::{Claim, Terms, is_urgent};
use tidegate_domain::id::{Hash, Index, LogTime};
use tidegate_domain::{Command, Rejection, Unauthorized, admit, admit_claim};
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::blocking;

use super::in_flight::Turn;
use crate::storage::StateStore;
use crate::types::Envelope;

/// Most signatures that are verified where they are looked at: some 100 µs of work. More of them go
/// to the threads for such work.
const SIGNATURES_AT_ONCE_MAX: usize = 4;

/// What is to be done with a command that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is to be proposed; whatever comes of it is recorded, once.
    Propose(Ask),
    /// It was applied before, as this entry.
    Applied(Index),
    /// It is no command, is not signed by whom its kind demands, or could not be applied now.
    Refused(Box<Rejection>),
}

/// A command that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) turn: Turn,
    /// Digest of what was signed for that turn.
    pub(super) digest: Hash,
    /// It stops harm, and is let in for longer than others when room runs out.
    pub(super) urgent: bool,
    /// It moves log time on, which only the leader's own ticker is in a hurry to do.
    pub(super) tick: bool,
}

/// Looks at a command as the state sees it at log time `now`, and verifies its signatures if nobody
/// has: last, so that neither outsiders nor replays cost any curve arithmetic.
///
/// # Errors
/// The node is shutting down.
pub(super) async fn examine(
    store: &StateStore,
    command: &Envelope,
    now: u64,
) -> io::Result<Admission> {
    let now = LogTime(now);
    let examined = if command.is_examined() {
        command.take_examined()
    } else {
        let claim = Claim::read(command.bytes()).map_err(Rejection::from);
        let admitted = claim.and_then(|claim| {
            let admitted = store.read_next(now, |state, stamp| admit_claim(state, &claim, stamp));
            let_in(admitted).map(|()| claim)
        });
        match admitted {
            Ok(claim) if claim.signatures() <= SIGNATURES_AT_ONCE_MAX => claim.verify(),
            Ok(claim) => blocking(move || claim.verify()).await?,
            Err(rejection) => return Ok(turned_away(rejection)),
        }
    };
    let admitted = store.read_next(now, |state, stamp| admit(state, &examined, stamp));
    let ask = examined.asked().map(|(command, terms)| Ask {
        turn: turn(command, terms),
        digest: terms.digest,
        urgent: is_urgent(command),
        tick: matches!(command, Command::Tick(_)),
    });
    command.put_examined(examined);
    Ok(match let_in(admitted) {
        Ok(()) => Admission::Propose(ask.expect("only a command is admitted")),
        Err(rejection) => turned_away(rejection),
    })
}

fn turn(command: &Command, terms: &Terms) -> Turn {
    if let Command::AdvanceSession(envelope) = command {
        Turn::Session(envelope.session)
    } else {
        Turn::Id(terms.id)
    }
}

fn let_in(admitted: Result<(), Rejection>) -> Result<(), Rejection> {
    match admitted {
        Err(Rejection::OutsideValidity { .. }) if is_on(Mutant::ExpiredChained) => Ok(()),
        admitted => admitted,
    }
}

/// What came of a command that was applied before stands in the audit log for everybody to read:
/// nothing is given away to somebody whose signatures were not looked at.
fn turned_away(rejection: Rejection) -> Admission {
    match rejection {
        Rejection::AlreadyApplied { index } => Admission::Applied(index),
        rejection => Admission::Refused(Box::new(rejection)),
    }
}

/// Whether a refusal stands whatever happened since at a leader that this node has not heard of.
pub(super) const fn is_for_good(refusal: &Rejection) -> bool {
    if let Rejection::OutOfTurn(reason) = refusal {
        return reason.is_for_good();
    }
    matches!(
        refusal,
        Rejection::Unauthorized(
            Unauthorized::Malformed { .. }
                | Unauthorized::BadSignature { .. }
                | Unauthorized::OtherOrigin { .. }
        ) | Rejection::IdOfAnother { .. }
            | Rejection::SessionOver { .. }
            | Rejection::ValidityTooLong { .. }
    )
}
