//! Decisions on budgets.
use super::{
    Decision, barriers, check_range, invalid, releases::unknown_channel, sessions::open_one,
};
use crate::{
    apply::Context,
    command::WriteOffBudget,
    event::Event,
    evolve::{stratum_credit, waves_of},
    guard::{Stop, StopScope},
    id::{SessionId, WaveIndex},
    node::{Budget, BudgetKey, PoolKey},
    rejection::{AdmissionLimit, Field, Rejection, ValueFault},
    rollout::{Life, Rollout},
    state::State,
    tally::Arm,
    variant::{Selector, VariantTraits},
};
use tidegate_mutant::{Mutant, is_on};

/// Most admissions that one grant may ask for.
const WANTED_MAX: u64 = 1 << 32;

/// Grants as much of what is wanted as cap, credit and pacing have room for.
pub(super) fn grant(
    state: &State,
    session: SessionId,
    pool: &PoolKey,
    wanted: u64,
    context: &Context,
) -> Decision {
    check_range(Field::Wanted, wanted, 1, WANTED_MAX)?;
    let rollout = super::rollouts::get(state, pool.rollout)?;
    check_admits(state, rollout, pool)?;
    let room = room(state, rollout, pool, context);
    match room.iter().min_by_key(|(_, room)| *room) {
        _ if is_on(Mutant::DoubleGrant) => Ok(vec![Event::BudgetGranted {
            session,
            pool: pool.clone(),
            count: wanted,
        }]),
        Some((limit, 0)) => Err(no_admissions(*limit)),
        least => Ok(vec![Event::BudgetGranted {
            session,
            pool: pool.clone(),
            count: least.map_or(wanted, |(_, room)| (*room).min(wanted)),
        }]),
    }
}

const fn no_admissions(limit: AdmissionLimit) -> Rejection {
    Rejection::NoAdmissions { limit }
}

/// Whether a pool admits anybody at all, however few.
fn check_admits(state: &State, rollout: &Rollout, pool: &PoolKey) -> Result<(), Rejection> {
    let variant = pool.stratum.variant;
    let known = state.variants().get(&variant);
    let traits = &known.ok_or(Rejection::UnknownVariant { variant })?.traits;
    let audience = &rollout.spec.audience;
    let channel = &pool.stratum.channel;
    if let Some(fault) = unknown_channel(state, channel) {
        return Err(invalid(Field::PoolChannel, fault));
    }
    if !audience.matches(traits)
        || !(audience.channels.is_empty() || audience.channels.contains(channel))
    {
        return Err(no_admissions(AdmissionLimit::NotInAudience));
    }
    if rollout
        .wave(pool.wave)
        .is_none_or(|(_, wave)| wave.opened.is_none())
    {
        return Err(no_admissions(AdmissionLimit::WaveClosed));
    }
    if let Some(stop) = stop_of(state, pool.arm, traits) {
        return Err(no_admissions(AdmissionLimit::Stopped { stop: stop.id }));
    }
    let life = rollout.life.stage();
    match pool.arm {
        Arm::Control => Err(invalid(Field::PoolArm, ValueFault::Control)),
        Arm::Return if rollout.returns(variant) => Ok(()),
        Arm::Return => Err(no_admissions(AdmissionLimit::NotReturning { life })),
        Arm::Treatment if rollout.life != Life::Running => {
            Err(no_admissions(AdmissionLimit::NotRunning { life }))
        }
        Arm::Treatment if rollout.excluded.contains_key(&variant) => {
            Err(no_admissions(AdmissionLimit::Excluded))
        }
        Arm::Treatment => {
            let exact = Selector::exactly(traits);
            let mut alone = audience.clone();
            alone.selectors = std::collections::BTreeSet::from([exact]);
            barriers::check_bars(state, &rollout.spec.release, &alone, Some(rollout.id))
        }
    }
}

