use super::*;
use crate::schedule::{Fault, Spot};

fn parse(text: &str) -> Scenario {
    match Scenario::parse(text) {
        Ok(scenario) => scenario,
        Err(problem) => panic!("{problem}"),
    }
}

fn refused(text: &str) -> String {
    Scenario::parse(text).unwrap_err().to_string()
}

const OUTAGE: &str = "
summary: a region is lost
for: 3m
faults:
  - at: 40s
    region-outage: {region: b, for: 1m}
  - at: 10s
    clock: {node: leader, jump: -5m, drift: +0.5%, for: 20s}
expect:
  - commands-answered: {at-least: 95%}
    from: 1m
";

#[test]
fn a_scenario_compiles_into_a_schedule() {
    let plan = parse(OUTAGE).plan(7, None);
    let schedule = plan.schedule;
    assert_eq!((schedule.seed, schedule.heal_at_ms), (7, 180_000));
    assert_eq!(schedule.world, WorldSpec::five_voters());
    let clock = Fault::Clock {
        at: Spot("leader".to_owned()),
        rate_ppm: 1_005_000,
        wall_ms: -300_000,
        for_ms: 20_000,
    };
    assert_eq!(schedule.faults[0].fault, clock);
    // A region is lost with its voters, its learner and its decision node.
    let lost: Vec<String> = schedule.faults[1..]
        .iter()
        .map(|t| t.fault.to_string())
        .collect();
    let expected = ["s3", "s4", "s6", "d2"].map(|at| format!("crash {at} for 60000 ms"));
    assert_eq!(lost, expected);
    assert_eq!(plan.expect.len(), 1);
    assert_eq!(
        (plan.expect[0].from_ms, plan.expect[0].until_ms),
        (60_000, 180_000)
    );
}

#[test]
fn a_longer_run_repeats_the_round() {
    let scenario = parse(OUTAGE);
    let plan = scenario.plan(7, Some(3_600_000));
    assert_eq!(plan.schedule.heal_at_ms, 3_600_000);
    assert_eq!(plan.schedule.faults.len(), 20 * 5);
    assert_eq!(plan.expect.len(), 20);
    assert_eq!(plan.expect[19].from_ms, 19 * 180_000 + 60_000);
    assert_eq!(scenario.plan(7, Some(1)).schedule.heal_at_ms, 180_000);
    let times: Vec<u64> = plan
        .schedule
        .faults
        .iter()
        .map(|timed| timed.at_ms)
        .collect();
    assert!(times.is_sorted());
}

#[test]
fn random_faults_follow_from_the_seed_and_are_of_the_classes_named() {
    let scenario = parse(
        "
summary: weather
for: 2m
random:
  - {from: 10s, until: 90s, about-every: 2s, classes: [power-loss, one-way-cut]}
",
    );
    let faults = |seed| scenario.plan(seed, None).schedule.faults;
    assert_eq!(faults(1), faults(1));
    assert_ne!(faults(1), faults(2));
    let drawn = faults(1);
    assert!((25..60).contains(&drawn.len()), "{}", drawn.len());
    for timed in &drawn {
        assert!(
            ["crash", "one-way cut"].contains(&timed.fault.class()),
            "{}",
            timed.fault
        );
        assert!((10_000..90_000).contains(&timed.at_ms));
    }
}

