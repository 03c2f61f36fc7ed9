//! The next step of a rollout.
use super::Wait;
use crate::{
    apply::Context,
    decide::{
        completion::completed,
        rollouts::{begin, open},
    },
    event::Event,
    evolve::of_variant,
    gate::{Gate, Judgement, Missing, judged},
    guard::{Stop, StopScope},
    id::{LogTime, Millis, VariantId, WaveIndex},
    rollout::{ExclusionCause, GateScope, Life, OnInconclusive, Rollout},
    state::State,
    tally::{Arm, Stratum, Sum, SumKey},
    wave::{Breach, Evidence, OpenedBy},
};
use std::collections::BTreeSet;
use tidegate_mutant::{Mutant, is_on};

/// Most variants that one step excludes or names.
const VARIANTS_MAX: usize = 16;

/// What a rollout does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// It moves: these events follow at once.
    Do(Vec<Event>),
    /// It waits.
    Wait(Vec<Wait>),
}

/// What a rollout does next, by time and by what its gates have seen. Nobody chooses.
pub(crate) fn next(state: &State, rollout: &Rollout, context: &Context) -> Next {
    let now = context.time;
    match &rollout.life {
        Life::Draft => Next::Wait(vec![Wait::Approval]),
        Life::Approved => approved(state, rollout, context),
        Life::Running => running(state, rollout, context),
        Life::Paused { since } => Next::Wait(vec![Wait::Paused {
            lasted: now.since(*since),
        }]),
        Life::Halted { since: _, cause } => Next::Wait(vec![Wait::Halted {
            cause: cause.clone(),
        }]),
        Life::RollingBack { .. } => rolling_back(state, rollout),
        Life::RolledBack { .. } | Life::Superseded { .. } | Life::Completed { .. } => {
            Next::Wait(Vec::new())
        }
    }
}

fn approved(state: &State, rollout: &Rollout, context: &Context) -> Next {
    let wait = match rollout.spec.start_at {
        Some(at) if context.time < at => Wait::StartAt {
            at,
            remaining: at.since(context.time),
        },
        start_at => match begin(state, rollout, context) {
            Ok(events) if start_at.is_some() => return Next::Do(events),
            Ok(_) => Wait::Start,
            Err(rejection) => Wait::Barrier(Box::new(rejection)),
        },
    };
    Next::Wait(vec![wait])
}

fn running(state: &State, rollout: &Rollout, context: &Context) -> Next {
    let Some(wave) = rollout.current_wave() else {
        return Next::Wait(vec![Wait::Start]);
    };
    let Some((_, progress)) = rollout.wave(wave) else {
        return Next::Wait(Vec::new());
    };
    let following = WaveIndex(wave.0.saturating_add(1));
    let is_last = rollout.wave(following).is_none();
    match &progress.passed {
        Some(_) if !is_last => match stop_of_all(state, rollout) {
            Some(stop) => Next::Wait(vec![Wait::Stopped { stop: stop.id }]),
            None => Next::Do(vec![open(rollout.id, following, OpenedBy::Gate, context)]),
        },
        Some(evidence) => through(state, rollout, evidence.at, context),
        None if !is_last && is_on(Mutant::WaveWithoutGate) => {
            Next::Do(vec![open(rollout.id, following, OpenedBy::Gate, context)])
        }
        None if is_last && progress.overridden => {
            let opened = progress.opened.as_ref().map_or(context.time, |o| o.at);
            through(state, rollout, opened, context)
        }
        None => judge(state, rollout, wave, context),
    }
}

/// All gates are through; the rollout completes by command or by itself.
fn through(state: &State, rollout: &Rollout, since: LogTime, context: &Context) -> Next {
    let Some(after) = rollout.spec.complete_after else {
        return Next::Wait(vec![Wait::Completion]);
    };
    let at = since.after(after);
    if context.time < at {
        let remaining = at.since(context.time);
        return Next::Wait(vec![Wait::CompleteAt { at, remaining }]);
    }
    match completed(state, rollout, context) {
        Ok(events) => Next::Do(events),
        Err(rejection) => Next::Wait(vec![Wait::Barrier(Box::new(rejection))]),
    }
}

