//! WAVE-1, the comparison: a release that is worse than what its devices ran before does not go on.
use super::{Transition, Violation, ensure};
use crate::{
    event::Event,
    id::{Ppm, RolloutId, VariantId, WaveIndex},
    rollout::{GateScope, Life, Rollout},
    state::State,
    tally::{Arm, Counts},
};

/// Whether accuracy lies further below control's than `max`, in exact fractions: the shares are
/// brought to one denominator.
pub(super) fn fell(treatment: &Counts, control: &Counts, max: Ppm) -> bool {
    let wide = |count: u64| u128::from(count);
    let (of_t, of_c) = (wide(treatment.predictions), wide(control.predictions));
    let before = wide(control.correct).saturating_mul(of_t);
    let now = wide(treatment.correct).saturating_mul(of_c);
    let allowed = of_t.saturating_mul(of_c).saturating_mul(max.get().into());
    before.saturating_mul(1_000_000) > now.saturating_mul(1_000_000).saturating_add(allowed)
}

/// No entry that moves a wave's counts leaves its rollout under way with an accuracy that fell too
/// far below control's: neither over all variants that are left, nor in one of them that is judged
/// for itself.
pub(super) fn is_heeded(t: &Transition<'_>) -> Result<(), Violation> {
    for event in t.events() {
        let (Event::Tallied { key, .. } | Event::CohortMatured { key }) = event else {
            continue;
        };
        let Some(rollout) = t.after.rollouts().get(&key.rollout) else {
            continue;
        };
        let max = rollout.criteria(key.wave).accuracy_drop_max;
        let under_way = matches!(rollout.life, Life::Running | Life::Paused { .. });
        let (Some(max), true) = (max, under_way) else {
            continue;
        };
        let own = Some(key.stratum.variant)
            .filter(|own| !rollout.excluded.contains_key(own))
            .filter(|_| rollout.spec.gate_scope == GateScope::VariantAndPooled);
        for only in std::iter::once(None).chain(own.map(Some)) {
            let side = |arm| all(t.after, rollout, (key.wave, arm), only);
            let (treatment, control) = (side(Arm::Treatment), side(Arm::Control));
            let samples = treatment.predictions.min(control.predictions);
            let heeded = samples < rollout.spec.sample_min || !fell(&treatment, &control, max);
            ensure(heeded, "WAVE-1", || {
                let RolloutId(id) = rollout.id;
                format!("rollout {id} goes on with {treatment:?}, control {control:?}")
            })?;
        }
    }
    Ok(())
}

/// All counts of one side of a wave, added up from the strata of variants that are left, or of one.
fn all(
    state: &State,
    rollout: &Rollout,
    (wave, arm): (WaveIndex, Arm),
    only: Option<VariantId>,
) -> Counts {
    let mut counts = Counts::default();
    for (key, sum) in state.sums().iter() {
        let Some(stratum) = &key.stratum else {
            continue;
        };
        let here = (key.rollout, key.wave, key.arm) == (rollout.id, wave, arm);
        let left = !rollout.excluded.contains_key(&stratum.variant);
        if here && left && only.is_none_or(|only| only == stratum.variant) {
            counts = counts.plus(&sum.all());
        }
    }
    counts
}
