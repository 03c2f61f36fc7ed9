//! Decisions on the life of rollouts: create, approve, start, override, pause, halt, go back,
//! complete.
use super::{Decision, barriers, check_limit, invalid, rollback, spec};
use crate::{
    apply::Context,
    bucket::rollout_salt,
    command::{
        AdvanceWave, ApproveRollout, CompleteRollout, CreateRollout, ExcludeVariant,
        ExpediteRollout, HaltRollout, PauseRollout, ResumeRollout, RollBack, StartRollout,
    },
    event::Event,
    id::{LogTime, RolloutId, WaveIndex},
    rejection::{Field, Limit, Rejection, ValueFault},
    rollout::{ExclusionCause, HaltCause, Life, LifeStage as Stage, Rollout},
    state::State,
    wave::{OpenedBy, Opening, WaveState},
};
use std::collections::BTreeMap;

/// Where a rollout can still be changed: neither over, nor on its way back.
pub(super) const OPEN_TO_CHANGE: &[Stage] = &[
    Stage::Draft,
    Stage::Approved,
    Stage::Running,
    Stage::Paused,
    Stage::Halted,
];

pub(super) fn create(state: &State, arguments: &CreateRollout, context: &Context) -> Decision {
    let CreateRollout { spec } = arguments;
    let limits = &state.config().limits;
    check_limit(
        Limit::Rollouts,
        state.derived.live_rollouts.len(),
        limits.rollouts_max,
    )?;
    check_limit(Limit::Bars, state.bars().len(), limits.scopes_max)?;
    let release = barriers::offerable_release(state, &spec.release)?;
    spec::check(state, spec, release)?;
    barriers::check_floors(state, release, &spec.audience)?;
    barriers::check_bars(state, &spec.release, &spec.audience, None)?;
    barriers::superseded(state, spec, release)?;
    barriers::check_overlap(state, spec, release, None)?;
    let rollback = rollback::plan(state, spec, release)?;
    let id = state.meta().last_rollout.next();
    Ok(vec![Event::RolloutCreated(Box::new(Rollout {
        id,
        spec: spec.clone(),
        life: Life::Draft,
        salt: rollout_salt(&context.chain, id),
        waves: vec![WaveState::default(); spec.waves.len()],
        excluded: BTreeMap::new(),
        rollback,
        created_at: context.time,
        judged_at: context.time,
        expedited: false,
        revision: context.revision(),
        ended: None,
        folded: false,
    }))])
}

/// The rollout with a number.
pub(super) fn get(state: &State, id: RolloutId) -> Result<&Rollout, Rejection> {
    let rollout = state.rollouts().get(&id);
    rollout.ok_or(Rejection::UnknownRollout { rollout: id })
}

/// Refuses what a rollout's life does not allow to a kind of command.
pub(super) fn wrong_life(rollout: &Rollout, requested: u16, needed: &[Stage]) -> Rejection {
    Rejection::WrongLife {
        rollout: rollout.id,
        existing: rollout.life.stage(),
        requested,
        needed: needed.to_vec(),
    }
}

pub(super) fn approve(state: &State, arguments: &ApproveRollout, _: &Context) -> Decision {
    let ApproveRollout { rollout: id } = arguments;
    let rollout = get(state, *id)?;
    if rollout.life != Life::Draft {
        return Err(wrong_life(rollout, ApproveRollout::KIND, &[Stage::Draft]));
    }
    Ok(vec![Event::RolloutApproved { rollout: *id }])
}

pub(super) fn start(state: &State, arguments: &StartRollout, context: &Context) -> Decision {
    let rollout = get(state, arguments.rollout)?;
    if rollout.life != Life::Approved {
        return Err(wrong_life(rollout, StartRollout::KIND, &[Stage::Approved]));
    }
    begin(state, rollout, context)
}

/// What starts an approved rollout, by command or when its time has come.
pub(crate) fn begin(state: &State, rollout: &Rollout, context: &Context) -> Decision {
    if let Some(start_at) = rollout.spec.start_at
        && context.time < start_at
    {
        let (from, now) = (start_at, context.time);
        return Err(invalid(Field::StartAt, ValueFault::TooEarly { from, now }));
    }
    barriers::check_all(state, rollout)?;
    let release = barriers::offerable_release(state, &rollout.spec.release)?;
    let old = barriers::superseded(state, &rollout.spec, release)?;
    let superseded = old.map(|old| Event::RolloutSuperseded {
        rollout: old.id,
        by: rollout.id,
    });
    let started = Event::RolloutStarted {
        rollout: rollout.id,
    };
    let opened = open(rollout.id, WaveIndex(0), OpenedBy::Start, context);
    Ok(superseded.into_iter().chain([started, opened]).collect())
}

