//! The log's files, of the one kind or the other while both are compared.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tidegate_runtime::disk::Disk;

use super::cache::Cache;
use super::database::LogDatabase;
use super::op::Op;
use super::segment::{Sizes, Standing};
use super::segments::Segments;
use super::{LogKind, LogOptions, OpenLogError};
use crate::storage::Claim;
use crate::types::Entry;

#[derive(Debug)]
pub(super) enum Files {
    Database(LogDatabase),
    Segments(Segments),
}

impl Files {
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        claim: &Claim,
        options: LogOptions,
        cache: &mut Cache,
    ) -> Result<(Self, Standing), OpenLogError> {
        match options.kind {
            LogKind::Redb => {
                let database = LogDatabase::open(disk, claim, 16 << 20)?;
                let standing = database.load(cache)?;
                Ok((Self::Database(database), standing))
            }
            LogKind::Segments => {
                let sizes = Sizes::of(options.segment_bytes);
                let segments = Segments::open(disk, claim, sizes, cache)?;
                let standing = segments.standing();
                Ok((Self::Segments(segments), standing))
            }
        }
    }

    pub(super) fn commit(&self, ops: &[Op], closing: bool) -> io::Result<()> {
        match self {
            Self::Database(database) => {
                database.commit(ops).map_err(to_io)?;
                if closing {
                    database.sync().map_err(to_io)?;
                }
                Ok(())
            }
            Self::Segments(segments) => segments.commit(ops),
        }
    }

    /// Closes the files; what was committed is durable afterwards.
    pub(super) fn close(&self) -> io::Result<()> {
        match self {
            Self::Database(database) => database.close(),
            Self::Segments(_) => Ok(()),
        }
    }

    /// Writes nothing more.
    pub(super) fn abandon(&self) {
        match self {
            Self::Database(database) => database.abandon(),
            Self::Segments(segments) => segments.abandon(),
        }
    }

    pub(super) fn has_garbage(&self) -> bool {
        match self {
            Self::Database(_) => false,
            Self::Segments(segments) => segments.has_garbage(),
        }
    }

    pub(super) fn reclaim(&self) -> io::Result<()> {
        match self {
            Self::Database(_) => Ok(()),
            Self::Segments(segments) => segments.reclaim(),
        }
    }

    pub(super) fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, OpenLogError> {
        match self {
            Self::Database(database) => database.read(range, bytes_max),
            Self::Segments(segments) => segments.read(range, bytes_max),
        }
    }
}

/// redb's error as the one of the disk under it, so that a full disk can be told from a broken one.
fn to_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
