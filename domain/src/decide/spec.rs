//! What a rollout's spec may say: every range, and what its waves owe each other.
use super::invalid;
use crate::{
    guard::RegionPolicy,
    id::{Millis, Ppm},
    rejection::Rejection,
    release::Release,
    rollout::{Audience, OnStale, RetryPolicy, RollbackSpec, RollbackTarget, RolloutSpec},
    state::State,
    wave::{Criteria, WaveSpec},
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
const CHANNELS_MAX: usize = 64;
/// Most devices that a cap, a credit or a sample may count.
const DEVICES_MAX: u64 = 1 << 40;
/// Largest share that may be kept as control.
const CONTROL_MAX: u32 = 500_000;

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
    check_audience(audience)?;
    check_waves(state, waves)?;
    check_rollback(rollback)?;
    if control.get() > CONTROL_MAX {
        return Err(invalid("control", "at most 50 %"));
    }
    if *on_stale == OnStale::Continue && !release.manifest.critical_security {
        let detail = "only a release that is marked critical_security goes on while stale";
        return Err(invalid("on_stale", detail));
    }
    between("offer_ttl", *offer_ttl, Millis(SECOND), OFFER_MAX)?;
    let RetryPolicy { attempts, backoff } = retry;
    count("retry.attempts", u64::from(*attempts), 100)?;
    between("retry.backoff", *backoff, Millis(0), OFFER_MAX)?;
    count("sample_min", *sample_min, DEVICES_MAX)?;
    count("credit", *credit, DEVICES_MAX)?;
    let most = RegionPolicy::WINDOWS_MAX;
    if maintenance.len() > most || freezes.len() > most {
        return Err(invalid(
            "maintenance, freezes",
            format!("at most {most} each"),
        ));
    }
    if !maintenance.iter().all(|window| window.is_valid()) {
        let detail = "days 1 to 127, opens at minute 0 to 1,439, for 1 to 1,440 minutes";
        return Err(invalid("maintenance", detail));
    }
    if !freezes.iter().all(|freeze| freeze.from < freeze.until) {
        return Err(invalid("freezes", "each ends after it begins"));
    }
    match complete_after {
        Some(after) => between("complete_after", *after, Millis(0), LENGTH_MAX),
        None => Ok(()),
    }
}

fn check_audience(audience: &Audience) -> Result<(), Rejection> {
    let Audience {
        selectors,
        channels,
        from_versions: _,
    } = audience;
    if selectors.is_empty() || selectors.len() > Audience::SELECTORS_MAX {
        let detail = format!("1 to {} selectors", Audience::SELECTORS_MAX);
        return Err(invalid("audience.selectors", detail));
    }
    if channels.len() > CHANNELS_MAX {
        let detail = format!("at most {CHANNELS_MAX} channels");
        return Err(invalid("audience.channels", detail));
    }
    Ok(())
}

fn check_rollback(rollback: &RollbackSpec) -> Result<(), Rejection> {
    let RollbackSpec {
        auto,
        health_check_interval,
        target,
    } = rollback;
    if *auto && *target == RollbackTarget::FixForwardOnly {
        let detail = "an automatic rollback needs somewhere to go: not fix_forward_only";
        return Err(invalid("rollback.auto", detail));
    }
    let field = "rollback.health_check_interval";
    between(
        field,
        *health_check_interval,
        Millis(SECOND),
        HEALTH_CHECK_MAX,
    )
}

/// WAVE-2 and WAVE-3 begin here: targets and caps never fall, so that whoever is in stays in.
fn check_waves(state: &State, waves: &[WaveSpec]) -> Result<(), Rejection> {
    let most = usize::from(state.config().limits.waves_max);
    if waves.is_empty() || waves.len() > most {
        return Err(invalid("waves", format!("1 to {most} waves")));
    }
    let mut names = BTreeSet::new();
    let mut target = Ppm::ZERO;
    let mut cap: Option<u64> = None;
    for (at, wave) in waves.iter().enumerate() {
        check_wave(wave, &format!("waves[{at}]"))?;
        if !names.insert(&wave.name) {
            let detail = format!("{} stands twice", wave.name);
            return Err(invalid(format!("waves[{at}].name"), detail));
        }
        if wave.target < target {
            let detail = format!(
                "{} falls below the {target} of the wave before",
                wave.target
            );
            return Err(invalid(format!("waves[{at}].target"), detail));
        }
        if at > 0
            && falls(
                waves.get(at.saturating_sub(1)).and_then(|w| w.cap),
                wave.cap,
                cap,
            )
        {
            let detail = "falls below the cap of a wave before";
            return Err(invalid(format!("waves[{at}].cap"), detail));
        }
        target = wave.target;
        cap = wave.cap.or(cap);
    }
    Ok(())
}

/// Whether a cap falls: below the greatest before it, or to a number after a wave without one.
fn falls(before: Option<u64>, own: Option<u64>, greatest: Option<u64>) -> bool {
    match (before, own) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(own)) => own < before.max(greatest.unwrap_or(0)),
    }
}

fn check_wave(wave: &WaveSpec, field: &str) -> Result<(), Rejection> {
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
        let detail = "above 0 %, or with a ring: otherwise nobody is in the wave";
        return Err(invalid(format!("{field}.target"), detail));
    }
    if let Some(cap) = cap {
        count(&format!("{field}.cap"), *cap, DEVICES_MAX)?;
    }
    between(&format!("{field}.soak"), *soak, Millis(0), LENGTH_MAX)?;
    if let Some(Criteria {
        accuracy_drop_max: _,
        error_rate_max: _,
        latency_p99_max_ms: Some(0),
        failure_rate_max: _,
    }) = criteria
    {
        let detail = "at least 1 ms";
        return Err(invalid(
            format!("{field}.criteria.latency_p99_max_ms"),
            detail,
        ));
    }
    match pacing {
        Some(pacing) => count(
            &format!("{field}.pacing.admissions_per_hour"),
            pacing.admissions_per_hour,
            DEVICES_MAX,
        ),
        None => Ok(()),
    }
}

fn between(field: &str, value: Millis, min: Millis, max: Millis) -> Result<(), Rejection> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, format!("{min} to {max} ms, not {value}")))
}

fn count(field: &str, value: u64, max: u64) -> Result<(), Rejection> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, format!("1 to {max}, not {value}")))
}