/// The opening of a wave.
pub(crate) fn open(rollout: RolloutId, wave: WaveIndex, by: OpenedBy, context: &Context) -> Event {
    Event::WaveOpened {
        rollout,
        wave,
        opening: Opening {
            at: context.time,
            by,
            index: context.index,
        },
    }
}

/// WAVE-1: the quorum, which `authorize` has counted, may open a wave without its gate's evidence;
/// the chain says so for ever. An override of the last wave's gate lets the rollout complete.
pub(super) fn advance(state: &State, arguments: &AdvanceWave, context: &Context) -> Decision {
    let AdvanceWave {
        rollout: id,
        wave,
        reason,
    } = arguments;
    let rollout = get(state, *id)?;
    if rollout.life != Life::Running {
        return Err(wrong_life(rollout, AdvanceWave::KIND, &[Stage::Running]));
    }
    let existing = rollout.current_wave();
    if existing != Some(*wave) {
        return Err(Rejection::WrongWave {
            existing,
            requested: *wave,
        });
    }
    let overridden = Event::GateOverridden {
        rollout: *id,
        wave: *wave,
        reason: reason.clone(),
    };
    let next = WaveIndex(wave.0.saturating_add(1));
    let opened = rollout
        .wave(next)
        .map(|_| open(*id, next, OpenedBy::Override, context));
    let before = rollout
        .wave(*wave)
        .is_some_and(|(_, state)| state.overridden);
    if before && opened.is_none() {
        return Err(invalid(Field::Wave, ValueFault::OverriddenBefore));
    }
    Ok(std::iter::once(overridden).chain(opened).collect())
}

pub(super) fn pause(state: &State, arguments: &PauseRollout, _: &Context) -> Decision {
    let PauseRollout {
        rollout: id,
        reason,
    } = arguments;
    let rollout = get(state, *id)?;
    if rollout.life != Life::Running {
        return Err(wrong_life(rollout, PauseRollout::KIND, &[Stage::Running]));
    }
    Ok(vec![Event::RolloutPaused {
        rollout: *id,
        reason: reason.clone(),
    }])
}

