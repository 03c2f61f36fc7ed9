//! What operators see, as transcripts to read: each is a story in commands, events and reasons.
use std::fmt::Write as _;
use tidegate_domain::{
    Command, Event, Outcome,
    command::*,
    event::refused_operations,
    id::{LogTime, Millis, Ppm, RolloutId, SessionId, VariantId, WaveIndex},
    node::PoolKey,
    plan,
    rollout::{ExclusionCause, HaltCause},
    tally::{Arm, Counts, TallyKey},
    testing::{Fleet, reason, region, release, rollout, stratum, traits},
    wave::OpenedBy,
};

const HOUR: u64 = 3_600_000;

/// A fleet and what was said so far.
struct Story {
    fleet: Fleet,
    began: LogTime,
    text: String,
    session: SessionId,
    rollout: RolloutId,
}

impl Story {
    fn new() -> Self {
        let mut fleet = Fleet::new();
        for variant in ["phone/r1/eu/none", "tablet/r1/eu/none"] {
            fleet.accept(RegisterVariant {
                traits: traits(variant),
            });
        }
        for name in ["os-1", "os-2", "os-3"] {
            fleet.register(release(name));
        }
        let session = fleet.open_session();
        Self {
            began: fleet.now,
            fleet,
            text: String::new(),
            session,
            rollout: RolloutId(0),
        }
    }

    fn say(&mut self, line: &str) {
        let hours = self.fleet.now.since(self.began).0 / HOUR;
        writeln!(self.text, "{hours:>4} h  {line}").unwrap();
    }

    fn launch(&mut self, spec: tidegate_domain::rollout::RolloutSpec) {
        self.run("create", CreateRollout { spec });
        self.rollout = self.fleet.state.meta().last_rollout;
        let rollout = self.rollout;
        self.run("approve", ApproveRollout { rollout });
        self.run("start", StartRollout { rollout });
    }

    fn run(&mut self, what: &str, command: impl Into<Command>) {
        match self.fleet.run(command).outcome {
            Outcome::Accepted(events) => {
                // Each envelope of a story is of one operation.
                match refused_operations(&events).next() {
                    Some((_, rejection)) => self.say(&format!("> {what}: refused: {rejection}")),
                    None => self.say(&format!("> {what}")),
                }
                events
                    .iter()
                    .filter_map(told)
                    .for_each(|line| self.say(&format!("  {line}")));
            }
            Outcome::Rejected(rejection) => self.say(&format!("> {what}: refused: {rejection}")),
        }
    }

    /// The session's next envelope.
    fn operate(&mut self, what: &str, operation: Operation) {
        let envelope = self.fleet.envelope(self.session, [operation]);
        self.run(what, envelope);
    }

    /// Waits hour by hour, telling only what happens.
    fn wait(&mut self, hours: u64) {
        for _ in 0..hours {
            self.fleet.wait(Millis(HOUR));
            let events = self.fleet.tick();
            events
                .iter()
                .filter_map(told)
                .for_each(|line| self.say(&line));
        }
    }

    fn why(&mut self) {
        let waits = plan::waits(&self.fleet.state, self.rollout, self.fleet.now);
        waits.iter().for_each(|wait| self.say(&format!("? {wait}")));
    }

    fn pool(&self, variant: u32, arm: Arm) -> PoolKey {
        let row = self.fleet.state.rollouts().get(&self.rollout).unwrap();
        PoolKey {
            rollout: self.rollout,
            wave: row.current_wave().unwrap(),
            stratum: stratum(variant),
            arm,
        }
    }

