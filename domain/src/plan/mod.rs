//! What waits on what. One plan says what a rollout does next: consequences follow it without a
//! choice of their own, and `rollout why` shows it to people.
mod next;
mod wait;

pub(crate) use next::{Next, excluded, gate_of, judge_variant, next, sum};
pub use wait::{Plain, Wait};

use crate::{
    apply::Context,
    decide::budgets::{room, stop_of},
    derived::kind_of,
    id::{Cohort, Hash, LogTime, RolloutId, WaveIndex},
    node::PoolKey,
    release::ArtifactKind,
    rollout::Rollout,
    state::State,
    tally::{Arm, TallyKey},
};

/// How long after its end a rollout keeps the rows that late reports need: no stale node offers it
/// any more, and whatever was offered is resolved.
pub(crate) fn folds_at(state: &State, rollout: &Rollout) -> Option<LogTime> {
    let kind = kind_of(state, rollout.id).unwrap_or(ArtifactKind::Firmware);
    let config = state.config();
    let ended = rollout.ended?;
    Some(ended.after(config.stale_max).after(config.silence.of(kind)))
}

/// Most rollouts that are over and stay in the state; the log keeps all of them.
pub const FINAL_ROLLOUTS_MAX: usize = 1_000;

/// Most strata that [`waits`] names as short of admissions.
const STRATA_SHOWN: usize = 8;

/// Why a rollout does not move, as of a log time; empty if it is over. The first reasons are the
/// ones that hold the next wave back; what only slows it down follows.
pub fn waits(state: &State, rollout: RolloutId, now: LogTime) -> Vec<Wait> {
    let Some(rollout) = state.rollouts().get(&rollout) else {
        return Vec::new();
    };
    let context = looking(state, now);
    let mut waits = match next(state, rollout, &context) {
        Next::Do(_) => vec![Wait::NextTick],
        Next::Wait(waits) => waits,
    };
    let current = rollout.current_wave();
    if let (Some(wave), true) = (current, rollout.life.is_underway()) {
        if waits
            .iter()
            .any(|wait| matches!(wait, Wait::HealthCheck { .. }))
        {
            waits.extend(next::holding(state, rollout, wave));
        }
        if waits
            .iter()
            .any(|wait| matches!(wait, Wait::Samples { .. }))
        {
            waits.extend(horizon(state, rollout, wave, now));
            waits.extend(cap_below_samples(rollout, wave));
        }
        waits.extend(short_strata(state, rollout, wave, &context));
    }
    waits
}

/// A context for looking only: nothing that it decides is ever folded.
fn looking(state: &State, now: LogTime) -> Context {
    Context {
        time: now.max(state.meta().time),
        index: state.meta().next,
        chain: Hash([0; 32]),
    }
}

/// When the oldest open cohort of a wave is past the silence horizon, so that its successes count.
fn horizon(state: &State, rollout: &Rollout, wave: WaveIndex, now: LogTime) -> Option<Wait> {
    if rollout.expedited {
        return None;
    }
    let rows = state.cohorts().range(TallyKey::first(rollout.id)..);
    let own = rows
        .map(|(key, _)| key)
        .take_while(|key| key.rollout == rollout.id);
    let here = own.filter(|key| key.wave == wave && key.arm == Arm::Treatment);
    let oldest: Cohort = here.map(|key| key.cohort).min()?;
    let kind = kind_of(state, rollout.id)?;
    let until = oldest.end().after(state.config().silence.of(kind));
    Some(Wait::Horizon {
        until,
        remaining: until.since(now),
    })
}

/// A wave whose cap is below what its gate needs never passes by itself.
fn cap_below_samples(rollout: &Rollout, wave: WaveIndex) -> Option<Wait> {
    let (spec, _) = rollout.wave(wave)?;
    let before = wave.0.checked_sub(1).map(WaveIndex);
    let before = before
        .and_then(|wave| rollout.wave(wave))
        .and_then(|(w, _)| w.cap);
    let own = spec.cap?.saturating_sub(before.unwrap_or(0));
    (own < rollout.spec.sample_min).then_some(Wait::CapBelowSamples {
        wave,
        cap: own,
        need: rollout.spec.sample_min,
    })
}

/// Strata of the current wave that get no admissions now, and what binds them.
fn short_strata(state: &State, rollout: &Rollout, wave: WaveIndex, context: &Context) -> Vec<Wait> {
    let first = PoolKey {
        wave,
        ..PoolKey::first(rollout.id)
    };
    let rows = state.pools().range(first..).map(|(key, _)| key);
    let own = rows.take_while(|key| key.rollout == rollout.id && key.wave == wave);
    let mut short = Vec::new();
    for pool in own {
        if short.len() >= STRATA_SHOWN {
            break;
        }
        let traits = state
            .variants()
            .get(&pool.stratum.variant)
            .map(|v| &v.traits);
        if let Some(stop) = traits.and_then(|traits| stop_of(state, pool.arm, traits)) {
            short.push(Wait::StratumStopped {
                stratum: pool.stratum.clone(),
                stop: stop.id,
            });
            continue;
        }
        let least = room(state, rollout, pool, context).into_iter();
        if let Some((what, 0)) = least.min_by_key(|(_, room)| *room) {
            short.push(Wait::NoRoom {
                stratum: pool.stratum.clone(),
                what,
            });
        }
    }
    short
}

/// The earliest log time at which a tick would change something, if any: the store proposes ticks
/// only while something waits on time. Its cost grows with the rollouts that are not over, so it
/// is for whoever schedules ticks, not for every entry.
pub fn next_wakeup(state: &State) -> Option<LogTime> {
    let now = state.meta().time;
    let context = looking(state, now);
    let cohorts = ArtifactKind::ALL.into_iter().filter_map(|kind| {
        let from = (kind, Cohort(0), TallyKey::first(RolloutId(0)));
        let (found, cohort, _) = state.derived.cohorts_by_age.range(from..).next()?;
        (*found == kind).then(|| cohort.end().after(state.config().silence.of(kind)))
    });
    let live = state.derived.live_rollouts.iter();
    let live = live.filter_map(|id| state.rollouts().get(id));
    let rollouts = live.filter_map(|rollout| match next(state, rollout, &context) {
        Next::Do(_) => Some(now),
        Next::Wait(waits) => waits.iter().filter_map(Wait::until).min(),
    });
    let ended = state.derived.unfolded.iter();
    let ended = ended.filter_map(|(_, id)| state.rollouts().get(id));
    let folds = ended.filter_map(|rollout| folds_at(state, rollout));
    let due = (has_ended_budgets(state) || state.derived.folded.len() > FINAL_ROLLOUTS_MAX)
        .then_some(now);
    cohorts.chain(rollouts).chain(folds).chain(due).min()
}

/// Whether a session that is over still holds budgets, which come back (or are lost) bit by bit.
fn has_ended_budgets(state: &State) -> bool {
    let mut ended = state.derived.ended_sessions.iter();
    ended.any(|session| crate::apply::held_by(state, *session).next().is_some())
}
