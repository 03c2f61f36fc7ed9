//! Folds of rollouts, waves, gates and halts.
use super::{Inconsistent, exposures, revision, row, sessions, sums};
use crate::{
    derived::aged,
    event::Event,
    id::{LogTime, Millis, RolloutId, WaveIndex},
    node::{BudgetKey, PoolKey},
    rollout::{HaltBar, HaltCause, Life, RollbackPlan, Rollout, RolloutSpec},
    state::State,
    tally::{SumKey, TallyKey},
    wave::{Opening, WaveState},
};

/// Most rows that one [`Event::RolloutFolded`] folds away, so that no entry is slow.
pub const FOLD_MAX: usize = 256;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is about waves, or `evolve` does not send it here"
)]
pub(super) fn fold(state: &mut State, event: &Event) -> Result<(), Inconsistent> {
    let now = state.meta().time;
    match event {
        Event::RolloutCreated(rollout) => created(state, rollout),
        Event::RolloutApproved { rollout } => live(state, *rollout, Life::Approved),
        Event::RolloutStarted { rollout } => {
            of(state, *rollout)?.judged_at = now;
            live(state, *rollout, Life::Running)
        }
        Event::RolloutPaused { rollout, reason: _ } => {
            live(state, *rollout, Life::Paused { since: now })
        }
        Event::RolloutResumed { rollout, paused } => {
            stood_still(of(state, *rollout)?, *paused);
            live(state, *rollout, Life::Running)
        }
        Event::RolloutHalted { rollout, cause } => halted(state, *rollout, cause),
        Event::HaltLifted {
            rollout,
            halted,
            reason: _,
        } => lifted(state, *rollout, *halted),
        Event::RollbackStarted { rollout } => rolling_back(state, *rollout),
        Event::RolledBack { rollout } => over(state, *rollout, Life::RolledBack { at: now }),
        Event::RolloutCompleted { rollout } => over(state, *rollout, Life::Completed { at: now }),
        Event::RolloutSuperseded { rollout, by } => {
            over(state, *rollout, Life::Superseded { by: *by })
        }
        Event::RolloutAmended {
            rollout,
            spec,
            rollback,
        } => amended(state, *rollout, spec, rollback),
        Event::RolloutExpedited { rollout, reason: _ } => {
            of(state, *rollout)?.expedited = true;
            Ok(())
        }
        Event::RolloutFolded { rollout } => folded(state, *rollout),
        Event::RolloutForgotten { rollout } => forgotten(state, *rollout),
        _ => fold_wave(state, event),
    }
}

/// Folds of waves and their gates.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`evolve` sends no other event here"
)]
fn fold_wave(state: &mut State, event: &Event) -> Result<(), Inconsistent> {
    let now = state.meta().time;
    match event {
        Event::WaveOpened {
            rollout,
            wave,
            opening,
        } => opened(state, *rollout, *wave, opening),
        Event::WavePassed {
            rollout,
            wave,
            evidence,
        } => {
            wave_of(state, *rollout, *wave)?.passed = Some((**evidence).clone());
            Ok(())
        }
        Event::GateOverridden {
            rollout,
            wave,
            reason: _,
        } => {
            wave_of(state, *rollout, *wave)?.overridden = true;
            Ok(())
        }
        Event::GateJudged { rollout } => {
            // No change that an operator waits for or that a revision would have to guard.
            row(&mut state.rollouts, rollout, "rollout")?.judged_at = now;
            Ok(())
        }
        Event::VariantExcluded {
            rollout,
            variant,
            cause,
        } => {
            let row = of(state, *rollout)?;
            if row.excluded.contains_key(variant) {
                return Err(Inconsistent::Conflict("the variant is out"));
            }
            row.excluded.insert(*variant, (**cause).clone());
            sums::leave_pool(state, *rollout, *variant);
            Ok(())
        }
        _ => Err(Inconsistent::Missing("fold of this event")),
    }
}

fn created(state: &mut State, rollout: &Rollout) -> Result<(), Inconsistent> {
    if rollout.id <= state.meta().last_rollout {
        return Err(Inconsistent::Conflict("the rollout is there"));
    }
    state.meta.get_mut().last_rollout = rollout.id;
    state.derived.live_rollouts.insert(rollout.id);
    state.rollouts.insert(rollout.id, rollout.clone());
    Ok(())
}

/// The rollout for a change that gives it a new revision.
fn of(state: &mut State, id: RolloutId) -> Result<&mut Rollout, Inconsistent> {
    let revision = revision(state);
    let rollout = row(&mut state.rollouts, &id, "rollout")?;
    rollout.revision = revision;
    Ok(rollout)
}

