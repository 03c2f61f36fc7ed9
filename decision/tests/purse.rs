//! Admissions: never spent beyond what was granted, asked for as needed, returned when idle.
// Pure, so that the simulator can change nothing.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tidegate_decision::{
    engine::{Budgets, Draw, Pool},
    ledger::{Purse, PurseLimits},
};
use tidegate_domain::{
    command::{HaltRollout, Operation, RegisterVariant, Tally},
    id::{LogTime, RolloutId, SessionId, WaveIndex},
    node::PoolKey,
    rejection::{AdmissionLimit, Rejection},
    rollout::LifeStage,
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, reason, release, rollout, stratum, traits},
};
use tidegate_runtime::BootInstant;

struct World {
    fleet: Fleet,
    session: SessionId,
    purse: Purse,
    pool: PoolKey,
}

impl World {
    fn new(cap: u64) -> Self {
        let mut fleet = Fleet::new();
        fleet.accept(RegisterVariant {
            traits: traits("m1/r1/eu/none"),
        });
        fleet.register(release("r-1"));
        let rollout: RolloutId = fleet.launch(rollout("r-1").wave(100, 1).cap(cap));
        let session = fleet.open_session();
        let purse = Purse::new(session, PurseLimits::default());
        let pool = PoolKey {
            rollout,
            wave: WaveIndex(0),
            stratum: stratum(1),
            arm: Arm::Treatment,
        };
        Self {
            fleet,
            session,
            purse,
            pool,
        }
    }

    fn grant(&mut self, wanted: u64, now: BootInstant) {
        let pool = self.pool.clone();
        let grant = Operation::Grant { pool, wanted };
        self.fleet.does(self.session, grant);
        self.purse.follow(&self.fleet.state, now);
    }

    fn take_back(&mut self, unused: u64) {
        let pool = self.pool.clone();
        let back = Operation::Return { pool, unused };
        self.fleet.does(self.session, back);
    }

    /// Reports so many exposures, each with a good end.
    fn resolve(&mut self, count: u64) {
        let PoolKey {
            rollout,
            wave,
            stratum,
            arm,
        } = self.pool.clone();
        let key = TallyKey {
            rollout,
            wave,
            stratum,
            cohort: self.fleet.now.cohort(),
            arm,
        };
        let counts = Counts {
            exposed: count,
            verified: count,
            ..Counts::default()
        };
        let report = Operation::Report {
            tallies: vec![Tally { key, counts }],
            anchor: None,
        };
        self.fleet.does(self.session, report);
    }

    /// Draws so often; how often it was granted.
    fn draw(&self, times: u64) -> u64 {
        let draws = (0..times).filter(|_| self.purse.try_spend(&self.pool) == Draw::Granted);
        draws.count() as u64
    }
}

fn at(seconds: u64) -> BootInstant {
    BootInstant::from_boot(Duration::from_secs(seconds))
}

#[test]
fn only_what_the_view_shows_is_spent() {
    let mut world = World::new(1_000);
    assert_eq!(world.draw(5), 0);
    assert_eq!(world.purse.wanted(at(0)), [(world.pool.clone(), 5)]);
    assert_eq!(world.purse.wanted(at(1)), [], "an ask is on its way");
    assert_eq!(world.draw(1), 0, "asking is not holding");
    world.grant(5, at(1));
    world.purse.follow(&world.fleet.state, at(1));
    assert_eq!(world.draw(7), 5, "seeing a grant twice is having it once");
}

#[test]
fn brisk_demand_doubles_what_is_asked_for_and_calm_demand_does_not() {
    let mut world = World::new(1_000);
    let mut asked = Vec::new();
    for second in 0..5 {
        world.draw(world.purse.held() + 1);
        let wanted = world.purse.wanted(at(second))[0].1;
        asked.push(wanted);
        world.grant(wanted, at(second));
    }
    assert_eq!(asked, [1, 2, 3, 5, 9]);
    world.draw(world.purse.held() + 1);
    assert_eq!(world.purse.wanted(at(600))[0].1, 1);
}

