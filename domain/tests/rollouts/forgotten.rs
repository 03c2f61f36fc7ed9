//! Rollouts that are over: the state keeps so many of them, and forgets the oldest whole.
use super::workout::Dice;
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::LazyLock};
use tidegate_domain::{
    Outcome, Rejection, State,
    command::*,
    event::refused_operations,
    id::{LogTime, Millis, RolloutId, SessionId, WaveIndex},
    invariant::{self, Transition},
    node::PoolKey,
    plan::{self, FINAL_ROLLOUTS_MAX},
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, reason, release, rollout, stratum, traits},
};

const HOUR: u64 = 3_600_000;
/// Later than any rollout that was over before is folded.
const FOLDED: Millis = Millis(200 * HOUR);

/// A fleet that keeps as many rollouts which are over as it ever does. Every tenth left a bar.
static FULL: LazyLock<Fleet> = LazyLock::new(|| {
    let mut fleet = Fleet::new();
    fleet.accept(RegisterVariant {
        traits: traits("m1/r1/eu/none"),
    });
    fleet.register(release("r-0"));
    fleet.register(release("r-1"));
    for number in 0..FINAL_ROLLOUTS_MAX as u64 {
        ended(&mut fleet, number.is_multiple_of(10));
        fleet.wait(Millis(60_000));
    }
    fleet.wait(FOLDED);
    while plan::next_wakeup(&fleet.state).is_some() {
        fleet.tick();
    }
    fleet.log.clear();
    fleet
});

/// A rollout that came and went: completed, or halted for good and rolled back.
fn ended(fleet: &mut Fleet, halted: bool) -> RolloutId {
    let number = fleet.state.meta().last_rollout.0;
    // Bars are of one audience each, so that they are in nobody's way.
    let audience = format!("*/*/*/c{number}");
    let rollout = fleet.launch(rollout("r-1").audience(&[&audience]).back_to("r-0"));
    let reason = reason();
    if halted {
        fleet.accept(RollBack { rollout, reason });
    } else {
        let wave = WaveIndex(0);
        fleet.accept(AdvanceWave {
            rollout,
            wave,
            reason,
        });
        fleet.accept(CompleteRollout { rollout });
    }
    rollout
}

/// Those that are over and folded, the one that ended first in front.
fn folded(state: &State) -> BTreeSet<(LogTime, RolloutId)> {
    let rollouts = state.rollouts().iter();
    let folded = rollouts.filter(|(_, rollout)| rollout.folded);
    folded.map(|(id, r)| (r.ended.unwrap(), *id)).collect()
}

/// What happens around rollouts that may be forgotten.
struct World {
    fleet: Fleet,
    session: SessionId,
    forgotten: BTreeSet<RolloutId>,
}

impl World {
    fn new() -> Self {
        let mut fleet = FULL.clone();
        let session = fleet.open_session();
        let forgotten = BTreeSet::new();
        Self {
            fleet,
            session,
            forgotten,
        }
    }

    fn run(&mut self, command: impl Into<Command>) -> Outcome {
        let before = self.fleet.state.clone();
        self.fleet.run(command);
        let (envelope, _, applied) = self.fleet.log.last().unwrap();
        let transition = Transition {
            before: &before,
            envelope: Some(envelope),
            applied,
            after: &self.fleet.state,
        };
        if let Err(violation) = invariant::check(&transition) {
            panic!("{violation}\nby {applied:?}");
        }
        let outcome = applied.outcome.clone();
        self.check_forgotten(&before);
        outcome
    }

    /// What came of the one operation of the session's next envelope.
    fn operate(&mut self, operation: Operation) -> Result<(), Rejection> {
        let envelope = self.fleet.envelope(self.session, [operation]);
        match self.run(envelope) {
            Outcome::Accepted(events) => {
                let refused = refused_operations(&events).next();
                refused.map_or(Ok(()), |(_, rejection)| Err(rejection.clone()))
            }
            Outcome::Rejected(rejection) => panic!("not the next envelope: {rejection}"),
        }
    }

