//! The Raft group as the API sees it: who leads, who votes, and how to reach them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use openraft_rt::watch::WatchReceiver;

use crate::network::peer::{Peer, PeerFactory};
use crate::types::{Member, Membership, NodeId, Raft};

/// This node's part in the group.
pub(crate) struct Group {
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    factory: PeerFactory,
    /// Connections for client work, apart from Raft's own.
    peers: Mutex<BTreeMap<NodeId, Peer>>,
}

/// Who leads, as far as this node knows.
pub(crate) enum Leader {
    Me,
    Other(Peer, Member),
    Unknown,
}

impl Group {
    pub(crate) fn new(me: NodeId, raft: Raft, factory: PeerFactory) -> Self {
        Self {
            me,
            raft,
            factory,
            peers: Mutex::default(),
        }
    }

    pub(crate) fn leader(&self) -> Leader {
        let (leader, membership) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.current_leader, metrics.membership_config.clone())
        };
        match leader {
            None => Leader::Unknown,
            Some(id) if id == self.me => Leader::Me,
            Some(id) => match membership.membership().get_node(&id) {
                Some(member) => Leader::Other(self.peer(id, member), member.clone()),
                None => Leader::Unknown,
            },
        }
    }

    /// `host:port` of the leader, for hints to clients.
    pub(crate) fn leader_address(&self) -> Option<String> {
        match self.leader() {
            Leader::Other(_, member) => Some(member.addr),
            Leader::Me | Leader::Unknown => None,
        }
    }

    /// Waits until Raft has stopped, and says why: its storage failed, or it was shut down.
    pub(crate) async fn stopped(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "raft ended without a word".to_owned();
            }
        }
    }

    /// Lets connections that are open for long follow the members to where they are now: openraft
    /// keeps those that it has when a membership changes no more than an address.
    pub(crate) fn look_up_addresses(&self) {
        let metrics = self.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        for (id, member) in membership.membership().nodes() {
            self.factory.note_address(*id, &member.addr);
        }
    }

    pub(crate) fn voters(&self) -> Vec<NodeId> {
        let metrics = self.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        membership.membership().voter_ids().collect()
    }

    /// The voters beside this node.
    pub(crate) fn other_voters(&self) -> Vec<Peer> {
        self.others(|membership| membership.voter_ids().collect())
    }

    /// The members beside this node, voters and learners.
    pub(crate) fn other_members(&self) -> Vec<Peer> {
        self.others(|membership| membership.nodes().map(|(id, _)| *id).collect())
    }

    fn others(&self, who: impl FnOnce(&Membership) -> Vec<NodeId>) -> Vec<Peer> {
        let metrics = self.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        let membership = membership.membership();
        let others = who(membership).into_iter().filter(|id| *id != self.me);
        others
            .filter_map(|id| Some(self.peer(id, membership.get_node(&id)?)))
            .collect()
    }

    fn peer(&self, id: NodeId, member: &Member) -> Peer {
        self.factory.note_address(id, &member.addr);
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.entry(id);
        peer.or_insert_with(|| self.factory.peer(id, member))
            .clone()
    }
}
