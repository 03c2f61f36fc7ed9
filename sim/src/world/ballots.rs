//! Elections, and who would remember them if the power failed now.

use std::collections::BTreeSet;

use openraft_rt::watch::WatchReceiver as _;
use tidegate_raft_store::{NodeId, Raft, Vote};

use super::disks::Disks;
use super::witness::Witness;
use crate::oracle::Seen;

/// Shows the oracles every election that a node wins, as soon as it believes that it has won.
pub(crate) async fn watch(disks: &Disks, witness: &Witness, lane: &str, raft: &Raft) {
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
                forgetful: &forgetful(disks, asked, &vote).await,
            });
        }
        if metrics.changed().await.is_err() {
            // The process is about to be found dead.
            return std::future::pending().await;
        }
    }
}

/// Those whose disks do not remember this vote, or one in a later term, for certain.
async fn forgetful(disks: &Disks, of: BTreeSet<NodeId>, vote: &Vote) -> BTreeSet<NodeId> {
    let cast = vote.leader_id;
    let mut forgetful = BTreeSet::new();
    for id in of {
        // Its vote counted while it was there; who took it away is no voter.
        if disks.is_spoiled(id) {
            continue;
        }
        let Some(left) = disks.after_power_loss(id).await else {
            continue;
        };
        let kept = left.vote.map(|vote| vote.leader_id);
        if !kept.is_some_and(|kept| kept == cast || kept.term > cast.term) {
            forgetful.insert(id);
        }
    }
    forgetful
}
