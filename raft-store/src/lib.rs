//! The replicated store: one Raft group, durable before acknowledged, linearizable reads.

mod types;

pub use types::{
    Applied, Entry, EntryPayload, LogId, Member, Membership, NodeId, Proposal, SnapshotMeta,
    StoredMembership, TypeConfig, Vote,
};
