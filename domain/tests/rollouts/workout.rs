//! Nodes that admit, report and close, some of them liars, under operators who interfere: every
//! invariant after every entry. The generator keeps honest books of its own, so that reports tell
//! what comes on top and are mostly accepted, and the state gets far.
mod world;

use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_domain::{
    Outcome, Rejection, Stamp,
    apply::{Terms, Verified},
    command::*,
    gate::FAILURE_RATE_DEFAULT,
    id::{CommandId, Hash, LogTime, Millis, Sequence},
    node::SessionStatus,
    plan,
    rejection::{AdmissionLimit, OutOfTurn},
    testing::{apply_authorized, reason},
};
use world::{World, report};

pub(crate) use world::Dice;

fn steps() -> impl Strategy<Value = Vec<(u8, u64)>> {
    prop::collection::vec(any::<(u8, u64)>(), 20..220)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// WAVE-1, WAVE-2, WAVE-3, HALT-2 and the accounts behind them.
    #[test]
    fn waves_and_accounts_hold_whatever_nodes_and_operators_do(steps in steps()) {
        let mut world = World::new();
        for (what, dice) in steps {
            world.step(what, &mut Dice(dice));
            nothing_happens_before_the_wake_up(&world);
        }
        every_envelope_twice_changes_nothing(&mut world);
        ticks_end(&mut world);
    }
}

/// Whoever schedules ticks by the plan misses nothing: one that comes before the next wake-up, or
/// ever if there is none, finds nothing to do.
fn nothing_happens_before_the_wake_up(world: &World) {
    let mut state = world.fleet.state.clone();
    let now = state.meta().time;
    let at = plan::next_wakeup(&state).unwrap_or(now.after(Millis(u64::from(u32::MAX))));
    let Some(before) = at.0.checked_sub(1).map(LogTime).filter(|at| *at >= now) else {
        return;
    };
    let terms = Terms {
        id: CommandId([0xff; 16]),
        digest: Hash([0; 32]),
        not_before: before,
        not_after: before,
        expected_revision: None,
    };
    let stamp = Stamp {
        time: before,
        ..world.fleet.stamp()
    };
    let tick = Verified::assume(Tick {}, terms, Vec::new());
    let applied = apply_authorized(&mut state, &tick, stamp);
    assert_eq!(
        applied.outcome,
        Outcome::Accepted(Vec::new()),
        "before {at}, from {now}"
    );
}

/// Retries are harmless: an envelope that comes again, or another one under its number, moves no
/// account, and whoever sent it is told where the first one stands.
fn every_envelope_twice_changes_nothing(world: &mut World) {
    for session in world.open() {
        let mut dice = Dice(session.0);
        let tallies = world.honest_tallies(session, &mut dice);
        let envelope = world
            .fleet
            .envelope(session, [report(tallies.clone()), report(tallies)]);
        let sequence = envelope.sequence;
        // The second report may spend more than is held; its refusal is no reason to do it again.
        world.run(envelope.clone());
        let (bytes, stamp, applied) = world.fleet.log.last().unwrap().clone();
        assert!(matches!(applied.outcome, Outcome::Accepted(_)));
        let index = stamp.index;
        let before = world.fleet.state.clone();
        let again = world.take(&bytes);
        assert_eq!(
            again,
            Outcome::Rejected(Rejection::AlreadyApplied { index })
        );
        world.run(envelope);
        let other = &world.fleet.log.last().unwrap().2.outcome;
        let of_another = OutOfTurn::SequenceOfAnother { index };
        assert_eq!(*other, Outcome::Rejected(of_another.into()));
        let after = &world.fleet.state;
        assert!(before.sums() == after.sums() && before.budgets() == after.budgets());
        assert!(before.cohorts() == after.cohorts() && before.untold() == after.untold());
        let row = after.sessions().get(&session);
        assert_eq!(row.map_or(Sequence(0), |row| row.sequence), sequence);
    }
}

