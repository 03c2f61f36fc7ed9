//! Consequences: what follows from an accepted command without anybody asking for it.
//!
//! Each entry does a bounded amount of it; what is left is done by the next entry, and
//! [`crate::plan::next_wakeup`] says that there is some.
use super::{changes::Changes, judge, work};
use crate::{
    command::Command,
    decide::rollouts::{check_return, halted},
    event::Event,
    evolve::stratum_credit,
    gate::Gate,
    id::{Cohort, Millis, RolloutId, SessionId},
    node::{BudgetKey, PoolKey, SessionStatus},
    plan::{self, FINAL_ROLLOUTS_MAX, Next},
    release::{ArtifactKind, NotOfferable, ReleaseStatus, offerable},
    rollout::{HaltCause, Life, Rollout},
    state::State,
    tally::{Arm, SumKey, TallyKey},
};
use tidegate_mutant::{Mutant, is_on};

/// Most cohorts that mature in one entry.
const MATURE_MAX: usize = 64;
/// Most budgets of sessions that are over, settled in one entry.
const SETTLE_MAX: usize = 64;
/// Most steps that one rollout takes in one entry: start, exclude, pass, open, and one to spare.
const STEPS_MAX: usize = 5;

/// Lets gates, waves, halts and timers follow what the command changed. Cannot be refused.
pub(crate) fn react(changes: &mut Changes<'_>, command: &Command) {
    match command {
        Command::Tick(_) => {
            settle_sessions(changes);
            mature_cohorts(changes);
            judge::touched(changes);
            let live = changes.state().derived.live_rollouts.clone();
            follow_all(changes, live);
            fold_one(changes);
        }
        Command::AdvanceSession(envelope) => {
            work::perform(changes, envelope);
            settle_and_judge(changes);
        }
        Command::WriteOffBudget(_) => settle_and_judge(changes),
        Command::RotateKeys(_)
        | Command::RevokeKey(_)
        | Command::RevokeRelease(_)
        | Command::RaiseFloor(_) => halt_what_may_not_be_offered(changes),
        Command::AdvanceWave(a) => follow(changes, a.rollout),
        Command::ResumeRollout(a) => follow(changes, a.rollout),
        Command::RollBack(a) => follow(changes, a.rollout),
        Command::AmendRollout(a) => follow(changes, a.rollout),
        Command::ExcludeVariant(a) => follow(changes, a.rollout),
        Command::ExpediteRollout(a) => follow(changes, a.rollout),
        Command::ApproveRollout(a) => follow(changes, a.rollout),
        Command::StartRollout(a) => follow(changes, a.rollout),
        Command::RegisterRelease(_)
        | Command::AddReleaseSignatures(_)
        | Command::RegisterVariant(_)
        | Command::RegisterChannel(_)
        | Command::DeclareRecoveryImage(_)
        | Command::CreateRollout(_)
        | Command::PauseRollout(_)
        | Command::HaltRollout(_)
        | Command::CompleteRollout(_)
        | Command::EmergencyStop(_)
        | Command::LiftStop(_)
        | Command::SetRegionPolicy(_)
        | Command::SetHold(_)
        | Command::OpenSession(_)
        | Command::ChangeMembership(_)
        | Command::SetClusterConfig(_)
        | Command::RaiseStateVersion(_) => {}
        #[cfg(feature = "bench")]
        Command::BenchFiller(_) => {}
    }
}

/// What follows from what nodes do: gates see each report as a whole.
fn settle_and_judge(changes: &mut Changes<'_>) {
    settle_sessions(changes);
    mature_cohorts(changes);
    judge::touched(changes);
    let touched = judge::touched_rollouts(changes.events());
    follow_all(changes, touched);
}

/// Lets rollouts take their steps; what has no room in this entry is left to the next tick.
fn follow_all(changes: &mut Changes<'_>, rollouts: impl IntoIterator<Item = RolloutId>) {
    for rollout in rollouts {
        if !changes.have_room() {
            return;
        }
        follow(changes, rollout);
    }
}

