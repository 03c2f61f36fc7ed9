//! A session's life: opened once, spoken for until it is closed, over when its key is revoked.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, check_in, device, until_told, wait_for};
use std::time::Duration;
use tidegate_domain::testing::{self, Fleet};
use tidegate_proto::v1::Verdict;

fn rolled_out(fleet: &mut Fleet) {
    fleet.launch(testing::rollout("os-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_opening_was_not_answered_is_not_opened_again() {
    let cluster = Cluster::start(rolled_out).await;
    cluster.store.lose_answers(true);
    let node = cluster.node(0).await;
    let opened = || cluster.fleet().state.sessions().len();
    wait_for("a session", || opened() > 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.store.lose_answers(false);
    wait_for("the answer", || node.status().session.is_some()).await;
    assert_eq!(opened(), 1, "nobody would report for another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_quiet_week_a_node_still_gets_admissions() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    cluster.wait_in_silence(8 * 24);
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
}
