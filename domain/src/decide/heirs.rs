//! Outcomes of exposures whose session is over: whoever is left may tell them.
use crate::{
    evolve::sessions_of,
    id::SessionId,
    state::State,
    tally::{Counts, SessionTallyKey, TallyKey},
};

/// A tally without the outcomes that are not the session's to tell.
///
/// A session tells what became of the exposures that it made, and, once another session is over,
/// of those that the other left unresolved: devices outlive decision nodes. What goes beyond (two
/// heirs may count one device, when its first answer was lost) is passed over, the successes first,
/// so that a cohort never resolves more than it exposed and nobody's own outcomes are crowded out.
pub(super) fn without_strangers(
    state: &State,
    session: SessionId,
    key: &TallyKey,
    counts: &Counts,
    before: &Counts,
) -> Counts {
    let mut counts = counts.clone();
    let beyond = counts.spoken().saturating_sub(counts.exposed);
    if beyond == 0 {
        return counts;
    }
    let mut over = beyond.saturating_sub(left_to(state, session, key));
    let Counts {
        verified,
        reverted,
        failed,
        ..
    } = &mut counts;
    let fates = [
        (verified, before.verified),
        (reverted, before.reverted),
        (failed, before.failed),
    ];
    for (fate, said) in fates {
        let dropped = fate.saturating_sub(said).min(over);
        *fate = fate.saturating_sub(dropped);
        over = over.saturating_sub(dropped);
    }
    counts
}

/// Exposures of a cohort that sessions which are over left unresolved, less those that other open
/// sessions told the fate of.
fn left_to(state: &State, heir: SessionId, key: &TallyKey) -> u64 {
    let (mut left, mut told) = (0_u64, 0_u64);
    for session in sessions_of(state, key).into_iter().filter(|id| *id != heir) {
        let row = SessionTallyKey {
            session,
            tally: key.clone(),
        };
        let counts = state.tallies().get(&row).map(|row| &row.counts);
        let spoken = counts.map_or(0, Counts::spoken);
        let exposed = counts.map_or(0, |counts| counts.exposed);
        if state.derived.ended_sessions.contains(&session) {
            left = left.saturating_add(exposed.saturating_sub(spoken));
        }
        told = told.saturating_add(spoken.saturating_sub(exposed));
    }
    left.saturating_sub(told)
}
