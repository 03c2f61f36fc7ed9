//! WAVE-1, WAVE-2, WAVE-3, and the rollouts' part of HALT-2.
use super::{Transition, Violation, control::fell, ensure};
use crate::{
    event::Event,
    id::{Ppm, RolloutId, WaveIndex},
    node::PoolKey,
    rollout::{Audience, Life, Rollout},
    state::State,
    tally::Arm,
    variant::Selector,
    wave::{OpenedBy, WaveState},
};
use std::collections::BTreeSet;

/// WAVE-1: waves are open in order, each after the first only with the evidence of the gate before
/// it or with a quorum's override; and what was opened, passed or overridden stays so.
pub(super) fn open_in_order(t: &Transition<'_>) -> Result<(), Violation> {
    for (id, rollout) in t.after.rollouts().iter() {
        let mut before: Option<&WaveState> = None;
        let mut closed = false;
        for wave in &rollout.waves {
            let holds = match &wave.opened {
                None => {
                    closed = true;
                    wave.passed.is_none() && !wave.overridden
                }
                Some(_) if closed => false,
                Some(opening) => match (before, &opening.by) {
                    (None, OpenedBy::Start) => true,
                    (Some(before), OpenedBy::Gate) => {
                        let evidence = before.passed.as_ref();
                        evidence.is_some_and(|e| e.breach.is_none() && e.index <= opening.index)
                    }
                    (Some(before), OpenedBy::Override) => before.overridden,
                    (None, OpenedBy::Gate | OpenedBy::Override) | (Some(_), OpenedBy::Start) => {
                        false
                    }
                },
            };
            ensure(holds, "WAVE-1", || {
                format!("rollout {id}: {:?}", rollout.waves)
            })?;
            before = Some(wave);
        }
        if let Some(was) = t.before.rollouts().get(id) {
            ensure(history_stays(was, rollout), "WAVE-1", || {
                format!("history of rollout {id} changed")
            })?;
        }
    }
    Ok(())
}

fn history_stays(was: &Rollout, is: &Rollout) -> bool {
    was.opened().zip(is.waves.iter()).all(|((_, was), is)| {
        was.opened == is.opened
            && (was.passed.is_none() || was.passed == is.passed)
            && (!was.overridden || is.overridden)
    }) && was.current_wave() <= is.current_wave()
}

/// WAVE-1, the evidence: whatever passed had its samples, and no criterion was broken, by
/// arithmetic in exact fractions of its own.
pub(super) fn evidence_is_enough(t: &Transition<'_>) -> Result<(), Violation> {
    for event in t.events() {
        let Event::WavePassed {
            rollout,
            wave,
            evidence,
        } = event
        else {
            continue;
        };
        let Some(rollout) = t.after.rollouts().get(rollout) else {
            continue;
        };
        let criteria = rollout.criteria(*wave);
        let counts = &evidence.counts;
        let within = |part: u64, whole: u64, max: Option<Ppm>| {
            let parts = u128::from(part).saturating_mul(1_000_000);
            let allowed = |max: Ppm| u128::from(max.get()).saturating_mul(u128::from(whole));
            max.is_none_or(|max| parts <= allowed(max))
        };
        let bad = counts.failed.saturating_add(counts.reverted);
        let holds = evidence.breach.is_none()
            && counts.resolved() >= rollout.spec.sample_min
            && within(bad, counts.resolved(), criteria.failure_rate_max)
            && within(
                counts.silent,
                counts.resolved(),
                Some(rollout.spec.silent_max),
            )
            && within(counts.errors, counts.operations, criteria.error_rate_max)
            && (criteria.error_rate_max.is_none() || counts.operations >= rollout.spec.sample_min)
            && criteria.accuracy_drop_max.is_none_or(|max| {
                let control = evidence.control.clone().unwrap_or_default();
                let samples = counts.predictions.min(control.predictions);
                samples >= rollout.spec.sample_min && !fell(counts, &control, max)
            });
        ensure(holds, "WAVE-1", || {
            format!("rollout {} wave {wave} passed on {evidence:?}", rollout.id)
        })?;
    }
    Ok(())
}

/// WAVE-2: targets never fall from wave to wave, and whatever decides who is in an opened wave
/// never changes.
pub(super) fn membership_is_stable(t: &Transition<'_>) -> Result<(), Violation> {
    for (id, rollout) in t.after.rollouts().iter() {
        let waves = &rollout.spec.waves;
        let nested = waves.is_sorted_by(|a, b| a.target <= b.target);
        ensure(nested, "WAVE-2", || format!("targets of rollout {id} fall"))?;
        let Some(was) = t.before.rollouts().get(id) else {
            continue;
        };
        let opened = was.opened().count();
        let stable = was.salt == rollout.salt
            && (opened == 0 || was.spec.control == rollout.spec.control)
            && was
                .spec
                .waves
                .iter()
                .zip(waves)
                .take(opened)
                .all(|(a, b)| (a.target, &a.ring, &a.name) == (b.target, &b.ring, &b.name));
        ensure(stable, "WAVE-2", || {
            format!("an opened wave of rollout {id} moved")
        })?;
    }
    Ok(())
}

