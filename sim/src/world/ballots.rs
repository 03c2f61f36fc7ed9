//! What store nodes would remember of their votes if the power failed now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use madsim::task::NodeId as MachineId;
use openraft_rt::watch::WatchReceiver as _;
use tidegate_raft_store::storage::{LOG_FILE, LogOptions, LogStore};
use tidegate_raft_store::{NodeId, Raft, Vote};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::sim::is_damaged;

use super::witness::Witness;
use crate::oracle::Seen;

/// The disks that votes are kept on. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ballots(Arc<Mutex<BTreeMap<NodeId, (MachineId, SimDisk)>>>);

impl Ballots {
    /// The node `id` keeps its votes on this disk of this machine.
    pub(crate) fn enter(&self, id: NodeId, machine: MachineId, disk: &SimDisk) {
        let mut disks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        disks.insert(id, (machine, disk.clone()));
    }

    /// Shows the oracles every election that a node wins, as soon as it believes that it has won.
    pub(crate) async fn watch(&self, witness: &Witness, lane: &str, raft: &Raft) {
        let mut metrics = raft.server_metrics();
        let mut shown = None;
        loop {
            let (state, vote, membership) = {
                let metrics = metrics.borrow_watched();
                (
                    metrics.state,
                    metrics.vote,
                    metrics.membership_config.clone(),
                )
            };
            if state.is_leader() && shown != Some(vote) {
                shown = Some(vote);
                let voters = membership.membership().get_joint_config();
                let asked: BTreeSet<NodeId> = voters.iter().flatten().copied().collect();
                witness.see(&Seen::Elected {
                    lane,
                    term: vote.leader_id.term,
                    voters,
                    forgetful: &self.forgetful(asked, &vote).await,
                });
            }
            if metrics.changed().await.is_err() {
                // The process is about to be found dead.
                return std::future::pending().await;
            }
        }
    }

    /// Those whose disks do not remember this vote, or one in a later term, for certain.
    async fn forgetful(&self, of: BTreeSet<NodeId>, vote: &Vote) -> BTreeSet<NodeId> {
        let cast = vote.leader_id;
        let mut forgetful = BTreeSet::new();
        for id in of {
            let Some(kept) = self.remembered(id).await else {
                continue;
            };
            let kept = kept.map(|vote| vote.leader_id);
            if !kept.is_some_and(|kept| kept == cast || kept.term > cast.term) {
                forgetful.insert(id);
            }
        }
        forgetful
    }

    /// The vote that a node would find if its power failed now, and everything that is not synced
    /// were lost. Nothing if its disk is not to be believed: a fault has damaged it, and nobody
    /// starts a voter on it again.
    async fn remembered(&self, id: NodeId) -> Option<Option<Vote>> {
        let (machine, disk) = {
            let disks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            disks.get(&id).cloned()?
        };
        if is_damaged(machine) {
            return None;
        }
        let left = disk.after_power_loss(LOG_FILE);
        let log = LogStore::open(Arc::new(left.mount()), LogOptions::default()).await;
        Some(log.ok().and_then(|log| log.vote()))
    }
}
