use std::collections::BTreeSet;

use super::*;

#[test]
fn a_seed_is_one_schedule_and_another_seed_another() {
    assert_eq!(schedule(3), schedule(3));
    assert_ne!(schedule(3).faults, schedule(4).faults);
}

#[test]
fn a_schedule_survives_its_file() {
    let schedule = schedule(11);
    let read = Schedule::from_json(&schedule.to_json()).unwrap();
    assert_eq!(read, schedule);
    assert!(Schedule::from_json(&schedule.to_json().replace("seed", "sead")).is_err());
}

#[test]
fn every_class_is_drawn_by_some_seed_and_left_out_by_others() {
    let classes = |seed| -> BTreeSet<&str> {
        let faults = schedule(seed).faults;
        faults.iter().map(|timed| timed.fault.class()).collect()
    };
    let all: BTreeSet<&str> = (0..200).flat_map(classes).collect();
    // Regions are partitioned, decision and store nodes cut, and store nodes parted from their peers,
    // by makers of their own; and a chain diverges, and a leader forges.
    let makers = CLASSES.len() + files::FILE_CLASSES.len() + 2;
    assert_eq!(all.len(), makers - 4, "{all:?}");
    assert_eq!(all, Fault::CLASSES.into_iter().collect());
    for class in all {
        let with = (0..200)
            .filter(|seed| classes(*seed).contains(class))
            .count();
        assert!(
            (5..150).contains(&with),
            "{class} is in {with} of 200 seeds"
        );
    }
}
