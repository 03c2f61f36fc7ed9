//! What is over leaves nothing behind: under a steady load neither the state nor the work for one
//! command grows, however long the history is.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "tests may panic"
)]
use tidegate_domain::{
    Outcome, Stamp, State,
    apply::{Terms, Verified},
    command::*,
    event::refused_operations,
    guard::{HoldKey, HoldKind},
    id::{
        CommandId, Hash, Instance, LogTime, Millis, Pseudonym, RolloutId, Sequence, SessionId,
        WaveIndex,
    },
    key::Role,
    node::PoolKey,
    plan::FINAL_ROLLOUTS_MAX,
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, apply_authorized, reason, region, release, rollout, stratum, traits},
};

const HOUR: u64 = 3_600_000;
/// Log time of one round.
const ROUND: Millis = Millis(6 * HOUR);
/// Rounds after which the load repeats itself: four rollouts, and a day.
const PERIOD: u64 = 4;
/// Rounds after which as many rollouts are over as the state keeps, and the first ids, holds,
/// cohorts and sessions have ended.
const WARM_UP: u64 = (FINAL_ROLLOUTS_MAX as u64 + 100).next_multiple_of(PERIOD);
/// Rounds that are compared.
const WINDOW: u64 = 10 * PERIOD;

/// A cluster under a load that is the same in every round.
struct Steady {
    state: State,
    keys: Fleet,
    now: LogTime,
    commands: u64,
}

/// What the commands of some rounds did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    commands: u64,
    events: usize,
    changed_rows: usize,
    /// Rows of the state after them.
    rows: usize,
}

impl Steady {
    fn new() -> Self {
        let mut fleet = Fleet::new();
        fleet.accept(RegisterVariant {
            traits: traits("m1/r1/eu/none"),
        });
        for name in ["r-0", "r-1", "r-2"] {
            fleet.register(release(name));
        }
        Self {
            state: fleet.state.clone(),
            now: fleet.now,
            keys: fleet,
            commands: 0,
        }
    }

    /// Applies a command of the load, which must be accepted, and counts what it does.
    fn run(&mut self, work: &mut Work, command: impl Into<Command>) {
        self.commands += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&blake3::hash(&self.commands.to_be_bytes()).as_bytes()[..8]);
        let terms = Terms {
            id: CommandId(id),
            digest: Hash([0; 32]),
            not_before: self.now,
            not_after: self.now.after(Millis(24 * HOUR)),
            expected_revision: None,
        };
        let stamp = Stamp {
            time: self.now,
            index: self.state.meta().next,
            chain: Hash(*blake3::hash(&id).as_bytes()),
        };
        let signers = vec![self.keys.keys.public(Role::Decision, 0)];
        let command = Verified::assume(command.into(), terms, signers);
        let applied = apply_authorized(&mut self.state, &command, stamp);
        let Outcome::Accepted(events) = &applied.outcome else {
            panic!("{:?}: {:?}", command.get(), applied.outcome);
        };
        assert_eq!(refused_operations(events).next(), None);
        work.commands += 1;
        work.events += 1 + events.len();
        work.changed_rows += self.state.drain_changes().len();
    }

    fn tick(&mut self, work: &mut Work) {
        self.run(work, Tick {});
    }

    /// A session comes and goes; a rollout begins, lets devices in and ends, every other one by
    /// going back; a hold is set; time goes by.
    fn round(&mut self, work: &mut Work) {
        let number = self.state.meta().last_rollout.0 + 1;
        let id = RolloutId(number);
        let release = if number.is_multiple_of(2) {
            "r-1"
        } else {
            "r-2"
        };
        let spec = rollout(release).back_to("r-0").spec();
        self.run(work, CreateRollout { spec });
        self.run(work, ApproveRollout { rollout: id });
        self.run(work, StartRollout { rollout: id });
        let session = self.session(work);
        self.expose(work, session, id);
        self.end(work, id, number % 4 < 2);
        let mut device = [0; 32];
        device[..8].copy_from_slice(&number.to_be_bytes());
        let hold = SetHold {
            key: HoldKey {
                device: Pseudonym(device),
                component: None,
            },
            kind: Some(HoldKind::Legal),
            reason: reason(),
            expires: self.now.after(Millis(48 * HOUR)),
        };
        self.run(work, hold);
        self.now = self.now.after(ROUND);
        // One rollout is folded and one forgotten in a tick.
        (0..4).for_each(|_| self.tick(work));
    }

    fn session(&mut self, work: &mut Work) -> SessionId {
        let open = OpenSession {
            region: region("eu"),
            address: "decide.example:7443".to_owned(),
        };
        self.run(work, open);
        self.state.meta().last_session
    }

    /// Admits ten devices, of which nine answer, and closes the session.
    fn expose(&mut self, work: &mut Work, session: SessionId, rollout: RolloutId) {
        let pool = PoolKey {
            rollout,
            wave: WaveIndex(0),
            stratum: stratum(1),
            arm: Arm::Treatment,
        };
        let key = TallyKey {
            rollout,
            wave: pool.wave,
            stratum: pool.stratum.clone(),
            cohort: self.now.cohort(),
            arm: pool.arm,
        };
        let counts = Counts {
            exposed: 10,
            verified: 9,
            ..Counts::default()
        };
        let grant = Operation::Grant { pool, wanted: 12 };
        let report = Operation::Report {
            tallies: vec![Tally { key, counts }],
            anchor: None,
        };
        let envelopes = [vec![grant], vec![report, Operation::Close]];
        for (operations, sequence) in envelopes.into_iter().zip(1..) {
            let envelope = AdvanceSession {
                session,
                instance: Instance(1),
                sequence: Sequence(sequence),
                operations,
            };
            self.run(work, envelope);
        }
    }

    fn end(&mut self, work: &mut Work, rollout: RolloutId, goes_back: bool) {
        let reason = reason();
        if goes_back {
            let back = RollBack {
                rollout,
                reason: reason.clone(),
            };
            self.run(work, back);
            self.run(work, CompleteRollout { rollout });
            // A bar stays until it is lifted: that is its purpose, and no history.
            self.run(work, ResumeRollout { rollout, reason });
        } else {
            let wave = WaveIndex(0);
            let over = AdvanceWave {
                rollout,
                wave,
                reason,
            };
            self.run(work, over);
            self.run(work, CompleteRollout { rollout });
            self.tick(work);
        }
    }

    fn rounds(&mut self, rounds: u64) -> Work {
        let mut work = Work::default();
        (0..rounds).for_each(|_| self.round(&mut work));
        work.rows = self.state.rows().count();
        work
    }
}

/// Changed rows and events stand for the work: each look-up that follows rows has as many entries as
/// they have (`invariant::log::look_ups_follow_the_rows`), and ordered maps cost the logarithm.
#[test]
fn the_state_and_the_work_do_not_grow_with_history() {
    let mut steady = Steady::new();
    steady.rounds(WARM_UP);
    let first = steady.rounds(WINDOW);
    assert!(steady.state.rollouts().len() > FINAL_ROLLOUTS_MAX);
    steady.rounds(3 * WARM_UP);
    let later = steady.rounds(WINDOW);
    assert_eq!(later, first, "after {} commands", steady.commands);
}
