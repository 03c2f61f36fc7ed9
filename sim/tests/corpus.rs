//! Every kept failure is run again: one with a known bug must still be found, one without is fixed
//! and must stay so.
#![cfg(madsim)]

use std::path::Path;
use std::sync::Mutex;

use tidegate_mutant::Mutant;
use tidegate_sim::corpus::Case;
use tidegate_sim::expect::judge;
use tidegate_sim::generate;
use tidegate_sim::oracle::Violation;
use tidegate_sim::run::run_with;
use tidegate_sim::schedule::Schedule;
use tidegate_sim::search::side_by_side;
use tidegate_sim::shrink::shrink;

/// What openraft asserts in debug builds alone, where it stops some bugs before an oracle sees them.
const OPENRAFT_ASSERTS: [&str; 3] = [
    "follower log reversion is not allowed",
    "new membership has to have a greater log_id",
    "Some(log_id.to_ref()) <= self.committed().to_ref()",
];

/// The invariant that broke first.
fn broken(case: &Case, schedule: &Schedule) -> Option<String> {
    let mutant = case.mutant().expect("a known bug of this build");
    let report = run_with(schedule.clone(), mutant);
    report.violations.first().map(|first| first.id.to_owned())
}

/// Whether openraft found the bug that was switched on.
fn is_asserted(case: &Case, violation: &Violation) -> bool {
    let said = |text: &&str| violation.detail.contains(text);
    cfg!(debug_assertions) && case.mutant.is_some() && OPENRAFT_ASSERTS.iter().any(said)
}

/// Every kept run, with the name of its file.
fn kept() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = std::fs::read_dir(folder).expect("the folder of kept runs");
    let files = files.map(|file| file.expect("a file").path());
    let json = files.filter(|file| {
        file.extension()
            .is_some_and(|extension| extension == "json")
    });
    json.map(|file| {
        let case =
            Case::from_json(&std::fs::read_to_string(&file).expect("text")).expect("a kept run");
        (file.display().to_string(), case)
    })
    .collect()
}

#[test]
fn kept_failures_stay_found_and_fixed_ones_stay_fixed() {
    let (left, wrong) = (Mutex::new(kept()), Mutex::new(Vec::new()));
    let work = || {
        while let Some((name, case)) = { left.lock().unwrap().pop() } {
            assert!(!case.cause.is_empty(), "{name} does not say why");
            let failed = case.broken.is_some() || !case.expect.is_empty();
            assert!(failed, "{name} does not say what broke or was missed");
            let expected = case.mutant.as_ref().and(case.broken.clone());
            let mutant = case.mutant().expect("a known bug of this build");
            let report = run_with(case.schedule.clone(), mutant);
            let rows = judge(&case.expect, report.trace.records(), &[]);
            if let Some(row) = rows.iter().find(|row| !row.held) {
                let (expected, measured) = (&row.expected, &row.measured);
                let said = format!("{name}: expected {expected}, measured {measured}");
                wrong.lock().unwrap().push(said);
            }
            let first = report.violations.into_iter().next();
            if first
                .as_ref()
                .is_some_and(|first| is_asserted(&case, first))
            {
                continue;
            }
            let broken = first.map(|first| first.id.to_owned());
            if broken != expected {
                let said = format!("{name}: expected {expected:?}, broken is {broken:?}");
                wrong.lock().unwrap().push(said);
            }
        }
    };
    side_by_side(2, work);
    assert_eq!(
        wrong.into_inner().unwrap(),
        [""; 0],
        "see CONTRIBUTING.md, `mutants --save`"
    );
}

#[test]
fn a_run_is_kept_for_every_known_bug() {
    let kept: Vec<Mutant> = kept()
        .iter()
        .filter_map(|(_, case)| case.mutant().unwrap())
        .collect();
    let mut missing = Mutant::ALL.to_vec();
    missing.retain(|mutant| !kept.contains(mutant));
    assert_eq!(missing, []);
}

/// A rollout below the floor needs neither faults nor readers in many a seed: then the rest of the
/// load is what is left of its schedule.
#[test]
fn a_failure_shrinks_to_what_it_needs() {
    let case = Case {
        cause: "a rollout below the floor".to_owned(),
        broken: Some("FLOOR-3".to_owned()),
        scenario: None,
        mutant: Some("FloorAboveRollout".to_owned()),
        expect: Vec::new(),
        schedule: generate::schedule(1),
    };
    let breaks = |schedule: &Schedule| broken(&case, schedule) == case.broken;
    let needs_little = |schedule: &Schedule| {
        let mut little = schedule.clone();
        little.faults = Vec::new();
        little.load.readers = 0;
        breaks(&little)
    };
    let schedule = (1..30)
        .map(generate::schedule)
        .find(|schedule| breaks(schedule) && needs_little(schedule))
        .unwrap();
    assert!(!schedule.faults.is_empty());
    let small = shrink(&schedule, 30, breaks);
    assert!(breaks(&small));
    assert_eq!(small.faults, []);
    assert_eq!(small.load.readers, 0);
    // Without the bug nothing breaks: what nobody asks for any more is not awaited.
    let report = run_with(small, None);
    assert_eq!(report.violations, []);
}
