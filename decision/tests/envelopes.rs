//! What becomes of a session's envelopes between a node and its store, over real connections: each
//! is applied once, one is on its way at a time, and the node knows what came of it.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, check_in, device, outcome, until_ready, until_told, wait_for};
use std::{collections::BTreeMap, time::Duration};
use tidegate_decision::node::Node;
use tidegate_domain::{
    Outcome, Rejection,
    command::{AdvanceSession, Operation, SetClusterConfig, WriteOffBudget},
    event::refused_operations,
    id::{Millis, Sequence, SessionId},
    node::SessionStatus,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{OutcomeKind, Verdict};

const SESSION: SessionId = SessionId(1);
/// Long enough for a node to send something several times.
const A_WHILE: Duration = Duration::from_millis(700);

fn rolled_out(fleet: &mut Fleet) {
    fleet.launch(testing::rollout("os-2"));
}

/// Makes an offer to a new device; answers the device's token.
async fn offer(node: &Node, name: &str) -> Vec<u8> {
    let mut client = device(node).await;
    let told = until_told(&mut client, &check_in(name, "1.0.0"), Verdict::Offer).await;
    told.offer.unwrap().exposure_token
}

/// What the store counts as exposed and as verified.
fn counts(cluster: &Cluster) -> (u64, u64) {
    let fleet = cluster.fleet();
    let rows = fleet.state.cohorts().iter();
    rows.fold((0, 0), |(exposed, verified), (_, counts)| {
        (exposed + counts.exposed, verified + counts.verified)
    })
}

fn is_report(operation: &Operation) -> bool {
    matches!(operation, Operation::Report { .. })
}

fn last_heard(cluster: &Cluster) -> (AdvanceSession, Vec<u8>) {
    cluster.store.envelopes(SESSION).pop().unwrap()
}

/// How often the last envelope that came has come.
fn heard_last(cluster: &Cluster) -> usize {
    let heard = cluster.store.envelopes(SESSION);
    let last = heard.last().cloned();
    heard
        .iter()
        .filter(|one| Some(*one) == last.as_ref())
        .count()
}

/// How often the log has an envelope of a session that was accepted, number by number.
fn accepted(cluster: &Cluster, session: SessionId) -> BTreeMap<Sequence, usize> {
    let fleet = cluster.fleet();
    let mut accepted = BTreeMap::new();
    for (.., applied) in &fleet.log {
        for event in applied.events() {
            if let tidegate_domain::Event::SessionAdvanced(advance) = event
                && advance.session == session
            {
                *accepted.entry(advance.sequence).or_default() += 1;
            }
        }
    }
    accepted
}

/// LOG-2 as the node keeps it: numbers without a gap, the next only once the one before is settled,
/// and one set of bytes for each number.
fn assert_one_after_the_other(cluster: &Cluster) {
    let heard = cluster.store.envelopes(SESSION);
    let mut distinct: Vec<(AdvanceSession, Vec<u8>)> = Vec::new();
    for one in heard {
        if distinct.last() != Some(&one) {
            distinct.push(one);
        }
    }
    let numbers: Vec<u64> = distinct
        .iter()
        .map(|(envelope, _)| envelope.sequence.0)
        .collect();
    let expected: Vec<u64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
    let accepted = accepted(cluster, SESSION);
    assert!(accepted.values().all(|times| *times == 1), "{accepted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_without_an_answer_is_sent_again_as_it_is_and_counts_once() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    offer(&node, "d1").await;
    wait_for("its report", || counts(&cluster) == (1, 0)).await;
    wait_for("an admission ahead", || node.status().admissions_held > 0).await;
    cluster.store.hide(true);
    cluster.store.lose_answers(true);
    let token = offer(&node, "d2").await;
    wait_for("its report", || counts(&cluster) == (2, 0)).await;
    wait_for("repeats", || heard_last(&cluster) > 2).await;
    cluster.store.lose_answers(false);
    // The answer to a repeat alone tells: the node sees nothing of the state.
    let (unanswered, _) = last_heard(&cluster);
    let report = outcome("d2", &token, OutcomeKind::Verified);
    device(&node).await.report_outcome(report).await.unwrap();
    wait_for("the next", || {
        last_heard(&cluster).0.sequence > unanswered.sequence
    })
    .await;
    wait_for("what came since", || counts(&cluster) == (2, 1)).await;
    cluster.store.hide(false);
    offer(&node, "d3").await;
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster), (3, 1));
    assert_one_after_the_other(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_no_answer_learns_from_the_view() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    cluster.store.lose_answers(true);
    for name in ["d1", "d2", "d3"] {
        let token = offer(&node, name).await;
        let report = outcome(name, &token, OutcomeKind::Verified);
        device(&node).await.report_outcome(report).await.unwrap();
    }
    wait_for("the reports", || counts(&cluster) == (3, 3)).await;
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster), (3, 3));
    assert_one_after_the_other(&cluster);
}

