//! A fleet whose nodes keep honest books, and what operators and nodes do to it at random.
mod books;

pub(super) use books::report;

use std::collections::BTreeMap;
use tidegate_domain::{
    Event, Outcome, Rejection, State,
    command::*,
    event::refused_operations,
    id::{Millis, Ppm, RolloutId, SessionId, VariantId},
    invariant::{self, Transition},
    node::PoolKey,
    rollout::{Life, OnInconclusive},
    tally::{Arm, Counts, ExposuresKey, TallyKey},
    testing::{Fleet, reason, release, rollout, stratum, traits},
};

const VARIANTS: [&str; 3] = ["m1/r1/eu/none", "m1/r2/us/none", "m2/r1/eu/none"];
const HOUR: u64 = 3_600_000;

/// A fleet with nodes that keep books.
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) books: BTreeMap<(SessionId, TallyKey), Counts>,
    /// Events and refusals, and how often.
    pub(super) seen: BTreeMap<String, u32>,
}

/// Numbers out of one number.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::try_from(self.roll(from.len() as u64)).unwrap();
        from.get(at).cloned()
    }
}

impl World {
    pub(super) fn new() -> Self {
        let mut fleet = Fleet::new();
        for variant in VARIANTS {
            fleet.accept(RegisterVariant {
                traits: traits(variant),
            });
        }
        for name in ["r-0", "r-1", "r-2", "r-3"] {
            fleet.register(release(name));
        }
        fleet.open_session();
        let mut world = Self {
            fleet,
            books: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        world.launch(&mut Dice(7));
        world
    }

    /// Applies a command and checks every invariant on it; answers whether all of it was done.
    pub(super) fn run(&mut self, command: impl Into<Command>) -> bool {
        let signed = self.fleet.sealed(command).to_bytes();
        match self.take(&signed) {
            Outcome::Accepted(events) => refused_operations(&events).next().is_none(),
            Outcome::Rejected(_) => false,
        }
    }

    /// As [`Self::run`], of a session's next envelope.
    pub(super) fn operate<const N: usize>(
        &mut self,
        session: SessionId,
        operations: [Operation; N],
    ) -> bool {
        let envelope = self.fleet.envelope(session, operations);
        self.run(envelope)
    }

    /// Applies bytes and checks every invariant on them.
    pub(super) fn take(&mut self, signed: &[u8]) -> Outcome {
        let before = self.fleet.state.clone();
        self.fleet.apply(signed);
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
        match &outcome {
            Outcome::Accepted(events) => {
                events.iter().for_each(|event| self.saw(&before, event));
            }
            Outcome::Rejected(rejection) => self.saw_refusal(rejection),
        }
        outcome
    }

    fn saw(&mut self, before: &State, event: &Event) {
        let text = format!("{event:?}");
        let word = first_word(&text);
        self.count(word.to_owned());
        if text.contains("breach: Some(Accuracy") || text.contains("control: Some(Counts") {
            self.count(format!("{word} by control"));
        }
        if let Event::OperationRefused(refused) = event {
            self.saw_refusal(&refused.rejection);
        }
        if let Event::Tallied {
            session,
            key,
            counts,
        } = event
        {
            let tally = key.clone();
            let row = ExposuresKey {
                session: *session,
                tally,
            };
            let untold = before.untold().get(&row).copied().unwrap_or(0);
            // What goes beyond what was untold before the entry was another session's.
            if counts.spoken() > untold + counts.exposed {
                self.count("Tallied by an heir".to_owned());
            }
        }
    }

    fn saw_refusal(&mut self, rejection: &Rejection) {
        let text = format!("{rejection:?}");
        self.count(first_word(&text).to_owned());
        if let Rejection::OutOfTurn(reason) = rejection {
            let text = format!("{reason:?}");
            self.count(format!("OutOfTurn {}", first_word(&text)));
        }
    }

    fn count(&mut self, what: String) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn launch(&mut self, dice: &mut Dice) {
        let name = dice.pick(&["r-1", "r-2", "r-3"]).unwrap();
        let mut builder = rollout(name).back_to("r-0");
        for wave in 1..=3_u32 {
            let percent = [30, 60, 100][wave as usize - 1];
            builder = builder.wave(percent, dice.roll(4));
            if dice.roll(4) == 0 {
                builder = builder.cap(u64::from(wave) * 15);
            }
        }
        if dice.roll(2) == 0 {
            builder = builder.auto_rollback();
        }
        let mut spec = builder.spec();
        let capped = spec.waves.iter().any(|wave| wave.cap.is_some());
        if capped {
            spec.waves
                .iter_mut()
                .zip(1..)
                .for_each(|(wave, n)| wave.cap = Some(n * 15));
        }
        spec.sample_min = 3 + dice.roll(4);
        spec.credit = 10 + dice.roll(30);
        spec.silent_max = Ppm::new(700_000).unwrap();
        let criteria = spec.waves[0].criteria.as_mut().unwrap();
        criteria.failure_rate_max = Ppm::new(400_000);
        criteria.accuracy_drop_max = Ppm::new(100_000).filter(|_| dice.roll(3) == 0);
        spec.control = Ppm::new(100_000).unwrap();
        spec.start_at = (dice.roll(4) == 0).then(|| self.fleet.now.after(Millis(HOUR)));
        spec.complete_after = (dice.roll(3) > 0).then_some(Millis(HOUR));
        if dice.roll(2) == 0 {
            spec.on_inconclusive = OnInconclusive::Pool;
        }
        spec.priority = (dice.roll(2) == 0).then(|| u32::try_from(dice.roll(50)).unwrap());
        let live = self.live();
        spec.supersedes = dice.pick(&live).filter(|_| dice.roll(3) == 0);
        if self.run(CreateRollout { spec }) {
            let rollout = self.fleet.state.meta().last_rollout;
            self.run(ApproveRollout { rollout });
            self.run(StartRollout { rollout });
        }
    }

    pub(super) fn live(&self) -> Vec<RolloutId> {
        let rows = self.fleet.state.rollouts().iter();
        rows.filter(|(_, r)| !r.life.is_final())
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn open(&self) -> Vec<SessionId> {
        let state = &self.fleet.state;
        let open = state.sessions().iter();
        open.filter(|(_, s)| s.status == tidegate_domain::node::SessionStatus::Open)
            .map(|(id, _)| *id)
            .collect()
    }

    fn grant(&mut self, dice: &mut Dice) {
        let state = self.fleet.state.rollouts();
        let rows: Vec<_> = state
            .iter()
            .filter(|(_, r)| !r.life.is_final() || dice.roll(8) == 0)
            .map(|(id, r)| (*id, r.current_wave(), r.life.clone()))
            .collect();
        let Some((rollout, wave, life)) = dice.pick(&rows) else {
            return;
        };
        let Some(session) = dice.pick(&self.open()) else {
            return;
        };
        let wave = wave.unwrap_or_default();
        let going_back = matches!(life, Life::RollingBack { .. });
        let arm = if going_back && dice.roll(4) > 0 {
            Arm::Return
        } else {
            Arm::Treatment
        };
        let variant = 1 + u32::try_from(dice.roll(3)).unwrap();
        let pool = PoolKey {
            rollout,
            wave,
            stratum: stratum(variant),
            arm,
        };
        let wanted = 1 + dice.roll(20);
        self.operate(session, [Operation::Grant { pool, wanted }]);
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each thing that happens")]
    pub(super) fn step(&mut self, what: u8, dice: &mut Dice) {
        let rollout = dice.pick(&self.live()).unwrap_or(RolloutId(1));
        let reason = reason();
        self.fleet.wait(Millis(dice.roll(60_000)));
        match what % 64 {
            0..=8 | 32..=42 => self.grant(dice),
            9..=17 | 43..=54 => self.report(dice),
            18..=22 | 55..=62 => {
                self.fleet.wait(Millis(HOUR * dice.roll(40)));
                self.run(Tick {});
            }
            23 => self.launch(dice),
            24 => match dice.roll(4) {
                0 => {
                    let wave = self
                        .fleet
                        .state
                        .rollouts()
                        .get(&rollout)
                        .and_then(|r| r.current_wave());
                    self.run(AdvanceWave {
                        rollout,
                        wave: wave.unwrap_or_default(),
                        reason,
                    });
                }
                1 => {
                    self.run(ExpediteRollout { rollout, reason });
                }
                2 => {
                    self.run(CompleteRollout { rollout });
                }
                _ => {
                    self.run(ExcludeVariant {
                        rollout,
                        variant: VariantId(1),
                        reason,
                    });
                }
            },
            25 => {
                self.run(PauseRollout { rollout, reason });
            }
            26 => {
                self.run(ResumeRollout { rollout, reason });
            }
            27 => match dice.roll(2) {
                0 => {
                    self.run(HaltRollout { rollout, reason });
                }
                _ => {
                    self.run(RollBack { rollout, reason });
                }
            },
            28 => {
                if let Some(session) = dice.pick(&self.open()) {
                    self.close(session, dice);
                }
            }
            29 => {
                if let Some(session) = dice.pick(&self.open()).filter(|_| dice.roll(3) == 0) {
                    self.run(WriteOffBudget { session, reason });
                }
            }
            30 => {
                let session = SessionId(1 + dice.roll(self.fleet.state.meta().last_session.0 + 1));
                let pools: Vec<_> = self
                    .fleet
                    .state
                    .budgets()
                    .iter()
                    .filter(|(_, budget)| !budget.is_settled())
                    .map(|(key, _)| key.pool.clone())
                    .collect();
                if let Some(pool) = dice.pick(&pools) {
                    let unused = dice.roll(8);
                    self.operate(session, [Operation::Return { pool, unused }]);
                }
            }
            _ => {
                self.run(OpenSession {
                    region: tidegate_domain::testing::region("eu"),
                    address: "decide.example:7443".to_owned(),
                });
            }
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split([' ', '{', '(']).next().unwrap_or_default()
}
