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
  - {from: 10s, until: 90s, about-every: 2s, classes: [crash, one-way cut]}
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
