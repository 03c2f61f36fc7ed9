//! The changes of a log, and how they stand in the body of a group.
//!
//! ```text
//! body   = change, …
//! change = kind u8 | length u32, little-endian | record [length] (../codec.rs), or nothing for "none"
//! ```

use tidegate_mutant::{Mutant, is_on};

use crate::storage::codec::{self, CodecError, Record};
use crate::types::{Entry, LogId, Vote};

/// One change of the log.
#[derive(Debug)]
pub(super) enum Op {
    /// Place and record of an entry.
    Append(LogId, Vec<u8>),
    /// Removes the entries after this one.
    Truncate(Option<LogId>),
    /// Removes the entries up to and including this one.
    Purge(LogId),
    /// Replaces the vote.
    Vote(Vote),
    /// Notes what is known to be committed.
    Committed(Option<LogId>),
}

/// One change as it is read back.
#[derive(Debug)]
pub(super) enum Change {
    /// An entry, and where in the body its record stands.
    Append(Entry, usize, usize),
    Truncate(Option<LogId>),
    Purge(LogId),
    Vote(Vote),
    Committed(Option<LogId>),
}

/// Why the body of a group is not what this build writes, although its checksum fits.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(transparent)]
    Record(#[from] CodecError),
    #[error("a change of kind {0}, which this build does not know: use the newer build")]
    Kind(u8),
    #[error("a change that does not end within its group")]
    Length,
}

const APPEND: u8 = 1;
const TRUNCATE: u8 = 2;
const PURGE: u8 = 3;
const VOTE: u8 = 4;
const COMMITTED: u8 = 5;
const PREFIX_BYTES: usize = 5;

impl Op {
    /// Whether somebody waits for it to be durable, or a promise rests on it.
    pub(super) fn must_sync(&self) -> bool {
        match self {
            Self::Append(id, _) if id.index % 50 == 0 && is_on(Mutant::OneInFiftyUnsynced) => false,
            Self::Append(..) | Self::Truncate(_) => !is_on(Mutant::UnsyncedLog),
            Self::Vote(_) => !is_on(Mutant::UnsyncedVote),
            Self::Purge(_) | Self::Committed(_) => false,
        }
    }

    /// Whether it waits for a group that is written for another's sake.
    pub(super) const fn rides(&self) -> bool {
        match self {
            Self::Purge(_) | Self::Committed(_) => true,
            Self::Append(..) | Self::Truncate(_) | Self::Vote(_) => false,
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn weight(&self) -> usize {
        const SMALL: usize = 64;
        match self {
            Self::Append(_, record) => PREFIX_BYTES + record.len(),
            Self::Truncate(_) | Self::Purge(_) | Self::Vote(_) | Self::Committed(_) => SMALL,
        }
    }

    /// Writes it behind what is in `body` already.
    pub(super) fn write(&self, body: &mut Vec<u8>) {
        match self {
            Self::Append(_, record) => put(body, APPEND, record),
            Self::Truncate(last) => put(body, TRUNCATE, &optional(last.as_ref())),
            Self::Purge(upto) => put(body, PURGE, &codec::to_bytes(upto)),
            Self::Vote(vote) => put(body, VOTE, &codec::to_bytes(vote)),
            Self::Committed(committed) => put(body, COMMITTED, &optional(committed.as_ref())),
        }
    }
}

/// The change that begins at `at` of `body`, and where the next one does.
pub(super) fn read(body: &[u8], at: usize) -> Result<(Change, usize), BodyError> {
    let rest = body.get(at..).ok_or(BodyError::Length)?;
    let (kind, rest) = rest.split_first().ok_or(BodyError::Length)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(BodyError::Length)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| BodyError::Length)?;
    let record = rest.get(..length).ok_or(BodyError::Length)?;
    let begin = at + PREFIX_BYTES;
    let change = match *kind {
        APPEND => Change::Append(codec::from_bytes(record)?, begin, length),
        TRUNCATE => Change::Truncate(read_optional(record)?),
        PURGE => Change::Purge(codec::from_bytes(record)?),
        VOTE => Change::Vote(codec::from_bytes(record)?),
        COMMITTED => Change::Committed(read_optional(record)?),
        unknown => return Err(BodyError::Kind(unknown)),
    };
    Ok((change, begin + length))
}

fn put(body: &mut Vec<u8>, kind: u8, record: &[u8]) {
    let Ok(length) = u32::try_from(record.len()) else {
        unreachable!("no request, and so no record, is larger than some megabytes")
    };
    body.push(kind);
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(record);
}

fn optional<T: Record>(value: Option<&T>) -> Vec<u8> {
    value.map(codec::to_bytes).unwrap_or_default()
}

fn read_optional<T: Record>(record: &[u8]) -> Result<Option<T>, CodecError> {
    (!record.is_empty())
        .then(|| codec::from_bytes(record))
        .transpose()
}
