//! An exhaustive walk: every command about a rollout in every life it can lead. The table is a file
//! beside this one, read and reviewed like code; `UPDATE_LIFE=1` writes it anew.
use tidegate_domain::{
    Command, Outcome,
    command::*,
    id::{LogTime, Millis, Ppm, RolloutId, VariantId, WaveIndex},
    rollout::{Life, RolloutSpec},
    testing::{Fleet, reason, release, rollout, traits},
};

const HOUR: u64 = 3_600_000;
const ROLLOUT: RolloutId = RolloutId(1);

/// A life to stand in, and the way there.
struct Stand {
    name: &'static str,
    fleet: Fleet,
}

/// A fleet with a rollout of two waves that nobody has approved.
fn draft() -> Fleet {
    let mut fleet = Fleet::new();
    for variant in ["m1/r1/eu/none", "m2/r1/eu/none"] {
        fleet.accept(RegisterVariant {
            traits: traits(variant),
        });
    }
    fleet.register(release("old"));
    fleet.register(release("new"));
    fleet.accept(CreateRollout { spec: spec() });
    fleet
}

fn spec() -> RolloutSpec {
    let mut spec = rollout("new")
        .back_to("old")
        .wave(10, 1)
        .wave(100, 1)
        .spec();
    spec.sample_min = 1;
    spec
}

fn walked(commands: &[Command]) -> Fleet {
    let mut fleet = draft();
    for command in commands {
        fleet.wait(Millis(60_000));
        fleet.accept(command.clone());
    }
    fleet
}

fn command(name: &str) -> Command {
    let reason = reason();
    let rollout = ROLLOUT;
    let wave = WaveIndex(u16::from(name.ends_with('1')));
    match name {
        "approve" => ApproveRollout { rollout }.into(),
        "start" => StartRollout { rollout }.into(),
        "advance 0" | "advance 1" => AdvanceWave {
            rollout,
            wave,
            reason,
        }
        .into(),
        "pause" => PauseRollout { rollout, reason }.into(),
        "resume or lift" => ResumeRollout { rollout, reason }.into(),
        "halt" => HaltRollout { rollout, reason }.into(),
        "roll back" => RollBack { rollout, reason }.into(),
        "complete" => CompleteRollout { rollout }.into(),
        "expedite" => ExpediteRollout { rollout, reason }.into(),
        "exclude" => ExcludeVariant {
            rollout,
            variant: VariantId(2),
            reason,
        }
        .into(),
        "amend narrower" => {
            let mut spec = spec();
            spec.credit -= 1;
            AmendRollout { rollout, spec }.into()
        }
        "supersede" => {
            let mut spec = spec();
            spec.release = tidegate_domain::id::ReleaseName::new("old").unwrap();
            spec.rollback.target = tidegate_domain::rollout::RollbackTarget::FixForwardOnly;
            spec.supersedes = Some(rollout);
            CreateRollout { spec }.into()
        }
        "tick" => Tick {}.into(),
        name => panic!("no command {name}"),
    }
}

const COMMANDS: [&str; 14] = [
    "approve",
    "start",
    "advance 0",
    "advance 1",
    "pause",
    "resume or lift",
    "halt",
    "roll back",
    "complete",
    "expedite",
    "exclude",
    "amend narrower",
    "supersede",
    "tick",
];

fn path(names: &[&str]) -> Fleet {
    walked(&names.iter().map(|name| command(name)).collect::<Vec<_>>())
}

/// Every life; running and halted in each of the waves that matter.
fn stands() -> Vec<Stand> {
    let stand = |name, fleet| Stand { name, fleet };
    let run = ["approve", "start"];
    let with = |more: &[&str]| path(&[&run[..], more].concat());
    let held = |fleet: Fleet| with_open_budget(fleet);
    vec![
        stand("draft", draft()),
        stand("approved", path(&["approve"])),
        stand("running, wave 0", with(&[])),
        stand("running, wave 1", with(&["advance 0"])),
        stand(
            "running, last gate overridden",
            with(&["advance 0", "advance 1"]),
        ),
        stand("paused", with(&["pause"])),
        stand("halted before its start", path(&["approve", "halt"])),
        stand("halted", with(&["halt"])),
        stand("rolling back", rolling_back(held(with(&[])))),
        stand("rolled back", with(&["roll back"])),
        stand("completed", with(&["advance 0", "advance 1", "complete"])),
        stand("superseded", superseded(with(&[]))),
        stand("superseded while halted", superseded(with(&["halt"]))),
    ]
}

/// A node holds an admission: a rollback has something to wait for.
fn with_open_budget(mut fleet: Fleet) -> Fleet {
    let session = fleet.open_session();
    let pool = tidegate_domain::node::PoolKey {
        rollout: ROLLOUT,
        wave: WaveIndex(0),
        stratum: tidegate_domain::testing::stratum(1),
        arm: tidegate_domain::tally::Arm::Treatment,
    };
    fleet.does(session, Operation::Grant { pool, wanted: 1 });
    fleet
}

fn rolling_back(mut fleet: Fleet) -> Fleet {
    fleet.accept(command("roll back"));
    fleet
}

fn superseded(mut fleet: Fleet) -> Fleet {
    fleet.accept(command("supersede"));
    let rollout = fleet.state.meta().last_rollout;
    fleet.accept(ApproveRollout { rollout });
    fleet.accept(StartRollout { rollout });
    fleet
}

