//! Outcomes of exposures whose session is over: whoever is left may tell them.
use crate::{
    evolve::{untold_by, untold_by_ended},
    id::SessionId,
    state::State,
    tally::{Counts, TallyKey},
};

/// What a session says of a cohort, without the outcomes that are not its to tell.
///
/// A session tells what became of the exposures that it made, and, once another session is over,
/// of those that the other left untold: devices outlive decision nodes. What goes beyond (two
/// heirs may count one device, when its first answer was lost) is passed over, the successes first,
/// so that a cohort never resolves more than it exposed and nobody's own outcomes are crowded out.
pub(super) fn without_strangers(
    state: &State,
    session: SessionId,
    key: &TallyKey,
    mut counts: Counts,
) -> Counts {
    let own = untold_by(state, session, key).saturating_add(counts.exposed);
    let beyond = counts.spoken().saturating_sub(own);
    if beyond == 0 {
        return counts;
    }
    let left: u64 = untold_by_ended(state, key)
        .iter()
        .map(|(_, left)| left)
        .sum();
    let mut over = beyond.saturating_sub(left);
    let Counts {
        verified,
        reverted,
        failed,
        ..
    } = &mut counts;
    for fate in [verified, reverted, failed] {
        let dropped = (*fate).min(over);
        *fate = fate.saturating_sub(dropped);
        over = over.saturating_sub(dropped);
    }
    counts
}
