//! Three real nodes on loopback: commands, reads, watches, and what happens when nodes die.

use std::collections::BTreeSet;

use super::support::{Cluster, Shape, accepted, eventually};
use openraft_rt::watch::WatchReceiver as _;
use tidegate_client::{Position, Rows};
use tidegate_domain::config::Meta;
use tidegate_domain::id::StopId;
use tidegate_domain::state::row;
use tidegate_domain::{Outcome, Rejection, canonical};
use tidegate_proto::Refusal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_given_to_any_node_is_applied_on_all() {
    let mut cluster = Cluster::start(Shape::default()).await;
    for id in 1..=3 {
        let command = cluster.variant(u32::try_from(id).unwrap());
        let proposed = cluster
            .client_of(id)
            .propose(command.to_bytes())
            .await
            .unwrap();
        accepted(&proposed);
        // READ-1: every node shows what was acknowledged before the read began.
        for reader in 1..=3 {
            let point = cluster.client_of(reader).read_index().await.unwrap();
            assert!(
                point.position.entries > proposed.index.0,
                "node {reader}: {point:?}"
            );
            let (manifest, rows) = cluster
                .client_of(reader)
                .snapshot(Position::default())
                .await
                .unwrap();
            assert!(manifest.position.entries > proposed.index.0);
            assert_eq!(rows.len() as u64, manifest.rows);
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_command_gets_its_first_outcome() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let command = cluster.variant(1).to_bytes();
    let first = cluster.client_of(1).propose(command.clone()).await.unwrap();
    assert!(!first.duplicate);
    for id in 1..=3 {
        let again = cluster
            .client_of(id)
            .propose(command.clone())
            .await
            .unwrap();
        assert!(again.duplicate);
        assert_eq!((again.index, &again.outcome), (first.index, &first.outcome));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_any_node_answers_cover_what_was_acknowledged_before() {
    let mut cluster = Cluster::start(Shape::default()).await;
    for number in 1..=20 {
        let command = cluster.variant(number).to_bytes();
        let proposed = cluster.client().propose(command).await.unwrap();
        for id in 1..=3 {
            let keys = [row::meta(), row::stops(&StopId(7))];
            let Rows { point, values } = cluster.client_of(id).rows(&keys).await.unwrap();
            assert!(
                point.position.entries > proposed.index.0,
                "node {id} at {number}"
            );
            let [Some(meta), None] = &values[..] else {
                panic!("{values:?}");
            };
            let meta: Meta = canonical::decode(meta).unwrap();
            assert_eq!(meta.next.0, point.position.entries);
        }
    }
    for keys in [vec![], vec![row::meta(); 65], vec![vec![250]]] {
        let refused = cluster.client().rows(&keys).await.unwrap_err();
        assert_eq!(refused.error.refusal, Refusal::Malformed, "{refused}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_is_an_outcome_and_is_recorded() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let client = cluster.client();
    accepted(&client.propose(cluster.variant(1).to_bytes()).await.unwrap());
    let again = client.propose(cluster.variant(1).to_bytes()).await.unwrap();
    assert!(matches!(again.outcome, Outcome::Rejected(_)), "{again:?}");
    assert!(!matches!(
        again.outcome,
        Outcome::Rejected(Rejection::AlreadyApplied { .. })
    ));
    assert!(!again.duplicate);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_authorized_never_enters_the_log() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let before = cluster.client().read_index().await.unwrap().position;
    let mut forged = cluster.variant(1);
    forged.signatures.clear();
    for (bytes, says) in [
        (forged.to_bytes(), "signature"),
        (b"no command".to_vec(), "malformed"),
    ] {
        for id in 1..=3 {
            let error = cluster
                .client_of(id)
                .propose(bytes.clone())
                .await
                .unwrap_err();
            assert_eq!(error.refusal(), Refusal::Unauthorized, "{error}");
            assert!(!error.is_effect_unknown(), "{error}");
            assert!(!error.is_retryable(), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    assert_eq!(
        cluster.client().read_index().await.unwrap().position,
        before
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_loses_nothing_and_stops_nothing() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let client = cluster.client();
    let mut acknowledged = BTreeSet::new();
    for number in 0..60 {
        if number % 20 == 10 {
            let leader = cluster.leader().await;
            cluster.cut_power(leader).await;
            // The others go on without it.
            let command = cluster.variant(1_000 + number);
            let proposed = client.propose(command.to_bytes()).await.unwrap();
            accepted(&proposed);
            acknowledged.insert(proposed.index);
            cluster.restart(leader).await;
        }
        let command = cluster.variant(number);
        let proposed = client.propose(command.to_bytes()).await.unwrap();
        accepted(&proposed);
        assert!(
            acknowledged.insert(proposed.index),
            "index given twice: {proposed:?}"
        );
    }
    same_state_everywhere(&cluster, acknowledged.len() as u64).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_nodes_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let client = cluster.client();
    for number in 0..20 {
        accepted(
            &client
                .propose(cluster.variant(number).to_bytes())
                .await
                .unwrap(),
        );
    }
    for id in 1..=3 {
        cluster.cut_power(id).await;
    }
    for id in 1..=3 {
        cluster.restart(id).await;
    }
    same_state_everywhere(&cluster, 20).await;
    accepted(
        &client
            .propose(cluster.variant(20).to_bytes())
            .await
            .unwrap(),
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_too_long_is_brought_back_by_a_snapshot() {
    let mut cluster = Cluster::start(Shape {
        snapshot_every: 100,
        ..Shape::default()
    })
    .await;
    let client = cluster.client();
    accepted(&client.propose(cluster.variant(0).to_bytes()).await.unwrap());
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    cluster.cut_power(away).await;
    let commands: Vec<_> = (1..=500).map(|n| cluster.variant(n).to_bytes()).collect();
    for batch in commands.chunks(50) {
        let proposals = batch.iter().map(|command| client.propose(command.clone()));
        for proposed in futures::future::join_all(proposals).await {
            accepted(&proposed.unwrap());
        }
    }
    // Openraft keeps what an attempt under way may still send, until the attempt has failed.
    let purged = |id| {
        cluster
            .node(id)
            .raft()
            .metrics()
            .borrow_watched()
            .purged
            .is_some()
    };
    let rest: Vec<_> = (1..=3).filter(|id| *id != away).collect();
    eventually("the others purge", || {
        rest.iter().all(|id| purged(*id)).then_some(())
    })
    .await;
    cluster.restart(away).await;
    same_state_everywhere(&cluster, 501).await;
    assert_eq!(
        cluster.node(away).state().position().installs,
        1,
        "by a snapshot"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_the_leader_hands_leadership_over() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let leader = cluster.leader().await;
    let term = term(&cluster, leader).await;
    let at = usize::try_from(leader - 1).unwrap();
    cluster.nodes[at].take().unwrap().stop().await.unwrap();
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    let (_, status) = cluster.client_of(next).statuses().await.remove(0);
    assert_eq!(status.unwrap().term, term + 1, "one election, by request");
    accepted(
        &cluster
            .client()
            .propose(cluster.variant(1).to_bytes())
            .await
            .unwrap(),
    );
    cluster.stop().await;
}

async fn term(cluster: &Cluster, id: u64) -> u64 {
    cluster
        .client_of(id)
        .statuses()
        .await
        .remove(0)
        .1
        .unwrap()
        .term
}

/// All nodes have the same entries, chain and state, and at least so many variants.
async fn same_state_everywhere(cluster: &Cluster, variants: u64) {
    let entries = cluster
        .client()
        .read_index()
        .await
        .unwrap()
        .position
        .entries;
    for id in 1..=3 {
        cluster.catch_up(id, entries).await;
    }
    let all = [1, 2, 3].map(|id| cluster.node(id).state().position());
    // Ticks may go on; what counts is that equal lengths mean equal states.
    for position in &all {
        if position.entries == all[0].entries {
            assert_eq!((position.chain, position.root), (all[0].chain, all[0].root));
        }
    }
    for id in 1..=3 {
        let found = cluster
            .node(id)
            .state()
            .read(|state| state.variants().len());
        assert!(
            found as u64 >= variants,
            "node {id} has {found} of {variants} variants"
        );
    }
}
