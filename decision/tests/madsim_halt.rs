//! Decision nodes in the simulator, on a store of three real nodes. The store's leader and one
//! decision node are cut off from the rest; the rest halts the rollout. The same seed gives the
//! same trace.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "every unwrap of a test is an assertion")]
mod world;

use madsim::runtime::Runtime;
use std::{collections::BTreeSet, time::Duration};
use tidegate_client::View;
use tidegate_domain::{
    command::{ApproveRollout, CreateRollout, HaltRollout, RegisterVariant, StartRollout},
    id::RolloutId,
    node::SessionStatus,
    tally::Arm,
    testing::{self, release, rollout, traits},
};
use tidegate_proto::v1::{DecisionMode, Verdict};
use tidegate_runtime::sim::{Skew, set_skew};
use world::{
    DECISIONS, World,
    devices::{self, Ears, Heard},
    ms, now,
    operators::Operators,
};

const DEVICES_PER_NODE: u8 = 3;
/// The default of the cluster, which nobody changes here.
const LEASE: Duration = Duration::from_secs(10);
const CUT_OFF: u8 = 1;
const ROLLOUT: RolloutId = RolloutId(1);

/// What a run under a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    trace: String,
    events: u64,
}

/// Keys, two releases, and the second one rolled out to everybody.
async fn prepare(mut operators: Operators) -> Operators {
    let ceremony = operators.fleet().rotation(&[0, 1, 2]);
    operators.ask(ceremony).await;
    let traits = traits("cam/r1/eu/none");
    operators.ask(RegisterVariant { traits }).await;
    for (name, version) in [("os-1", "1.0.0"), ("os-2", "2.0.0")] {
        let registration = operators
            .fleet()
            .registration(release(name).version(version));
        operators.ask(registration).await;
    }
    let spec = rollout("os-2").spec();
    operators.ask(CreateRollout { spec }).await;
    operators.ask(ApproveRollout { rollout: ROLLOUT }).await;
    operators.ask(StartRollout { rollout: ROLLOUT }).await;
    operators
}

async fn wait_for(what: &str, patience: Duration, happened: impl Fn() -> bool) {
    let begun = now();
    while !happened() {
        assert!(now() - begun < patience, "{what} did not come");
        madsim::time::sleep(ms(20)).await;
    }
}

async fn story() -> Told {
    let world = World::start();
    // A slow clock is the dangerous one; the drift margin is a hundredth of the lease.
    let slow = Skew {
        rate_ppm: 995_000,
        ..Skew::NONE
    };
    set_skew(world.decision(CUT_OFF).id(), slow);
    let operators = Operators::new(world.trace.clone());
    let operators = world.operators.spawn(prepare(operators)).await.unwrap();

    let ears = Ears::default();
    for node in 1..=DECISIONS {
        for number in 0..DEVICES_PER_NODE {
            let device = format!("d{node}-{number}");
            let life = devices::live(device, node, ears.clone(), world.trace.clone());
            world.devices.spawn(life);
        }
    }
    let all = usize::from(DECISIONS * DEVICES_PER_NODE);
    wait_for("an offer for each device", ms(30_000), || {
        ears.exposed().len() == all
    })
    .await;

    let leader = world.cut_leader_off_with(CUT_OFF);
    let halted = {
        let mut operators = operators;
        let halting = world.operators.spawn(async move {
            let reason = testing::reason();
            let rollout = ROLLOUT;
            operators.ask(HaltRollout { rollout, reason }).await;
            (now(), operators)
        });
        halting.await.unwrap()
    };
    let (halted, operators) = halted;
    madsim::time::sleep(LEASE + ms(2_000)).await;
    check_halt(&ears.all(), halted);

    world.heal(leader, CUT_OFF);
    let halted_everywhere = || {
        let last = ears.last_of_each();
        last.values().all(|heard| heard.reason == "rollout_halted")
    };
    wait_for("the halt, everywhere", ms(30_000), halted_everywhere).await;

    // Each at the node that did not make the offer.
    for (device, node) in [("d1-0", 2), ("d2-0", 1)] {
        let told = devices::verified(device.to_owned(), node, ears.clone(), world.trace.clone());
        world.devices.spawn(told).await.unwrap();
    }
    world.shut_down().await;
    let view = world.operators.spawn(async move { operators.look().await });
    check_accounts(&view.await.unwrap(), ears.exposed().len() as u64);
    let (trace, events) = world.trace.end();
    Told { trace, events }
}

/// HALT-1, and that this run could have broken it.
fn check_halt(heard: &[Heard], halted: Duration) {
    let late = |heard: &&Heard| heard.verdict == Verdict::Offer && heard.at > halted;
    let last = heard.iter().filter(late).map(|heard| heard.at).max();
    let last = last.expect("nobody was offered anything after the halt: nothing was tried");
    assert!(
        last <= halted + LEASE,
        "an offer {:?} after the halt",
        last - halted
    );
    let cut_off: Vec<_> = heard.iter().filter(|h| h.node == CUT_OFF).collect();
    let last = cut_off.last().unwrap();
    assert_eq!(
        (last.verdict, last.mode, last.reason.as_str()),
        (Verdict::Wait, DecisionMode::Stale, "snapshot_stale")
    );
    assert!(
        cut_off
            .iter()
            .all(|heard| heard.mode != DecisionMode::Blind || heard.at < halted),
        "a snapshot is forgotten"
    );
}

/// Every exposure and every outcome is counted once, and nothing is left open.
fn check_accounts(view: &View, exposed: u64) {
    let state = view.state();
    let rows = state.cohorts().iter();
    let rows = rows.filter(|(key, _)| key.arm == Arm::Treatment);
    let counted = rows.fold((0, 0), |(exposed, verified), (_, counts)| {
        (exposed + counts.exposed, verified + counts.verified)
    });
    assert_eq!(counted, (exposed, 2));
    let mut sessions = state.sessions().iter();
    let open = sessions.find(|(_, session)| session.status == SessionStatus::Open);
    assert_eq!(open, None);
}

/// Runs the story in a thread of its own, since std's hash maps are seeded per thread.
#[expect(
    clippy::disallowed_methods,
    reason = "outside the simulator: a fresh thread per run"
)]
fn run(seed: u64) -> Told {
    let simulation = move || {
        let mut config = madsim::Config::default();
        config.net.packet_loss_rate = 0.005;
        let mut runtime = Runtime::with_seed_and_config(seed, config);
        runtime.set_time_limit(Duration::from_secs(300));
        runtime.block_on(story())
    };
    let told = std::thread::spawn(simulation).join();
    told.unwrap_or_else(|_| panic!("seed {seed} failed; run it alone with TIDEGATE_SEED={seed}"))
}

#[test]
fn a_halt_binds_a_node_that_is_cut_off_with_the_leader() {
    let seeds = match std::env::var("TIDEGATE_SEED") {
        Ok(seed) => {
            let seed = seed.parse::<u64>().expect("TIDEGATE_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 1..4,
    };
    let mut traces = BTreeSet::new();
    for seed in seeds.clone() {
        let told = run(seed);
        assert!(
            told.events > 300,
            "seed {seed}: only {} events",
            told.events
        );
        assert_eq!(run(seed), told, "seed {seed} does not repeat");
        traces.insert(told.trace);
    }
    let different = seeds.end - seeds.start;
    assert_eq!(traces.len() as u64, different, "seeds do not differ");
}
