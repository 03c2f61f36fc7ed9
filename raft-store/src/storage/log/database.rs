//! The log's tables, and the one transaction in which a batch of changes reaches them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use redb::{Durability, ReadableTable, TableDefinition, WriteTransaction};
use tidegate_runtime::disk::Disk;

use super::cache::{self, Cache};
use super::op::Op;
use super::segment::Standing;
use super::{OpenLogError, next_index};
use crate::storage::codec::{self, Record};
use crate::storage::database::OwnDatabase;
use crate::storage::{Claim, LOG_FILE};
use crate::types::{Entry, LogId};

/// Raft index → record of the entry.
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
/// Name → record.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

#[derive(Debug)]
pub(super) struct LogDatabase(OwnDatabase);

impl LogDatabase {
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        claim: &Claim,
        page_cache_bytes: usize,
    ) -> Result<Self, OpenLogError> {
        let this = Self(OwnDatabase::open(disk, LOG_FILE, claim, page_cache_bytes)?);
        let write = this.begin(Durability::Immediate)?;
        write.open_table(ENTRIES).map_err(redb::Error::from)?;
        write.open_table(META).map_err(redb::Error::from)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(this)
    }

    /// Reads and verifies the whole log.
    pub(super) fn load(&self, cache: &mut Cache) -> Result<Standing, OpenLogError> {
        let read = self.0.begin_read()?;
        let meta = read.open_table(META).map_err(redb::Error::from)?;
        let vote = get(&meta, VOTE)?;
        let committed = get(&meta, COMMITTED)?;
        let purged: Option<LogId> = get(&meta, PURGED)?;
        let mut last = purged;
        let entries = read.open_table(ENTRIES).map_err(redb::Error::from)?;
        for row in entries.iter().map_err(redb::Error::from)? {
            let (index, record) = row.map_err(redb::Error::from)?;
            let entry: Entry = codec::from_bytes(record.value())?;
            let expected = next_index(last.as_ref());
            let found = index.value();
            if found != expected || entry.log_id.index != expected {
                return Err(OpenLogError::Gap { expected, found });
            }
            last = Some(entry.log_id);
            // Request 0 is done: everything read here may leave the cache at once.
            cache.push(entry, 0);
        }
        if last == purged {
            cache.purge(purged.map_or(0, |id| id.index));
        }
        Ok(Standing {
            vote,
            committed,
            purged,
            last,
        })
    }

    /// The entries of a range up to `bytes_max`, at least one; all must be there.
    pub(super) fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, OpenLogError> {
        let read = self.0.begin_read()?;
        let table = read.open_table(ENTRIES).map_err(redb::Error::from)?;
        let (mut expected, mut bytes) = (range.start, 0usize);
        let mut entries = Vec::new();
        for row in table.range(range).map_err(redb::Error::from)? {
            let (index, record) = row.map_err(redb::Error::from)?;
            if index.value() != expected {
                return Err(OpenLogError::Gap {
                    expected,
                    found: index.value(),
                });
            }
            let entry: Entry = codec::from_bytes(record.value())?;
            bytes = bytes.saturating_add(cache::weight(&entry));
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
            expected += 1;
        }
        Ok(entries)
    }

    /// Applies all of `ops` in order, or none. Durable on return if any of them must be.
    pub(super) fn commit(&self, ops: &[Op]) -> Result<(), redb::Error> {
        let sync = ops.iter().any(Op::must_sync);
        let write = self.begin(if sync {
            Durability::Immediate
        } else {
            Durability::None
        })?;
        apply(&write, ops)?;
        Ok(write.commit()?)
    }

    /// Makes everything durable that was committed without a sync.
    pub(super) fn sync(&self) -> Result<(), redb::Error> {
        Ok(self.begin(Durability::Immediate)?.commit()?)
    }

    /// Closes the file; what was committed is durable afterwards.
    pub(super) fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    /// Writes nothing more to the file.
    pub(super) fn abandon(&self) {
        self.0.abandon();
    }

    fn begin(&self, durability: Durability) -> Result<WriteTransaction, redb::Error> {
        let mut write = self.0.begin_write()?;
        write.set_durability(durability)?;
        Ok(write)
    }
}

fn apply(write: &WriteTransaction, ops: &[Op]) -> Result<(), redb::Error> {
    let mut entries = write.open_table(ENTRIES)?;
    let mut meta = write.open_table(META)?;
    for op in ops {
        match op {
            Op::Append(id, record) => {
                entries.insert(id.index, record.as_slice())?;
            }
            Op::Truncate(last) => entries.retain_in(next_index(last.as_ref()).., |_, _| false)?,
            Op::Purge(upto) => {
                entries.retain_in(..=upto.index, |_, _| false)?;
                meta.insert(PURGED, codec::to_bytes(upto).as_slice())?;
            }
            Op::Vote(vote) => {
                meta.insert(VOTE, codec::to_bytes(vote).as_slice())?;
            }
            Op::Committed(Some(committed)) => {
                meta.insert(COMMITTED, codec::to_bytes(committed).as_slice())?;
            }
            Op::Committed(None) => {
                meta.remove(COMMITTED)?;
            }
        }
    }
    Ok(())
}

fn get<T: Record>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, OpenLogError> {
    let record = meta.get(name).map_err(redb::Error::from)?;
    Ok(record
        .map(|record| codec::from_bytes(record.value()))
        .transpose()?)
}