/// The emergency stop that keeps the whole audience from offers, if there is one: then a wave
/// that opened would gather no evidence.
fn stop_of_all<'a>(state: &'a State, rollout: &Rollout) -> Option<&'a Stop> {
    let selectors = &rollout.spec.audience.selectors;
    let covers = |stop: &Stop| match &stop.scope {
        StopScope::Fleet => true,
        StopScope::Region(region) => selectors.iter().all(|s| s.region.as_ref() == Some(region)),
        StopScope::Variants(scope) => selectors.iter().all(|s| scope.covers(s)),
    };
    let mut stops = state.stops().iter().map(|(_, stop)| stop);
    stops.find(|stop| stop.covers.offers() && covers(stop))
}

/// The sum of a wave over all variants that are left.
pub(crate) fn sum(state: &State, rollout: &Rollout, wave: WaveIndex, arm: Arm) -> Sum {
    let key = pool_key(rollout, wave, arm);
    state.sums().get(&key).cloned().unwrap_or_default()
}

fn pool_key(rollout: &Rollout, wave: WaveIndex, arm: Arm) -> SumKey {
    SumKey {
        rollout: rollout.id,
        wave,
        arm,
        stratum: None,
    }
}

/// The gate of a wave.
pub(crate) fn gate_of(rollout: &Rollout, wave: WaveIndex) -> Gate {
    Gate {
        criteria: rollout.criteria(wave),
        silent_max: rollout.spec.silent_max,
        sample_min: rollout.spec.sample_min,
    }
}

/// Judges the current wave's gate: soak first, then the pool, then each variant.
fn judge(state: &State, rollout: &Rollout, wave: WaveIndex, context: &Context) -> Next {
    let now = context.time;
    let mut waits = Vec::new();
    let soak = rollout.wave(wave).map_or(Millis(0), |(spec, _)| spec.soak);
    let left = soak.0.saturating_sub(rollout.soaked(wave, now).0);
    if left > 0 && !rollout.expedited {
        waits.push(Wait::Soak {
            wave,
            until: now.after(Millis(left)),
            remaining: Millis(left),
        });
    }
    let gate = gate_of(rollout, wave);
    let treatment = sum(state, rollout, wave, Arm::Treatment);
    let control = sum(state, rollout, wave, Arm::Control);
    match gate.judge(&treatment, &control, rollout.expedited) {
        Judgement::Fails(breach) => waits.push(Wait::Failing { wave, breach }),
        Judgement::Waits(missing) => {
            waits.extend(
                missing
                    .into_iter()
                    .map(|missing| Wait::Samples { wave, missing }),
            );
        }
        Judgement::Passes if waits.is_empty() => {
            return judge_variants(state, rollout, wave, (&treatment, &control), context);
        }
        Judgement::Passes => {}
    }
    Next::Wait(waits)
}

/// The pool passes; now each variant speaks for itself, if it is to. This walks the strata of the
/// wave, so it happens once per health check interval at most.
fn judge_variants(
    state: &State,
    rollout: &Rollout,
    wave: WaveIndex,
    (treatment, control): (&Sum, &Sum),
    context: &Context,
) -> Next {
    let due = rollout
        .judged_at
        .after(rollout.spec.rollback.health_check_interval);
    let mut open = Vec::new();
    if rollout.spec.gate_scope == GateScope::VariantAndPooled {
        if context.time < due {
            return Next::Wait(vec![Wait::HealthCheck {
                at: due,
                remaining: due.since(context.time),
            }]);
        }
        let judgements = judgements(state, rollout, wave);
        let failing: Vec<Event> = judgements
            .iter()
            .filter_map(|(variant, judgement)| match judgement {
                Judgement::Fails(breach) => {
                    Some(excluded(state, rollout, wave, *variant, *breach, context))
                }
                Judgement::Waits(_) | Judgement::Passes => None,
            })
            .take(VARIANTS_MAX)
            .collect();
        if !failing.is_empty() {
            return Next::Do(failing);
        }
        if rollout.spec.on_inconclusive == OnInconclusive::Hold {
            open = inconclusive(&judgements);
        }
    }
    if open.is_empty() {
        let evidence = Evidence {
            variant: None,
            at: context.time,
            index: context.index,
            counts: judged(treatment, rollout.expedited),
            control: compared(rollout, wave, control),
            breach: None,
        };
        return Next::Do(vec![Event::WavePassed {
            rollout: rollout.id,
            wave,
            evidence: Box::new(evidence),
        }]);
    }
    Next::Do(vec![Event::GateJudged {
        rollout: rollout.id,
    }])
}

