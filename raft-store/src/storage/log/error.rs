//! Why a log is not opened.

use std::io;

use crate::storage::IdentityError;
use crate::storage::codec::CodecError;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The log is not this directory's, or empty.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The disk failed.
    #[error("log: {0}")]
    Io(#[from] io::Error),
    /// A record is damaged or of another version.
    #[error("log: {0}")]
    Record(#[from] CodecError),
    /// A file is not what it was.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// A file is gone that others show to have been there.
    #[error("{0} is missing, of the files that the log is in")]
    Missing(String),
    /// An entry is missing between those that are there.
    #[error("log: entry {expected} is missing, the next one found is {found}")]
    Gap {
        /// The index that should follow.
        expected: u64,
        /// The index that does.
        found: u64,
    },
}