/// WAVE-3: admissions never exceed a cap, by any session, in any wave up to it; and no session
/// accounts for more exposures than it was granted.
pub(super) fn caps_hold(t: &Transition<'_>) -> Result<(), Violation> {
    for (id, rollout) in t.after.rollouts().iter() {
        let mut admitted = 0_u64;
        for (spec, wave) in rollout.spec.waves.iter().zip(&rollout.waves) {
            admitted = admitted.saturating_add(wave.admitted);
            let cap = spec.cap.unwrap_or(u64::MAX);
            ensure(admitted <= cap, "WAVE-3", || {
                format!(
                    "rollout {id} admitted {admitted} up to wave {}, cap {cap}",
                    spec.name
                )
            })?;
        }
    }
    for (key, budget) in t.after.budgets().iter() {
        let usable = budget.granted.saturating_sub(budget.returned);
        let holds = budget.granted >= budget.returned
            && budget.spent <= usable
            && budget.resolved <= budget.spent;
        ensure(holds, "WAVE-3", || format!("{key:?}: {budget:?}"))?;
    }
    Ok(())
}

/// Credit: a grant never brings a stratum above the most that it may have unresolved.
pub(super) fn credit_bounds_grants(t: &Transition<'_>) -> Result<(), Violation> {
    for event in t.events() {
        let Event::BudgetGranted { pool, count, .. } = event else {
            continue;
        };
        let pools: Vec<_> = t
            .after
            .pools()
            .iter()
            .filter(|(key, _)| same_stratum(key, pool))
            .map(|(_, pool)| pool)
            .collect();
        let unresolved: u64 = pools.iter().map(|pool| pool.unresolved()).sum();
        let credit = pools.iter().map(|pool| pool.credit).max().unwrap_or(0);
        ensure(*count > 0 && unresolved <= credit, "WAVE-3", || {
            format!("{unresolved} unresolved in {pool:?}, credit {credit}")
        })?;
    }
    Ok(())
}

fn same_stratum(a: &PoolKey, b: &PoolKey) -> bool {
    (a.rollout, &a.stratum, a.arm) == (b.rollout, &b.stratum, b.arm)
}

/// HALT-2: a bar goes only by being lifted, and nothing begins, goes on or admits under another
/// rollout's bar.
pub(super) fn bars_hold(t: &Transition<'_>) -> Result<(), Violation> {
    for (id, bar) in t.before.bars().iter() {
        let lifted = t
            .events()
            .iter()
            .any(|event| matches!(event, Event::HaltLifted { rollout, .. } if rollout == id));
        ensure(lifted || t.after.bars().contains(id), "HALT-2", || {
            format!(
                "the bar of rollout {id} on {} went without being lifted",
                bar.release
            )
        })?;
    }
    for event in t.events() {
        let (id, audience) = if let Event::RolloutCreated(rollout) = event {
            (rollout.id, None)
        } else if let Event::RolloutStarted { rollout } = event {
            (*rollout, None)
        } else if let Event::BudgetGranted { pool, .. } = event
            && pool.arm == Arm::Treatment
        {
            (pool.rollout, alone(t.after, pool))
        } else {
            continue;
        };
        let Some(rollout) = t.after.rollouts().get(&id) else {
            continue;
        };
        let audience = audience.unwrap_or_else(|| rollout.spec.audience.clone());
        let bar = bar_over(t.before, id, rollout, &audience);
        ensure(bar.is_none(), "HALT-2", || {
            format!("{event:?} under the bar of rollout {bar:?}")
        })?;
    }
    Ok(())
}

/// An audience of one stratum.
fn alone(state: &State, pool: &PoolKey) -> Option<Audience> {
    let variant = state.variants().get(&pool.stratum.variant)?;
    Some(Audience {
        selectors: BTreeSet::from([Selector::exactly(&variant.traits)]),
        channels: BTreeSet::from([pool.stratum.channel.clone()]),
        from_versions: None,
    })
}

fn bar_over(
    state: &State,
    own: RolloutId,
    rollout: &Rollout,
    audience: &Audience,
) -> Option<RolloutId> {
    let mut bars = state.bars().iter();
    bars.find(|(id, bar)| {
        **id != own && bar.release == rollout.spec.release && bar.audience.overlaps(audience)
    })
    .map(|(id, _)| *id)
}

/// A halted rollout admits nobody, and neither does one that has not begun: grants of offers come
/// from open waves of running rollouts that did not exclude the variant.
pub(super) fn grants_come_from_open_waves(t: &Transition<'_>) -> Result<(), Violation> {
    for event in t.events() {
        let Event::BudgetGranted { pool, .. } = event else {
            continue;
        };
        let rollout = t.before.rollouts().get(&pool.rollout);
        let holds = rollout.is_some_and(|rollout| {
            let open = is_open(rollout, pool.wave);
            match pool.arm {
                Arm::Treatment => {
                    let out = rollout.excluded.contains_key(&pool.stratum.variant);
                    open && rollout.life == Life::Running && !out
                }
                Arm::Return => open && rollout.returns(pool.stratum.variant),
                Arm::Control => false,
            }
        });
        ensure(holds, "WAVE-1", || format!("{event:?} of {rollout:?}"))?;
    }
    Ok(())
}

fn is_open(rollout: &Rollout, wave: WaveIndex) -> bool {
    rollout
        .wave(wave)
        .is_some_and(|(_, state)| state.opened.is_some())
}
