//! Devices outlive decision nodes: whoever is left may tell what became of their exposures, once.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may panic"
)]
use tidegate_domain::{
    command::{Operation, Tally},
    event::refused_operations,
    id::{RolloutId, SessionId, WaveIndex},
    node::{Budget, BudgetKey, PoolKey},
    rejection::Rejection,
    tally::{Arm, Counts, ExposuresKey, TallyKey},
    testing::{Fleet, release, rollout, stratum, traits},
};

struct World {
    fleet: Fleet,
    key: TallyKey,
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
        Self { fleet, key }
    }

    fn pool(&self) -> PoolKey {
        self.key.pool().unwrap()
    }

    /// A session with so many admissions, and what it says of them.
    fn session(&mut self, granted: u64, says: Counts) -> SessionId {
        let session = self.fleet.open_session();
        if granted > 0 {
            self.grant(session, granted);
        }
        self.says(session, says);
        session
    }

    fn grant(&mut self, session: SessionId, wanted: u64) {
        let pool = self.pool();
        self.fleet.does(session, Operation::Grant { pool, wanted });
    }

    fn report(&self, counts: Counts) -> Operation {
        let key = self.key.clone();
        Operation::Report {
            tallies: vec![Tally { key, counts }],
            anchor: None,
        }
    }

    /// A session says what comes on top of what it said before.
    fn says(&mut self, session: SessionId, counts: Counts) {
        let report = self.report(counts);
        self.fleet.does(session, report);
    }

    /// The last that a session says.
    fn closes(&mut self, session: SessionId, counts: Counts) {
        let operations = [self.report(counts), Operation::Close];
        let envelope = self.fleet.envelope(session, operations);
        let events = self.fleet.accept(envelope);
        assert_eq!(refused_operations(&events).next(), None);
    }

    /// What a session holds, if that is still known.
    fn budget(&self, session: SessionId) -> Option<&Budget> {
        let pool = self.pool();
        let key = BudgetKey { session, pool };
        self.fleet.state.budgets().get(&key)
    }

    /// Exposures of a session whose fate nobody told.
    fn untold(&self, session: SessionId) -> Option<u64> {
        let tally = self.key.clone();
        let key = ExposuresKey { session, tally };
        self.fleet.state.untold().get(&key).copied()
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
    world.closes(first, counts(0, 1, 0));
    world.says(heir, counts(0, 3, 1));
    assert_eq!(world.cohort(), counts(10, 8, 1));
    let pool = world.fleet.state.pools().get(&world.pool()).unwrap();
    assert_eq!(pool.unresolved(), 1);
    assert_eq!((world.untold(first), world.untold(heir)), (Some(1), None));
    assert_eq!(world.budget(first).unwrap().resolved, 9);
    world.says(heir, counts(0, 1, 0));
    assert_eq!(world.untold(first), None, "all is told");
    assert_eq!(
        world.budget(first),
        None,
        "and so there is nothing to wait for"
    );
}

#[test]
fn an_open_session_is_spoken_for_by_itself_only() {
    let mut world = World::new();
    world.session(10, counts(10, 4, 0));
    let other = world.session(2, counts(2, 0, 0));
    world.says(other, counts(0, 3, 2));
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
    world.closes(first, counts(0, 2, 0));
    world.says(heirs[0], counts(0, 9, 0));
    world.says(heirs[1], counts(0, 9, 0));
    assert_eq!(world.cohort(), counts(16, 2 + 9 + 5, 0));
    world.says(heirs[1], counts(0, 0, 2));
    assert_eq!(world.cohort(), counts(16, 16, 0), "nothing was left");
    let budget = world.budget(heirs[1]).unwrap();
    assert!(budget.is_settled(), "by its own three");
    assert_eq!(budget.resolved, 3, "and no more");
}

#[test]
fn a_budget_stays_while_its_session_is_open_and_goes_with_it() {
    let mut world = World::new();
    let session = world.session(3, counts(3, 3, 0));
    let granted = |world: &World| Some(world.budget(session)?.granted);
    assert_eq!(granted(&world), Some(3), "settled, and still known");
    world.grant(session, 2);
    assert_eq!(granted(&world), Some(5), "the sum goes on");
    world.closes(session, counts(1, 1, 0));
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
    world.says(other, metrics.clone());
    assert_eq!(world.cohort().operations, 50);
    let before = world.cohort();
    let report = world.report(counts(1, 0, 0).plus(&metrics));
    assert_eq!(
        world.fleet.operate(other, report),
        Err(Rejection::ReportExceedsGrants {
            existing: 0,
            requested: 1
        })
    );
    assert_eq!(world.cohort(), before, "all of a report or nothing");
}