/// Its cohort lies in the store's future: refused by its place in an accepted envelope, whose other
/// operations are done; told again once the store's clock is there.
async fn a_refused_report_is_told_again(answers_are_lost: bool) {
    let cluster = Cluster::start(rolled_out).await;
    cluster.run_ahead(5);
    let node = cluster.ready(0).await;
    cluster.store.lose_answers(answers_are_lost);
    offer(&node, "d1").await;
    let refused = |fleet: &Fleet| {
        let outcomes = fleet.log.iter().map(|(.., applied)| &applied.outcome);
        let accepted = outcomes.filter_map(|outcome| match outcome {
            Outcome::Accepted(events) => Some(refused_operations(events).count()),
            Outcome::Rejected(_) => None,
        });
        accepted.sum::<usize>()
    };
    wait_for("a refusal", || refused(&cluster.fleet()) > 0).await;
    // It waits until log time has caught up, and keeps nothing else from going on.
    offer(&node, "d2").await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(counts(&cluster), (0, 0));
    let refusals = refused(&cluster.fleet());
    cluster.fleet().wait(Millis(5 * 3_600_000));
    cluster.fleet().tick();
    wait_for("the reports", || counts(&cluster) == (2, 0)).await;
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster), (2, 0));
    assert_eq!(refused(&cluster.fleet()), refusals);
    assert_one_after_the_other(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_which_the_answer_says_that_it_was_refused_is_told_again() {
    a_refused_report_is_told_again(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_which_the_view_says_that_it_was_refused_is_told_again() {
    a_refused_report_is_told_again(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_is_sent_while_an_envelope_is_on_its_way() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    offer(&node, "d1").await;
    wait_for("its report", || counts(&cluster) == (1, 0)).await;
    wait_for("an admission ahead", || node.status().admissions_held > 0).await;
    cluster.store.mute(true);
    let before = cluster.store.envelopes(SESSION).len();
    let token = offer(&node, "d2").await;
    wait_for("its report", || {
        cluster.store.envelopes(SESSION).len() > before
    })
    .await;
    // A failure, which would not wait, and a demand for admissions.
    let report = outcome("d2", &token, OutcomeKind::Failed);
    device(&node).await.report_outcome(report).await.unwrap();
    for name in 0..20 {
        let name = format!("e{name}");
        cluster::ask(&mut device(&node).await, check_in(&name, "1.0.0")).await;
    }
    tokio::time::sleep(A_WHILE).await;
    let heard = cluster.store.envelopes(SESSION);
    assert!(heard.len() > before + 1, "it is tried again");
    assert!(heard[before..].iter().all(|one| *one == heard[before]));
    // Closing waits for it too, and tells what came since.
    let closing = tokio::spawn(node.shutdown());
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.store.mute(false);
    closing.await.unwrap().unwrap();
    assert_one_after_the_other(&cluster);
    let fleet = cluster.fleet();
    let failed = fleet
        .state
        .cohorts()
        .iter()
        .map(|(_, counts)| counts.failed);
    assert_eq!(failed.sum::<u64>(), 1);
}

/// The same operations under the same number: of the two, one is applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_that_can_never_be_applied_any_more_is_signed_anew() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    offer(&node, "d1").await;
    wait_for("its report", || counts(&cluster) == (1, 0)).await;
    wait_for("an admission ahead", || node.status().admissions_held > 0).await;
    cluster.store.mute(true);
    let before = cluster.store.envelopes(SESSION).len();
    offer(&node, "d2").await;
    wait_for("its report", || {
        cluster.store.envelopes(SESSION).len() > before
    })
    .await;
    let (lost, bytes) = last_heard(&cluster);
    assert!(lost.operations.iter().any(is_report));
    cluster.wait_hours(2);
    wait_for("new bytes", || last_heard(&cluster).1 != bytes).await;
    assert_eq!(last_heard(&cluster).0, lost, "nothing else is new");
    cluster.store.mute(false);
    wait_for("the report", || counts(&cluster) == (2, 0)).await;
    let late = cluster.fleet().apply(&bytes).outcome.clone();
    assert!(matches!(late, Outcome::Rejected(_)), "{late:?}");
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster), (2, 0));
}

/// A node's clock may be wrong, or stand still: what it signs has to be valid at the store's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_behind_is_heard() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    // The node's clock stands where it was, and nothing but the time changes in the store.
    cluster.fleet().wait_hours(3);
    tokio::time::sleep(A_WHILE).await;
    offer(&node, "d1").await;
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster).0, 1);
    assert_one_after_the_other(&cluster);
}