fn wave_of(
    state: &mut State,
    id: RolloutId,
    wave: WaveIndex,
) -> Result<&mut WaveState, Inconsistent> {
    let waves = &mut of(state, id)?.waves;
    let wave = waves.get_mut(usize::from(wave.0));
    wave.ok_or(Inconsistent::Missing("wave"))
}

fn live(state: &mut State, id: RolloutId, life: Life) -> Result<(), Inconsistent> {
    let rollout = of(state, id)?;
    if rollout.life.is_final() {
        return Err(Inconsistent::Conflict("the rollout is over"));
    }
    rollout.life = life;
    Ok(())
}

fn over(state: &mut State, id: RolloutId, life: Life) -> Result<(), Inconsistent> {
    let now = state.meta().time;
    live(state, id, life)?;
    of(state, id)?.ended = Some(now);
    state.derived.live_rollouts.remove(&id);
    state.derived.unfolded.insert((now, id));
    Ok(())
}

/// WAVE-1: this is the only place that opens a wave, and it opens none out of order.
fn opened(
    state: &mut State,
    id: RolloutId,
    wave: WaveIndex,
    opening: &Opening,
) -> Result<(), Inconsistent> {
    let rollout = of(state, id)?;
    let next = rollout.current_wave().map_or(0, |w| w.0.saturating_add(1));
    if wave.0 != next {
        return Err(Inconsistent::Conflict("the wave is open"));
    }
    rollout.judged_at = opening.at;
    wave_of(state, id, wave)?.opened = Some(opening.clone());
    Ok(())
}

/// Soak does not count the time in which a rollout stood still.
fn stood_still(rollout: &mut Rollout, length: Millis) {
    let current = rollout.current_wave().map(|wave| usize::from(wave.0));
    if let Some(wave) = current.and_then(|at| rollout.waves.get_mut(at)) {
        wave.paused = Millis(wave.paused.0.saturating_add(length.0));
    }
}

