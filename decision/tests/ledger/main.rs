//! The ledger against the real store's rules: whatever is lost or repeated, no report is refused,
//! and the sums in the state are what devices did.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test has no users, and may panic"
)]
mod world;

use proptest::prelude::*;
use std::time::Duration;
use tidegate_decision::{
    engine::Draw,
    ledger::{Carried, Fate, Metrics, TALLIES_MAX},
};
use tidegate_domain::{
    Event,
    apply::Claim,
    canonical,
    command::{DETACHED_BYTES_MAX, Operation, SetClusterConfig, Tally},
    evolve,
    id::{Channel, Cohort, Millis, Pseudonym, RolloutId, VariantId, WaveIndex},
    rejection::Rejection,
    tally::{Arm, COUNT_MAX, Counts, LATENCY_BUCKETS, MEASURED_MAX, Stratum, TallyKey},
    testing::stratum,
};
use world::{CAP, World, expose, tallies, token};

#[derive(Clone, Debug)]
enum Step {
    Draw {
        node: usize,
        variant: u32,
    },
    Ask {
        node: usize,
    },
    Tell {
        device: usize,
        fate: Fate,
        via: usize,
        times: u8,
    },
    Follow {
        node: usize,
    },
    Send {
        node: usize,
        report_last: bool,
    },
    Deliver {
        node: usize,
        lost: bool,
        again: bool,
    },
    Restart {
        node: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..3_usize;
    let fate = prop_oneof![
        1 => Just(Fate::Downloaded),
        1 => Just(Fate::Installed),
        3 => Just(Fate::Verified),
        1 => Just(Fate::Failed),
        1 => Just(Fate::Reverted),
    ];
    let tell = (any::<usize>(), fate, node(), 0..3_u8);
    let send = (node(), any::<bool>());
    let deliver = (node(), any::<bool>(), any::<bool>());
    prop_oneof![
        12 => (node(), 1..3_u32).prop_map(|(node, variant)| Step::Draw { node, variant }),
        4 => node().prop_map(|node| Step::Ask { node }),
        10 => tell.prop_map(|(device, fate, via, times)| Step::Tell { device, fate, via, times }),
        6 => node().prop_map(|node| Step::Follow { node }),
        4 => send.prop_map(|(node, report_last)| Step::Send { node, report_last }),
        5 => deliver.prop_map(|(node, lost, again)| Step::Deliver { node, lost, again }),
        1 => node().prop_map(|node| Step::Restart { node }),
        2 => (1..600_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Draw { node, variant } => {
            world.draw(node, variant);
        }
        Step::Ask { node } => world.ask(node),
        Step::Tell {
            device,
            fate,
            via,
            times,
        } => {
            if let Some(device) = device.checked_rem(world.devices.len()) {
                world.tell(device, fate, via, times);
            }
        }
        Step::Follow { node } => world.nodes[node].follow(&world.fleet, world.boot),
        Step::Send { node, report_last } => world.send(node, report_last),
        Step::Deliver { node, lost, again } => world.deliver(node, lost, again),
        Step::Restart { node } => world.restart(node),
        Step::Wait { seconds } => {
            world.fleet.wait(Millis(1_000 * seconds));
            world.boot = world.boot.after(Duration::from_secs(seconds));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(96)
    })]

    #[test]
    fn no_report_is_refused_and_the_sums_are_what_devices_did(
        steps in proptest::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(3);
        for step in steps {
            take(&mut world, step);
            prop_assert!(world.sums.exposed <= CAP, "WAVE-3");
        }
        world.settle();
        prop_assert_eq!(world.cohorts(), world.sums.clone());
        for node in 0..world.nodes.len() {
            world.restart(node);
        }
        prop_assert_eq!(world.cohorts(), world.sums);
    }
}

#[test]
fn exposures_of_a_node_that_was_cut_off_too_long_count_in_the_present_hour() {
    let mut world = World::new(1);
    expose(&mut world, 0, 7);
    world.tell(0, Fate::Verified, 0, 0);
    world.fleet.wait(Millis(80 * 3_600_000));
    world.fleet.tick();
    world.settle();
    let present = TallyKey {
        rollout: world.rollout,
        wave: WaveIndex(0),
        stratum: stratum(1),
        cohort: world.fleet.now.cohort(),
        arm: Arm::Treatment,
    };
    let counts = world.fleet.state.cohorts().get(&present).unwrap();
    assert_eq!((counts.exposed, counts.verified), (7, 1));
    let budget = world.fleet.state.budgets().iter().next().unwrap().1;
    assert_eq!(budget.spent, 7);
}

#[test]
fn what_arrived_without_a_reply_is_not_counted_again_once_it_is_folded_away() {
    let mut world = World::new(1);
    expose(&mut world, 0, 7);
    let report = world.nodes[0].ledger.report(None).unwrap();
    let key = tallies(&report)[0].key.clone();
    world.seal(0, vec![report]);
    let envelope = world.nodes[0].in_flight.take().unwrap();
    world.fleet.apply(&envelope.bytes);
    world.fleet.wait(Millis(80 * 3_600_000));
    world.fleet.tick();
    if world.fleet.state.cohorts().contains(&key) {
        evolve(&mut world.fleet.state, &Event::CohortMatured { key }).unwrap();
    }
    world.settle();
    assert_eq!(world.cohorts(), Counts::default());
    let budget = world.fleet.state.budgets().iter().next().unwrap().1;
    assert_eq!(budget.spent, 7);
    world.tell(3, Fate::Verified, 0, 0);
    assert_eq!(world.sums.verified, 0, "it was resolved as silent");
}

#[test]
fn a_failure_does_not_wait_for_the_interval() {
    let mut world = World::new(1);
    expose(&mut world, 0, 2);
    assert!(!world.nodes[0].ledger.urgent());
    world.tell(0, Fate::Failed, 0, 0);
    assert!(world.nodes[0].ledger.urgent());
    world.nodes[0].ledger.report(None).unwrap();
    assert!(!world.nodes[0].ledger.urgent(), "it is on its way");
    world.nodes[0].ledger.refused();
    assert!(world.nodes[0].ledger.urgent(), "it is not");
}

#[test]
fn a_clock_far_ahead_of_the_stores_delays_its_own_cohorts_only() {
    let mut world = World::new(1);
    expose(&mut world, 0, 2);
    let behind = world.fleet.now;
    world.fleet.wait(Millis(5 * 3_600_000));
    let pool = world.pool(1);
    let (session, now) = (world.nodes[0].session, world.fleet.now);
    let early = token(&pool, session, Pseudonym([9; 32]), now);
    world.fleet.now = behind;
    while world.nodes[0].purse.try_spend(&pool) != Draw::Granted {
        world.ask(0);
        world.nodes[0].follow(&world.fleet, world.boot);
    }
    world.nodes[0].ledger.exposed(&early);
    let report = world.nodes[0].ledger.report(None).unwrap();
    assert!(matches!(
        world.fleet.operate(session, report),
        Err(Rejection::TallyInconsistent { .. })
    ));
    world.nodes[0].ledger.refused();
    let last = world.nodes[0].ledger.final_report(None);
    assert_eq!(last, None, "WAVE-3");
    let report = world.nodes[0].ledger.report(None).unwrap();
    assert_eq!(tallies(&report)[0].counts.exposed, 2);
    world.fleet.does(session, report);
    world.nodes[0].ledger.acknowledged();
    world.fleet.wait(Millis(5 * 3_600_000));
    world.settle();
    assert_eq!(world.cohorts().exposed, 3);
}

/// What is said comes on top of what was said: none of it is said twice.
#[test]
fn while_a_report_is_on_its_way_nothing_is_said_anew() {
    let mut world = World::new(1);
    expose(&mut world, 0, 3);
    let first = world.nodes[0].ledger.report(None).unwrap();
    assert_eq!(tallies(&first)[0].counts.exposed, 3);
    world.tell(0, Fate::Verified, 0, 0);
    let ledger = &mut world.nodes[0].ledger;
    assert_eq!(ledger.report(None), None);
    assert_eq!(ledger.final_report(None), None);
    ledger.acknowledged();
    let second = ledger.report(None).unwrap();
    let counts = &tallies(&second)[0].counts;
    assert_eq!((counts.exposed, counts.verified), (0, 1));
}

/// The view tells of a refusal by the place of the operation, and by nothing else.
#[test]
fn a_report_that_the_view_shows_as_refused_is_told_again() {
    let mut world = World::new(1);
    expose(&mut world, 0, 3);
    let (session, boot) = (world.nodes[0].session, world.boot);
    let report = world.nodes[0].ledger.report(None).unwrap();
    let mut unsorted = tallies(&report).to_vec();
    unsorted.extend(unsorted.clone());
    let refused = Operation::Report {
        tallies: unsorted,
        anchor: None,
    };
    let envelope = world.fleet.envelope(session, [refused]);
    let sequence = envelope.sequence;
    let sealed = world.fleet.sealed(envelope);
    world.nodes[0].ledger.carried(Carried {
        sequence,
        digest: sealed.digest(),
        place: 0,
    });
    world.nodes[0].follow(&world.fleet, boot);
    let ledger = &mut world.nodes[0].ledger;
    assert_eq!(ledger.report(None), None, "the view shows nothing of it");
    world.fleet.apply(&sealed.to_bytes());
    world.nodes[0].follow(&world.fleet, boot);
    assert_eq!(world.nodes[0].ledger.report(None), Some(report));
}

/// WAVE-3: the store passes over a cohort that is folded away, also in a report that it takes.
#[test]
fn exposures_that_a_report_told_too_late_count_in_the_present_hour() {
    let mut world = World::new(1);
    expose(&mut world, 0, 7);
    world.tell(0, Fate::Verified, 0, 0);
    world.send(0, false);
    world.fleet.wait(Millis(80 * 3_600_000));
    world.fleet.tick();
    world.settle();
    let budget = world.fleet.state.budgets().iter().next().unwrap().1;
    assert_eq!(budget.spent, 7);
    assert_eq!(world.cohorts().exposed, 7);
}

/// The store's limit on tallies may be greater than what its limit on bytes has room for.
#[test]
fn a_report_is_never_too_long_for_an_envelope() {
    let mut world = World::new(1);
    let mut config = world.fleet.state.config().clone();
    config.limits.report_tallies_max = 100_000;
    world.fleet.accept(SetClusterConfig { config });
    let (boot, pool) = (world.boot, world.pool(1));
    let node = &mut world.nodes[0];
    node.follow(&world.fleet, boot);
    let metrics = Metrics::new((1, 9), (0, 0), &[MEASURED_MAX; LATENCY_BUCKETS]).unwrap();
    let keys: Vec<TallyKey> = (0..40_000)
        .map(|wave| TallyKey {
            rollout: pool.rollout,
            wave: WaveIndex(wave),
            stratum: pool.stratum.clone(),
            cohort: world.fleet.now.cohort(),
            arm: Arm::Control,
        })
        .collect();
    let measured = keys.iter().map(|key| (key, &metrics));
    node.ledger.measured(Pseudonym([1; 32]), 1, measured);
    let report = node.ledger.report(None).unwrap();
    let (session, told) = (node.session, tallies(&report).len());
    assert_eq!(told, TALLIES_MAX);
    let envelope = world.fleet.envelope(session, [report]);
    let bytes = world.fleet.sealed(envelope).to_bytes();
    assert!(Claim::read(&bytes).is_ok(), "{} bytes", bytes.len());
}

/// The longest tally that there is, as often as a report may have one, leaves room for the rest.
#[test]
fn a_full_report_of_the_longest_tallies_leaves_room_for_other_operations() {
    let many = COUNT_MAX;
    let longest = Tally {
        key: TallyKey {
            rollout: RolloutId(u64::MAX),
            wave: WaveIndex(u16::MAX),
            stratum: Stratum {
                variant: VariantId(u32::MAX),
                channel: Channel::new("c".repeat(32)).unwrap(),
            },
            cohort: Cohort(u32::MAX),
            arm: Arm::Control,
        },
        counts: Counts {
            exposed: many,
            downloaded: many,
            installed: many,
            verified: many,
            failed: many,
            reverted: many,
            silent: many,
            errors: many,
            operations: many,
            correct: many,
            predictions: many,
            latency: vec![many; LATENCY_BUCKETS],
        },
    };
    assert!(
        Channel::new("c".repeat(33)).is_err(),
        "there is no longer one"
    );
    let bytes = canonical::encode(&longest).len();
    assert!(
        bytes * TALLIES_MAX < DETACHED_BYTES_MAX - (512 << 10),
        "{bytes}"
    );
}
