//! A node on a store over real connections: modes, halts, budgets, outcomes, restarts.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, LEASE, ask, check_in, codes, device, outcome, until_told, wait_for};
use std::time::Duration;
use tidegate_decision::engine::Mode;
use tidegate_domain::{
    command::HaltRollout,
    id::{RolloutId, SessionId},
    node::SessionStatus,
    rollout::OnStale,
    tally::Arm,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{DecisionMode, OutcomeKind, OutcomeStatus, Verdict};
use tidegate_runtime::{Clock, SystemClock};

fn rolled_out(fleet: &mut Fleet) {
    fleet.launch(testing::rollout("os-2"));
}

fn halt(fleet: &mut Fleet) {
    fleet.accept(HaltRollout {
        rollout: RolloutId(1),
        reason: testing::reason(),
    });
}

/// What the store has counted for the rollout, over all strata and cohorts.
fn counts(fleet: &Fleet) -> (u64, u64, u64) {
    let rows = fleet
        .state
        .cohorts()
        .iter()
        .filter(|(key, _)| key.arm == Arm::Treatment);
    rows.fold((0, 0, 0), |(exposed, verified, failed), (_, counts)| {
        (
            exposed + counts.exposed,
            verified + counts.verified,
            failed + counts.failed,
        )
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_offered_the_release_and_its_outcome_counts_once() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    assert_eq!(offered.mode(), DecisionMode::Fresh);
    let offer = offered.offer.unwrap();
    assert_eq!(
        (offer.release.as_str(), offer.rollout.as_str()),
        ("os-2", "1")
    );

    let mut again = check_in("d1", "1.0.0");
    again.exposure_tokens = vec![offer.exposure_token.clone()];
    let echoed = ask(&mut client, again).await;
    assert!(codes(&echoed).contains(&"exposure_echoed"), "{echoed:?}");

    let report = outcome("d1", &offer.exposure_token, OutcomeKind::Verified);
    let mut tell = async || {
        client
            .report_outcome(report.clone())
            .await
            .unwrap()
            .into_inner()
    };
    assert_eq!(tell().await.status(), OutcomeStatus::Counted);
    assert_eq!(tell().await.status(), OutcomeStatus::Duplicate);
    wait_for("the report", || counts(&cluster.fleet()) == (1, 1, 0)).await;

    let stranger = outcome("d2", &offer.exposure_token, OutcomeKind::Verified);
    let refused = client.report_outcome(stranger).await.unwrap().into_inner();
    assert_eq!(refused.status(), OutcomeStatus::Refused);
    node.shutdown().await.unwrap();
    let status = cluster
        .fleet()
        .state
        .sessions()
        .get(&SessionId(1))
        .map(|s| s.status);
    assert!(!matches!(status, Some(SessionStatus::Open)), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_reaches_a_connected_node_at_once() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    halt(&mut cluster.fleet());
    let told = until_told(&mut client, &check_in("d2", "1.0.0"), Verdict::None).await;
    assert_eq!(codes(&told), ["rollout_halted"]);
}

/// HALT-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_offers_no_longer_than_its_lease() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d0", "1.0.0"), Verdict::Offer).await;
    let echo = {
        let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
        let mut echo = check_in("d1", "1.0.0");
        echo.exposure_tokens = vec![offered.offer.unwrap().exposure_token];
        echo
    };
    cluster.store.cut(true);
    halt(&mut cluster.fleet());
    let halted = SystemClock.boot();
    let since = || SystemClock.boot().since(halted);
    let mut last_offer = Duration::ZERO;
    while since() < LEASE * 2 {
        let told = ask(&mut client, echo.clone()).await;
        if told.verdict() == Verdict::Offer {
            last_offer = since();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(last_offer < LEASE, "an offer {last_offer:?} after the halt");
    let told = ask(&mut client, echo.clone()).await;
    assert_eq!(
        (told.verdict(), told.mode()),
        (Verdict::Wait, DecisionMode::Stale)
    );
    assert_eq!(codes(&told), ["snapshot_stale"]);

    cluster.store.cut(false);
    let told = until_told(&mut client, &echo, Verdict::None).await;
    assert_eq!(codes(&told), ["rollout_halted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_closes_a_hole_goes_on_while_stale_with_what_the_node_holds() {
    let cluster = Cluster::start(|fleet| {
        fleet.register(testing::release("os-3").version("3.0.0").critical());
        let mut rollout = testing::rollout("os-3");
        rollout.spec.on_stale = OnStale::Continue;
        rollout.spec.credit = 3;
        fleet.launch(rollout);
    })
    .await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d0", "1.0.0"), Verdict::Offer).await;
    // Several ask at once: what is granted is more than one needs.
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let held = node.status().admissions_held;
    assert!(held > 0, "one admission was asked for ahead");
    cluster.store.cut(true);
    wait_for("the end of the lease", || node.status().mode == Mode::Stale).await;
    let mut offers = 0;
    for n in 0..6 {
        let told = ask(&mut client, check_in(&format!("s{n}"), "1.0.0")).await;
        assert_eq!(told.mode(), DecisionMode::Stale);
        offers += u64::from(told.verdict() == Verdict::Offer);
    }
    assert_eq!(
        offers, held,
        "a stale node spends what it holds, and no more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_the_credit_used_up_waits() {
    let cluster = Cluster::start(|fleet| {
        let mut rollout = testing::rollout("os-2");
        rollout.spec.credit = 2;
        fleet.launch(rollout);
    })
    .await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    for n in 0..2 {
        until_told(
            &mut client,
            &check_in(&format!("d{n}"), "1.0.0"),
            Verdict::Offer,
        )
        .await;
    }
    let mut told = ask(&mut client, check_in("d9", "1.0.0")).await;
    for _ in 0..300 {
        assert_eq!(told.verdict(), Verdict::Wait, "{told:?}");
        if codes(&told) == ["budget_exhausted"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        told = ask(&mut client, check_in("d9", "1.0.0")).await;
    }
    assert_eq!(codes(&told), ["budget_exhausted"]);
    assert_eq!(node.status().admissions_held, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_reported_at_once() {
    let cluster = Cluster::start(|fleet| {
        let mut config = fleet.state.config().clone();
        config.report_interval = tidegate_domain::id::Millis(60_000);
        fleet.accept(tidegate_domain::command::SetClusterConfig { config });
        rolled_out(fleet);
    })
    .await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let token = offered.offer.unwrap().exposure_token;
    let failed = outcome("d1", &token, OutcomeKind::Failed);
    client.report_outcome(failed).await.unwrap();
    wait_for("the failure", || counts(&cluster.fleet()) == (1, 0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_finds_its_way_to_the_node_that_made_the_offer() {
    let cluster = Cluster::start(rolled_out).await;
    let (first, second) = (cluster.ready(0).await, cluster.ready(1).await);
    let mut client = device(&first).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let token = offered.offer.unwrap().exposure_token;
    let knows_both = || cluster.fleet().state.sessions().len() == 2;
    wait_for("both sessions", knows_both).await;

    let mut elsewhere = device(&second).await;
    let report = outcome("d1", &token, OutcomeKind::Verified);
    let reply = elsewhere
        .report_outcome(report.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.status(), OutcomeStatus::Uncertain, "{reply:?}");
    wait_for("the outcome", || counts(&cluster.fleet()) == (1, 1, 0)).await;
    wait_for("certainty", || second.status().outcomes_uncertain == 0).await;
    let again = client.report_outcome(report).await.unwrap().into_inner();
    assert_eq!(again.status(), OutcomeStatus::Duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_in_order_brings_outcomes_to_their_owners_first() {
    let cluster = Cluster::start(rolled_out).await;
    let (first, second) = (cluster.ready(0).await, cluster.ready(1).await);
    let mut client = device(&first).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let token = offered.offer.unwrap().exposure_token;
    let report = outcome("d1", &token, OutcomeKind::Verified);
    let told = device(&second).await.report_outcome(report).await.unwrap();
    assert_eq!(told.into_inner().status(), OutcomeStatus::Uncertain);
    second.shutdown().await.unwrap();
    wait_for("the outcome", || counts(&cluster.fleet()) == (1, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_store_is_blind_and_answers_all_the_same() {
    let cluster = Cluster::start(rolled_out).await;
    cluster.store.cut(true);
    let node = cluster.node(0).await;
    let mut client = device(&node).await;
    let told = ask(&mut client, check_in("d1", "1.0.0")).await;
    assert_eq!(
        (told.verdict(), told.mode()),
        (Verdict::Wait, DecisionMode::Blind)
    );
    assert_eq!(codes(&told), ["blind"]);
    assert!(told.retry_after_ms > 0);
    cluster.store.cut(false);
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_opens_a_session_and_goes_on() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let token = offered.offer.unwrap().exposure_token;
    wait_for("the exposure", || counts(&cluster.fleet()).0 == 1).await;
    node.shutdown().await.unwrap();
    let node = cluster.ready(0).await;
    assert_eq!(node.status().session, Some(SessionId(2)));
    let mut client = device(&node).await;
    let report = outcome("d1", &token, OutcomeKind::Verified);
    let reply = client.report_outcome(report).await.unwrap().into_inner();
    assert_eq!(
        reply.status(),
        OutcomeStatus::Counted,
        "the heir counts it: {reply:?}"
    );
    wait_for("the outcome", || counts(&cluster.fleet()) == (1, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_streams_check_ins_of_many_devices() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let requests: Vec<_> = (0..100)
        .map(|n| check_in(&format!("d{n}"), "9.0.0"))
        .collect();
    let stream = client
        .check_in_stream(futures::stream::iter(requests))
        .await;
    let mut answers = stream.unwrap().into_inner();
    let mut devices = std::collections::BTreeSet::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.verdict(), Verdict::None);
        devices.insert(answer.device_id);
    }
    assert_eq!(devices.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_check_in_is_answered_none_and_counted() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let mut unknown = check_in("d1", "1.0.0");
    unknown.variant = "toaster/r9/eu/none".to_owned();
    for (request, code) in [
        (check_in(&"x".repeat(129), "1.0.0"), "device_id_too_long"),
        (check_in("d1", "one"), "version_malformed"),
        (unknown, "unknown_variant"),
    ] {
        let told = ask(&mut client, request).await;
        assert_eq!((told.verdict(), codes(&told)), (Verdict::None, vec![code]));
        assert_eq!(node.status().reasons.get(code), Some(&1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admissions_that_the_store_did_not_answer_for_are_asked_for_again() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    cluster.store.mute(true);
    let mut client = device(&node).await;
    let told = ask(&mut client, check_in("d1", "1.0.0")).await;
    assert_eq!(
        (told.verdict(), codes(&told)),
        (Verdict::Wait, vec!["budget_pending"])
    );
    cluster.store.mute(false);
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_session_is_written_off_opens_another() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    cluster
        .fleet()
        .accept(tidegate_domain::command::WriteOffBudget {
            session: SessionId(1),
            reason: testing::reason(),
        });
    wait_for("another session", || {
        node.status().session == Some(SessionId(2))
    })
    .await;
    until_told(&mut client, &check_in("d2", "1.0.0"), Verdict::Offer).await;
}
