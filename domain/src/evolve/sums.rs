//! What gates judge, kept up to date one tally at a time, so that judging never walks history.
use crate::{
    id::{RolloutId, VariantId, WaveIndex},
    rollout::Rollout,
    state::State,
    tally::{Arm, Stratum, Sum, SumKey, TallyKey},
};
use std::ops::Bound;

/// Changes the sums that a tally counts in: its stratum's, and the pool's unless the variant is
/// out. Returns count in their pool whoever is out: all devices come back.
pub(super) fn change(state: &mut State, key: &TallyKey, f: impl Fn(&mut Sum)) {
    let Some(rollout) = state.rollouts.get(&key.rollout) else {
        return;
    };
    let pooled = counts_in_pool(rollout, key.arm, key.stratum.variant);
    f(state.sums.entry(of_stratum(key)));
    if pooled {
        f(state.sums.entry(SumKey {
            stratum: None,
            ..of_stratum(key)
        }));
    }
}

fn counts_in_pool(rollout: &Rollout, arm: Arm, variant: VariantId) -> bool {
    arm == Arm::Return || !rollout.excluded.contains_key(&variant)
}

fn of_stratum(key: &TallyKey) -> SumKey {
    SumKey {
        rollout: key.rollout,
        wave: key.wave,
        arm: key.arm,
        stratum: Some(key.stratum.clone()),
    }
}

/// Takes a variant that is out from the pools: what is left is judged alone.
pub(super) fn leave_pool(state: &mut State, rollout: RolloutId, variant: VariantId) {
    let waves = state.rollouts.get(&rollout).map_or(0, |r| r.waves.len());
    for wave in (0_u16..).map(WaveIndex).take(waves) {
        for arm in [Arm::Treatment, Arm::Control] {
            let pool = SumKey {
                rollout,
                wave,
                arm,
                stratum: None,
            };
            let own = of_variant(state, &pool, variant);
            if let Some(sum) = state.sums.get_mut(&pool) {
                *sum = sum.minus(&own);
            }
        }
    }
}

/// The sum of one variant over its channels; `pool` says of which rollout, wave and arm.
pub(crate) fn of_variant(state: &State, pool: &SumKey, variant: VariantId) -> Sum {
    let first = SumKey {
        stratum: Some(Stratum {
            variant,
            ..Stratum::first()
        }),
        ..pool.clone()
    };
    let own = |key: &SumKey| {
        let stratum = key.stratum.as_ref();
        (key.rollout, key.wave, key.arm) == (pool.rollout, pool.wave, pool.arm)
            && stratum.is_some_and(|stratum| stratum.variant == variant)
    };
    state
        .sums
        .range((Bound::Included(first), Bound::Unbounded))
        .take_while(|(key, _)| own(key))
        .fold(Sum::default(), |sum, (_, channel)| sum.plus(channel))
}