/// Goes on after a pause, or lifts a halt (HALT-2: `authorize` has counted the quorum). A halt
/// outlives its rollout: it is lifted in the same way once the rollout is over, or forgotten.
pub(super) fn resume(state: &State, arguments: &ResumeRollout, context: &Context) -> Decision {
    let ResumeRollout {
        rollout: id,
        reason,
    } = arguments;
    let bar = state.bars().get(id);
    let rollout = match (state.rollouts().get(id), bar) {
        (Some(rollout), _) => rollout,
        (None, Some(bar)) => return Ok(vec![lift(*id, bar.since, context.time, reason)]),
        (None, None) => return Err(Rejection::UnknownRollout { rollout: *id }),
    };
    match &rollout.life {
        Life::Paused { since } => Ok(vec![Event::RolloutResumed {
            rollout: *id,
            paused: context.time.since(*since),
        }]),
        Life::Halted { since, cause: _ } => {
            barriers::check_all(state, rollout)?;
            Ok(vec![lift(*id, *since, context.time, reason)])
        }
        Life::RolledBack { .. } | Life::Superseded { .. } if bar.is_some() => {
            Ok(vec![lift(*id, context.time, context.time, reason)])
        }
        Life::Draft
        | Life::Approved
        | Life::Running
        | Life::RollingBack { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => {
            let needed = &[Stage::Paused, Stage::Halted];
            Err(wrong_life(rollout, ResumeRollout::KIND, needed))
        }
    }
}

fn lift(rollout: RolloutId, since: LogTime, now: LogTime, reason: &crate::id::Reason) -> Event {
    Event::HaltLifted {
        rollout,
        halted: now.since(since),
        reason: reason.clone(),
    }
}

pub(super) fn halt(state: &State, arguments: &HaltRollout, _context: &Context) -> Decision {
    let HaltRollout {
        rollout: id,
        reason,
    } = arguments;
    let rollout = get(state, *id)?;
    match &rollout.life {
        Life::Approved | Life::Running | Life::Paused { .. } | Life::RollingBack { .. } => {
            let cause = HaltCause::Operator(reason.clone());
            Ok(vec![halted(rollout, cause)])
        }
        Life::Draft
        | Life::Halted { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => {
            let needed = &[
                Stage::Approved,
                Stage::Running,
                Stage::Paused,
                Stage::RollingBack,
            ];
            Err(wrong_life(rollout, HaltRollout::KIND, needed))
        }
    }
}

/// A halt, with the bar that keeps the release from its audience until a quorum lifts it.
pub(crate) fn halted(rollout: &Rollout, cause: HaltCause) -> Event {
    Event::RolloutHalted {
        rollout: rollout.id,
        cause: Box::new(cause),
    }
}

pub(super) fn roll_back(state: &State, arguments: &RollBack, _context: &Context) -> Decision {
    let RollBack {
        rollout: id,
        reason,
    } = arguments;
    let rollout = get(state, *id)?;
    let halted = match &rollout.life {
        Life::Halted { .. } => None,
        Life::Running | Life::Paused { .. } => {
            Some(halted(rollout, HaltCause::Operator(reason.clone())))
        }
        Life::Draft
        | Life::Approved
        | Life::RollingBack { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => {
            let needed = &[Stage::Running, Stage::Paused, Stage::Halted];
            return Err(wrong_life(rollout, RollBack::KIND, needed));
        }
    };
    check_return(state, rollout)?;
    let started = Event::RollbackStarted { rollout: *id };
    Ok(halted.into_iter().chain([started]).collect())
}

/// Whether there is anywhere to go back to.
pub(crate) fn check_return(state: &State, rollout: &Rollout) -> Result<(), Rejection> {
    if rollout.rollback.targets.is_empty() {
        return Err(Rejection::NoRollbackTarget);
    }
    barriers::check_way_back(state, &rollout.rollback)
}

/// Completes a rollout whose last gate is through, or ends a rollback that the last stragglers
/// never answer.
pub(super) fn complete(state: &State, arguments: &CompleteRollout, context: &Context) -> Decision {
    let CompleteRollout { rollout: id } = arguments;
    let rollout = get(state, *id)?;
    match &rollout.life {
        Life::RollingBack { .. } => return Ok(vec![Event::RolledBack { rollout: *id }]),
        Life::Running => {}
        Life::Draft
        | Life::Approved
        | Life::Paused { .. }
        | Life::Halted { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => {
            let needed = &[Stage::Running, Stage::RollingBack];
            return Err(wrong_life(rollout, CompleteRollout::KIND, needed));
        }
    }
    let last = rollout.waves.len().saturating_sub(1);
    let through =
        |(at, wave): (usize, &WaveState)| at == last && (wave.passed.is_some() || wave.overridden);
    if !rollout.waves.iter().enumerate().any(through) {
        let wave = rollout.current_wave().unwrap_or_default();
        return Err(Rejection::GateNotPassed { wave });
    }
    super::completion::completed(state, rollout, context)
}

pub(super) fn exclude(state: &State, arguments: &ExcludeVariant, _: &Context) -> Decision {
    let ExcludeVariant {
        rollout: id,
        variant,
        reason,
    } = arguments;
    let rollout = get(state, *id)?;
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
            return Err(wrong_life(rollout, ExcludeVariant::KIND, OPEN_TO_CHANGE));
        }
    }
    let known = state.variants().get(variant);
    let known = known.ok_or(Rejection::UnknownVariant { variant: *variant })?;
    if !rollout.spec.audience.matches(&known.traits) {
        return Err(invalid(Field::Variant, ValueFault::NotInAudience));
    }
    if rollout.excluded.contains_key(variant) {
        return Err(invalid(Field::Variant, ValueFault::ExcludedBefore));
    }
    Ok(vec![Event::VariantExcluded {
        rollout: *id,
        variant: *variant,
        cause: Box::new(ExclusionCause::Operator(reason.clone())),
    }])
}

/// Shortens soak, and lets gates judge what was said so far instead of waiting for the silence
/// horizon. Credit, floors and stops hold as before.
pub(super) fn expedite(state: &State, arguments: &ExpediteRollout, _: &Context) -> Decision {
    let ExpediteRollout {
        rollout: id,
        reason,
    } = arguments;
    let rollout = get(state, *id)?;
    match &rollout.life {
        Life::Approved | Life::Running | Life::Paused { .. } => {}
        Life::Draft
        | Life::Halted { .. }
        | Life::RollingBack { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => {
            let needed = &[Stage::Approved, Stage::Running, Stage::Paused];
            return Err(wrong_life(rollout, ExpediteRollout::KIND, needed));
        }
    }
    if rollout.expedited {
        return Err(invalid(Field::Rollout, ValueFault::ExpeditedBefore));
    }
    Ok(vec![Event::RolloutExpedited {
        rollout: *id,
        reason: reason.clone(),
    }])
}