/// Whoever else has the key (a copied machine) moved the session on: its next envelope would be
/// theirs, and what they told is not this node's to tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_another_moved_on_is_left() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    {
        let mut fleet = cluster.fleet();
        let others = fleet.envelope(SESSION, []);
        fleet.accept(others);
    }
    // Asking for admissions, it finds that the turn was another's.
    cluster::ask(&mut device(&node).await, check_in("d1", "1.0.0")).await;
    let second = || node.status().session == Some(SessionId(2));
    wait_for("a session of its own", second).await;
    offer(&node, "d1").await;
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster), (1, 0));
    assert_eq!(accepted(&cluster, SESSION).len(), 1, "the other's alone");
    let fleet = cluster.fleet();
    let status = fleet.state.sessions().get(&SESSION).unwrap().status;
    assert_eq!(status, SessionStatus::Open, "it is the other's to close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_leaves_its_old_envelope_alone() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    offer(&node, "d1").await;
    wait_for("its report", || counts(&cluster) == (1, 0)).await;
    wait_for("an admission ahead", || node.status().admissions_held > 0).await;
    cluster.store.mute(true);
    let before = cluster.store.envelopes(SESSION).len();
    offer(&node, "d2").await;
    wait_for("its report", || {
        cluster.store.envelopes(SESSION).len() > before
    })
    .await;
    node.kill();
    let (lost, bytes) = last_heard(&cluster);
    cluster.store.mute(false);

    let node = cluster.node(0).await;
    until_ready(&node).await;
    assert_eq!(node.status().session, Some(SessionId(2)));
    let heard = cluster.store.envelopes(SESSION).len();
    offer(&node, "d3").await;
    wait_for("its report", || counts(&cluster) == (2, 0)).await;
    // The old one was on its way all the while, and arrives.
    let outcome = cluster.fleet().apply(&bytes).outcome.clone();
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(counts(&cluster), (3, 0));
    let again = cluster.fleet().apply(&bytes).outcome.clone();
    assert!(matches!(
        again,
        Outcome::Rejected(Rejection::AlreadyApplied { .. })
    ));
    node.shutdown().await.unwrap();
    assert_eq!(counts(&cluster), (3, 0));
    assert_eq!(cluster.store.envelopes(SESSION).len(), heard);
    assert_eq!(
        accepted(&cluster, SESSION).keys().max(),
        Some(&lost.sequence)
    );
    let second = accepted(&cluster, SessionId(2));
    let numbers: Vec<u64> = second.keys().map(|sequence| sequence.0).collect();
    let expected: Vec<u64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

/// Nodes report so seldom that nothing is told before they close, and then in many envelopes.
fn reported_late(fleet: &mut Fleet) {
    let mut config = fleet.state.config().clone();
    config.report_interval = Millis(60_000);
    config.limits.report_tallies_max = 1;
    fleet.accept(SetClusterConfig { config });
    rolled_out(fleet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_written_off_while_it_closes_is_over() {
    let cluster = Cluster::start(reported_late).await;
    let node = cluster.ready(0).await;
    offer(&node, "d1").await;
    cluster.wait_in_silence(1);
    offer(&node, "d2").await;
    tokio::time::sleep(A_WHILE).await;
    cluster.store.mute(true);
    let before = cluster.store.envelopes(SESSION).len();
    let closing = tokio::spawn(node.shutdown());
    wait_for("a report", || {
        cluster.store.envelopes(SESSION).len() > before
    })
    .await;
    cluster.fleet().accept(WriteOffBudget {
        session: SESSION,
        reason: testing::reason(),
    });
    cluster.store.mute(false);
    closing.await.unwrap().unwrap();
}
