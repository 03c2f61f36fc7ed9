//! Amendments: what an operator may narrow alone, what takes the quorum again, and what is history.
use super::{Decision, barriers, rollback, rollouts, spec};
use crate::{
    apply::Context,
    command::AmendRollout,
    event::Event,
    gate::FAILURE_RATE_DEFAULT,
    id::{LogTime, Ppm, WaveIndex},
    rejection::{AmendmentFault, Rejection},
    release::Release,
    rollout::Rollout,
    rollout::{
        Audience, GateScope, Life, OnInconclusive, OnStale, RetryPolicy, RollbackPlan,
        RollbackSpec, RolloutSpec,
    },
    state::State,
    wave::{Criteria, Pacing, WaveSpec},
};

/// Changes a rollout. `authorize` has counted the quorum if the change widens.
pub(super) fn amend(state: &State, arguments: &AmendRollout, _context: &Context) -> Decision {
    let AmendRollout {
        rollout: id,
        spec: after,
    } = arguments;
    let rollout = rollouts::get(state, *id)?;
    match &rollout.life {
        Life::Draft
        | Life::Approved
        | Life::Running
        | Life::Paused { .. }
        | Life::Halted { .. } => {}
        Life::RollingBack { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => {
            let needed = rollouts::OPEN_TO_CHANGE;
            return Err(rollouts::wrong_life(rollout, AmendRollout::KIND, needed));
        }
    }
    check_history(rollout, after)?;
    let release = barriers::offerable_release(state, &after.release)?;
    spec::check(state, after, release)?;
    let rollback = if after.audience == rollout.spec.audience {
        rollout.rollback.clone()
    } else {
        check_reach(state, rollout, after, release)?
    };
    if after.priority != rollout.spec.priority && rollout.life.is_underway() {
        barriers::check_overlap(state, after, release, Some(*id))?;
    }
    Ok(vec![Event::RolloutAmended {
        rollout: *id,
        spec: Box::new(after.clone()),
        rollback,
    }])
}

/// A new audience meets the barriers that a new rollout would. Its way back keeps the frozen rules
/// first; new parts of the audience get theirs as things stand now.
fn check_reach(
    state: &State,
    rollout: &Rollout,
    after: &RolloutSpec,
    release: &Release,
) -> Result<RollbackPlan, Rejection> {
    barriers::check_floors(state, release, &after.audience)?;
    barriers::check_bars(state, &after.release, &after.audience, Some(rollout.id))?;
    if rollout.life.is_underway() {
        barriers::check_overlap(state, after, release, Some(rollout.id))?;
    }
    let narrower = audience_narrows(&rollout.spec.audience, &after.audience);
    let mut plan = rollout.rollback.clone();
    if !narrower {
        let added = rollback::plan(state, after, release)?;
        let new = added
            .targets
            .into_iter()
            .filter(|rule| !plan.targets.contains(rule));
        let new: Vec<_> = new.collect();
        plan.targets.extend(new);
        rollback::check_rules(&plan.targets)?;
    }
    Ok(plan)
}

/// What has happened stays as it was: the release, the target, waves that were opened.
fn check_history(rollout: &Rollout, after: &RolloutSpec) -> Result<(), Rejection> {
    let before = &rollout.spec;
    let refused = |fault| Err(Rejection::AmendmentRefused { fault });
    if after.release != before.release {
        return refused(AmendmentFault::OtherRelease);
    }
    if after.rollback.target != before.rollback.target {
        return refused(AmendmentFault::OtherTarget);
    }
    if after.supersedes != before.supersedes {
        return refused(AmendmentFault::OtherSupersedes);
    }
    if rollout.current_wave().is_none() {
        return Ok(());
    }
    if after.control != before.control {
        return refused(AmendmentFault::ControlFixed);
    }
    let mut admitted = 0_u64;
    for (index, state) in rollout.opened() {
        let at = usize::from(index.0);
        let (Some(old), Some(new)) = (before.waves.get(at), after.waves.get(at)) else {
            return refused(AmendmentFault::WaveGone { wave: index });
        };
        admitted = admitted.saturating_add(state.admitted);
        check_opened_wave(rollout, index, old, new)?;
        if let Some(cap) = new.cap.filter(|cap| *cap < admitted) {
            return refused(AmendmentFault::CapBelowAdmitted {
                wave: index,
                admitted,
                cap,
            });
        }
    }
    Ok(())
}

fn check_opened_wave(
    rollout: &Rollout,
    index: WaveIndex,
    old: &WaveSpec,
    new: &WaveSpec,
) -> Result<(), Rejection> {
    let refused = |fault| Err(Rejection::AmendmentRefused { fault });
    if new.name != old.name || new.target != old.target || new.ring != old.ring {
        return refused(AmendmentFault::OpenWave { wave: index });
    }
    let passed = rollout
        .wave(index)
        .is_some_and(|(_, state)| state.passed.is_some());
    if passed && new.soak != old.soak {
        return refused(AmendmentFault::PassedWave { wave: index });
    }
    Ok(())
}

/// Whether a spec reaches devices, or lets harm through, that the one before did not: then an
/// amendment takes the quorum. Whatever cannot be compared counts as wider.
pub(crate) fn widens(before: &RolloutSpec, after: &RolloutSpec) -> bool {
    let RolloutSpec {
        release,
        audience,
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
        retry,
        silent_max,
        sample_min,
        credit,
        maintenance,
        freezes,
        complete_after,
    } = after;
    *release != before.release
        || !audience_narrows(&before.audience, audience)
        || waves_widen(&before.waves, waves)
        || rollback_widens(&before.rollback, rollback)
        || earlier(before.start_at, *start_at)
        || *supersedes != before.supersedes
        || *priority != before.priority
        || *control < before.control
        || (*gate_scope == GateScope::Pooled && before.gate_scope != GateScope::Pooled)
        || (*on_inconclusive == OnInconclusive::Pool
            && before.on_inconclusive != OnInconclusive::Pool)
        || (*on_stale == OnStale::Continue && before.on_stale != OnStale::Continue)
        || *offer_ttl > before.offer_ttl
        || retry_widens(before.retry, *retry)
        || *silent_max > before.silent_max
        // Both ways: the least sample is the least denominator of a failure rate, so that a greater
        // one keeps a gate from halting.
        || *sample_min != before.sample_min
        || *credit > before.credit
        || (!before.maintenance.is_empty()
            && (maintenance.is_empty()
                || !maintenance.iter().all(|w| before.maintenance.contains(w))))
        || !before.freezes.iter().all(|freeze| freezes.contains(freeze))
        || match (before.complete_after, complete_after) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(after)) => *after < before,
        }
}

