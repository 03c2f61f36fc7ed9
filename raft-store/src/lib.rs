//! The replicated store: one Raft group, durable before acknowledged, linearizable reads.
//!
//! | Module | What |
//! |---|---|
//! | [`node`] | a running node: start, serve, stop |
//! | [`config`] | the settings of one node |
//! | [`storage`] | what a node keeps: log, state, audit log, snapshots |
//! | `network` | traffic between the nodes of a group |
//! | `api` | what clients may ask |
//! | `group` | who leads and how to reach them |
//! | `members` | drives the group to the members that operators approved |
//! | `room` | what is refused before a disk is full |
//! | `handover` | gives leadership to another voter |
//! | `heads` | compares this node's chain with what the voters signed of theirs |
//! | `log_time` | tells when log time runs away from the clocks |
//! | `tick` | moves log time on when something is due |
//!
//! Architecture invariant: Raft's indices stay inside this crate. Outside, "index" is the audit
//! leaf index.

mod api;
pub mod config;
mod group;
mod handover;
mod heads;
mod listen;
mod log_time;
mod members;
mod network;
pub mod node;
mod room;
mod serve;
pub mod storage;
mod tick;
mod types;

pub use api::{ProposeError, Proposed, ReadError, WatchError};
pub use heads::OUTVOTED;
pub use listen::{ListenError, Listener};
pub use network::STAMP_AHEAD_MAX_MS;
pub use node::{Node, NodeKeys, StartError};
pub use room::NoRoom;
pub use tidegate_runtime::Host;
pub use types::{
    Applied, CommittedLeader, Entry, EntryPayload, Envelope, LogId, Member, Membership, NodeId,
    Proposal, Raft, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};