#[test]
fn whatever_can_be_drawn_can_be_timed_under_the_same_word() {
    let sample = |word: &str| match word {
        "replace" | "failed-sync" | "misdirected-write" | "transfer" | "snapshot"
        | "disconnect" | "divergence" | "forgery" | "bit-flip" => "{node: s1}",
        "one-way-cut" => "{from: [s1], to: [s2], for: 1s}",
        "partition" => "{nodes: [s1], for: 1s}",
        "flapping" => "{nodes: [s1], period: 100ms, for: 1s}",
        "loss" => "{share: 5%, for: 1s}",
        "delay" => "{up-to: 50ms, for: 1s}",
        "lag" => "{node: d1, by: 1s, for: 1s}",
        "slow-disk" => "{node: s1, sync: 1s, for: 1s}",
        "failed-io" => "{node: s1, of: reads}",
        "clock" => "{node: s1, jump: +1s, for: 1s}",
        "two-snapshots" => "{node: s1, apart: 50ms}",
        "duplication" => "{for: 1s}",
        "device-power" => "{one-in: 3}",
        "membership" => "{node: s1, voter: false}",
        "shortened-file" => "{node: s1, to: 50%, for: 1s}",
        "swapped-file" => "{node: s1, of: state, with: s2, for: 1s}",
        "older-copy" => "{node: s1, age: 2s, for: 1s}",
        _ => "{node: s1, for: 1s}",
    };
    let classes = generate::classes();
    assert_eq!(classes.len(), Fault::CLASSES.len());
    for class in classes {
        let word = strike::word(class);
        let fault = sample(&word);
        let timed = parse(&format!(
            "summary: a\nfor: 1m\nfaults:\n  - at: 5s\n    {word}: {fault}\n"
        ));
        let faults = timed.plan(1, None).schedule.faults;
        assert_eq!(faults[0].fault.class(), class);
        let drawn = format!(
            "summary: a\nfor: 1m\nrandom:\n  - {{from: 1s, until: 1m, about-every: 1s, classes: \
             [{word}]}}\n"
        );
        let drawn = parse(&drawn).plan(1, None).schedule.faults;
        assert!(!drawn.is_empty(), "{word} is never drawn");
        assert!(drawn.iter().all(|timed| timed.fault.class() == class));
    }
}

#[test]
fn what_would_do_nothing_or_hold_of_anything_is_refused() {
    let fault = |fault: &str| {
        let text = format!("summary: a\nfor: 1m\nfaults:\n  - at: 5s\n    {fault}\n");
        refused(&text)
    };
    assert_eq!(
        fault("one-way-cut: {from: [s1], to: [s1], for: 1s}"),
        "line 4: a cut goes `from` some nodes `to` others"
    );
    assert_eq!(
        fault("pause: {node: s1, for: 0s}"),
        "line 4: it changes nothing, or lasts no time"
    );
    for nothing in [
        "loss: {share: 0%, for: 1s}",
        "delay: {up-to: 0ms, for: 1s}",
        "lag: {node: d1, by: 0s, for: 1s}",
        "clock: {node: s1, jump: +0s, for: 1s}",
        "bit-flip: {node: s1, at: 100%}",
    ] {
        assert!(fault(nothing).contains("it changes nothing"), "{nothing}");
    }
    let bounce = "summary: a\nfor: 1m\nfaults:\n  - {at: 5s, kill: {node: s1, for: 0s}}\n";
    assert_eq!(parse(bounce).plan(1, None).schedule.faults.len(), 1);
    assert_eq!(
        fault("device-power: {one-in: 0}"),
        "line 4: one device in 0 is none"
    );
    let empty = "summary: a\nfor: 1m\ntopology:\n  regions: [{name: a, voters: 1, decision-nodes: 1}, \
                 {name: b}]\n";
    let outage = "faults:\n  - {at: 5s, region-outage: {region: b, for: 1s}}\n";
    assert_eq!(
        refused(&format!("{empty}{outage}")),
        "line 6: the region `b` has no nodes"
    );
    assert_eq!(
        refused(&format!("{empty}  snapshot-every: 0\n")),
        "line 5: a snapshot covers 1 entry or more"
    );
    let expect = |expect: &str| refused(&format!("summary: a\nfor: 1m\nexpect:\n  - {expect}\n"));
    assert_eq!(
        expect("commands-answered: {}"),
        "line 4: a share needs `at-least`, `at-most` or both"
    );
    assert_eq!(
        expect("reads-answered: {at-least: 0%}"),
        "line 4: every share is `at-least` 0%"
    );
    assert_eq!(
        expect("reads-answered: {at-least: 90%, at-most: 10%}"),
        "line 4: `at-least` is more than `at-most`"
    );
    let random = "random:\n  - {from: 1s, until: 9s, about-every: 1s, classes: []}\n";
    assert_eq!(
        refused(&format!("summary: a\nfor: 1m\n{random}")),
        "line 4: no `classes` to draw from"
    );
}

