//! A consistent view of the database for readers: snapshots, watchers, exports.

use bytes::Bytes;
use redb::ReadTransaction;
use tidegate_audit_log::tiles::{TILE_WIDTH, TileId};
use tidegate_audit_log::tree::TileSource;
use tidegate_audit_log::{ChainHash, Entry, LogHead, detached::DetachedBody};

use super::StateError;
use super::tables::{DETACHED, ENTRIES, HASHES, META, Place, ROWS, place};
use crate::storage::audit_body::AuditBody;
use crate::storage::database::{Contained, OwnDatabase};
use crate::storage::feed::{Batch, Position};
use crate::types::StoredMembership;

/// State and audit log at one moment. Every read goes to the database.
pub struct StateView {
    read: Contained<ReadTransaction>,
    head: LogHead,
    position: Position,
    membership: StoredMembership,
}

/// An audit entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its leaf index.
    pub index: u64,
    /// Its bytes.
    pub bytes: Bytes,
    /// The file of its detached body, if it has one and it was not erased.
    pub detached: Option<Bytes>,
}

impl AuditEntry {
    /// What the entry records.
    ///
    /// # Errors
    /// The entry is damaged, or its detached body was erased.
    pub fn body(&self) -> Result<AuditBody, StateError> {
        let damaged =
            |what: String| StateError::Damaged(format!("audit entry {}: {what}", self.index));
        let entry = Entry::parse(&self.bytes).map_err(|error| damaged(error.to_string()))?;
        let body = if entry.header.detached {
            let file = self
                .detached
                .as_ref()
                .ok_or_else(|| damaged("its body was erased".to_owned()))?;
            let detached = Self::detached_body(&entry, file).map_err(damaged)?;
            AuditBody::from_bytes(detached.body())
        } else {
            AuditBody::from_bytes(entry.body)
        };
        body.map_err(|error| damaged(error.to_string()))
    }

    /// The body in `file`, if it is the one that the entry commits to; otherwise why not.
    pub(in crate::storage) fn detached_body(
        entry: &Entry<'_>,
        file: &[u8],
    ) -> Result<DetachedBody, String> {
        if !entry.header.detached {
            return Err("it has no detached body".to_owned());
        }
        let body = DetachedBody::from_file(file.to_vec()).map_err(|error| error.to_string())?;
        if body.commitment().encode() != entry.body {
            return Err("its detached body is another one".to_owned());
        }
        Ok(body)
    }
}

impl StateView {
    pub(super) fn open(database: &OwnDatabase, installs: u64) -> Result<Self, StateError> {
        let read = database.begin_read()?;
        let meta = read.open_table(META).map_err(redb::Error::from)?;
        let Place {
            head,
            root,
            applied,
            membership,
        } = place(&meta)?;
        let mut position = Position {
            entries: head.size(),
            chain: head.chain().0,
            root: root.0,
            log_time_ms: 0,
            applied,
            installs,
        };
        position.log_time_ms = log_time_at(&read, position.entries)?;
        Ok(Self {
            read,
            head,
            position,
            membership,
        })
    }

    /// Log time after the first `entries` audit entries, in ms; 0 before the first.
    ///
    /// # Errors
    /// The database cannot be read, or has fewer.
    pub fn log_time_at(&self, entries: u64) -> Result<u64, StateError> {
        log_time_at(&self.read, entries)
    }

    /// The chain after the first `entries` audit entries; none before the first.
    ///
    /// # Errors
    /// The database cannot be read, or has fewer.
    pub(super) fn chain_after(&self, entries: u64) -> Result<Option<ChainHash>, StateError> {
        last_of(&self.read, entries, |last| last.chain())
    }

    /// Where the view stands.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Chain head and tree of the audit log.
    #[must_use]
    pub fn head(&self) -> &LogHead {
        &self.head
    }

    /// The Raft group's members.
    #[must_use]
    pub fn membership(&self) -> &StoredMembership {
        &self.membership
    }