    /// Only the oldest goes, only when there are too many, and with all that it had but its bar.
    fn check_forgotten(&mut self, before: &State) {
        let after = &self.fleet.state;
        let gone: Vec<RolloutId> = before
            .rollouts()
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| !after.rollouts().contains(id))
            .collect();
        let kept = folded(before);
        if gone.is_empty() {
            assert!(folded(after).is_superset(&kept));
            return;
        }
        assert!(kept.len() > FINAL_ROLLOUTS_MAX, "{} are few", kept.len());
        assert_eq!(gone, [kept.first().unwrap().1]);
        self.forgotten.extend(gone);
        for id in &self.forgotten {
            assert!(after.sums().iter().all(|(key, _)| key.rollout != *id));
            assert!(after.pools().iter().all(|(key, _)| key.rollout != *id));
            assert!(after.cohorts().iter().all(|(key, _)| key.rollout != *id));
            let of_session = |rollout: &RolloutId| rollout != id;
            let untold = after.untold().iter();
            assert!(untold.map(|(key, _)| &key.tally.rollout).all(of_session));
            let budgets = after.budgets().iter();
            assert!(budgets.map(|(key, _)| &key.pool.rollout).all(of_session));
        }
    }

    /// One of all that there ever were, the first ones more often.
    fn any(&self, dice: &mut Dice) -> RolloutId {
        let last = self.fleet.state.meta().last_rollout.0;
        let among = [5, 20, last][usize::try_from(dice.roll(3)).unwrap()];
        RolloutId(1 + dice.roll(among))
    }

    fn step(&mut self, what: u8, dice: &mut Dice) {
        self.fleet.wait(Millis(dice.roll(60_000)));
        match what % 8 {
            0 | 1 => {
                let id = ended(&mut self.fleet, dice.roll(2) == 0);
                assert_eq!(id, self.fleet.state.meta().last_rollout);
            }
            2..=4 => {
                self.fleet.wait(Millis(dice.roll(FOLDED.0)));
                self.run(Tick {});
            }
            5 => self.report_late(dice),
            6 => self.grant_late(dice),
            _ => self.lift_late(dice),
        }
    }

    fn pool(&self, dice: &mut Dice) -> PoolKey {
        PoolKey {
            rollout: self.any(dice),
            wave: WaveIndex(0),
            stratum: stratum(1),
            arm: Arm::Treatment,
        }
    }

    /// A report of what was forgotten is passed over: whoever sends it must not be stuck with it.
    fn report_late(&mut self, dice: &mut Dice) {
        let pool = self.pool(dice);
        let key = TallyKey {
            rollout: pool.rollout,
            wave: pool.wave,
            stratum: pool.stratum,
            cohort: self.fleet.now.cohort(),
            arm: pool.arm,
        };
        let counts = Counts {
            exposed: 1,
            failed: 1,
            ..Counts::default()
        };
        let report = Operation::Report {
            tallies: vec![Tally { key, counts }],
            anchor: None,
        };
        let sums = self.fleet.state.sums().clone();
        let outcome = self.operate(report);
        if self.forgotten.contains(&pool.rollout) {
            assert_eq!(outcome, Ok(()));
            assert!(sums == *self.fleet.state.sums());
        }
    }

    fn grant_late(&mut self, dice: &mut Dice) {
        let pool = self.pool(dice);
        let rollout = pool.rollout;
        let outcome = self.operate(Operation::Grant { pool, wanted: 1 });
        if self.forgotten.contains(&rollout) {
            assert_eq!(outcome, Err(Rejection::UnknownRollout { rollout }));
        }
    }

    /// HALT-2: a bar outlives its rollout, and is lifted as before.
    fn lift_late(&mut self, dice: &mut Dice) {
        let rollout = self.any(dice);
        let barred = self.fleet.state.bars().contains(&rollout);
        let reason = reason();
        let outcome = self.run(ResumeRollout { rollout, reason });
        if self.forgotten.contains(&rollout) {
            let accepted = matches!(outcome, Outcome::Accepted(_));
            assert_eq!(accepted, barred, "{outcome:?}");
        }
        assert!(!barred || !self.fleet.state.bars().contains(&rollout));
    }

    /// Ticks while something waits on time.
    fn settle(&mut self) {
        while let Some(at) = plan::next_wakeup(&self.fleet.state) {
            self.fleet.now = self.fleet.now.max(at);
            self.run(Tick {});
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// However many come to an end, as many stay as the state keeps.
    #[test]
    fn the_oldest_are_forgotten_and_no_others(steps in prop::collection::vec(any::<(u8, u64)>(), 10..50)) {
        let mut world = World::new();
        let came = world.fleet.state.meta().last_rollout;
        for (what, dice) in steps {
            world.step(what, &mut Dice(dice));
        }
        world.settle();
        let state = &world.fleet.state;
        prop_assert_eq!(state.rollouts().len(), FINAL_ROLLOUTS_MAX);
        let more = state.meta().last_rollout.0 - came.0;
        prop_assert_eq!(world.forgotten.len() as u64, more);
    }
}
