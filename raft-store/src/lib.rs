//! The replicated store: one Raft group, durable before acknowledged, linearizable reads.

pub mod storage;
mod types;

pub use types::{
    Applied, CommittedLeader, Entry, EntryPayload, LogId, Member, Membership, NodeId, Proposal,
    SnapshotMeta, StoredMembership, TypeConfig, Vote,
};
