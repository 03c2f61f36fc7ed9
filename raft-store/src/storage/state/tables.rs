//! The tables of `state.redb`: one catalogue of what is stored under which key.

use redb::{ReadableTable, ReadableTableMetadata as _, Table, TableDefinition, WriteTransaction};
use tidegate_audit_log::tiles::TILE_HEIGHT;
use tidegate_audit_log::tree::NodeId;
use tidegate_audit_log::{LogHead, NodeHash};
use tidegate_domain::State;
use tidegate_domain::id::Hash;

use super::core::{Chained, Core, Settled};
use super::{StateError, begin};
use crate::storage::LogMark;
use crate::storage::codec;
use crate::storage::database::OwnDatabase;
use crate::types::{LogId, StoredMembership};

/// Key of a domain row → its value; both canonical, as `State::rows` gives them.
pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Audit leaf index → the entry's bytes.
pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("audit entries");
/// Audit leaf index → the file of its detached body.
pub(super) const DETACHED: TableDefinition<u64, &[u8]> = TableDefinition::new("audit detached");
/// Tile level and index → hash of a full subtree of 256^level leaves.
pub(super) const HASHES: TableDefinition<(u8, u64), [u8; 32]> = TableDefinition::new("audit tree");
/// Name → record.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// Record of the last applied log id.
pub(super) const APPLIED: &str = "applied";
/// Record of the last membership.
pub(super) const MEMBERSHIP: &str = "membership";
/// `LogHead::to_bytes`.
pub(super) const HEAD: &str = "head";
/// The state root.
pub(super) const ROOT: &str = "root";

/// What this node's log was known to have when the state was last synced with that in mind. It is of
/// this node alone: no snapshot carries it.
const LOG_VOTE: &str = "log vote";
const LOG_COMMITTED: &str = "log committed";

/// The tables within one write transaction.
pub(in crate::storage) struct Tables<'txn> {
    rows: Table<'txn, &'static [u8], &'static [u8]>,
    entries: Table<'txn, u64, &'static [u8]>,
    detached: Table<'txn, u64, &'static [u8]>,
    hashes: Table<'txn, (u8, u64), [u8; 32]>,
    meta: Table<'txn, &'static str, &'static [u8]>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(write: &'txn WriteTransaction) -> Result<Self, StateError> {
        let open = || {
            Ok::<_, redb::TableError>(Self {
                rows: write.open_table(ROWS)?,
                entries: write.open_table(ENTRIES)?,
                detached: write.open_table(DETACHED)?,
                hashes: write.open_table(HASHES)?,
                meta: write.open_table(META)?,
            })
        };
        Ok(open().map_err(redb::Error::from)?)
    }

    pub(in crate::storage) fn put_entry(
        &mut self,
        index: u64,
        entry: &[u8],
        nodes: &[(NodeId, NodeHash)],
    ) -> Result<(), StateError> {
        self.entries
            .insert(index, entry)
            .map_err(redb::Error::from)?;
        for (id, hash) in nodes {
            // The levels between follow from the tile below.
            if id.level.is_multiple_of(TILE_HEIGHT) {
                let key = (id.level / TILE_HEIGHT, id.index);
                self.hashes.insert(key, hash.0).map_err(redb::Error::from)?;
            }
        }
        Ok(())
    }

    pub(in crate::storage) fn put_detached(
        &mut self,
        index: u64,
        file: &[u8],
    ) -> Result<(), StateError> {
        self.detached
            .insert(index, file)
            .map_err(redb::Error::from)?;
        Ok(())
    }

    pub(in crate::storage) fn clear_rows(&mut self) -> Result<(), StateError> {
        Ok(self.rows.retain(|_, _| false).map_err(redb::Error::from)?)
    }

    pub(in crate::storage) fn put_row(
        &mut self,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StateError> {
        self.rows.insert(key, value).map_err(redb::Error::from)?;
        Ok(())
    }

    /// Writes an audit entry; answers how many bytes that makes.
    pub(super) fn put_chained(&mut self, chained: &Chained) -> Result<u64, StateError> {
        let Chained {
            index,
            entry,
            nodes,
            detached,
            events: _,
        } = chained;
        self.put_entry(*index, entry, nodes)?;
        let mut bytes = entry.len();
        if let Some(body) = detached {
            self.put_detached(*index, body.file())?;
            bytes += body.file().len();
        }
        Ok(bytes as u64)
    }

    /// Writes what changed in a state since it was last saved, and where it stands.
    pub(in crate::storage) fn save(&mut self, settled: Settled) -> Result<(), StateError> {
        let Settled {
            rows,
            head,
            root,
            applied,
            membership,
        } = settled;
        for (key, value) in rows {
            match value {
                Some(value) => self.put_row(&key, &value)?,
                None => {
                    self.rows
                        .remove(key.as_slice())
                        .map_err(redb::Error::from)?;
                }
            }
        }
        let mut meta = vec![
            (MEMBERSHIP, codec::to_bytes(&membership)),
            (HEAD, head.to_bytes()),
            (ROOT, root.0.to_vec()),
        ];
        if let Some(applied) = &applied {
            meta.push((APPLIED, codec::to_bytes(applied)));
        }
        for (name, record) in meta {
            self.meta
                .insert(name, record.as_slice())
                .map_err(redb::Error::from)?;
        }
        Ok(())
    }
}

