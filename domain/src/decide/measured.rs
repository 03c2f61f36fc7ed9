//! What devices measured: believed as far as there are exposures to measure.
use crate::{
    rollout::Rollout,
    state::State,
    tally::{Arm, Counts, MEASURED_MAX, Stratum, Sum, SumKey, TallyKey},
};
use tidegate_mutant::{Mutant, is_on};

/// A tally without measurements that no exposure stands behind: whoever was granted nothing can
/// neither pass nor fail a gate by numbers alone.
///
/// The bound is [`MEASURED_MAX`] of anything for each exposure, of the cohort together, since devices report
/// what they measure to whichever node they reach. Nobody is exposed in control: what is measured
/// there is bounded by the exposures of the whole wave, which is compared with it. What goes beyond
/// is passed over, each kind as a whole: a part of it might say something else.
pub(super) fn of_exposures(state: &State, key: &TallyKey, mut counts: Counts) -> Counts {
    if is_on(Mutant::MetricsUnbounded) {
        return counts;
    }
    let max = exposures(state, key, &counts).saturating_mul(MEASURED_MAX);
    let before = measured(state, key);
    let fits = |before: u64, more: u64| more == 0 || before.saturating_add(more) <= max;
    if !fits(before.operations, counts.operations) {
        (counts.errors, counts.operations) = (0, 0);
    }
    if !fits(before.predictions, counts.predictions) {
        (counts.correct, counts.predictions) = (0, 0);
    }
    let buckets = before.latency.iter().copied().chain(std::iter::repeat(0));
    let mut buckets = buckets.zip(&counts.latency);
    if !buckets.all(|(before, more)| fits(before, *more)) {
        counts.latency = Vec::new();
    }
    counts
}

/// How many exposures stand behind what is measured under a key.
fn exposures(state: &State, key: &TallyKey, counts: &Counts) -> u64 {
    if key.arm == Arm::Control {
        return pooled(state, key, Arm::Treatment).exposed;
    }
    let cohort = state.cohorts().get(key);
    let before = cohort.map_or(0, |cohort| cohort.exposed);
    before.saturating_add(counts.exposed)
}

/// What was measured of these exposures before.
fn measured(state: &State, key: &TallyKey) -> Counts {
    if key.arm == Arm::Control {
        return pooled(state, key, Arm::Control);
    }
    state.cohorts().get(key).cloned().unwrap_or_default()
}

/// All that is counted on one side of a wave.
fn pooled(state: &State, key: &TallyKey, arm: Arm) -> Counts {
    let sum = state.sums().get(&SumKey {
        rollout: key.rollout,
        wave: key.wave,
        arm,
        stratum: None,
    });
    sum.map(Sum::all).unwrap_or_default()
}

/// Whether a device of this stratum can be in control: its variant and channel are in the audience.
pub(super) fn is_in_audience(state: &State, rollout: &Rollout, stratum: &Stratum) -> bool {
    let audience = &rollout.spec.audience;
    let variant = state.variants().get(&stratum.variant);
    variant.is_some_and(|variant| audience.matches(&variant.traits))
        && (audience.channels.is_empty() || audience.channels.contains(&stratum.channel))
}
