//! What devices measured: believed as far as there are exposures to measure.
use crate::{
    id::{RolloutId, WaveIndex},
    rollout::Rollout,
    state::State,
    tally::{Arm, Counts, MEASURED_MAX, Stratum, Sum, SumKey, TallyKey},
};
use std::collections::BTreeMap;
use tidegate_mutant::{Mutant, is_on};

/// What a report adds, tally by tally, to what was measured in control before it.
#[derive(Debug, Default)]
pub(super) struct Measured {
    control: BTreeMap<(RolloutId, WaveIndex), Counts>,
}

impl Measured {
    /// A tally without measurements that no exposure stands behind: whoever was granted nothing can
    /// neither pass nor fail a gate by numbers alone.
    ///
    /// The bound is [`MEASURED_MAX`] of anything for each exposure. Of the cohort together, since
    /// devices report what they measure to whichever node they reach. Nobody is exposed in control:
    /// what is measured there is bounded, all strata and hours together, by the exposures of the
    /// wave that it is compared with. What goes beyond is passed over, each kind as a whole: a part
    /// of it might say something else.
    pub(super) fn of_exposures(
        &mut self,
        state: &State,
        key: &TallyKey,
        mut counts: Counts,
    ) -> Counts {
        if is_on(Mutant::MetricsUnbounded) {
            return counts;
        }
        if key.arm == Arm::Control {
            let exposed = pooled(state, key, Arm::Treatment).exposed;
            let before = self
                .control
                .entry((key.rollout, key.wave))
                .or_insert_with(|| pooled(state, key, Arm::Control));
            bound(&mut counts, before, exposed);
            *before = before.plus(&counts);
            return counts;
        }
        let cohort = state.cohorts().get(key).cloned().unwrap_or_default();
        let exposed = cohort.exposed.saturating_add(counts.exposed);
        bound(&mut counts, &cohort, exposed);
        counts
    }
}

/// Drops what goes beyond the exposures that it was measured of, on top of what was before.
fn bound(counts: &mut Counts, before: &Counts, exposed: u64) {
    let max = exposed.saturating_mul(MEASURED_MAX);
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

/// Whether anybody of a stratum can be in control: its variant and channel are in the audience, and
/// the variant is not out.
pub(super) fn is_compared(state: &State, rollout: &Rollout, stratum: &Stratum) -> bool {
    let audience = &rollout.spec.audience;
    let variant = state.variants().get(&stratum.variant);
    variant.is_some_and(|variant| audience.matches(&variant.traits))
        && !rollout.excluded.contains_key(&stratum.variant)
        && (audience.channels.is_empty() || audience.channels.contains(&stratum.channel))
}