/// Takes the steps that the plan says, until it waits.
fn follow(changes: &mut Changes<'_>, id: RolloutId) {
    for _ in 0..STEPS_MAX {
        let context = changes.context();
        let Some(rollout) = changes.state().rollouts().get(&id) else {
            return;
        };
        match plan::next(changes.state(), rollout, &context) {
            Next::Do(events) => events.into_iter().for_each(|event| changes.emit(event)),
            Next::Wait(_) => return,
        }
    }
}

/// The budgets of a session that have something left.
pub(crate) fn held_by(state: &State, session: SessionId) -> impl Iterator<Item = &BudgetKey> {
    let first = BudgetKey {
        session,
        pool: PoolKey::first(RolloutId(0)),
    };
    let held = state.derived.held.range(first..);
    held.take_while(move |key| key.session == session)
}

/// What a session that is over still holds comes back if it closed with its last word, and is lost
/// if it was given up.
fn settle_sessions(changes: &mut Changes<'_>) {
    let state = changes.state();
    let now = changes.context().time;
    let sessions = state.sessions().iter();
    let timed_out = sessions
        .take_while(|_| is_on(Mutant::BudgetTimedOut))
        .filter(|(_, session)| session.opened_at.after(Millis(8_000)) < now);
    let ended = state.derived.ended_sessions.iter();
    let ended = ended.chain(timed_out.map(|(id, _)| id));
    let held = ended.flat_map(|session| held_by(state, *session));
    let events: Vec<Event> = held
        .take(SETTLE_MAX)
        .filter_map(|key| {
            let (session, pool) = (key.session, key.pool.clone());
            let count = state.budgets().get(key)?.held();
            Some(match state.sessions().get(&session)?.status {
                SessionStatus::WrittenOff { .. } if !is_on(Mutant::WriteOffReturns) => {
                    Event::BudgetLost {
                        session,
                        pool,
                        count,
                    }
                }
                SessionStatus::Open
                | SessionStatus::Closed { .. }
                | SessionStatus::WrittenOff { .. } => Event::BudgetReturned {
                    session,
                    pool,
                    count,
                },
            })
        })
        .collect();
    events.into_iter().for_each(|event| changes.emit(event));
}

/// Cohorts past their silence horizon: silence is known, and credit grows where it went well.
fn mature_cohorts(changes: &mut Changes<'_>) {
    for key in mature(changes) {
        let grown = grown_credit(changes.state(), &key);
        changes.emit(Event::CohortMatured { key: key.clone() });
        let pool = key.pool();
        if let (Some(pool), true) = (pool, grown)
            && let Some(credit) = next_credit(changes.state(), &pool)
        {
            changes.emit(Event::CreditGrown { pool, credit });
        }
    }
}

/// The cohorts that are past the horizon of their kind, oldest first.
fn mature(changes: &Changes<'_>) -> Vec<TallyKey> {
    let state = changes.state();
    let by_age = &state.derived.cohorts_by_age;
    let now = changes.context().time;
    let due = ArtifactKind::ALL.into_iter().flat_map(|kind| {
        let horizon = state.config().silence.of(kind);
        let from = (kind, Cohort(0), TallyKey::first(RolloutId(0)));
        let rows = by_age.range(from..);
        rows.take_while(move |(found, cohort, _)| {
            *found == kind && cohort.end().after(horizon) <= now
        })
    });
    due.take(MATURE_MAX)
        .map(|(_, _, key)| key.clone())
        .collect()
}

/// Whether a cohort that matures went well enough to let more devices in at once: it brought
/// success, and neither failures nor silence beyond what the gate allows.
fn grown_credit(state: &State, key: &TallyKey) -> bool {
    let Some(rollout) = state.rollouts().get(&key.rollout) else {
        return false;
    };
    let Some(young) = state.cohorts().get(key) else {
        return false;
    };
    let mut counts = young.clone();
    counts.silent = counts.silent.saturating_add(young.unresolved());
    let gate = Gate {
        sample_min: 1,
        ..plan::gate_of(rollout, key.wave)
    };
    counts.verified > 0
        && gate.installs_breach(&counts).is_none()
        && rollout.life.is_underway()
        && (key.arm == Arm::Return || !rollout.excluded.contains_key(&key.stratum.variant))
}