/// Writes down what the log has.
pub(super) fn put_mark(write: &WriteTransaction, mark: &LogMark) -> Result<(), StateError> {
    let LogMark { vote, committed } = mark;
    let put = || {
        let mut meta = write.open_table(META)?;
        if let Some(vote) = vote {
            meta.insert(LOG_VOTE, codec::to_bytes(vote).as_slice())?;
        }
        if let Some(committed) = committed {
            meta.insert(LOG_COMMITTED, codec::to_bytes(committed).as_slice())?;
        }
        Ok::<_, redb::Error>(())
    };
    Ok(put()?)
}

/// What the log had, as far as the state knows.
pub(super) fn mark(database: &OwnDatabase) -> Result<LogMark, StateError> {
    let read = database.begin_read()?;
    let meta = read.open_table(META).map_err(redb::Error::from)?;
    let get = |name| meta.get(name).map_err(redb::Error::from);
    let vote = get(LOG_VOTE)?.map(|record| codec::from_bytes(record.value()));
    let committed = get(LOG_COMMITTED)?.map(|record| codec::from_bytes(record.value()));
    Ok(LogMark {
        vote: vote.transpose()?,
        committed: committed.transpose()?,
    })
}

/// Makes sure that every table is there.
pub(super) fn create(database: &OwnDatabase) -> Result<(), StateError> {
    let write = begin(database, true)?;
    Tables::open(&write)?;
    write.commit().map_err(redb::Error::from)?;
    Ok(())
}

/// Reads the whole state and verifies that its parts belong together; `None` before genesis.
pub(super) fn load(database: &OwnDatabase) -> Result<Option<Core>, StateError> {
    let read = database.begin_read()?;
    let meta = read.open_table(META).map_err(redb::Error::from)?;
    if meta.is_empty().map_err(redb::Error::from)? {
        return Ok(None);
    }
    let place = place(&meta)?;
    let rows = read.open_table(ROWS).map_err(redb::Error::from)?;
    let mut pairs = Vec::new();
    for row in rows.iter().map_err(redb::Error::from)? {
        let (key, value) = row.map_err(redb::Error::from)?;
        pairs.push((key.value().to_vec(), value.value().to_vec()));
    }
    let mut state = State::from_rows(pairs)?;
    let Place {
        head,
        root,
        applied,
        membership,
    } = place;
    if state.root() != root {
        return Err(StateError::Damaged(
            "the rows do not have the root that was stored".to_owned(),
        ));
    }
    if state.meta().next.0 != head.size() {
        return Err(StateError::Damaged(
            "state and audit log are of different ages".to_owned(),
        ));
    }
    let entries = read.open_table(ENTRIES).map_err(redb::Error::from)?;
    check_last_entry(&entries, &head)?;
    Ok(Some(Core {
        state,
        head,
        root,
        applied,
        membership,
    }))
}

/// Where a state stands, from its meta table.
pub(super) struct Place {
    pub(super) head: LogHead,
    pub(super) root: Hash,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

pub(super) fn place(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Place, StateError> {
    let get = |name| meta.get(name).map_err(redb::Error::from);
    let missing = |name| StateError::Damaged(format!("no {name} record"));
    let head = get(HEAD)?.ok_or_else(|| missing(HEAD))?;
    let head = LogHead::from_bytes(head.value());
    let root = get(ROOT)?.ok_or_else(|| missing(ROOT))?;
    let root = root.value().try_into().map_err(|_| missing(ROOT))?;
    let membership = get(MEMBERSHIP)?.ok_or_else(|| missing(MEMBERSHIP))?;
    let applied = get(APPLIED)?
        .map(|record| codec::from_bytes(record.value()))
        .transpose()?;
    Ok(Place {
        head: head.map_err(|error| StateError::Damaged(error.to_string()))?,
        root: Hash(root),
        applied,
        membership: codec::from_bytes(membership.value())?,
    })
}

fn check_last_entry(
    entries: &impl ReadableTable<u64, &'static [u8]>,
    head: &LogHead,
) -> Result<(), StateError> {
    let last = entries.last().map_err(redb::Error::from)?;
    let Some((index, bytes)) = last else {
        let empty = head.size() == 0;
        return if empty {
            Ok(())
        } else {
            Err(StateError::Damaged("no audit entries".to_owned()))
        };
    };
    let index = index.value();
    let damaged = |what: &str| StateError::Damaged(format!("audit entry {index}: {what}"));
    let entry = tidegate_audit_log::Entry::parse(bytes.value())
        .map_err(|error| damaged(&error.to_string()))?;
    if index + 1 != head.size() || entry.header.index != index {
        return Err(damaged("it is not the last"));
    }
    if entry.chain() != head.chain() {
        return Err(damaged("it does not hash to the chain head"));
    }
    Ok(())
}