    /// Admits devices of a variant and says at once what became of them.
    fn devices(&mut self, variant: u32, arm: Arm, exposed: u64, verified: u64, failed: u64) {
        let pool = self.pool(variant, arm);
        let grant = Operation::Grant {
            pool: pool.clone(),
            wanted: exposed,
        };
        self.operate(&format!("grant {exposed} of variant {variant}"), grant);
        let key = TallyKey {
            rollout: pool.rollout,
            wave: pool.wave,
            stratum: pool.stratum,
            cohort: self.fleet.now.cohort(),
            arm,
        };
        let counts = Counts {
            exposed,
            verified,
            failed,
            ..Counts::default()
        };
        let report = Operation::Report {
            tallies: vec![Tally { key, counts }],
            anchor: None,
        };
        let what =
            format!("report {exposed} of variant {variant}: {verified} verified, {failed} failed");
        self.operate(&what, report);
    }
}

/// What an event says to people; bookkeeping says nothing.
fn told(event: &Event) -> Option<String> {
    let line = match event {
        Event::RolloutCreated(rollout) => {
            format!("rollout {} of {}", rollout.id, rollout.spec.release)
        }
        Event::WaveOpened { wave, opening, .. } => {
            let by = match opening.by {
                OpenedBy::Start => "by the start",
                OpenedBy::Gate => "by its gate",
                OpenedBy::Override => "BY OVERRIDE",
            };
            format!("wave {wave} opens {by}")
        }
        Event::WavePassed { wave, evidence, .. } => format!(
            "wave {wave} passes: {} of {} verified",
            evidence.counts.verified,
            evidence.counts.resolved()
        ),
        Event::GateOverridden { wave, .. } => format!("gate of wave {wave} OVERRIDDEN"),
        Event::VariantExcluded { variant, cause, .. } => match &**cause {
            ExclusionCause::Operator(_) => format!("variant {variant} is out, by an operator"),
            ExclusionCause::Gate(evidence) => {
                format!("variant {variant} is out: {}", evidence.breach.unwrap())
            }
        },
        Event::RolloutHalted { rollout, cause, .. } => match &**cause {
            HaltCause::Gate(evidence) => {
                format!("rollout {rollout} HALTS: {}", evidence.breach.unwrap())
            }
            cause => format!("rollout {rollout} HALTS: {cause:?}"),
        },
        Event::HaltLifted { .. } => "the halt is lifted".to_owned(),
        Event::RollbackStarted { .. } => "devices are sent back".to_owned(),
        Event::RolledBack { .. } => "all devices are back".to_owned(),
        Event::RolloutCompleted { rollout } => format!("rollout {rollout} is complete"),
        Event::RolloutSuperseded { rollout, by } => format!("rollout {rollout} gives way to {by}"),
        Event::BaselineSet { key, baseline } => {
            format!(
                "baseline of {}/{} is {}",
                key.component, key.selector, baseline.release
            )
        }
        Event::CreditGrown { pool, credit } => {
            format!(
                "credit of variant {} grows to {credit}",
                pool.stratum.variant
            )
        }
        Event::BudgetGranted { count, .. } => format!("{count} granted"),
        Event::BudgetReturned { count, .. } => format!("{count} come back unused"),
        Event::BudgetLost { count, .. } => {
            format!("{count} are lost: nobody knows what became of them")
        }
        Event::CohortMatured { key } => {
            format!(
                "an hour of variant {} is past the horizon",
                key.stratum.variant
            )
        }
        _ => return None,
    };
    Some(line)
}

fn three_waves(release: &str) -> tidegate_domain::rollout::RolloutSpec {
    let builder = rollout(release).back_to("os-1").auto_rollback();
    let mut spec = builder.wave(5, 24).wave(25, 48).wave(100, 0).spec();
    spec.sample_min = 50;
    spec.waves[0].criteria.as_mut().unwrap().failure_rate_max = Ppm::new(20_000);
    spec.complete_after = Some(Millis(24 * HOUR));
    spec
}