/// Twice the credit, but never more than twice what has proven itself: hours in which a single
/// device was let in don't add up to a licence.
fn next_credit(state: &State, pool: &PoolKey) -> Option<u64> {
    let rollout = state.rollouts().get(&pool.rollout)?;
    let first = match pool.arm {
        Arm::Treatment | Arm::Control => rollout.spec.credit,
        Arm::Return => rollout.rollback.credit,
    };
    let waves = rollout.opened().map(|(wave, _)| SumKey {
        rollout: pool.rollout,
        wave,
        arm: pool.arm,
        stratum: Some(pool.stratum.clone()),
    });
    let sums = waves.filter_map(|key| state.sums().get(&key));
    let proven = sums.fold(0_u64, |sum, s| sum.saturating_add(s.mature.verified));
    let existing = stratum_credit(state, pool);
    let credit = existing
        .saturating_mul(2)
        .min(proven.max(first).saturating_mul(2));
    (credit > existing).then_some(credit)
}

/// Halts rollouts whose release may not be offered any more, or whose way back a floor has passed.
fn halt_what_may_not_be_offered(changes: &mut Changes<'_>) {
    let state = changes.state();
    let live = state.derived.live_rollouts.iter();
    let live = live.filter_map(|id| state.rollouts().get(id));
    let events: Vec<Event> = live
        .filter_map(|rollout| Some(halted(rollout, cause(state, rollout)?)))
        .collect();
    events.into_iter().for_each(|event| changes.emit(event));
}

/// Why a rollout must halt, if it must.
fn cause(state: &State, rollout: &Rollout) -> Option<HaltCause> {
    match &rollout.life {
        Life::Approved | Life::Running | Life::Paused { .. } => {}
        Life::Draft
        | Life::Halted { .. }
        | Life::RollingBack { .. }
        | Life::RolledBack { .. }
        | Life::Superseded { .. }
        | Life::Completed { .. } => return None,
    }
    let release = state.releases().get(&rollout.spec.release)?;
    let retired = |name| {
        let target = state.releases().get(name);
        target.is_some_and(|target| target.status == ReleaseStatus::Retired)
    };
    match offerable(state, release) {
        Err(NotOfferable::Withdrawn(ReleaseStatus::Retired)) => Some(HaltCause::FloorRaised),
        Err(NotOfferable::Withdrawn(_)) => Some(HaltCause::ReleaseRevoked),
        Err(NotOfferable::UnderSigned { .. }) => Some(HaltCause::KeyRevoked),
        Ok(()) => {
            let mut targets = rollout.rollback.targets.iter();
            let passed = targets.any(|rule| retired(&rule.release));
            passed.then_some(HaltCause::FloorRaised)
        }
    }
}

/// Halts a rollout whose gate failed, and sends its devices back if that is what it says and there
/// is a way.
pub(super) fn halt_by_gate(
    changes: &mut Changes<'_>,
    id: RolloutId,
    evidence: crate::wave::Evidence,
) {
    let Some(rollout) = changes.state().rollouts().get(&id) else {
        return;
    };
    let returns = rollout.spec.rollback.auto
        && !matches!(rollout.life, Life::RollingBack { .. })
        && check_return(changes.state(), rollout).is_ok();
    let event = halted(rollout, HaltCause::Gate(Box::new(evidence)));
    changes.emit(event);
    if returns {
        changes.emit(Event::RollbackStarted { rollout: id });
    }
}

/// Folds away some rows of one rollout that ended long ago, or forgets the oldest of too many.
fn fold_one(changes: &mut Changes<'_>) {
    let state = changes.state();
    let now = changes.context().time;
    let ended = state.derived.unfolded.iter();
    let due = ended
        .filter_map(|(_, id)| state.rollouts().get(id))
        .find(|rollout| plan::folds_at(state, rollout).is_some_and(|at| at <= now))
        .map(|rollout| rollout.id);
    let forget = (state.derived.folded.len() > FINAL_ROLLOUTS_MAX)
        .then(|| state.derived.folded.first().map(|(_, id)| *id))
        .flatten();
    if let Some(rollout) = due {
        changes.emit(Event::RolloutFolded { rollout });
    }
    if let Some(rollout) = forget {
        changes.emit(Event::RolloutForgotten { rollout });
    }
}
