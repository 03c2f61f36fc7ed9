//! What this node, as leader, counts on its peers to have, and what follows when it is gone.
//!
//! A disk that loses what it said it had cannot be caught by the node that uses it: an older root of
//! its log is as good as the newest. Its leader knows better, as long as it leads. It does not go on
//! as if nothing had been counted, but tells the peer, which then stops for good
//! ([ADR 0008](../../../docs/adr/0008-who-lost-what-it-acknowledged-is-told.md)).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{LogStore, StateStore};
use crate::types::{LogId, NodeId, Vote};

/// The last entry that each peer acknowledged to this node, with the term in which this node led.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted(Arc<Mutex<BTreeMap<NodeId, (u64, LogId)>>>);

impl Counted {
    /// The peer has everything up to `last`, it says.
    pub(super) fn note(&self, peer: NodeId, vote: &Vote, last: Option<&LogId>) {
        let Some(last) = last else {
            return;
        };
        let acknowledged = (vote.leader_id.term, *last);
        let mut counted = self.counted();
        let known = counted.entry(peer).or_insert(acknowledged);
        *known = (*known).max(acknowledged);
    }

    /// The entry that the peer acknowledged to the leader with this vote, if it cannot have it any
    /// more since it does not have the one at `missing`.
    pub(super) fn lost(&self, peer: NodeId, vote: &Vote, missing: &LogId) -> Option<LogId> {
        let (term, last) = self.counted().get(&peer).copied()?;
        (term == vote.leader_id.term && missing.index <= last.index).then_some(last)
    }

    // Plain data, valid at every step: a panic elsewhere does not spoil it.
    fn counted(&self) -> MutexGuard<'_, BTreeMap<NodeId, (u64, LogId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leader with `vote` counted on this node to have `entry`. If it does not have it, its disk
/// lost it, and the node stops and does not start on that disk again.
pub(super) async fn answer_for(
    (log, state): (&LogStore, &StateStore),
    leader: NodeId,
    vote: &Vote,
    entry: LogId,
) {
    // Another leader may have replaced it since: then there is nothing to answer for.
    if log.vote().map(|vote| vote.leader_id) != Some(vote.leader_id) {
        return;
    }
    let last = log.last().max(state.position().applied);
    if last >= Some(entry) {
        return;
    }
    let left = last.map_or_else(|| "nothing".to_owned(), |last| place(&last));
    let why = format!(
        "{} was acknowledged to node {leader}, and what is left on the disk ends with {left}",
        place(&entry)
    );
    tracing::error!("{why}: this node must not vote again, and stops");
    if let Err(error) = log.distrust(why).await {
        tracing::error!(%error, "this could not be marked on the disk: do NOT start this node again");
    }
}

pub(super) fn place(entry: &LogId) -> String {
    format!("entry {} of term {}", entry.index, entry.leader_id.term)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openraft::storage::{IOFlushed, RaftLogStorage as _};
    use openraft::type_config::TypeConfigExt as _;
    use tidegate_runtime::disk::{Disk, SimDisk};

    use super::*;
    use crate::storage::rig::{Numbers, at, entry, log_id, open_state_on, run, vote};
    use crate::storage::{Identity, LogOptions};
    use crate::types::{EntryPayload, TypeConfig};

    #[test]
    fn what_a_peer_acknowledged_to_this_leader_must_be_there() {
        let counted = Counted::default();
        assert_eq!(counted.lost(4, &vote(3), &at(3, 7)), None, "nothing yet");
        counted.note(4, &vote(3), Some(&at(2, 20)));
        counted.note(4, &vote(3), Some(&at(3, 22)));
        counted.note(4, &vote(3), Some(&at(2, 19)));
        counted.note(4, &vote(3), None);
        assert_eq!(counted.lost(4, &vote(3), &at(3, 22)), Some(at(3, 22)));
        assert_eq!(counted.lost(4, &vote(3), &at(2, 12)), Some(at(3, 22)));
        assert_eq!(counted.lost(4, &vote(3), &at(3, 23)), None);
        assert_eq!(counted.lost(5, &vote(3), &at(3, 22)), None);
        // In a later term it may have been replaced, and is counted anew.
        assert_eq!(counted.lost(4, &vote(6), &at(3, 22)), None);
        counted.note(4, &vote(6), Some(&at(2, 15)));
        assert_eq!(counted.lost(4, &vote(6), &at(2, 15)), Some(at(2, 15)));
    }

    /// Found by the simulator (seed 181296805911882): a write to another place than it was meant for
    /// left the log without its last entry, and nothing on that disk tells.
    #[test]
    fn a_node_that_lost_what_it_acknowledged_stops_and_does_not_come_back() {
        run(async {
            let disk = SimDisk::new();
            let mounted: Arc<dyn Disk> = Arc::new(disk.mount());
            let identity = Identity {
                origin: "a.example/fleet".to_owned(),
                incarnation: 1,
                node: 4,
            };
            let numbers = Numbers::default();
            let claim = identity.claim(mounted.as_ref(), &numbers).unwrap();
            let opened = LogStore::open(Arc::clone(&mounted), &claim, LogOptions::default());
            let opened = opened.await;
            let mut log = opened.unwrap();
            let state = open_state_on(Arc::clone(&mounted)).await.unwrap();
            log.save_vote(&vote(1)).await.unwrap();
            let (done, flushed) = TypeConfig::oneshot();
            let entries = (0..3).map(|index| entry(index, EntryPayload::Blank));
            log.append(entries, IOFlushed::signal(done)).await.unwrap();
            flushed.await.unwrap().unwrap();
            let storage = (&log, &state);
            answer_for(storage, 1, &vote(1), log_id(2)).await;
            answer_for(storage, 1, &vote(2), log_id(3)).await;
            assert!(log.poisoned().is_none(), "it has it, or owes it to nobody");
            answer_for(storage, 1, &vote(1), log_id(3)).await;
            let why = "entry 3 of term 1 was acknowledged to node 1, and what is left on the disk \
                       ends with entry 2 of term 1";
            assert_eq!(log.failed().await, why);
            assert!(log.save_vote(&vote(2)).await.is_err(), "it votes no more");
            disk.lose_power(&mut || 1);
            let refused = identity.claim(&disk.mount(), &numbers);
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
            assert!(refused.contains("Remove node 4"), "{refused}");
        });
    }
}
