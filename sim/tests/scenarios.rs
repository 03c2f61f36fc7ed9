//! Every scenario that we ship, one round each: what it expects holds, and what its runbook says of
//! it was measured with this build.
#![cfg(madsim)]

use std::path::{Path, PathBuf};

use tidegate_sim::expect::{judge, table};
use tidegate_sim::run::run;
use tidegate_sim::scenario::Scenario;

/// The seed whose numbers stand in the runbooks.
const SEED: u64 = 7;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn read(name: &str) -> Scenario {
    let file = folder().join(name).with_extension("yaml");
    let text = std::fs::read_to_string(file).expect("a file of that name");
    Scenario::parse(&text).unwrap_or_else(|problem| panic!("{name}: {problem}"))
}

fn holds(name: &str) {
    let plan = read(name).plan(SEED, None);
    let report = run(plan.schedule);
    let rows = judge(&plan.expect, report.trace.records(), &report.violations);
    println!("{name}: {report}\n{}", table(&rows));
    assert!(rows.len() > 1, "{name} expects nothing");
    assert!(rows.iter().all(|row| row.held), "{name}:\n{}", table(&rows));
    let check_ins = rows
        .iter()
        .find(|row| row.expected.starts_with("check-ins"));
    let count = check_ins.and_then(|row| row.measured.rsplit_once(" of "));
    let count = count.and_then(|(_, count)| count.trim_end_matches(')').parse().ok());
    let quoted = format!(
        "all {} check-ins",
        grouped(count.expect("a count of check-ins"))
    );
    let runbook = folder().join("../../docs/runbooks").join(name);
    let runbook = std::fs::read_to_string(runbook.with_extension("md"));
    let runbook = runbook.expect("a runbook of that name");
    let says = runbook.to_lowercase().contains(&quoted);
    assert!(says, "the runbook {name} does not say {quoted:?}");
}

/// A number of check-ins as the runbooks write it.
fn grouped(count: u64) -> String {
    format!("{},{:03}", count / 1_000, count % 1_000)
}

macro_rules! shipped {
    ($($test:ident: $name:literal,)*) => {
        const SHIPPED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                holds($name);
            }
        )*
    };
}

shipped! {
    clock_jump: "clock-jump",
    flapping_link: "flapping-link",
    fleet: "fleet",
    halt_during_partition: "halt-during-partition",
    lost_node: "lost-node",
    lost_quorum: "lost-quorum",
    region_outage: "region-outage",
    slow_disk: "slow-disk",
}

#[test]
fn every_scenario_is_run_here() {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = files
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, SHIPPED);
}

#[test]
fn the_fleet_is_large() {
    let schedule = read("fleet").plan(SEED, None).schedule;
    assert!(schedule.load.devices >= 10_000);
    let cuts = schedule
        .faults
        .iter()
        .filter(|timed| timed.fault.class() == "device power");
    assert!(cuts.count() >= 2);
}