#[test]
fn what_is_of_another_kind_is_said_in_words_of_yaml() {
    let after = |rest: &str| refused(&format!("summary: a\nfor: 1m\n{rest}\n"));
    let whole = "line 3: expected a whole number from 0 to 255";
    assert_eq!(after("load: {operators: 300}"), whole);
    assert_eq!(after("load: {operators: many}"), whole);
    assert_eq!(after("load: 5"), "line 3: expected `key: value` pairs");
    assert_eq!(
        after("faults: 5"),
        "line 3: expected a list, each item after a `-`"
    );
    assert_eq!(
        after("faults:\n  - {at: 5s, kill: {node: [s1], for: 1s}}"),
        "line 4: expected one word or line"
    );
    assert_eq!(
        after("faults:\n  - {at: 5s, membership: {node: s1, voter: perhaps}}"),
        "line 4: expected `true` or `false`"
    );
    assert_eq!(after("for: 2m"), "line 3: the key `for` stands twice");
    assert_eq!(
        after("topology: {regions: [], links: [{between: [a], one-way: 1ms}]}"),
        "line 3: 1 here, expected 2"
    );
    assert_eq!(
        after("---\nsummary: b"),
        "line 4: another document begins here, and a scenario is one"
    );
    assert_eq!(
        refused(""),
        "line 1: the file ends before the scenario does"
    );
    assert_eq!(
        after("\tload: 5"),
        "line 2: while scanning a plain scalar, found a tab"
    );
}

#[test]
fn a_topology_of_ones_own() {
    let text = "
summary: another world
for: 1m
topology:
  regions:
    - {name: north, voters: 1, decision-nodes: 1}
    - {name: south, voters: 2}
  heartbeat: 150ms
  links:
    - {between: [north, south], one-way: 40ms}
  disk-sync: 3ms
load: {devices: 500, check-in-every: 30s}
faults:
  - at: 5s
    partition: {region: south, for: 10s}
";
    let scenario = parse(text);
    let Schedule {
        world,
        load,
        faults,
        ..
    } = scenario.plan(1, None).schedule;
    assert_eq!(world.links[0].jitter_us, 4_000);
    assert_eq!(
        (world.sync_us, load.devices, load.check_in_ms),
        (3_000, 500, 30_000)
    );
    assert_eq!(faults[0].fault.to_string(), "partition s2,s3 for 10000 ms");
    assert_eq!(world.heartbeat_ms, 150);
    assert_eq!(
        refused(&text.replace("  heartbeat: 150ms\n", "")),
        "line 9: from `north` to `south` and back takes up to 88ms, too long for a heartbeat of 100ms: \
         set `heartbeat: 119ms` or more in `topology`, and as much in the nodes' own settings"
    );
    assert_eq!(
        refused(&text.replace("150ms", "5ms")),
        "line 8: a heartbeat takes 10ms to 10s"
    );
    assert_eq!(
        refused(&text.replace(", decision-nodes: 1", "")),
        "line 12: devices check in at decision nodes, and no region has any"
    );
    assert_eq!(
        refused(&text.replace("devices: 500", "operators: 60, readers: 60")),
        "line 12: more than 100 operators, readers and followers"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_the_nearest_word() {
    let wrong = |from: &str, to: &str| refused(&OUTAGE.replace(from, to));
    assert_eq!(
        wrong("summary:", "sumary:"),
        "line 2: unknown key `sumary`, expected one of `summary`, `for`, `topology`, `load`, \
         `faults`, `random`, `expect`; did you mean `summary`?"
    );
    let region = wrong("region: b", "region: bb");
    assert_eq!(
        region,
        "line 6: unknown region `bb`, expected one of `a`, `b`, `c`; did you mean `a`?"
            .replace("; did you mean `a`?", "; did you mean `b`?")
    );
    assert!(wrong("node: leader", "node: s9").starts_with("line 8: unknown node `s9`"));
    assert_eq!(
        wrong("for: 3m", "for: 3"),
        "line 3: string \"3\" is not a length of time such as `40s`, `2m30s`, `1h` or `250ms`"
    );
    assert_eq!(
        wrong("for: 1m}", "for: 10m}"),
        "line 5: it would end at 10m40s, after the round of 3m"
    );
    assert!(wrong("95%", "950%").contains("line 10: string \"950%\" is not a share"));
    assert!(wrong("region-outage", "region-out").contains("did you mean `region-outage`?"));
    let two = "transfer: {node: s1}\n    region-outage";
    assert_eq!(
        wrong("region-outage", two),
        "line 5: 2 faults here, not one"
    );
    assert!(wrong("from: 1m", "from: 4m").contains("no span of a round of 3m"));
    assert!(wrong("jump: -5m, drift: +0.5%, ", "").contains("line 8: a clock needs"));
    assert!(refused("summary: a").contains("the key `for` is missing"));
    assert!(refused("summary: [").starts_with("line 1: "));
}