fn audience_narrows(before: &Audience, after: &Audience) -> bool {
    let Audience {
        selectors,
        channels,
        from_versions,
    } = after;
    let covered = selectors
        .iter()
        .all(|new| before.selectors.iter().any(|old| old.covers(new)));
    let fewer_channels = before.channels.is_empty()
        || (!channels.is_empty() && channels.is_subset(&before.channels));
    let fewer_versions = before.from_versions.is_none() || before.from_versions == *from_versions;
    covered && fewer_channels && fewer_versions
}

fn rollback_widens(before: &RollbackSpec, after: &RollbackSpec) -> bool {
    let RollbackSpec {
        auto,
        health_check_interval,
        target,
    } = after;
    (before.auto && !auto)
        || *health_check_interval > before.health_check_interval
        || *target != before.target
}

fn retry_widens(before: RetryPolicy, after: RetryPolicy) -> bool {
    let RetryPolicy { attempts, backoff } = after;
    attempts > before.attempts || backoff < before.backoff
}

/// No start time means that somebody starts it: the latest of all.
fn earlier(before: Option<LogTime>, after: Option<LogTime>) -> bool {
    match (before, after) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(after)) => after < before,
    }
}

/// Waves at the end may go; a wave in between is a gate that may not.
fn waves_widen(before: &[WaveSpec], after: &[WaveSpec]) -> bool {
    let (mut old_criteria, mut new_criteria) = (Criteria::default(), Criteria::default());
    after.len() > before.len()
        || before.iter().zip(after).any(|(old, new)| {
            let WaveSpec {
                name,
                target,
                cap,
                soak,
                criteria,
                pacing,
                ring,
            } = new;
            old_criteria = old.criteria.clone().unwrap_or(old_criteria.clone());
            new_criteria = criteria.clone().unwrap_or(new_criteria.clone());
            *name != old.name
                || *target > old.target
                || limit_widens(old.cap, *cap)
                || *soak < old.soak
                || criteria_widen(&old_criteria, &new_criteria)
                || limit_widens(old.pacing.map(per_hour), pacing.map(per_hour))
                || (ring.is_some() && *ring != old.ring)
        })
}

const fn per_hour(pacing: Pacing) -> u64 {
    pacing.admissions_per_hour
}

/// Whether a limit rises or goes away.
fn limit_widens<T: PartialOrd>(before: Option<T>, after: Option<T>) -> bool {
    match (before, after) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(after)) => after > before,
    }
}

fn criteria_widen(before: &Criteria, after: &Criteria) -> bool {
    let Criteria {
        accuracy_drop_max,
        error_rate_max,
        latency_p99_max_ms,
        failure_rate_max,
    } = after;
    let failures = |max: Option<Ppm>| Some(max.unwrap_or(FAILURE_RATE_DEFAULT));
    limit_widens(before.accuracy_drop_max, *accuracy_drop_max)
        || limit_widens(before.error_rate_max, *error_rate_max)
        || limit_widens(before.latency_p99_max_ms, *latency_p99_max_ms)
        || limit_widens(
            failures(before.failure_rate_max),
            failures(*failure_rate_max),
        )
}
