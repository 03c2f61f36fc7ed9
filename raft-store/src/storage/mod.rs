//! What a node keeps: who it is, Raft's log, and the state with its audit log.
//!
//! Log and state are apart, because they sync at different times: the log, in append-only segments
//! `log-…`, before anything is acknowledged; the database `state.redb` only now and then, since it can
//! be rebuilt from the log.

mod audit_body;
pub mod codec;
mod database;
mod feed;
mod headed;
mod identity;
mod log;
mod open;
#[cfg(test)]
pub(crate) mod rig;
mod snapshot;
mod state;
mod together;
mod unsound;

pub use audit_body::{Asked, AuditBody, KIND_MEMBERSHIP, KIND_UNREADABLE};
pub(crate) use feed::reach;
pub use feed::{Batch, Position, PositionWatch};
pub use identity::{
    Claim, DirectoryId, FORMAT_VERSION, IDENTITY_FILE, Identity, IdentityError, Owner,
};
pub use log::{LogOptions, LogStore, OpenLogError, Poison, is_log_file};
pub(crate) use open::abandon;
pub use open::{StorageError, open};
pub use snapshot::{PIECE_BYTES, Pieces, SnapshotData, SnapshotReceiver};
pub use state::{AuditEntry, StateError, StateOptions, StateStore, StateView};
pub use together::{LogMark, TogetherError};
pub use unsound::UNSOUND_FILE;

/// What the names of the log's files begin with.
const LOG_FILES: &str = "log-";
/// The state, the audit log, and how far they were applied.
pub const STATE_FILE: &str = "state.redb";