fn halted(state: &mut State, id: RolloutId, cause: &HaltCause) -> Result<(), Inconsistent> {
    let now = state.meta().time;
    let rollout = of(state, id)?;
    // Soak stood still since the pause, not since the halt.
    let since = match &rollout.life {
        Life::Paused { since } => *since,
        Life::Draft
        | Life::Approved
        | Life::Running
        | Life::Halted { .. }
        | Life::RollingBack { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => now,
    };
    let bar = HaltBar {
        rollout: id,
        release: rollout.spec.release.clone(),
        audience: rollout.spec.audience.clone(),
        since: now,
    };
    let cause = cause.clone();
    live(state, id, Life::Halted { since, cause })?;
    let by_release = &mut state.derived.bars_by_release;
    by_release.insert((bar.release.clone(), id));
    state.bars.insert(id, bar);
    Ok(())
}

/// HALT-2: this is the only place that removes a bar.
fn lifted(state: &mut State, id: RolloutId, halted: Millis) -> Result<(), Inconsistent> {
    let bar = state.bars.remove(&id);
    let bar = bar.ok_or(Inconsistent::Missing("bar"))?;
    state.derived.bars_by_release.remove(&(bar.release, id));
    let Some(rollout) = state.rollouts.get_mut(&id) else {
        return Ok(());
    };
    if !matches!(rollout.life, Life::Halted { .. }) {
        return Ok(());
    }
    stood_still(rollout, halted);
    let begun = rollout.current_wave().is_some();
    let life = if begun { Life::Running } else { Life::Approved };
    live(state, id, life)
}

fn rolling_back(state: &mut State, id: RolloutId) -> Result<(), Inconsistent> {
    let now = state.meta().time;
    let rollout = of(state, id)?;
    let Life::Halted { cause, .. } = rollout.life.clone() else {
        return Err(Inconsistent::Missing("halt"));
    };
    live(state, id, Life::RollingBack { since: now, cause })
}

fn amended(
    state: &mut State,
    id: RolloutId,
    spec: &RolloutSpec,
    rollback: &RollbackPlan,
) -> Result<(), Inconsistent> {
    let rollout = of(state, id)?;
    let narrower = spec.credit < rollout.spec.credit;
    rollout.spec = spec.clone();
    rollout.rollback = rollback.clone();
    let waves = spec.waves.len();
    rollout.waves.resize_with(waves, WaveState::default);
    if narrower {
        lower_credit(state, id, spec.credit);
    }
    Ok(())
}

/// A lower credit counts at once, whatever cohorts had earned.
fn lower_credit(state: &mut State, id: RolloutId, credit: u64) {
    let rows = state.pools.range(PoolKey::first(id)..).map(|(key, _)| key);
    let own = rows.take_while(|key| key.rollout == id);
    let offers = own.filter(|key| key.arm == crate::tally::Arm::Treatment);
    for key in offers.cloned().collect::<Vec<_>>() {
        if let Some(pool) = state.pools.get_mut(&key) {
            pool.credit = pool.credit.min(credit);
        }
    }
}

/// Folds rows of a rollout that ended long ago; what is left then takes another event.
fn folded(state: &mut State, id: RolloutId) -> Result<(), Inconsistent> {
    let Some(ended) = state.rollouts.get(&id).and_then(|r| r.ended) else {
        return Err(Inconsistent::Missing("end of the rollout"));
    };
    let mut room = FOLD_MAX;
    room = room.saturating_sub(fold_cohorts(state, id, room));
    room = room.saturating_sub(fold_budgets(state, id, room));
    room = room.saturating_sub(fold_pools(state, id, room));
    room = room.saturating_sub(fold_sums(state, id, room));
    if room > 0 {
        row(&mut state.rollouts, &id, "rollout")?.folded = true;
        state.derived.unfolded.remove(&(ended, id));
        state.derived.folded.insert((ended, id));
    }
    Ok(())
}

/// The first `room` keys of a rollout.
fn keys<'a, K: Clone + 'a>(
    rows: impl Iterator<Item = &'a K>,
    room: usize,
    own: impl Fn(&K) -> bool,
) -> Vec<K> {
    rows.take_while(|key| own(key))
        .take(room)
        .cloned()
        .collect()
}

/// One session's row of one cohort at a time.
fn fold_cohorts(state: &mut State, id: RolloutId, room: usize) -> usize {
    let first = (TallyKey::first(id), crate::id::SessionId(0));
    let rows = state.derived.untold_by_cohort.range(first..);
    let untold = keys(rows, room, |(key, _)| key.rollout == id);
    for (key, session) in &untold {
        exposures::set(state, *session, key, 0);
        sessions::forget_if_settled(state, *session);
    }
    let left = room.saturating_sub(untold.len());
    let rows = state.cohorts.range(TallyKey::first(id)..);
    let cohorts = keys(rows.map(|(key, _)| key), left, |key| key.rollout == id);
    for key in &cohorts {
        if let Some(aged) = aged(state, key) {
            state.derived.cohorts_by_age.remove(&aged);
        }
        state.cohorts.remove(key);
    }
    untold.len().saturating_add(cohorts.len())
}

fn fold_budgets(state: &mut State, id: RolloutId, room: usize) -> usize {
    let first = (PoolKey::first(id), crate::id::SessionId(0));
    let rows = state.derived.budgets_by_pool.range(first..);
    let found = keys(rows, room, |(pool, _)| pool.rollout == id);
    for (pool, session) in &found {
        let key = BudgetKey {
            session: *session,
            pool: pool.clone(),
        };
        state.budgets.remove(&key);
        state.derived.forget_budget(&key);
        sessions::forget_if_settled(state, *session);
    }
    found.len()
}

fn fold_pools(state: &mut State, id: RolloutId, room: usize) -> usize {
    let rows = state.pools.range(PoolKey::first(id)..);
    let found = keys(rows.map(|(key, _)| key), room, |key| key.rollout == id);
    found.iter().for_each(|key| {
        state.pools.remove(key);
    });
    found.len()
}

/// The sums over all strata stay: they are few, and say how it went.
fn fold_sums(state: &mut State, id: RolloutId, room: usize) -> usize {
    let first = SumKey {
        rollout: id,
        wave: WaveIndex(0),
        arm: crate::tally::Arm::Treatment,
        stratum: None,
    };
    let rows = state.sums.range(first..).map(|(key, _)| key);
    let own = rows.take_while(|key| key.rollout == id);
    let strata = own.filter(|key| key.stratum.is_some()).take(room);
    let found: Vec<SumKey> = strata.cloned().collect();
    found.iter().for_each(|key| {
        state.sums.remove(key);
    });
    found.len()
}

fn forgotten(state: &mut State, id: RolloutId) -> Result<(), Inconsistent> {
    let rollout = state.rollouts.remove(&id);
    let rollout = rollout.ok_or(Inconsistent::Missing("rollout"))?;
    let ended = rollout.ended.unwrap_or(LogTime(0));
    state.derived.folded.remove(&(ended, id));
    let waves = (0_u16..).map(WaveIndex).take(rollout.waves.len());
    for wave in waves {
        for arm in crate::tally::Arm::ALL {
            state.sums.remove(&SumKey {
                rollout: id,
                wave,
                arm,
                stratum: None,
            });
        }
    }
    Ok(())
}
