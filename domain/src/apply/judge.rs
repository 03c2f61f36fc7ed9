//! Bad news at once: gates are judged whenever a tally moves, not only when a wave wants to pass.
use super::{changes::Changes, react::halt_by_gate};
use crate::{
    event::Event,
    gate::{FAILURE_RATE_DEFAULT, Gate, Judgement},
    id::{Ppm, RolloutId, VariantId, WaveIndex},
    plan,
    rollout::{ExclusionCause, GateScope, Life, Rollout},
    state::State,
    tally::{Arm, Counts, Sum},
    wave::{Breach, Criteria, Evidence},
};
use std::collections::BTreeSet;

/// A wave and variant whose sums moved.
type Touch = (RolloutId, WaveIndex, VariantId);

/// Judges the gates of everything that this entry's events touched: a failing variant is out, and
/// the rest goes on until the pool fails.
pub(super) fn touched(changes: &mut Changes<'_>) {
    let touches = touches(changes.events());
    for (id, wave, variant) in &touches {
        // Who has no room in this entry is judged when it is touched again, and before its wave passes.
        if !changes.have_room() {
            break;
        }
        judge_variant(changes, *id, *wave, *variant);
    }
    let waves: BTreeSet<(RolloutId, WaveIndex)> =
        touches.iter().map(|(id, wave, _)| (*id, *wave)).collect();
    for (id, wave) in waves {
        judge_pool(changes, id, wave);
    }
}

/// The rollouts that events touched.
pub(super) fn touched_rollouts(events: &[Event]) -> BTreeSet<RolloutId> {
    touches(events).into_iter().map(|(id, _, _)| id).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other event moves a sum")]
fn touches(events: &[Event]) -> BTreeSet<Touch> {
    let touch = |event: &Event| match event {
        Event::Tallied { key, .. } | Event::CohortMatured { key } => {
            Some((key.rollout, key.wave, key.stratum.variant))
        }
        Event::BudgetLost { pool, .. } | Event::BudgetReturned { pool, .. } => {
            Some((pool.rollout, pool.wave, pool.stratum.variant))
        }
        _ => None,
    };
    events.iter().filter_map(touch).collect()
}

fn judge_variant(changes: &mut Changes<'_>, id: RolloutId, wave: WaveIndex, variant: VariantId) {
    let state = changes.state();
    let Some(rollout) = state.rollouts().get(&id) else {
        return;
    };
    let judged = matches!(rollout.life, Life::Running | Life::Paused { .. })
        && rollout.spec.gate_scope == GateScope::VariantAndPooled
        && !rollout.excluded.contains_key(&variant);
    if !judged {
        return;
    }
    if let Judgement::Fails(breach) = plan::judge_variant(state, rollout, wave, variant) {
        let context = changes.context();
        let event = plan::excluded(changes.state(), rollout, wave, variant, breach, &context);
        changes.emit(event);
    }
}

fn judge_pool(changes: &mut Changes<'_>, id: RolloutId, wave: WaveIndex) {
    let state = changes.state();
    let Some(rollout) = state.rollouts().get(&id) else {
        return;
    };
    let evidence = match &rollout.life {
        Life::Running | Life::Paused { .. } => {
            pool_breach(changes, rollout, wave).or_else(|| nobody_left(state, rollout))
        }
        Life::RollingBack { .. } => returns_breach(changes, rollout, wave),
        Life::Draft
        | Life::Approved
        | Life::Halted { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => None,
    };
    if let Some(evidence) = evidence {
        halt_by_gate(changes, id, evidence);
    }
}

fn pool_breach(changes: &Changes<'_>, rollout: &Rollout, wave: WaveIndex) -> Option<Evidence> {
    let state = changes.state();
    let treatment = plan::sum(state, rollout, wave, Arm::Treatment);
    let control = plan::sum(state, rollout, wave, Arm::Control);
    let gate = plan::gate_of(rollout, wave);
    let breach = gate.breach(&treatment, &control)?;
    let compares = gate.criteria.accuracy_drop_max.is_some();
    let control = compares.then(|| control.all());
    Some(evidence(changes, &treatment, control, breach))
}

/// Gates have excluded every variant that was let in: then the pool has failed, with the evidence
/// of one of them.
fn nobody_left(state: &State, rollout: &Rollout) -> Option<Evidence> {
    let left = rollout.opened().any(|(wave, _)| {
        plan::sum(state, rollout, wave, Arm::Treatment)
            .all()
            .exposed
            > 0
    });
    if left {
        return None;
    }
    let mut causes = rollout.excluded.values();
    causes.find_map(|cause| match cause {
        ExclusionCause::Gate(evidence) => Some((**evidence).clone()),
        ExclusionCause::Operator(_) => None,
    })
}

/// A rollback has a gate of its own: returns that fail as often as no rollout may stop it.
fn returns_breach(changes: &Changes<'_>, rollout: &Rollout, wave: WaveIndex) -> Option<Evidence> {
    let returns = plan::sum(changes.state(), rollout, wave, Arm::Return);
    let gate = Gate {
        criteria: Criteria {
            failure_rate_max: Some(FAILURE_RATE_DEFAULT),
            ..Criteria::default()
        },
        silent_max: Ppm::ALL,
        sample_min: rollout.spec.sample_min,
    };
    let breach = gate.breach(&returns, &Sum::default())?;
    Some(evidence(changes, &returns, None, breach))
}

fn evidence(changes: &Changes<'_>, sum: &Sum, control: Option<Counts>, breach: Breach) -> Evidence {
    let context = changes.context();
    Evidence {
        variant: None,
        at: context.time,
        index: context.index,
        counts: sum.all(),
        control,
        breach: Some(breach),
    }
}
