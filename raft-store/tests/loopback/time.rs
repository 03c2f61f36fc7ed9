//! Log time: it moves when something is due, whatever a leader's clock says, and nobody signs for
//! one that has run away.

use std::time::Duration;

use super::support::{Cluster, Shape, accepted, eventually};
use tidegate_audit_log::checkpoint::SignedCheckpoint;
use tidegate_domain::command::{ApproveRollout, Command, CreateRollout};
use tidegate_domain::id::{LogTime, RolloutId};
use tidegate_domain::rollout::Life;
use tidegate_domain::testing::{release, rollout};
use tidegate_proto::v1::audit_client::AuditClient;
use tidegate_proto::v1::{CheckpointRequest, CosignRequest};
use tidegate_proto::{Refusal, WireError};
use tidegate_raft_store::Proposal;
use tidegate_runtime::{Clock as _, SystemClock};

const HOUR_MS: i64 = 3_600_000;
const TEN_MINUTES_MS: i64 = 600_000;

/// Longer than frames take to tell of a clock that was set.
const HEARD: Duration = Duration::from_millis(1_000);

async fn accept(cluster: &mut Cluster, command: impl Into<Command>) {
    let command = cluster.sign(command).to_bytes();
    accepted(&cluster.client().propose(command).await.unwrap());
}

/// An approved rollout that starts so many ms from now, by the right clock.
async fn planned(cluster: &mut Cluster, starts_in_ms: i64) -> RolloutId {
    for name in ["a-1", "a-2"] {
        let registration = cluster.fleet.registration(release(name));
        accept(cluster, registration).await;
    }
    accepted(
        &cluster
            .client()
            .propose(cluster.variant(1).to_bytes())
            .await
            .unwrap(),
    );
    let mut spec = rollout("a-2").back_to("a-1").wave(100, 1).spec();
    let start = SystemClock.wall().0.saturating_add_signed(starts_in_ms);
    spec.start_at = Some(LogTime(start));
    accept(cluster, CreateRollout { spec }).await;
    let leader = cluster.leader().await;
    let rollout = cluster
        .node(leader)
        .state()
        .read(|state| state.meta().last_rollout);
    accept(cluster, ApproveRollout { rollout }).await;
    rollout
}

fn life(cluster: &Cluster, id: u64, rollout: RolloutId) -> Option<Life> {
    let state = cluster.node(id).state();
    state.read(|state| Some(state.rollouts().get(&rollout)?.life.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_grows_when_something_is_due_and_not_otherwise() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let rollout = planned(&mut cluster, 2_000).await;
    let leader = cluster.leader().await;
    assert_eq!(life(&cluster, leader, rollout), Some(Life::Approved));
    eventually("it starts", || {
        (life(&cluster, leader, rollout) == Some(Life::Running)).then_some(())
    })
    .await;
    // It soaks for an hour now. The leader looks five times a second.
    let entries = || cluster.node(leader).state().position().entries;
    let before = entries();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(entries(), before, "something was logged");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_happens_whatever_the_leaders_clock_says() {
    // A leader that is an hour behind is pulled up to a minute behind, and one that is an hour
    // ahead held back to less than a minute ahead.
    for (wrong_by_ms, starts_in_ms) in [(-HOUR_MS, -58_000), (HOUR_MS, 58_000)] {
        let mut cluster = Cluster::start(Shape::default()).await;
        let leader = cluster.leader().await;
        cluster.clocks[leader as usize - 1].set_ahead(wrong_by_ms);
        tokio::time::sleep(HEARD).await;
        let rollout = planned(&mut cluster, starts_in_ms).await;
        assert_eq!(cluster.leader().await, leader, "another leads");
        eventually("it starts", || {
            (life(&cluster, leader, rollout) == Some(Life::Running)).then_some(())
        })
        .await;
        cluster.stop().await;
    }
}

async fn checkpoint(cluster: &Cluster, id: u64) -> Vec<u8> {
    let mut audit = AuditClient::new(cluster.client_of(id).channel().1);
    let note = audit.checkpoint(CheckpointRequest {}).await.unwrap();
    note.into_inner().note
}

async fn cosign(cluster: &Cluster, id: u64, note: &[u8]) -> Result<(), WireError> {
    let mut audit = AuditClient::new(cluster.client_of(id).channel().1);
    let request = CosignRequest {
        note: note.to_vec(),
    };
    let signed = audit.cosign(request).await;
    signed.map(drop).map_err(|status| WireError::from(&status))
}

async fn alarm(cluster: &Cluster, id: u64) -> Option<u64> {
    let status = cluster.client_of(id).statuses().await.remove(0).1.unwrap();
    status.log_time_ahead_ms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_cosigns_a_time_that_no_honest_leader_stamps() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let leader = cluster.leader().await;
    let before = checkpoint(&cluster, leader).await;
    // A leader that lies.
    let command = cluster.variant(1);
    let proposal = Proposal {
        stamp_ms: SystemClock.wall().0.saturating_add_signed(TEN_MINUTES_MS),
        command: bytes::Bytes::from(command.to_bytes()).into(),
    };
    let raft = cluster.node(leader).raft();
    raft.client_write(proposal).await.unwrap();
    let entries = cluster.node(leader).state().position().entries;
    let after = checkpoint(&cluster, leader).await;
    let signatures = |note: &[u8]| {
        SignedCheckpoint::parse(note)
            .unwrap()
            .note()
            .signatures()
            .len()
    };
    assert_eq!((signatures(&before), signatures(&after)), (2, 1));
    for id in 1..=3 {
        cluster.catch_up(id, entries).await;
        let refused = cosign(&cluster, id, &after).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::NotAllowed, "{refused}");
        assert!(refused.message.contains("ahead of the voters"), "{refused}");
        let ahead = alarm(&cluster, id).await.expect("node {id} is not alarmed");
        assert!((500_000..=600_000).contains(&ahead), "{ahead} ms");
        // What was honest stays so.
        cosign(&cluster, id, &before).await.unwrap();
    }
    // Once the clocks have caught up, the entry lies in the past like any other.
    for clock in &cluster.clocks {
        clock.set_ahead(TEN_MINUTES_MS);
    }
    tokio::time::sleep(HEARD * 3).await;
    for id in 1..=3 {
        assert_eq!(alarm(&cluster, id).await, None);
        cosign(&cluster, id, &after).await.unwrap();
    }
    cluster.stop().await;
}