    /// State rows in key order, from the one after `after`, until `bytes_max` are read; at least
    /// one if there is any.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows(
        &self,
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        use std::ops::Bound;
        let table = self.read.open_table(ROWS).map_err(redb::Error::from)?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = table
            .range::<&[u8]>((start, Bound::Unbounded))
            .map_err(redb::Error::from)?;
        let (mut rows, mut bytes) = (Vec::new(), 0usize);
        for row in range {
            let (key, value) = row.map_err(redb::Error::from)?;
            bytes = bytes.saturating_add(key.value().len() + value.value().len());
            if bytes > bytes_max && !rows.is_empty() {
                break;
            }
            rows.push((
                Bytes::copy_from_slice(key.value()),
                Bytes::copy_from_slice(value.value()),
            ));
        }
        Ok(rows)
    }

    /// How many state rows there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn row_count(&self) -> Result<u64, StateError> {
        use redb::ReadableTableMetadata as _;
        let table = self.read.open_table(ROWS).map_err(redb::Error::from)?;
        Ok(table.len().map_err(redb::Error::from)?)
    }

    /// Audit entries from index `from` on, until `bytes_max` are read; at least one if there is any.
    ///
    /// # Errors
    /// The database cannot be read, or an entry is damaged or missing.
    pub fn entries(&self, from: u64, bytes_max: usize) -> Result<Vec<AuditEntry>, StateError> {
        let entries = self.read.open_table(ENTRIES).map_err(redb::Error::from)?;
        let files = self.read.open_table(DETACHED).map_err(redb::Error::from)?;
        let (mut found, mut bytes, mut chain) = (Vec::new(), 0usize, None);
        for (row, expected) in entries
            .range(from..)
            .map_err(redb::Error::from)?
            .zip(from..)
        {
            let (index, value) = row.map_err(redb::Error::from)?;
            let damaged =
                |what: &str| StateError::Damaged(format!("audit entry {expected}: {what}"));
            let entry = Entry::parse(value.value()).map_err(|error| damaged(&error.to_string()))?;
            if index.value() != expected || entry.header.index != expected {
                return Err(damaged("it is missing"));
            }
            if chain.is_some_and(|chain| chain != entry.header.prev_chain) {
                return Err(damaged("it does not follow the entry before it"));
            }
            chain = Some(entry.chain());
            let detached = if entry.header.detached {
                files.get(expected).map_err(redb::Error::from)?
            } else {
                None
            };
            let detached = detached.map(|file| Bytes::copy_from_slice(file.value()));
            bytes =
                bytes.saturating_add(entry.bytes().len() + detached.as_ref().map_or(0, Bytes::len));
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            let bytes = Bytes::copy_from_slice(entry.bytes());
            found.push(AuditEntry {
                index: expected,
                bytes,
                detached,
            });
        }
        Ok(found)
    }

    /// What changed after the first `after` entries, read back from the audit log.
    pub(super) fn changes_after(
        &self,
        after: u64,
        bytes_max: usize,
    ) -> Result<Option<Batch>, StateError> {
        let entries = self.entries(after, bytes_max)?;
        let Some(last) = entries.last() else {
            return Ok(None);
        };
        let header = Entry::parse(&last.bytes);
        let log_time_ms = header
            .map_err(|error| StateError::Damaged(error.to_string()))?
            .header
            .t_ms;
        let is_newest = last.index + 1 == self.position.entries;
        let mut root = is_newest.then_some(self.position.root);
        let mut events = Vec::with_capacity(entries.len());
        for entry in &entries {
            let body = entry.body()?;
            if entry.index == last.index && root.is_none() {
                root = body.applied.state_root.map(|root| root.0);
            }
            events.push(body.events());
        }
        Ok(Some(Batch {
            from: after,
            events,
            root,
            log_time_ms,
        }))
    }
}

fn log_time_at(read: &ReadTransaction, entries: u64) -> Result<u64, StateError> {
    last_of(read, entries, |last| last.header.t_ms).map(Option::unwrap_or_default)
}

/// Looks at the last of the first `entries` audit entries; none if that is none.
fn last_of<T>(
    read: &ReadTransaction,
    entries: u64,
    look: impl FnOnce(&Entry<'_>) -> T,
) -> Result<Option<T>, StateError> {
    let Some(last) = entries.checked_sub(1) else {
        return Ok(None);
    };
    let table = read.open_table(ENTRIES).map_err(redb::Error::from)?;
    let bytes = table.get(last).map_err(redb::Error::from)?;
    let bytes = bytes.ok_or_else(|| StateError::Damaged(format!("no audit entry {last}")))?;
    let entry = Entry::parse(bytes.value());
    let entry = entry.map_err(|error| StateError::Damaged(error.to_string()))?;
    Ok(Some(look(&entry)))
}

impl TileSource for &StateView {
    type Error = StateError;

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, StateError> {
        let TileId {
            level,
            index,
            width,
        } = tile;
        let table = self.read.open_table(HASHES).map_err(redb::Error::from)?;
        let first = index.saturating_mul(TILE_WIDTH);
        let range = (level, first)..(level, first.saturating_add(u64::from(width)));
        let mut hashes = Vec::with_capacity(usize::from(width) * 32);
        for row in table.range(range).map_err(redb::Error::from)? {
            hashes.extend_from_slice(&row.map_err(redb::Error::from)?.1.value());
        }
        Ok(hashes)
    }
}

impl std::fmt::Debug for StateView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
