//! Gives leadership to another voter: when this node stops, and while its disk is full.

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft_rt::watch::WatchReceiver;

use crate::api::store::Serving;
use crate::room::Level;
use crate::types::NodeId;

/// How long a voter may have been silent that is asked to lead.
const SILENT_MAX: Duration = Duration::from_secs(1);
/// How long another voter may take to lead.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a leader looks at its disk.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two attempts: a failed one costs the group an election.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Runs for as long as the node does: a leader whose disk is full hands over to a voter with more
/// room.
pub(crate) async fn drive(serving: Arc<Serving>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let level = serving.room.level();
        if level == Level::Ample || !serving.group.raft.is_leader() {
            continue;
        }
        let Some((to, has)) = successor(&serving) else {
            continue;
        };
        if has > level {
            let led = give_to(&serving, to).await;
            tracing::warn!(to, led, "the disk is full: handing leadership over");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Gives leadership away if this node has it and there is somebody to take it; answers whether
/// another voter leads now.
pub(crate) async fn give_away(serving: &Serving) -> bool {
    if !serving.group.raft.is_leader() {
        return false;
    }
    match successor(serving) {
        Some((to, _)) => give_to(serving, to).await,
        None => false,
    }
}

async fn give_to(serving: &Serving, to: NodeId) -> bool {
    let raft = &serving.group.raft;
    if raft.trigger().transfer_leader(to).await.is_err() {
        return false;
    }
    let wait = raft.wait(Some(PATIENCE));
    match wait.current_leader(to, "handing over").await {
        Ok(_) => true,
        Err(error) => {
            tracing::info!(%error, to, "leadership was not handed over; an election will follow");
            false
        }
    }
}

/// The voter with most room, and of those the one with most of the log, among those that answered
/// lately.
fn successor(serving: &Serving) -> Option<(NodeId, Level)> {
    let group = &serving.group;
    let metrics = group.raft.metrics();
    let metrics = metrics.borrow_watched();
    let (acked, matched) = (metrics.heartbeat.as_ref()?, metrics.replication.as_ref()?);
    let answers = |id: &NodeId| {
        let at = acked.get(id).and_then(|at| at.as_ref());
        at.is_some_and(|at| at.elapsed() <= SILENT_MAX)
    };
    let has = |id: NodeId| matched.get(&id)?.as_ref().map(|has| has.index);
    let voters = metrics.membership_config.membership().voter_ids();
    voters
        .filter(|id| *id != group.me && answers(id))
        .map(|id| (id, serving.room.of_peer(id)))
        .max_by_key(|(id, level)| (*level, has(*id)))
}
