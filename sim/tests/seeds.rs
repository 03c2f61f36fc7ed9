//! A few seeds, each a whole run under faults, twice: nothing breaks, and the traces are the same
//! to the last byte.
#![cfg(madsim)]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use tidegate_mutant::Mutant;
use tidegate_sim::generate;
use tidegate_sim::record::Kind;
use tidegate_sim::run::{run, run_with};
use tidegate_sim::schedule::Schedule;

const SIMULATOR: &str = env!("CARGO_BIN_EXE_tidegate-sim");

#[test]
fn nothing_breaks_under_a_few_seeds_and_each_repeats() {
    let mut traces = BTreeSet::new();
    for seed in 1..=3 {
        let report = run(generate::schedule(seed));
        println!("seed {seed}: {report}");
        assert_eq!(report.violations, [], "seed {seed}");
        assert!(report.entries > 20, "seed {seed}: {report}");
        let again = run(generate::schedule(seed));
        assert_eq!(report.trace.hash(), again.trace.hash(), "seed {seed}");
        traces.insert(report.trace.hash());
    }
    assert_eq!(traces.len(), 3, "seeds do not differ");
}

/// LIVE-1 with two of five voters broken for good, which only happens after everything was mended.
#[test]
fn a_quorum_goes_on_without_the_others() {
    for seed in 1..=3 {
        let report = run(Schedule {
            faults: Vec::new(),
            left_out: 2,
            ..generate::schedule(seed)
        });
        assert_eq!(report.violations, [], "seed {seed}");
        let records = report.trace.records();
        let is_fault = |kind: &Kind| matches!(kind, Kind::Fault { .. });
        let healed = records
            .iter()
            .position(|record| record.kind == Kind::Healed);
        let (before, after) = records.split_at(healed.unwrap());
        let faults = |part: &[tidegate_sim::record::Record]| {
            part.iter().filter(|record| is_fault(&record.kind)).count()
        };
        assert_eq!((faults(before), faults(after)), (0, 2), "seed {seed}");
    }
}

/// A simulator that finds nothing may be blind.
#[test]
fn a_known_bug_is_found() {
    let found = (1..=10).find_map(|seed| {
        let report = run_with(generate::schedule(seed), Some(Mutant::FloorAboveRollout));
        report.violations.first().map(|violation| violation.id)
    });
    assert_eq!(found, Some("FLOOR-3"));
}

/// Nothing of a process gets in: not where its memory lies, nor what it hashes with.
#[test]
fn another_process_repeats_a_seed() {
    let records = || {
        let run = Command::new(SIMULATOR)
            .args(["run", "--seed", "4", "--verbose"])
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        let text = String::from_utf8(run.stdout).unwrap();
        // The last line says how fast it was.
        let (records, last) = text.trim_end().rsplit_once('\n').unwrap();
        let (_, trace) = last.rsplit_once("trace ").unwrap();
        (records.to_owned(), trace.to_owned())
    };
    let first = records();
    assert!(first.0.lines().count() > 100);
    assert_eq!(first, records());
}

/// As with `chaos list | head -1`.
#[test]
fn a_reader_that_goes_away_hears_no_complaint() {
    let mut listing = Command::new(SIMULATOR)
        .args(["chaos", "list"])
        .env("TIDEGATE_SIM", env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(listing.stdout.take());
    let ended = listing.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
