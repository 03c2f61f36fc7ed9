//! Why the state cannot be read or written.

use std::io;

use tidegate_domain::id::StateVersion;
use tidegate_domain::state::RowError;

use crate::storage::IdentityError;
use crate::storage::codec::CodecError;
use crate::storage::database::OpenError;

/// Why the state cannot be opened, read, or moved on. All but [`StateError::Refused`] mean that
/// this node's storage is not to be trusted. Each stops the node, unless it was a client's read that
/// failed: another node can answer that, and a request must not be able to stop all nodes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state is not this directory's, or empty.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The disk failed.
    #[error("state: {0}")]
    Io(#[from] io::Error),
    /// The database is damaged or in use.
    #[error("state: {0}")]
    Database(#[from] redb::Error),
    /// A record is damaged or of another version.
    #[error("state: {0}")]
    Record(#[from] CodecError),
    /// The rows do not make up a state.
    #[error("state: {0}")]
    Rows(#[from] RowError),
    /// Parts of the database contradict each other.
    #[error("state: damaged: {0}")]
    Damaged(String),
    /// The state follows rules that this build does not know.
    #[error("state: it follows rules of version {0}; start a build that knows them")]
    NewerRules(StateVersion),
    /// A snapshot that must not be installed.
    #[error("snapshot refused: {0}")]
    Refused(String),
    /// An earlier failure left the memory ahead of the disk.
    #[error("state: stopped after an earlier failure: {0}")]
    Poisoned(String),
}

impl StateError {
    /// Whether there was no room, while the disk itself is sound.
    pub(super) fn is_full_disk(&self) -> bool {
        matches!(
            self,
            Self::Io(error) | Self::Database(redb::Error::Io(error))
                if error.kind() == io::ErrorKind::StorageFull
        )
    }
}

impl From<OpenError> for StateError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Identity(error) => Self::Identity(error),
            OpenError::Database(error) => Self::Database(error),
        }
    }
}

impl From<StateError> for io::Error {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Io(error) => error,
            other => Self::other(other),
        }
    }
}
