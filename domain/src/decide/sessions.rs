//! Decisions on sessions: opened, moved on by one envelope after the other, closed.
use super::{Decision, budgets, check_limit, check_text, invalid, reports};
use crate::{
    apply::{Context, Terms},
    command::{AdvanceSession, OPERATIONS_MAX, OpenSession, Operation},
    event::{Advance, Event},
    id::{Instance, PublicKey, Sequence, SessionId},
    node::{Session, SessionStatus},
    rejection::{Field, Limit, OutOfTurn, Rejection, ValueFault},
    state::State,
};
use tidegate_mutant::{Mutant, is_on};

/// Longest address of a decision node, in bytes.
const ADDRESS_BYTES_MAX: usize = 256;

pub(super) fn open(
    state: &State,
    arguments: &OpenSession,
    key: Option<&PublicKey>,
    context: &Context,
) -> Decision {
    let OpenSession { region, address } = arguments;
    check_text(Field::Address, address, ADDRESS_BYTES_MAX)?;
    let open = state.sessions().len().saturating_sub(state.derived.over());
    check_limit(Limit::Sessions, open, state.config().limits.sessions_max)?;
    let key = key.ok_or_else(|| invalid(Field::Signatures, ValueFault::NoSigner))?;
    let last = state.meta().last_session;
    Ok(vec![Event::SessionOpened(Session {
        id: SessionId(last.0.saturating_add(1)),
        key: *key,
        region: region.clone(),
        address: address.clone(),
        status: SessionStatus::Open,
        instance: Instance(1),
        anchor: None,
        opened_at: context.time,
        revision: context.revision(),
        sequence: Sequence(0),
        last: None,
    })])
}

pub(super) fn open_one(state: &State, session: SessionId) -> Result<&Session, Rejection> {
    let row = state.sessions().get(&session);
    let row = row.ok_or(Rejection::UnknownSession { session })?;
    match row.status {
        SessionStatus::Open => Ok(row),
        SessionStatus::Closed { .. } | SessionStatus::WrittenOff { .. } => {
            Err(Rejection::SessionOver { session })
        }
    }
}

/// LOG-2 for envelopes, "at most once, and in order": refuses what is not the session's next one.
/// Everything that concerns an envelope as such is asked here, and so at the door: one that passes
/// is accepted, whatever comes of its operations, and so its bytes never stand in the log again.
pub(crate) fn check_turn(
    state: &State,
    envelope: &AdvanceSession,
    terms: &Terms,
) -> Result<(), Rejection> {
    let AdvanceSession {
        session,
        instance,
        sequence,
        operations,
    } = envelope;
    let row = state.sessions().get(session);
    let row = row.ok_or(Rejection::UnknownSession { session: *session })?;
    let again = *sequence == row.sequence && !is_on(Mutant::EnvelopeTwice);
    if let Some(last) = row.last.as_ref().filter(|_| again) {
        let index = last.index;
        return Err(if last.digest == terms.digest {
            Rejection::AlreadyApplied { index }
        } else {
            OutOfTurn::SequenceOfAnother { index }.into()
        });
    }
    open_one(state, *session)?;
    if *instance != row.instance {
        return Err(OutOfTurn::OtherInstance {
            existing: row.instance,
            requested: *instance,
        }
        .into());
    }
    let expected = next(row);
    let is_turn = *sequence == expected
        || is_on(Mutant::SequenceUnchecked)
        || (is_on(Mutant::EnvelopeTwice) && *sequence == row.sequence);
    if !is_turn {
        return Err(OutOfTurn::SequenceOutOfOrder {
            expected,
            requested: *sequence,
        }
        .into());
    }
    if operations.len() > OPERATIONS_MAX {
        return Err(OutOfTurn::TooManyOperations {
            max: OPERATIONS_MAX as u64,
            requested: operations.len() as u64,
        }
        .into());
    }
    Ok(())
}

/// The number of a session's next envelope.
const fn next(session: &Session) -> Sequence {
    Sequence(session.sequence.0.saturating_add(1))
}

/// An envelope whose turn it is moves its session on. Its operations follow, one by one.
pub(super) fn advance(envelope: &AdvanceSession, terms: &Terms) -> Vec<Event> {
    vec![Event::SessionAdvanced(Advance {
        session: envelope.session,
        sequence: envelope.sequence,
        digest: terms.digest,
        not_after: terms.not_after,
    })]
}

/// What the operations of one envelope have come to so far.
#[derive(Debug, Default)]
pub(crate) struct SoFar {
    /// Some were refused.
    pub(crate) refused: bool,
    /// Tallies in them.
    tallies: usize,
}

/// Decides one operation of an envelope, in the state that those before it have led to.
pub(crate) fn operate(
    state: &State,
    session: SessionId,
    operation: &Operation,
    so_far: &mut SoFar,
    context: &Context,
) -> Decision {
    open_one(state, session)?;
    match operation {
        Operation::Grant { pool, wanted } => budgets::grant(state, session, pool, *wanted, context),
        Operation::Return { pool, unused } => budgets::return_unused(state, session, pool, *unused),
        Operation::Report { tallies, anchor } => {
            so_far.tallies = so_far.tallies.saturating_add(tallies.len());
            reports::check_room(state, so_far.tallies)?;
            reports::report(state, session, tallies, anchor.as_ref(), context)
        }
        // What the session holds comes back by consequence: an exposure that was not told would be
        // granted a second time (WAVE-3).
        Operation::Close if so_far.refused => Err(Rejection::CloseAfterRefusal),
        Operation::Close => Ok(vec![Event::SessionClosed { session }]),
    }
}
