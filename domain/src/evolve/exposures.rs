//! Exposures whose fate nobody told yet, session by session: what remains of a session's tallies
//! once they are added up in their cohort.
use super::Inconsistent;
use crate::{
    id::SessionId,
    state::State,
    tally::{Counts, ExposuresKey, TallyKey},
};
use std::ops::Bound;

/// Exposures of a cohort that a session made, and whose fate nobody told.
pub(crate) fn untold_by(state: &State, session: SessionId, key: &TallyKey) -> u64 {
    let row = state.untold.get(&row_key(session, key));
    row.copied().unwrap_or(0)
}

/// The same of each session that is over: for others to tell.
pub(crate) fn untold_by_ended(state: &State, key: &TallyKey) -> Vec<(SessionId, u64)> {
    let ended = |id: &SessionId| state.derived.ended_sessions.contains(id);
    let sessions = sessions_of(state, key).into_iter().filter(ended);
    sessions
        .map(|session| (session, untold_by(state, session, key)))
        .collect()
}

/// Counts a session's exposures, and whose fates it told: its own first, then those that sessions
/// left which are over, the oldest first. Answers how many of whose.
pub(super) fn count(
    state: &mut State,
    session: SessionId,
    key: &TallyKey,
    counts: &Counts,
) -> Result<Vec<(SessionId, u64)>, Inconsistent> {
    let own = untold_by(state, session, key).saturating_add(counts.exposed);
    let mut left = counts.spoken();
    let mut told = Vec::new();
    for (of, untold) in std::iter::once((session, own)).chain(untold_by_ended(state, key)) {
        let taken = untold.min(left);
        left = left.saturating_sub(taken);
        set(state, of, key, untold.saturating_sub(taken));
        if taken > 0 {
            told.push((of, taken));
        }
    }
    if left > 0 {
        return Err(Inconsistent::Conflict("the fates of these exposures"));
    }
    Ok(told)
}

/// Forgets the rows of a cohort; answers what was untold in them.
pub(super) fn forget(state: &mut State, key: &TallyKey) -> Vec<(SessionId, u64)> {
    let sessions = sessions_of(state, key).into_iter();
    sessions
        .map(|session| {
            let untold = untold_by(state, session, key);
            set(state, session, key, 0);
            (session, untold)
        })
        .collect()
}

/// Says how many exposures of a session are untold: there is no row of none.
pub(super) fn set(state: &mut State, session: SessionId, key: &TallyKey, untold: u64) {
    let row = row_key(session, key);
    let by_cohort = &mut state.derived.untold_by_cohort;
    if untold == 0 {
        state.untold.remove(&row);
        by_cohort.remove(&(key.clone(), session));
    } else {
        state.untold.insert(row, untold);
        by_cohort.insert((key.clone(), session));
    }
}

/// The sessions with a row for a cohort; at most as many as there are sessions.
fn sessions_of(state: &State, key: &TallyKey) -> Vec<SessionId> {
    let by_cohort = &state.derived.untold_by_cohort;
    let from = Bound::Included((key.clone(), SessionId(0)));
    let to = Bound::Included((key.clone(), SessionId(u64::MAX)));
    by_cohort.range((from, to)).map(|(_, id)| *id).collect()
}

fn row_key(session: SessionId, key: &TallyKey) -> ExposuresKey {
    ExposuresKey {
        session,
        tally: key.clone(),
    }
}
