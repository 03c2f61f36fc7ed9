//! Folds of sessions: opened, moved on, over, forgotten.
use super::{Inconsistent, revision, row};
use crate::{
    event::{Advance, AnchoredJournal, RefusedOperation},
    id::{Index, LogTime, SessionId},
    node::{Budget, BudgetKey, LastEnvelope, PoolKey, Session, SessionStatus},
    state::State,
    tally::{ExposuresKey, TallyKey},
};
use tidegate_mutant::{Mutant, is_on};

pub(super) fn opened(state: &mut State, session: &Session) -> Result<(), Inconsistent> {
    if session.id <= state.meta().last_session {
        return Err(Inconsistent::Conflict("the session is open"));
    }
    state.meta.get_mut().last_session = session.id;
    state.sessions.insert(session.id, session.clone());
    Ok(())
}

/// LOG-2 for envelopes: a session's sequence has no gap and never goes back.
pub(super) fn advanced(state: &mut State, advance: &Advance) -> Result<(), Inconsistent> {
    let Advance {
        session,
        sequence,
        digest,
        not_after,
    } = *advance;
    let revision = revision(state);
    let session = row(&mut state.sessions, &session, "session")?;
    let is_next = session.sequence.0.checked_add(1) == Some(sequence.0);
    if !is_next && !is_on(Mutant::EnvelopeTwice) && !is_on(Mutant::SequenceUnchecked) {
        return Err(Inconsistent::Conflict("the session has moved on"));
    }
    session.sequence = sequence;
    session.revision = revision;
    session.last = Some(LastEnvelope {
        digest,
        index: Index(revision.0),
        not_after,
        refused: Vec::new(),
    });
    Ok(())
}

pub(super) fn operation_refused(
    state: &mut State,
    refused: &RefusedOperation,
) -> Result<(), Inconsistent> {
    let session = row(&mut state.sessions, &refused.session, "session")?;
    let last = session.last.as_mut();
    let last = last.ok_or(Inconsistent::Missing("envelope"))?;
    last.refused.push(refused.operation);
    Ok(())
}

pub(super) fn anchored(state: &mut State, anchored: &AnchoredJournal) -> Result<(), Inconsistent> {
    let AnchoredJournal { session, anchor } = anchored;
    row(&mut state.sessions, session, "session")?.anchor = Some(anchor.clone());
    Ok(())
}

pub(super) fn closed(state: &mut State, id: SessionId) -> Result<(), Inconsistent> {
    let at = state.meta().time;
    ended(state, id, SessionStatus::Closed { at })
}

pub(super) fn written_off(state: &mut State, id: SessionId) -> Result<(), Inconsistent> {
    let at = state.meta().time;
    ended(state, id, SessionStatus::WrittenOff { at })
}

fn ended(state: &mut State, id: SessionId, status: SessionStatus) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let session = row(&mut state.sessions, &id, "session")?;
    session.status = status;
    session.revision = revision;
    state.derived.ended_sessions.insert(id);
    for key in budgets_of(state, id).cloned().collect::<Vec<_>>() {
        forget_budget_if_settled(state, &key);
    }
    forget_if_settled(state, id);
    Ok(())
}

/// Drops a settled budget of a session that is over. An open session goes by the sums of its rows:
/// one that began again at nothing would hide the next grant.
pub(super) fn forget_budget_if_settled(state: &mut State, key: &BudgetKey) {
    let over = state.derived.ended_sessions.contains(&key.session);
    if over && state.budgets.get(key).is_some_and(Budget::is_settled) {
        state.budgets.remove(key);
        state.derived.forget_budget(key);
        forget_if_settled(state, key.session);
    }
}

/// Drops a session that is over, once it has neither budgets nor untold exposures, and its last
/// envelope can come no more: until then its sender may ask what came of it.
pub(super) fn forget_if_settled(state: &mut State, id: SessionId) {
    if !state.derived.ended_sessions.contains(&id) || has_rows(state, id) {
        return;
    }
    state.derived.ended_sessions.remove(&id);
    let kept = kept_until(state.sessions.get(&id));
    if kept < state.meta().time {
        state.sessions.remove(&id);
    } else {
        state.derived.settled_sessions.insert((kept, id));
    }
}

/// The last log time at which a session's sender may still ask about its last envelope.
pub(crate) fn kept_until(session: Option<&Session>) -> LogTime {
    let last = session.and_then(|session| session.last.as_ref());
    last.map_or(LogTime(0), |last| last.not_after)
}

/// Whether a session has budgets or untold exposures.
pub(crate) fn has_rows(state: &State, id: SessionId) -> bool {
    let tally = TallyKey::first(crate::id::RolloutId(0));
    let first = ExposuresKey { session: id, tally };
    let mut untold = state.untold.range(first..);
    budgets_of(state, id).next().is_some()
        || untold.next().is_some_and(|(key, _)| key.session == id)
}

fn budgets_of(state: &State, session: SessionId) -> impl Iterator<Item = &BudgetKey> {
    let pool = PoolKey::first(crate::id::RolloutId(0));
    let rows = state.budgets.range(BudgetKey { session, pool }..);
    rows.map(|(key, _)| key)
        .take_while(move |key| key.session == session)
}
