//! A fleet whose nodes keep honest books, and what operators and nodes do to it at random.
mod books;

use std::collections::BTreeMap;
use tidegate_domain::{
    Outcome,
    command::*,
    id::{Millis, Ppm, RolloutId, SessionId, VariantId},
    invariant::{self, Transition},
    node::PoolKey,
    rollout::{Life, OnInconclusive},
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, reason, release, rollout, stratum, traits},
};

const VARIANTS: [&str; 3] = ["m1/r1/eu/none", "m1/r2/us/none", "m2/r1/eu/none"];
const HOUR: u64 = 3_600_000;

/// A fleet with nodes that keep books.
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) books: BTreeMap<(SessionId, TallyKey), Counts>,
    accepted: BTreeMap<&'static str, u32>,
    pub(super) refused: BTreeMap<String, u32>,
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
            accepted: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        world.launch(&mut Dice(7));
        world
    }

    /// Applies a command and checks every invariant on it.
    pub(super) fn run(&mut self, command: impl Into<Command>) -> bool {
        let command = command.into();
        let name = command.name();
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
        match &applied.outcome {
            Outcome::Accepted(events) => {
                *self.accepted.entry(name).or_default() += 1;
                for event in events {
                    let text = format!("{event:?}");
                    let word = text.split([' ', '{', '(']).next().unwrap_or_default();
                    *self.refused.entry(word.to_owned()).or_default() += 1;
                    if text.contains("breach: Some(Accuracy")
                        || text.contains("control: Some(Counts")
                    {
                        let by_control = format!("{word} by control");
                        *self.refused.entry(by_control).or_default() += 1;
                    }
                }
                true
            }
            Outcome::Rejected(rejection) => {
                let text = format!("{rejection:?}");
                let word = text.split([' ', '{', '(']).next().unwrap_or_default();
                *self.refused.entry(word.to_owned()).or_default() += 1;
                false
            }
        }
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
        self.run(GrantBudget {
            session,
            pool,
            wanted: 1 + dice.roll(20),
        });
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
                    let last = self.honest_report(session, dice);
                    assert!(self.run(CloseSession { session, last }));
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
                    self.run(ReturnBudget {
                        session,
                        pool,
                        unused: dice.roll(8),
                    });
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