/// Canary passes, early adopters fail on one variant, which is out; then the pool fails, and
/// everybody goes back.
#[test]
fn a_rollout_fails_in_its_second_wave() {
    let mut story = Story::new();
    story.launch(three_waves("os-2"));
    story.why();
    story.devices(1, Arm::Treatment, 60, 60, 0);
    story.devices(2, Arm::Treatment, 60, 59, 1);
    story.wait(30);
    story.why();
    story.wait(50);
    story.devices(2, Arm::Treatment, 50, 44, 6);
    story.devices(1, Arm::Treatment, 100, 97, 1);
    story.why();
    story.devices(1, Arm::Treatment, 10, 4, 3);
    story.why();
    story.devices(1, Arm::Treatment, 10, 0, 0);
    story.devices(1, Arm::Return, 100, 100, 0);
    story.run(
        "the same release again",
        CreateRollout {
            spec: three_waves("os-2"),
        },
    );
    story.wait(80);
    story.why();
    let rollout = story.rollout;
    story.run("complete", CompleteRollout { rollout });
    story.run(
        "lift",
        ResumeRollout {
            rollout,
            reason: reason(),
        },
    );
    insta::assert_snapshot!(story.text);
}

/// Everything goes well: credit grows, waves open, the rollout completes and is the baseline.
#[test]
fn a_rollout_goes_well() {
    let mut story = Story::new();
    let mut spec = three_waves("os-2");
    spec.credit = 60;
    story.launch(spec);
    let pool = story.pool(1, Arm::Treatment);
    let grant = Operation::Grant {
        pool: pool.clone(),
        wanted: 1_000,
    };
    story.operate("grant 1000 of variant 1", grant);
    story.why();
    story.operate("return", Operation::Return { pool, unused: 60 });
    story.devices(1, Arm::Treatment, 60, 60, 0);
    story.wait(80);
    story.devices(1, Arm::Treatment, 100, 100, 0);
    story.wait(80);
    story.devices(1, Arm::Treatment, 100, 100, 0);
    story.wait(120);
    story.why();
    insta::assert_snapshot!(story.text);
}

/// An emergency: expedited, overridden, superseded by a fix; a dead node is written off.
#[test]
#[expect(clippy::too_many_lines, reason = "a story is told in one go")]
fn an_emergency_is_marked_as_one() {
    let mut story = Story::new();
    story.launch(three_waves("os-2"));
    let old = story.rollout;
    story.devices(1, Arm::Treatment, 20, 20, 0);
    story.run("complete", CompleteRollout { rollout: old });
    let wave = WaveIndex(0);
    story.run(
        "advance",
        AdvanceWave {
            rollout: old,
            wave,
            reason: reason(),
        },
    );
    let session = story.session;
    let pool = story.pool(2, Arm::Treatment);
    story.operate(
        "grant 30 of variant 2",
        Operation::Grant { pool, wanted: 30 },
    );
    story.run(
        "write the node off",
        WriteOffBudget {
            session,
            reason: reason(),
        },
    );
    story.session = {
        story.run(
            "open another",
            OpenSession {
                region: region("eu"),
                address: "b:1".to_owned(),
            },
        );
        story.fleet.state.meta().last_session
    };
    let mut fix = three_waves("os-3");
    story.run("create a fix", CreateRollout { spec: fix.clone() });
    fix.supersedes = Some(old);
    story.launch(fix);
    story.run(
        "expedite",
        ExpediteRollout {
            rollout: story.rollout,
            reason: reason(),
        },
    );
    story.devices(1, Arm::Treatment, 60, 60, 0);
    story.fleet.wait(Millis(HOUR));
    story.run("tick", Tick {});
    story.why();
    let rollout = story.rollout;
    story.run(
        "exclude variant 2",
        ExcludeVariant {
            rollout,
            variant: VariantId(2),
            reason: reason(),
        },
    );
    story.run(
        "pause",
        PauseRollout {
            rollout,
            reason: reason(),
        },
    );
    story.fleet.wait(Millis(90_000));
    story.why();
    insta::assert_snapshot!(story.text);
}