#[test]
fn after_a_refusal_devices_hear_why_and_the_store_is_left_alone_for_longer_and_longer() {
    let world = World::new(1_000);
    let no = |limit| Rejection::NoAdmissions { limit };
    let (mut asks, mut second) = (Vec::new(), 0);
    while second < 70 {
        world.draw(1);
        if !world.purse.wanted(at(second)).is_empty() {
            asks.push(second);
            world
                .purse
                .refused(&world.pool, &no(AdmissionLimit::Credit), at(second));
        }
        second += 1;
    }
    assert_eq!(asks, [0, 1, 3, 7, 15, 31, 63]);
    assert_eq!(world.purse.try_spend(&world.pool), Draw::Exhausted);
    world
        .purse
        .refused(&world.pool, &no(AdmissionLimit::Cap), at(second));
    assert_eq!(world.purse.try_spend(&world.pool), Draw::CapReached);
    let halted = no(AdmissionLimit::NotRunning {
        life: LifeStage::Halted,
    });
    world.purse.refused(&world.pool, &halted, at(second));
    assert_eq!(
        world.purse.try_spend(&world.pool),
        Draw::Pending,
        "whoever draws after a halt sees that it is over"
    );
}

#[test]
fn idle_admissions_go_back_and_cannot_be_spent_any_more() {
    let mut world = World::new(1_000);
    world.grant(10, at(0));
    assert_eq!(world.draw(4), 4);
    let returns = |world: &World, second| world.purse.take_returns(&world.fleet.state, at(second));
    assert_eq!(returns(&world, 1), []);
    assert_eq!(returns(&world, 100), []);
    let idle = returns(&world, 200);
    assert_eq!(idle, [(world.pool.clone(), 6)]);
    assert_eq!(world.draw(1), 0);
    world.take_back(6);
    world.grant(3, at(201));
    assert_eq!(world.draw(9), 3);
}

#[test]
fn a_halt_sends_everything_back_at_once() {
    let mut world = World::new(1_000);
    world.grant(10, at(0));
    world.fleet.accept(HaltRollout {
        rollout: world.pool.rollout,
        reason: reason(),
    });
    let returns = world.purse.take_returns(&world.fleet.state, at(0));
    assert_eq!(returns, [(world.pool.clone(), 10)]);
    assert_eq!(world.purse.held(), 0);
    world.purse.give_back(&world.pool, 10);
    assert_eq!(world.purse.held(), 10, "the store refused the return");
}

#[test]
fn baselines_have_a_credit_for_each_hour() {
    let world = World::new(1_000);
    world.purse.follow(&world.fleet.state, at(0));
    let credit = world.fleet.state.config().credit;
    let draw = |now: LogTime| {
        let pool = Pool {
            rollout: None,
            wave: WaveIndex(0),
            variant: world.pool.stratum.variant,
            channel: &world.pool.stratum.channel,
            arm: Arm::Treatment,
        };
        (&world.purse).draw(pool, now) == Draw::Granted
    };
    let granted = |now| (0..2 * credit).filter(|_| draw(now)).count() as u64;
    assert_eq!(granted(LogTime(0)), credit);
    assert_eq!(granted(LogTime(3_599_999)), 0);
    assert_eq!(granted(LogTime(3_600_000)), credit);
}

/// WAVE-3 on one node, with real threads that race for the same admissions.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "what is shown is that real threads never share an admission"
)]
fn threads_together_never_spend_more_than_was_granted() {
    let mut world = World::new(1_000);
    world.grant(100, at(0));
    let spent = AtomicU64::new(0);
    let (purse, pool, state) = (&world.purse, &world.pool, &world.fleet.state);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..2_000 {
                    if purse.try_spend(pool) == Draw::Granted {
                        spent.fetch_add(1, Ordering::Relaxed);
                    }
                    if round % 100 == 0 {
                        purse.follow(state, at(0));
                    }
                }
            });
        }
    });
    assert_eq!(spent.into_inner(), 100);
}

#[test]
fn what_is_granted_after_everything_came_back_is_seen() {
    let mut world = World::new(1_000);
    world.grant(5, at(0));
    assert_eq!(world.draw(2), 2);
    assert_eq!(world.purse.take_returns(&world.fleet.state, at(0)), []);
    world.purse.take_returns(&world.fleet.state, at(1));
    let returns = world.purse.take_returns(&world.fleet.state, at(500));
    assert_eq!(returns, [(world.pool.clone(), 3)]);
    world.take_back(3);
    world.resolve(2);
    world.purse.follow(&world.fleet.state, at(500));
    world.grant(4, at(501));
    assert_eq!(world.draw(9), 4);
}
