//! A node whose store is away, or comes back as less than it was, over real connections.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use std::time::Duration;

use cluster::{Cluster, LEASE, ask, check_in, codes, device, until_told, wait_for};
use tidegate_decision::engine::Mode;
use tidegate_domain::{
    command::{HaltRollout, SetClusterConfig},
    id::{Millis, RolloutId},
    rollout::OnStale,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{DecisionMode, Verdict};

const STALE_MAX: Duration = LEASE.saturating_mul(3);

/// A release that closes a hole, and goes on while nodes are stale.
fn rolled_out_to_the_cut_off(fleet: &mut Fleet) {
    let mut config = fleet.state.config().clone();
    config.stale_max = Millis(config.lease.0 * 3);
    fleet.accept(SetClusterConfig { config });
    fleet.register(testing::release("os-3").version("3.0.0").critical());
    let mut rollout = testing::rollout("os-3");
    rollout.spec.on_stale = OnStale::Continue;
    fleet.launch(rollout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_while_stale_ends_when_the_node_has_been_stale_too_long() {
    let cluster = Cluster::start(rolled_out_to_the_cut_off).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let mut echo = check_in("d1", "1.0.0");
    echo.exposure_tokens = vec![offered.offer.unwrap().exposure_token];
    cluster.store.cut(true);
    let bound = tokio::time::sleep(STALE_MAX);
    wait_for("the end of the lease", || node.status().mode == Mode::Stale).await;
    let told = ask(&mut client, echo.clone()).await;
    assert_eq!(
        (told.verdict(), told.mode()),
        (Verdict::Offer, DecisionMode::Stale)
    );
    // HALT-1: a halt that commits now binds this node as late as that, counted from the last renewal
    // and not from the end of the lease.
    bound.await;
    assert_eq!(node.status().mode, Mode::Blind);
    let told = ask(&mut client, echo.clone()).await;
    assert_eq!(
        (told.verdict(), told.mode(), codes(&told)),
        (Verdict::Wait, DecisionMode::Blind, vec!["blind"])
    );
    assert!(
        told.retry_after_ms > 0 && told.snapshot_entries.is_none(),
        "{told:?}"
    );
    cluster.store.cut(false);
    until_told(&mut client, &echo, Verdict::Offer).await;
}

/// READ-2: what a replica has forgotten, a node that has seen it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_believes_no_state_that_is_older_than_one_it_has_used() {
    let cluster = Cluster::start(|fleet| {
        fleet.launch(testing::rollout("os-2"));
    })
    .await;
    let before_the_halt = cluster.fleet().clone();
    let node = cluster.ready(0).await;
    cluster.fleet().accept(HaltRollout {
        rollout: RolloutId(1),
        reason: testing::reason(),
    });
    until_told(
        &mut device(&node).await,
        &check_in("d1", "1.0.0"),
        Verdict::None,
    )
    .await;
    node.kill();

    let after_the_halt = std::mem::replace(&mut *cluster.fleet(), before_the_halt);
    let node = cluster.node(0).await;
    let mut client = device(&node).await;
    for _ in 0..50 {
        let told = ask(&mut client, check_in("d1", "1.0.0")).await;
        assert_eq!(
            (told.verdict(), codes(&told)),
            (Verdict::Wait, vec!["blind"])
        );
        tokio::time::sleep(LEASE / 20).await;
    }
    *cluster.fleet() = after_the_halt;
    let told = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::None).await;
    assert_eq!(codes(&told), ["rollout_halted"]);
}