/// The emergency stop that keeps a variant from offers (or from returns), if there is one.
pub(crate) fn stop_of<'a>(state: &'a State, arm: Arm, traits: &VariantTraits) -> Option<&'a Stop> {
    let bars = |stop: &Stop| match arm {
        Arm::Treatment | Arm::Control => stop.covers.offers(),
        Arm::Return => stop.covers.returns(),
    };
    let covers = |stop: &Stop| match &stop.scope {
        StopScope::Fleet => true,
        StopScope::Region(region) => *region == traits.region,
        StopScope::Variants(selector) => selector.matches(traits),
    };
    let mut stops = state.stops().iter().map(|(_, stop)| stop);
    stops.find(|stop| bars(stop) && covers(stop))
}

/// What limits a pool, and how many admissions each limit has room for.
pub(crate) fn room(
    state: &State,
    rollout: &Rollout,
    pool: &PoolKey,
    context: &Context,
) -> Vec<(AdmissionLimit, u64)> {
    let unresolved = waves_of(state, pool).fold(0_u64, |sum, (_, pool)| {
        sum.saturating_add(pool.unresolved())
    });
    let credit = stratum_credit(state, pool).saturating_sub(unresolved);
    let mut room = vec![(AdmissionLimit::Credit, credit)];
    if pool.arm == Arm::Treatment {
        let cap = cap_room(rollout, pool.wave);
        room.extend(cap.map(|cap| (AdmissionLimit::Cap, cap)));
        let paced = pacing_room(rollout, pool.wave, context);
        room.extend(paced.map(|left| (AdmissionLimit::Pacing, left)));
    }
    room
}

/// WAVE-3: caps count a wave and all before it, so that an admission to an early wave counts
/// against the cap of every later one too.
fn cap_room(rollout: &Rollout, wave: WaveIndex) -> Option<u64> {
    let mut admitted = 0_u64;
    let mut least: Option<u64> = None;
    let waves = rollout.spec.waves.iter().zip(&rollout.waves).enumerate();
    for (at, (spec, state)) in waves {
        admitted = admitted.saturating_add(state.admitted);
        if at < usize::from(wave.0) {
            continue;
        }
        if let Some(cap) = spec.cap {
            let room = cap.saturating_sub(admitted);
            least = Some(least.map_or(room, |least| least.min(room)));
        }
    }
    least
}

fn pacing_room(rollout: &Rollout, wave: WaveIndex, context: &Context) -> Option<u64> {
    let (spec, state) = rollout.wave(wave)?;
    let pacing = spec.pacing?;
    let hour = context.time.cohort();
    let paced = state.paced.filter(|paced| paced.hour == hour);
    let granted = paced.map_or(0, |paced| paced.granted);
    Some(pacing.admissions_per_hour.saturating_sub(granted))
}

pub(super) fn return_unused(
    state: &State,
    session: SessionId,
    pool: &PoolKey,
    unused: u64,
) -> Decision {
    let held = budget_of(state, session, pool).held();
    if unused == 0 || unused > held {
        return Err(Rejection::ReturnExceedsHeld {
            existing: held,
            requested: unused,
        });
    }
    Ok(vec![Event::BudgetReturned {
        session,
        pool: pool.clone(),
        count: unused,
    }])
}

pub(super) fn budget_of(state: &State, session: SessionId, pool: &PoolKey) -> Budget {
    let key = BudgetKey {
        session,
        pool: pool.clone(),
    };
    state.budgets().get(&key).cloned().unwrap_or_default()
}

/// Gives a dead session up; `authorize` has counted the quorum. What it held frees its credit, but
/// stays admitted: it may have been used, and WAVE-3 holds under any fault.
pub(super) fn write_off(state: &State, arguments: &WriteOffBudget, _context: &Context) -> Decision {
    let WriteOffBudget { session, reason } = arguments;
    open_one(state, *session)?;
    Ok(vec![Event::SessionWrittenOff {
        session: *session,
        reason: reason.clone(),
    }])
}
