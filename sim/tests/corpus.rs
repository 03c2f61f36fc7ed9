//! Every kept failure is run again: one with a known bug must still be found, one without is fixed
//! and must stay so.
#![cfg(madsim)]

use std::path::Path;

use tidegate_sim::corpus::Case;
use tidegate_sim::generate;
use tidegate_sim::run::run_with;
use tidegate_sim::schedule::Schedule;
use tidegate_sim::shrink::shrink;

/// What broke first.
fn broken(case: &Case, schedule: &Schedule) -> Option<String> {
    let mutant = case.mutant().expect("a known bug of this build");
    let report = run_with(schedule.clone(), mutant);
    report
        .violations
        .first()
        .map(|violation| violation.id.to_owned())
}

#[test]
fn kept_failures_stay_found_and_fixed_ones_stay_fixed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut ran = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = file.display();
        let case = Case::from_json(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert!(!case.cause.is_empty(), "{name} does not say why");
        assert!(case.broken.is_some(), "{name} does not say what broke");
        let expected = case.mutant.as_ref().and(case.broken.clone());
        assert_eq!(broken(&case, &case.schedule), expected, "{name}");
        ran += 1;
    }
    assert!(ran > 0, "the corpus is empty");
}

/// A rollout below the floor needs no fault at all: what is left of a schedule is load.
#[test]
fn a_failure_shrinks_to_what_it_needs() {
    let case = Case {
        cause: "a rollout below the floor".to_owned(),
        broken: Some("FLOOR-3".to_owned()),
        mutant: Some("FloorAboveRollout".to_owned()),
        expect: Vec::new(),
        schedule: generate::schedule(4),
    };
    assert!(!case.schedule.faults.is_empty());
    assert_eq!(broken(&case, &case.schedule), case.broken);
    let small = shrink(&case.schedule, 30, |schedule| {
        broken(&case, schedule) == case.broken
    });
    assert_eq!(broken(&case, &small), case.broken);
    assert_eq!(small.faults, []);
    assert_eq!(small.load.readers, 0);
    // Without the bug nothing breaks: what nobody asks for any more is not awaited.
    let report = run_with(small, None);
    assert_eq!(report.violations, []);
}
