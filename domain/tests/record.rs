//! What an entry records stays far below what the log can hold, however much follows from a command.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
use tidegate_domain::{
    Event, Outcome, canonical,
    command::{
        AdvanceWave, AmendRollout, CreateRollout, RaiseFloor, RegisterChannel, RevokeRelease,
    },
    id::{Millis, Reason, RolloutId, SecurityVersion, WaveIndex},
    plan::next_wakeup,
    rejection::{Limit, Rejection},
    rollout::Life,
    testing::{Fleet, RolloutBuilder, channel, reason, release, rollout, scope, selector},
};

/// Rollouts that are under way at once.
const ROLLOUTS: usize = 60;

/// Bytes of what came of a command.
fn bytes(events: Vec<Event>) -> usize {
    canonical::encode(&Outcome::Accepted(events)).len()
}

/// An audience of as many selectors, as long as they may be: 10 KB.
fn wide(name: &str, salt: usize) -> RolloutBuilder {
    let model = |at: usize| format!("{salt}-{at}-{}/*/*/*", "m".repeat(38));
    let selectors: Vec<String> = (0..64).map(model).collect();
    let selectors: Vec<&str> = selectors.iter().map(String::as_str).collect();
    rollout(name).audience(&selectors).wave(100, 1)
}

#[test]
fn what_halts_many_rollouts_is_recorded_in_few_bytes() {
    let mut fleet = Fleet::new();
    fleet.register(release("r-1"));
    let rollouts: Vec<RolloutId> = (0..ROLLOUTS)
        .map(|at| fleet.launch(wide("r-1", at)))
        .collect();
    let events = fleet.accept(RevokeRelease {
        release: "r-1".parse().unwrap(),
        reason: reason(),
    });
    for id in &rollouts {
        let row = fleet.state.rollouts().get(id).unwrap();
        assert!(matches!(row.life, Life::Halted { .. }), "{:?}", row.life);
        let bar = fleet.state.bars().get(id).unwrap();
        assert_eq!(bar.audience, row.spec.audience);
    }
    assert!(bytes(events) < 200 + 24 * ROLLOUTS);
}

#[test]
fn what_a_floor_retires_is_recorded_without_its_reason_each_time() {
    let mut fleet = Fleet::new();
    for at in 0..ROLLOUTS {
        fleet.register(release(&format!("r-{at}")));
        fleet.launch(wide(&format!("r-{at}"), at));
    }
    let long = "because ".repeat(Reason::MAX / 8);
    let events = fleet.accept(RaiseFloor {
        scope: scope("os", "*"),
        security_version: SecurityVersion(9),
        reason: Reason::new(long).unwrap(),
        retire: true,
    });
    let retired = events
        .iter()
        .filter(|e| matches!(e, Event::ReleaseWithdrawn { .. }));
    assert_eq!(retired.count(), ROLLOUTS);
    assert!(bytes(events) < Reason::MAX + 200 + 48 * ROLLOUTS);
}

#[test]
fn amendments_add_no_more_rules_than_a_plan_may_have() {
    let mut fleet = Fleet::new();
    for name in ["r-1", "r-2"] {
        fleet.register(release(name));
    }
    let spec = |at: usize| wide("r-2", at).back_to("r-1").spec();
    fleet.accept(CreateRollout { spec: spec(0) });
    let (rollout, _) = fleet.state.rollouts().last().unwrap();
    let rollout = *rollout;
    for at in 1..64 {
        let spec = spec(at);
        fleet.accept(AmendRollout { rollout, spec });
    }
    let rules = |fleet: &Fleet| {
        let row = fleet.state.rollouts().get(&rollout).unwrap();
        row.rollback.targets.len()
    };
    assert_eq!(rules(&fleet), 4_096);
    let mut spec = spec(63);
    spec.audience.selectors = [selector("one-more/*/*/*")].into();
    let (what, max) = (Limit::RollbackRules, 4_096);
    let refused = fleet.refuse(AmendRollout { rollout, spec });
    assert_eq!(refused, Rejection::LimitReached { what, max });
}

/// Rollouts that complete in one tick set more baselines than an entry takes: the rest follows.
#[test]
fn what_has_no_room_in_an_entry_is_done_by_the_next_one() {
    let mut fleet = Fleet::new();
    fleet.register(release("r-1"));
    let names: Vec<String> = (0..63).map(|at| format!("ring-{at}")).collect();
    for name in &names {
        let channel = channel(name);
        fleet.accept(RegisterChannel { channel });
    }
    let channels: Vec<&str> = names.iter().map(String::as_str).collect();
    let started: Vec<RolloutId> = (0..3)
        .map(|at| {
            let mut builder = wide("r-1", at).on_channels(&channels);
            builder.spec.complete_after = Some(Millis(3_600_000));
            fleet.launch(builder)
        })
        .collect();
    for rollout in &started {
        fleet.accept(AdvanceWave {
            rollout: *rollout,
            wave: WaveIndex(0),
            reason: reason(),
        });
    }
    let complete = |fleet: &Fleet| {
        let rows = started
            .iter()
            .filter_map(|id| fleet.state.rollouts().get(id));
        rows.filter(|row| matches!(row.life, Life::Completed { .. }))
            .count()
    };
    fleet.wait(Millis(2 * 3_600_000));
    let events = fleet.tick();
    assert_eq!(complete(&fleet), 2);
    assert!(bytes(events) < 6 << 20);
    let now = fleet.state.meta().time;
    assert!(
        next_wakeup(&fleet.state).is_some_and(|at| at <= now),
        "the next tick is due"
    );
    fleet.tick();
    assert_eq!(complete(&fleet), 3);
}
