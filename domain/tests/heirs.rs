//! Devices outlive decision nodes: whoever is left may tell what became of their exposures, once.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may panic"
)]
use tidegate_domain::{
    command::{CloseSession, GrantBudget, Report, Tally},
    id::{RolloutId, SessionId, WaveIndex},
    node::{BudgetKey, PoolKey},
    rejection::Rejection,
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, release, rollout, stratum, traits},
};

struct World {
    fleet: Fleet,
    key: TallyKey,
    seq: u64,
}

fn counts(exposed: u64, verified: u64, failed: u64) -> Counts {
    Counts {
        exposed,
        verified,
        failed,
        ..Counts::default()
    }
}

impl World {
    fn new() -> Self {
        let mut fleet = Fleet::new();
        fleet.accept(tidegate_domain::command::RegisterVariant {
            traits: traits("m1/r1/eu/none"),
        });
        fleet.register(release("r-1"));
        let rollout: RolloutId = fleet.launch(rollout("r-1").wave(100, 1));
        let key = TallyKey {
            rollout,
            wave: WaveIndex(0),
            stratum: stratum(1),
            cohort: fleet.now.cohort(),
            arm: Arm::Treatment,
        };
        Self { fleet, key, seq: 0 }
    }

    fn pool(&self) -> PoolKey {
        self.key.pool().unwrap()
    }

    /// A session with so many admissions, and what it says of them.
    fn session(&mut self, granted: u64, says: Counts) -> SessionId {
        let session = self.fleet.open_session();
        if granted > 0 {
            let pool = self.pool();
            self.fleet.accept(GrantBudget {
                session,
                pool,
                wanted: granted,
            });
        }
        self.says(session, says);
        session
    }

    fn report(&mut self, session: SessionId, counts: Counts) -> Report {
        self.seq += 1;
        let key = self.key.clone();
        Report {
            session,
            seq: self.seq,
            tallies: vec![Tally { key, counts }],
            anchor: None,
        }
    }

    fn says(&mut self, session: SessionId, counts: Counts) {
        let report = self.report(session, counts);
        self.fleet.accept(report);
    }

    fn closes(&mut self, session: SessionId, counts: Counts) {
        let last = self.report(session, counts);
        self.fleet.accept(CloseSession { session, last });
    }

    fn cohort(&self) -> Counts {
        self.fleet.state.cohorts().get(&self.key).unwrap().clone()
    }
}

#[test]
fn an_heir_tells_what_became_of_devices_whose_session_is_over() {
    let mut world = World::new();
    let first = world.session(10, counts(10, 4, 0));
    let heir = world.session(0, Counts::default());
    world.closes(first, counts(10, 5, 0));
    world.says(heir, counts(0, 3, 1));
    assert_eq!(world.cohort(), counts(10, 8, 1));
    let pool = world.fleet.state.pools().get(&world.pool()).unwrap();
    assert_eq!(pool.unresolved(), 1);
}

#[test]
fn an_open_session_is_spoken_for_by_itself_only() {
    let mut world = World::new();
    world.session(10, counts(10, 4, 0));
    let other = world.session(2, counts(2, 0, 0));
    world.says(other, counts(2, 3, 2));
    assert_eq!(
        world.cohort(),
        counts(12, 4, 2),
        "beyond its own two, and successes are dropped first"
    );
}

#[test]
fn heirs_never_resolve_more_than_was_left() {
    let mut world = World::new();
    let first = world.session(10, counts(10, 0, 0));
    let heirs = [(); 2].map(|()| world.session(3, counts(3, 0, 0)));
    world.closes(first, counts(10, 2, 0));
    world.says(heirs[0], counts(3, 9, 0));
    world.says(heirs[1], counts(3, 9, 0));
    assert_eq!(world.cohort(), counts(16, 2 + 9 + 5, 0));
    world.says(heirs[1], counts(3, 9, 2));
    assert_eq!(world.cohort(), counts(16, 16, 0), "nothing was left");
    let key = BudgetKey {
        session: heirs[1],
        pool: world.pool(),
    };
    let budget = world.fleet.state.budgets().get(&key).unwrap();
    assert!(budget.is_settled(), "by its own three");
}

#[test]
fn a_budget_stays_while_its_session_is_open_and_goes_with_it() {
    let mut world = World::new();
    let session = world.session(3, counts(3, 3, 0));
    let key = BudgetKey {
        session,
        pool: world.pool(),
    };
    let granted = |world: &World| Some(world.fleet.state.budgets().get(&key)?.granted);
    assert_eq!(granted(&world), Some(3), "settled, and still known");
    world.fleet.accept(GrantBudget {
        session,
        pool: key.pool.clone(),
        wanted: 2,
    });
    assert_eq!(granted(&world), Some(5), "the sum goes on");
    world.closes(session, counts(4, 4, 0));
    assert_eq!(granted(&world), None, "one came back, four are resolved");
}

#[test]
fn metrics_need_no_admission_and_exposures_do() {
    let mut world = World::new();
    world.session(1, counts(1, 0, 0));
    let other = world.fleet.open_session();
    let metrics = Counts {
        operations: 50,
        errors: 2,
        ..Counts::default()
    };
    world.says(other, metrics);
    assert_eq!(world.cohort().operations, 50);
    let report = world.report(other, counts(1, 0, 0).plus(&world.cohort()));
    assert!(matches!(
        world.fleet.refuse(report),
        Rejection::ReportExceedsGrants { .. }
    ));
}