/// Ticks are proposed only while something waits on time: following the plan's wake-ups comes to
/// an end, leaves no budget of a session that is over, and no cohort.
fn ticks_end(world: &mut World) {
    for session in world.open() {
        world.run(WriteOffBudget {
            session,
            reason: reason(),
        });
    }
    for rollout in world.live() {
        // Otherwise what waits for evidence keeps waiting, which is as it should be.
        world.run(HaltRollout {
            rollout,
            reason: reason(),
        });
    }
    for _ in 0..3_000 {
        let Some(at) = plan::next_wakeup(&world.fleet.state) else {
            let state = &world.fleet.state;
            assert!(state.cohorts().is_empty() && state.untold().is_empty());
            assert!(state.budgets().is_empty());
            return sessions_go_with_their_last_envelopes(world);
        };
        world.fleet.now = world.fleet.now.max(at);
        assert!(world.run(Tick {}));
    }
    panic!(
        "ticks never end: {:?}",
        plan::next_wakeup(&world.fleet.state)
    );
}

/// What is left of sessions that are over can still be asked about, and goes with any entry after
/// that: there is no wake-up on its account, as there is none for ids.
fn sessions_go_with_their_last_envelopes(world: &mut World) {
    for (_, session) in world.fleet.state.sessions().iter() {
        assert_ne!(session.status, SessionStatus::Open);
        assert_ne!(session.last, None, "nothing to ask about");
    }
    world.fleet.wait(VALIDITY_MAX);
    // Each entry forgets a bounded number of them.
    for _ in 0..world.fleet.state.sessions().len() {
        assert!(world.run(Tick {}));
    }
    assert!(world.fleet.state.sessions().is_empty());
}

/// The generator is worth something: it gets rollouts through their gates and into every end.
#[test]
fn the_workout_gets_far() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut number = Dice(11);
    for _ in 0..32 {
        let mut world = World::new();
        for _ in 0..260 {
            let what = u8::try_from(number.roll(256)).unwrap();
            let dice = number.roll(u64::MAX);
            world.step(what, &mut Dice(dice));
        }
        ticks_end(&mut world);
        for (word, count) in world.seen {
            *seen.entry(word).or_default() += count;
        }
    }
    let missing: Vec<&&str> = EXPECTED
        .iter()
        .filter(|word| !seen.contains_key(**word))
        .collect();
    assert!(missing.is_empty(), "never seen: {missing:?} in {seen:#?}");
}

/// Events and refusals that the workout has to reach.
const EXPECTED: [&str; 38] = [
    "WaveOpened",
    "WavePassed",
    "GateOverridden",
    "VariantExcluded",
    "RolloutHalted",
    "WavePassed by control",
    "VariantExcluded by control",
    "RolloutHalted by control",
    "RollbackStarted",
    "RolledBack",
    "RolloutCompleted",
    "RolloutSuperseded",
    "RolloutPaused",
    "RolloutResumed",
    "HaltLifted",
    "RolloutExpedited",
    "RolloutFolded",
    "BaselineSet",
    "BudgetGranted",
    "BudgetReturned",
    "BudgetLost",
    "SessionClosed",
    "CohortMatured",
    "CreditGrown",
    "GateJudged",
    "NoAdmissions",
    "ReportExceedsGrants",
    "OutOfTurn OtherInstance",
    "OutOfTurn SequenceOfAnother",
    "OutOfTurn SequenceOutOfOrder",
    "CloseAfterRefusal",
    "Tallied by an heir",
    "ReturnExceedsHeld",
    "TallyInconsistent",
    "Overlaps",
    "BarredByHalt",
    "WrongLife",
    "GateNotPassed",
];

#[test]
fn the_default_failure_bound_is_what_the_docs_say() {
    assert_eq!(FAILURE_RATE_DEFAULT.to_string(), "2 %");
    let refused = Rejection::NoAdmissions {
        limit: AdmissionLimit::Credit,
    };
    assert_eq!(refused.to_string(), "no admissions: credit");
}
