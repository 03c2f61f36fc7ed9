//! The copies of entries that leaders count.

use std::collections::BTreeMap;

use openraft_rt::watch::WatchReceiver as _;
use tidegate_raft_store::{LogId, NodeId, Raft};

use super::witness::Witness;
use crate::oracle::Seen;

/// Shows the oracles up to which committed entry a node, while it leads, counts each other's copy.
pub(crate) async fn watch(witness: &Witness, raft: &Raft) {
    let mut metrics = raft.data_metrics();
    let mut shown = BTreeMap::new();
    loop {
        let counted: BTreeMap<NodeId, (u64, u64)> = {
            let metrics = metrics.borrow_watched();
            // What is not committed may be replaced, by a leader that never had it.
            let committed = metrics.cluster_committed;
            let matched = metrics.replication.iter().flatten();
            matched
                .filter_map(|(id, matched)| Some((*id, place(&(*matched).min(committed)?))))
                .collect()
        };
        if counted != shown {
            witness.see(&Seen::Counted { copies: &counted });
            shown = counted;
        }
        if metrics.changed().await.is_err() {
            // The process is about to be found dead.
            return std::future::pending().await;
        }
    }
}

/// Term and index.
pub(crate) const fn place(id: &LogId) -> (u64, u64) {
    (id.leader_id.term, id.index)
}