/// Control's counts, where a criterion compares with them.
fn compared(rollout: &Rollout, wave: WaveIndex, control: &Sum) -> Option<crate::tally::Counts> {
    let compares = rollout.criteria(wave).accuracy_drop_max.is_some();
    compares.then(|| control.all())
}

/// The exclusion of a variant whose gate fails.
pub(crate) fn excluded(
    state: &State,
    rollout: &Rollout,
    wave: WaveIndex,
    variant: VariantId,
    breach: Breach,
    context: &Context,
) -> Event {
    let own = |arm| of_variant(state, &pool_key(rollout, wave, arm), variant);
    let evidence = Evidence {
        variant: Some(variant),
        at: context.time,
        index: context.index,
        counts: own(Arm::Treatment).all(),
        control: compared(rollout, wave, &own(Arm::Control)),
        breach: Some(breach),
    };
    Event::VariantExcluded {
        rollout: rollout.id,
        variant,
        cause: Box::new(ExclusionCause::Gate(Box::new(evidence))),
    }
}

/// How the gate of a wave judges each variant that it has let in and that is not out.
fn judgements(state: &State, rollout: &Rollout, wave: WaveIndex) -> Vec<(VariantId, Judgement)> {
    let pool = pool_key(rollout, wave, Arm::Treatment);
    let first = SumKey {
        stratum: Some(Stratum::first()),
        ..pool.clone()
    };
    let rows = state.sums().range(first..);
    let own = rows.take_while(|(key, _)| {
        (key.rollout, key.wave, key.arm) == (pool.rollout, pool.wave, pool.arm)
    });
    let variants: BTreeSet<VariantId> = own
        .filter_map(|(key, _)| Some(key.stratum.as_ref()?.variant))
        .filter(|variant| !rollout.excluded.contains_key(variant))
        .collect();
    let judge = |variant| (variant, judge_variant(state, rollout, wave, variant));
    variants.into_iter().map(judge).collect()
}

/// How the gate of a wave judges one variant.
pub(crate) fn judge_variant(
    state: &State,
    rollout: &Rollout,
    wave: WaveIndex,
    variant: VariantId,
) -> Judgement {
    let own = |arm| of_variant(state, &pool_key(rollout, wave, arm), variant);
    let gate = gate_of(rollout, wave);
    gate.judge(&own(Arm::Treatment), &own(Arm::Control), rollout.expedited)
}

fn inconclusive(judgements: &[(VariantId, Judgement)]) -> Vec<(VariantId, Missing)> {
    let waits = judgements.iter().filter_map(|(variant, judgement)| {
        let Judgement::Waits(missing) = judgement else {
            return None;
        };
        Some((*variant, *missing.first()?))
    });
    waits.take(VARIANTS_MAX).collect()
}

/// Devices have returned when every one that may run the release has: all admissions are accounted
/// for, nothing is unresolved, and as many came back as were verified or fell silent.
fn rolling_back(state: &State, rollout: &Rollout) -> Next {
    let mut admitted = 0_u64;
    let mut exposed = 0_u64;
    let mut unresolved = 0_u64;
    let mut to_return = 0_u64;
    let mut returned = 0_u64;
    for (wave, progress) in rollout.opened() {
        let mut counts = sum(state, rollout, wave, Arm::Treatment).all();
        for variant in rollout.excluded.keys() {
            let out = of_variant(state, &pool_key(rollout, wave, Arm::Treatment), *variant);
            counts = counts.plus(&out.all());
        }
        admitted = admitted.saturating_add(progress.admitted);
        exposed = exposed.saturating_add(counts.exposed);
        unresolved = unresolved.saturating_add(counts.unresolved());
        let may_run = counts.verified.saturating_add(counts.silent);
        to_return = to_return.saturating_add(may_run);
        let back = sum(state, rollout, wave, Arm::Return).all();
        returned = returned.saturating_add(back.verified);
    }
    if admitted == exposed && unresolved == 0 && returned >= to_return {
        return Next::Do(vec![Event::RolledBack {
            rollout: rollout.id,
        }]);
    }
    let of = admitted.max(to_return);
    Next::Wait(vec![Wait::Returning { returned, of }])
}

/// The variants that hold a wave back although the pool passes, for people.
pub(super) fn holding(state: &State, rollout: &Rollout, wave: WaveIndex) -> Vec<Wait> {
    inconclusive(&judgements(state, rollout, wave))
        .into_iter()
        .map(|(variant, missing)| Wait::VariantSamples {
            wave,
            variant,
            missing,
        })
        .collect()
}
