//! What an operator asks of a rollout, in words.
use super::{command::Wording, length, selectors, time, window};
use tidegate_domain::{
    id::Channel,
    rollout::{
        Audience, Freeze, GateScope, OnInconclusive, OnStale, RetryPolicy, RollbackSpec,
        RollbackTarget, RolloutSpec,
    },
    wave::{Criteria, Pacing, WaveSpec},
};

/// Whom a rollout is for: variants, and channels if not all.
pub(crate) fn audience(audience: &Audience) -> String {
    selectors(&audience.selectors) + &on_channels(&audience.channels)
}

/// ` on channel beta`, ` on channels beta, canary`; nothing where all are meant.
pub(crate) fn on_channels<'a>(channels: impl IntoIterator<Item = &'a Channel>) -> String {
    let names: Vec<&str> = channels.into_iter().map(Channel::as_str).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(" on channel {one}"),
        more => format!(" on channels {}", more.join(", ")),
    }
}

/// What the completion of a rollout makes of its release.
pub(crate) fn completion(spec: &RolloutSpec) -> String {
    if spec.sets_baselines() {
        return format!(
            "{} is the baseline of {}",
            spec.release,
            audience(&spec.audience)
        );
    }
    let least = spec
        .waves
        .last()
        .map_or("nobody".to_owned(), |wave| match wave.cap {
            Some(cap) => format!("{cap} devices at most"),
            None => wave.target.to_string(),
        });
    format!("no baseline changes: the last wave lets in {least}")
}

/// All that a spec says, as details of the command that carries it.
pub(super) fn spec(wording: Wording, spec: &RolloutSpec) -> Wording {
    let RolloutSpec {
        release,
        audience:
            Audience {
                selectors: variants,
                channels,
                from_versions,
            },
        waves,
        rollback,
        start_at,
        supersedes,
        priority,
        control,
        gate_scope,
        on_inconclusive,
        on_stale,
        offer_ttl,
        retry: RetryPolicy { attempts, backoff },
        silent_max,
        sample_min,
        credit,
        maintenance,
        freezes,
        complete_after,
    } = spec;
    wording
        .with("release", release)
        .with("audience", selectors(variants))
        .each("channel", channels)
        .maybe("from", from_versions.as_ref())
        .each("wave", waves.iter().map(wave))
        .with("rollback", way_back(rollback))
        .maybe("not before", start_at.map(time))
        .maybe("supersedes", supersedes.map(|id| format!("rollout {id}")))
        .maybe("priority", *priority)
        .with("control", control)
        .with("gates", gates(*gate_scope, *on_inconclusive))
        .with("samples", format!("at least {sample_min}"))
        .with("silence", format!("at most {silent_max}"))
        .with(
            "credit",
            format!("{credit} unresolved a stratum in the first wave"),
        )
        .with(
            "offers",
            format!("stand {}; {}", length(*offer_ttl), stale(*on_stale)),
        )
        .with(
            "retries",
            format!(
                "{attempts} offers to a device, {} apart at first",
                length(*backoff)
            ),
        )
        .each("installs", maintenance.iter().map(window))
        .each("frozen", freezes.iter().map(freeze))
        .maybe(
            "completes",
            complete_after.map(|after| format!("{} after its last wave passed", length(after))),
        )
}

/// A wave, in a line.
pub(crate) fn wave(spec: &WaveSpec) -> String {
    let WaveSpec {
        name,
        target,
        cap,
        soak,
        criteria,
        pacing,
        ring,
    } = spec;
    let mut line = format!("{name}: {target}");
    if let Some(cap) = cap {
        line.push_str(&format!(", at most {cap} devices"));
    }
    if let Some(ring) = ring {
        line.push_str(&format!(", and all of {ring}"));
    }
    if let Some(Pacing {
        admissions_per_hour,
    }) = pacing
    {
        line.push_str(&format!(", {admissions_per_hour} an hour"));
    }
    if soak.0 > 0 {
        line.push_str(&format!(", for at least {}", length(*soak)));
    }
    match criteria {
        Some(criteria) => line + &demands(criteria),
        None => line,
    }
}

fn demands(criteria: &Criteria) -> String {
    let Criteria {
        accuracy_drop_max,
        error_rate_max,
        latency_p99_max_ms,
        failure_rate_max,
    } = criteria;
    let shares = [
        ("accuracy drop", accuracy_drop_max),
        ("errors", error_rate_max),
        ("failures", failure_rate_max),
    ];
    let shares = shares
        .into_iter()
        .filter_map(|(what, max)| max.map(|max| format!(", {what} ≤ {max}")));
    let latency = latency_p99_max_ms.map(|max| format!(", latency p99 ≤ {max} ms"));
    shares.chain(latency).collect()
}

fn way_back(rollback: &RollbackSpec) -> String {
    let RollbackSpec {
        auto,
        health_check_interval,
        target,
    } = rollback;
    let target = match target {
        RollbackTarget::Baseline => "to the baseline".to_owned(),
        RollbackTarget::Release(release) => format!("to {release}"),
        RollbackTarget::FixForwardOnly => {
            "nowhere: faults are mended by a newer release".to_owned()
        }
    };
    let auto = if *auto {
        "by itself when a gate fails"
    } else {
        "by command only"
    };
    let every = length(*health_check_interval);
    format!("{target}, {auto}; gates are judged every {every} at least")
}

fn gates(scope: GateScope, inconclusive: OnInconclusive) -> String {
    let scope = match scope {
        GateScope::VariantAndPooled => "each variant, then all together",
        GateScope::Pooled => "all variants together",
    };
    let inconclusive = match inconclusive {
        OnInconclusive::Hold => "wait for variants with too few samples",
        OnInconclusive::Pool => "let the pool speak for variants with too few samples",
    };
    format!("{scope}; {inconclusive}")
}

const fn stale(on_stale: OnStale) -> &'static str {
    match on_stale {
        OnStale::Wait => "nodes that are cut off make none",
        OnStale::Continue => "nodes that are cut off go on",
    }
}

/// A freeze, as `--freeze` takes it.
pub(crate) fn freeze(freeze: &Freeze) -> String {
    let Freeze { from, until } = freeze;
    format!("{}/{}", time(*from), time(*until))
}
