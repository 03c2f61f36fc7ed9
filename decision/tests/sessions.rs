//! A session's life: opened once, spoken for until it is closed, over when its key is revoked.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, check_in, device, outcome, until_told, wait_for};
use std::time::Duration;
use tidegate_decision::{engine::Index, node::CloseError};
use tidegate_domain::{
    command::{RevokeKey, SetClusterConfig},
    id::{Millis, SessionId},
    key::Role,
    node::SessionStatus,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{OutcomeKind, OutcomeStatus, Verdict};

fn rolled_out(fleet: &mut Fleet) {
    fleet.launch(testing::rollout("os-2"));
}

/// Nodes report so seldom that nothing is told before they close.
fn reported_late(fleet: &mut Fleet) {
    let mut config = fleet.state.config().clone();
    config.report_interval = Millis(60_000);
    config.limits.report_tallies_max = 1;
    fleet.accept(SetClusterConfig { config });
    rolled_out(fleet);
}

/// The fleet's session, as the store has it.
fn status(cluster: &Cluster) -> Option<SessionStatus> {
    let fleet = cluster.fleet();
    let session = fleet.state.sessions().get(&SessionId(1));
    session.map(|session| session.status)
}

/// What of its admissions the session gave back.
fn returned(cluster: &Cluster) -> u64 {
    let fleet = cluster.fleet();
    let budgets = fleet.state.budgets().iter();
    budgets.map(|(_, budget)| budget.returned).sum()
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

/// WAVE-3: what a closed session did not report is taken for unused and granted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_exposures_that_the_store_does_not_take_yet_stays_open() {
    let cluster = Cluster::start(rolled_out).await;
    cluster.run_ahead(5);
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    // A report is refused: its cohort lies in the store's future.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let closed = node.shutdown().await;
    assert!(
        matches!(closed, Err(CloseError::Untold { tallies: 1 })),
        "{closed:?}"
    );
    assert_eq!(status(&cluster), Some(SessionStatus::Open));
    assert_eq!(returned(&cluster), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_session_tells_all_although_the_first_answer_is_lost() {
    let cluster = Cluster::start(reported_late).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    cluster.wait_in_silence(1);
    until_told(&mut client, &check_in("d2", "1.0.0"), Verdict::Offer).await;
    drop(client);
    cluster.store.lose_answers(true);
    let closing = tokio::spawn(node.shutdown());
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.store.lose_answers(false);
    closing.await.unwrap().unwrap();
    assert_ne!(status(&cluster), Some(SessionStatus::Open));
    let fleet = cluster.fleet();
    let exposed = fleet.state.cohorts().iter().map(|(_, c)| c.exposed);
    assert_eq!(exposed.sum::<u64>(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_quiet_week_a_node_still_gets_admissions() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    cluster.wait_in_silence(8 * 24);
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_renewed_at_another_node_counts_for_the_one_that_made_it() {
    let cluster = Cluster::start(rolled_out).await;
    let (first, second) = (cluster.ready(0).await, cluster.ready(1).await);
    let offered = until_told(
        &mut device(&first).await,
        &check_in("d1", "1.0.0"),
        Verdict::Offer,
    )
    .await;
    let mut echo = check_in("d1", "1.0.0");
    echo.exposure_tokens = vec![offered.offer.unwrap().exposure_token];
    let mut elsewhere = device(&second).await;
    let renewed = until_told(&mut elsewhere, &echo, Verdict::Offer).await;
    let token = renewed.offer.unwrap().exposure_token;
    assert_ne!(token, echo.exposure_tokens[0]);

    let report = outcome("d1", &token, OutcomeKind::Verified);
    let mut client = device(&first).await;
    let knows_both = || cluster.fleet().state.sessions().len() == 2;
    wait_for("both sessions", knows_both).await;
    let mut told = OutcomeStatus::Unspecified;
    for _ in 0..500 {
        let reply = client.report_outcome(report.clone()).await.unwrap();
        told = reply.into_inner().status();
        if told != OutcomeStatus::Uncertain {
            break;
        }
        // It has not seen the other's session yet.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told, OutcomeStatus::Counted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_its_sessions_at_every_node() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let token = offered.offer.unwrap().exposure_token;
    let other = cluster.ready(1).await;
    let key = cluster.fleet().keys.public(Role::Decision, 0);
    cluster.fleet().accept(RevokeKey {
        key,
        reason: testing::reason(),
        strand: false,
    });
    let index = Index::build(&cluster.fleet().state);
    assert!(index.session(SessionId(1)).is_none());
    assert!(index.session(SessionId(2)).is_some());
    wait_for("its end", || node.status().session.is_none()).await;
    let report = outcome("d1", &token, OutcomeKind::Failed);
    let mut elsewhere = device(&other).await;
    let mut told = OutcomeStatus::Unspecified;
    for _ in 0..500 {
        let reply = elsewhere.report_outcome(report.clone()).await.unwrap();
        told = reply.into_inner().status();
        if told == OutcomeStatus::Refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told, OutcomeStatus::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_says_too_much_is_refused() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let token = offered.offer.unwrap().exposure_token;
    let mut report = outcome("d1", &token, OutcomeKind::Verified);
    report.boot_id = "b".repeat(1 << 20);
    let reply = client.report_outcome(report).await.unwrap().into_inner();
    assert_eq!(reply.status(), OutcomeStatus::Refused);
}
