//! What a rollout's spec may say: every range, and what its waves owe each other.
use super::{check_duration, check_range, invalid, invalid_at, releases::unknown_channel};
use crate::{
    guard::RegionPolicy,
    id::{Millis, Ppm},
    rejection::{Field, Rejection, ValueFault},
    release::Release,
    rollout::{
        Audience, Freeze, MaintenanceWindow, OnStale, RetryPolicy, RollbackSpec, RollbackTarget,
        RolloutSpec,
    },
    state::State,
    wave::{Pacing, WaveSpec},
};
use std::collections::BTreeSet;

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 3_600 * SECOND;
/// Longest soak, and longest time until a rollout completes by itself.
const LENGTH_MAX: Millis = Millis(366 * DAY);
/// Longest time that an offer may stand, and longest backoff.
const OFFER_MAX: Millis = Millis(30 * DAY);
/// Longest time between two judgements of a gate.
const HEALTH_CHECK_MAX: Millis = Millis(DAY);
/// Most channels that an audience may name.
const CHANNELS_MAX: u64 = 64;
/// Most devices that a cap, a credit or a sample may count.
const DEVICES_MAX: u64 = 1 << 40;
/// Largest share that may be kept as control.
const CONTROL_MAX: Ppm = Ppm::HALF;

/// Checks what a spec says, as far as it says it of itself and of its release.
pub(super) fn check(state: &State, spec: &RolloutSpec, release: &Release) -> Result<(), Rejection> {
    let RolloutSpec {
        release: _,
        audience,
        waves,
        rollback,
        start_at: _,
        supersedes: _,
        priority: _,
        control,
        gate_scope: _,
        on_inconclusive: _,
        on_stale,
        offer_ttl,
        retry,
        silent_max: _,
        sample_min,
        credit,
        maintenance,
        freezes,
        complete_after,
    } = spec;
    check_audience(state, audience)?;
    check_waves(state, waves)?;
    check_rollback(rollback)?;
    if *control > CONTROL_MAX {
        let (value, max) = (*control, CONTROL_MAX);
        return Err(invalid(Field::Control, ValueFault::Share { value, max }));
    }
    if *on_stale == OnStale::Continue && !release.manifest.critical_security {
        return Err(invalid(Field::OnStale, ValueFault::NotCritical));
    }
    check_duration(Field::OfferTtl, *offer_ttl, Millis(SECOND), OFFER_MAX)?;
    let RetryPolicy { attempts, backoff } = retry;
    check_range(Field::RetryAttempts, u64::from(*attempts), 1, 100)?;
    check_duration(Field::RetryBackoff, *backoff, Millis(0), OFFER_MAX)?;
    check_range(Field::SampleMin, *sample_min, 1, DEVICES_MAX)?;
    check_range(Field::Credit, *credit, 1, DEVICES_MAX)?;
    check_windows(Field::Maintenance, maintenance)?;
    check_freezes(Field::Freezes, freezes)?;
    match complete_after {
        Some(after) => check_duration(Field::CompleteAfter, *after, Millis(0), LENGTH_MAX),
        None => Ok(()),
    }
}

/// Maintenance windows, of a rollout or of a region.
pub(super) fn check_windows(field: Field, windows: &[MaintenanceWindow]) -> Result<(), Rejection> {
    let max = RegionPolicy::WINDOWS_MAX as u64;
    check_range(field, windows.len() as u64, 0, max)?;
    match windows.iter().position(|window| !window.is_valid()) {
        Some(at) => Err(invalid_at(field, at, ValueFault::Window)),
        None => Ok(()),
    }
}

/// Freezes, of a rollout or of a region.
pub(super) fn check_freezes(field: Field, freezes: &[Freeze]) -> Result<(), Rejection> {
    let max = RegionPolicy::WINDOWS_MAX as u64;
    check_range(field, freezes.len() as u64, 0, max)?;
    match freezes
        .iter()
        .position(|freeze| freeze.from >= freeze.until)
    {
        Some(at) => Err(invalid_at(field, at, ValueFault::Freeze)),
        None => Ok(()),
    }
}

