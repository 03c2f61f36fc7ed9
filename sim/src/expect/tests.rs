use super::*;
use crate::story::tests::{at, partition};

fn row(what: What, from_ms: u64, until_ms: u64, records: &[Record]) -> (String, bool) {
    let one = Expectation {
        what,
        from_ms,
        until_ms,
    };
    let rows = judge(&[one], records, &[]);
    (rows[1].measured.clone(), rows[1].held)
}

fn commands(at_least_ppm: u32, at_most_ppm: u32) -> What {
    What::CommandsAnswered {
        at_least_ppm,
        at_most_ppm,
    }
}

#[test]
fn shares_are_of_what_was_asked_in_the_span() {
    let records = partition();
    let half = "50 % (1 of 2)".to_owned();
    assert_eq!(
        row(commands(500_000, 1_000_000), 0, 30_000, &records),
        (half.clone(), true)
    );
    assert_eq!(
        row(commands(500_001, 1_000_000), 0, 30_000, &records),
        (half, false)
    );
    let none = "0 % (0 of 1)".to_owned();
    assert_eq!(row(commands(0, 0), 5_000, 30_000, &records), (none, true));
    let nothing = "nothing was asked".to_owned();
    assert_eq!(
        row(commands(0, 1_000_000), 20_000, 30_000, &records),
        (nothing, false)
    );
}

#[test]
fn no_leader_that_can_be_reached_is_no_leader() {
    let bound = |at_most_ms| What::Leaderless { at_most_ms };
    let records = partition();
    let three = "3000 ms".to_owned();
    assert_eq!(
        row(bound(3_000), 0, 35_000, &records),
        (three.clone(), true)
    );
    assert_eq!(row(bound(2_999), 0, 35_000, &records), (three, false));
    assert_eq!(
        row(bound(0), 10_000, 35_000, &records),
        ("0 ms".to_owned(), true)
    );
}

#[test]
fn latency_the_first_command_and_late_offers_are_measured() {
    let mut records = partition();
    let latency = What::CommitLatency { p99_ms: 1_000 };
    let told = "1000 ms (median 1000 ms, 1 commands)".to_owned();
    assert_eq!(row(latency, 0, 35_000, &records), (told, true));
    let first = |within_ms| What::CommandWithin { within_ms };
    let told = "after 1000 ms".to_owned();
    assert_eq!(
        row(first(1_000), 1_000, 35_000, &records),
        (told.clone(), true)
    );
    assert_eq!(row(first(999), 1_000, 35_000, &records), (told, false));
    let bound = |at_most_ms| What::HaltBound { at_most_ms };
    let nothing = "nothing was halted".to_owned();
    assert_eq!(row(bound(10_000), 0, 35_000, &records), (nothing, false));
    let what = || "rollout 1".to_owned();
    records.insert(6, at(10, "world", Kind::Barred { what: what() }));
    let late_us = 2_000_000;
    let what = what();
    records.insert(8, at(13, "world", Kind::LateOffer { what, late_us }));
    let told = "2000 ms (1 halts)".to_owned();
    assert_eq!(row(bound(2_000), 0, 35_000, &records), (told.clone(), true));
    assert_eq!(row(bound(1_999), 0, 35_000, &records), (told, false));
}

#[test]
fn a_run_that_ended_early_keeps_no_promise() {
    let told = "the run ended before".to_owned();
    assert_eq!(
        row(commands(0, 1_000_000), 0, 36_000, &partition()),
        (told, false)
    );
    let violation = Violation {
        id: "LOG-1",
        detail: String::new(),
    };
    let rows = judge(&[], &partition(), &[violation]);
    assert_eq!((rows[0].measured.as_str(), rows[0].held), ("LOG-1", false));
}

#[test]
fn percentiles_are_of_those_that_were_seen() {
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!(percentile(&hundred, 99), Some(99));
    assert_eq!(percentile(&hundred[..10], 99), Some(10));
    assert_eq!(percentile(&[], 99), None);
}