fn life(fleet: &Fleet) -> String {
    let rollout = fleet.state.rollouts().get(&ROLLOUT).unwrap();
    let bar = if fleet.state.bars().contains(&ROLLOUT) {
        ", barred"
    } else {
        ""
    };
    match (&rollout.life, rollout.current_wave()) {
        (Life::Running | Life::Paused { .. }, Some(wave)) => {
            format!("{}, wave {wave}{bar}", rollout.life.name())
        }
        (life, _) => format!("{}{bar}", life.name()),
    }
}

fn table() -> String {
    let mut table = String::new();
    for stand in stands() {
        table.push_str(&format!("\n{}\n", stand.name));
        for name in COMMANDS {
            let mut fleet = stand.fleet.clone();
            fleet.wait(Millis(60_000));
            let line = match fleet.run(command(name)).outcome {
                Outcome::Accepted(_) => format!("-> {}", life(&fleet)),
                Outcome::Rejected(rejection) => format!("refused: {rejection}"),
            };
            table.push_str(&format!("  {name:<15} {line}\n"));
        }
    }
    table
}

#[test]
fn every_command_in_every_life_does_what_the_table_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rollouts/life.txt");
    let found = table();
    if std::env::var_os("UPDATE_LIFE").is_some() {
        std::fs::write(file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(file).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// A rollout with a start time needs nobody once it is approved, and soak does not count pauses.
#[test]
fn time_starts_a_rollout_and_pauses_stop_its_soak() {
    let mut fleet = draft();
    let mut later = spec();
    later.start_at = Some(LogTime(fleet.now.0 + 2 * HOUR));
    let rollout = ROLLOUT;
    fleet.accept(AmendRollout {
        rollout,
        spec: later,
    });
    fleet.accept(command("approve"));
    let early = fleet.refuse(command("start")).to_string();
    assert!(early.starts_with("start_at: not before"), "{early}");
    fleet.wait_hours(1);
    assert_eq!(life(&fleet), "approved");
    fleet.wait_hours(1);
    assert_eq!(life(&fleet), "running, wave 0");
    fleet.wait(Millis(HOUR / 2));
    fleet.accept(command("pause"));
    fleet.wait_hours(5);
    fleet.accept(command("resume or lift"));
    let row = fleet.state.rollouts().get(&rollout).unwrap();
    assert_eq!(row.soaked(WaveIndex(0), fleet.now), Millis(HOUR / 2));
}

/// One operator narrows; what widens takes the quorum.
#[test]
fn amendments_narrow_freely_and_widen_by_quorum() {
    use tidegate_domain::apply::access::{Demand, demand};
    let fleet = path(&["approve", "start"]);
    let check = |what: &str, expected: Demand, change: &dyn Fn(&mut RolloutSpec)| {
        let mut spec = spec();
        change(&mut spec);
        let amend = AmendRollout {
            rollout: ROLLOUT,
            spec,
        }
        .into();
        assert_eq!(demand(&fleet.state, &amend), expected, "{what}");
    };
    let ppm = |parts| Ppm::new(parts).unwrap();
    check("nothing", Demand::Operator, &|_| {});
    check("less credit", Demand::Operator, &|s| s.credit = 1);
    check("more credit", Demand::OperatorQuorum, &|s| s.credit = 201);
    check("a cap", Demand::Operator, &|s| s.waves[1].cap = Some(5));
    check("longer soak", Demand::Operator, &|s| {
        s.waves[1].soak = Millis(2 * HOUR)
    });
    check("shorter soak", Demand::OperatorQuorum, &|s| {
        s.waves[1].soak = Millis(1)
    });
    check("smaller target", Demand::Operator, &|s| {
        s.waves[1].target = ppm(500_000)
    });
    check("greater target", Demand::OperatorQuorum, &|s| {
        s.waves[0].target = ppm(110_000)
    });
    check("fewer waves", Demand::Operator, &|s| drop(s.waves.pop()));
    check("a gate less", Demand::OperatorQuorum, &|s| {
        drop(s.waves.remove(0))
    });
    check("smaller samples", Demand::OperatorQuorum, &|s| {
        s.sample_min = 0
    });
    check("greater samples", Demand::OperatorQuorum, &|s| {
        s.sample_min = 1_000
    });
    check("more silence", Demand::OperatorQuorum, &|s| {
        s.silent_max = ppm(60_000)
    });
    check("another priority", Demand::OperatorQuorum, &|s| {
        s.priority = Some(1)
    });
    check("laxer criteria", Demand::OperatorQuorum, &|s| {
        s.waves[0].criteria.as_mut().unwrap().failure_rate_max = Some(ppm(30_000));
    });
    check("stricter criteria", Demand::Operator, &|s| {
        s.waves[1].criteria = Some(tidegate_domain::wave::Criteria {
            failure_rate_max: Some(ppm(1_000)),
            ..Default::default()
        });
    });
}

/// What has happened stays, whoever signs.
#[test]
fn amendments_leave_history_alone() {
    let fleet = path(&["approve", "start"]);
    let ppm = |parts| Ppm::new(parts).unwrap();
    let refused = |change: &dyn Fn(&mut RolloutSpec)| {
        let mut spec = spec();
        change(&mut spec);
        fleet
            .clone()
            .refuse(AmendRollout {
                rollout: ROLLOUT,
                spec,
            })
            .to_string()
    };
    let text = refused(&|s| s.release = tidegate_domain::id::ReleaseName::new("old").unwrap());
    assert_eq!(
        text,
        "amendment refused: another release takes another rollout"
    );
    let text = refused(&|s| s.waves[0].target = ppm(50_000));
    assert!(text.contains("wave 0 is open"), "{text}");
    let text = refused(&|s| s.waves[1].target = ppm(50_000));
    assert_eq!(
        text,
        "waves[1].target: 5 % falls below the 10 % of the wave before"
    );
}