fn check_audience(state: &State, audience: &Audience) -> Result<(), Rejection> {
    let Audience {
        selectors,
        channels,
        from_versions: _,
    } = audience;
    let (count, max) = (selectors.len() as u64, Audience::SELECTORS_MAX as u64);
    check_range(Field::AudienceSelectors, count, 1, max)?;
    check_range(
        Field::AudienceChannels,
        channels.len() as u64,
        0,
        CHANNELS_MAX,
    )?;
    let faults = channels
        .iter()
        .map(|channel| unknown_channel(state, channel));
    match (0_usize..)
        .zip(faults)
        .find_map(|(at, fault)| Some((at, fault?)))
    {
        Some((at, fault)) => Err(invalid_at(Field::AudienceChannels, at, fault)),
        None => Ok(()),
    }
}

fn check_rollback(rollback: &RollbackSpec) -> Result<(), Rejection> {
    let RollbackSpec {
        auto,
        health_check_interval,
        target,
    } = rollback;
    if *auto && *target == RollbackTarget::FixForwardOnly {
        return Err(invalid(Field::RollbackAuto, ValueFault::NowhereToGo));
    }
    check_duration(
        Field::HealthCheckInterval,
        *health_check_interval,
        Millis(SECOND),
        HEALTH_CHECK_MAX,
    )
}

/// WAVE-2 and WAVE-3 begin here: targets and caps never fall, so that whoever is in stays in.
fn check_waves(state: &State, waves: &[WaveSpec]) -> Result<(), Rejection> {
    let max = u64::from(state.config().limits.waves_max);
    check_range(Field::Waves, waves.len() as u64, 1, max)?;
    let mut names = BTreeSet::new();
    let mut target = Ppm::ZERO;
    let mut cap: Option<u64> = None;
    for (at, wave) in waves.iter().enumerate() {
        check_wave(wave, at)?;
        if !names.insert(&wave.name) {
            return Err(invalid_at(Field::WaveName, at, ValueFault::Twice));
        }
        if wave.target < target {
            let (value, before) = (wave.target, target);
            let fault = ValueFault::TargetFalls { value, before };
            return Err(invalid_at(Field::WaveTarget, at, fault));
        }
        if at > 0 {
            let before = waves.get(at.saturating_sub(1)).and_then(|w| w.cap);
            check_cap(at, before, wave.cap, cap)?;
        }
        target = wave.target;
        cap = wave.cap.or(cap);
    }
    Ok(())
}

/// Refuses a cap that falls: below the greatest before it, or to a number after a wave without one.
fn check_cap(
    at: usize,
    before: Option<u64>,
    own: Option<u64>,
    greatest: Option<u64>,
) -> Result<(), Rejection> {
    let Some(value) = own else {
        return Ok(());
    };
    let before = before.map(|before| before.max(greatest.unwrap_or(0)));
    if before.is_some_and(|before| value >= before) {
        return Ok(());
    }
    let fault = ValueFault::CapFalls { value, before };
    Err(invalid_at(Field::WaveCap, at, fault))
}

fn check_wave(wave: &WaveSpec, at: usize) -> Result<(), Rejection> {
    let WaveSpec {
        name: _,
        target,
        cap,
        soak,
        criteria,
        pacing,
        ring,
    } = wave;
    if *target == Ppm::ZERO && ring.is_none() {
        return Err(invalid_at(Field::WaveTarget, at, ValueFault::Nobody));
    }
    let count = |field, value, max| {
        let range = ValueFault::Range { value, min: 1, max };
        let fits = (1..=max).contains(&value);
        fits.then_some(()).ok_or(invalid_at(field, at, range))
    };
    if let Some(cap) = cap {
        count(Field::WaveCap, *cap, DEVICES_MAX)?;
    }
    if *soak > LENGTH_MAX {
        let (value, min, max) = (*soak, Millis(0), LENGTH_MAX);
        let fault = ValueFault::Duration { value, min, max };
        return Err(invalid_at(Field::WaveSoak, at, fault));
    }
    let criteria = criteria.as_ref();
    if let Some(latency) = criteria.and_then(|criteria| criteria.latency_p99_max_ms) {
        count(Field::WaveLatency, u64::from(latency), u64::from(u32::MAX))?;
    }
    if let Some(Pacing {
        admissions_per_hour,
    }) = pacing
    {
        count(Field::WavePacing, *admissions_per_hour, DEVICES_MAX)?;
    }
    Ok(())
}
