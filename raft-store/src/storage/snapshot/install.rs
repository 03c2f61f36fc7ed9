//! Replacing the state by a snapshot: everything is verified inside the one transaction that
//! writes it, so that nothing is there unless all of it is right.

use tidegate_audit_log::tree::CompactRange;
use tidegate_audit_log::{ChainHash, Entry, LogHead, NodeHash};
use tidegate_domain::State;
use tidegate_domain::id::Hash;
use tidegate_mutant::{Mutant, is_on};

use super::SnapshotData;
use super::piece::{Digest, Header, Piece};
use crate::storage::state::{Core, StateStore, Tables};
use crate::storage::{AuditEntry, StateError};
use crate::types::SnapshotMeta;

/// Installs a snapshot in one durable transaction.
///
/// # Errors
/// [`StateError::Refused`] if the snapshot does not follow from what this node knows: another
/// cluster, another chain, or a floor or epoch that falls (FLOOR-1, EPOCH-1).
pub(in crate::storage) fn install(
    store: &StateStore,
    meta: &SnapshotMeta,
    data: SnapshotData,
) -> Result<(), StateError> {
    store.install(|tables, own| {
        let mut pieces = data.into_pieces(own.head.size());
        let mut digest = Digest::default();
        let mut next = || -> Result<Option<Piece>, StateError> {
            let Some(bytes) = pieces.next_piece()? else {
                return Ok(None);
            };
            let piece = Piece::from_bytes(&bytes)?;
            if matches!(piece, Piece::End { .. }) && piece != digest.end() {
                return Err(refused("pieces are missing"));
            }
            digest.add(&bytes);
            Ok(Some(piece))
        };
        let Some(Piece::Header(header)) = next()? else {
            return Err(refused("it has no header"));
        };
        if header.meta != *meta {
            return Err(refused("it is not the one that was announced"));
        }
        let mut arriving = Arriving::new(&header, own)?;
        tables.clear_rows()?;
        loop {
            match next()?.ok_or_else(|| refused("it breaks off"))? {
                Piece::Header(_) => return Err(refused("it has two headers")),
                Piece::Rows(mut rows) => {
                    rows.retain(|(key, _)| {
                        !key.starts_with(b"\x14") || !is_on(Mutant::FloorsLostAtInstall)
                    });
                    for (key, value) in &rows {
                        tables.put_row(key, value)?;
                    }
                    arriving.rows.extend(rows);
                }
                Piece::Entries(entries) => {
                    for (entry, detached) in entries {
                        arriving.add_entry(&entry, detached.as_deref(), tables)?;
                    }
                }
                Piece::End { .. } => return arriving.finish(header, own),
            }
        }
    })
}

/// A snapshot while it is read.
struct Arriving {
    rows: Vec<(bytes::Bytes, bytes::Bytes)>,
    chain: ChainHash,
    tree: CompactRange,
    /// Entries before this one the node has already.
    skip_to: u64,
    next_entry: u64,
}

impl Arriving {
    fn new(header: &Header, own: &Core) -> Result<Self, StateError> {
        let meta = own.state.meta();
        if header.origin != meta.origin || header.incarnation != meta.incarnation.0 {
            return Err(refused("it is of another cluster or incarnation"));
        }
        if header.first_entry > own.head.size() {
            return Err(refused(
                "audit entries between this node's and the snapshot's are missing",
            ));
        }
        Ok(Self {
            rows: Vec::new(),
            chain: own.head.chain(),
            tree: own.head.tree().clone(),
            skip_to: own.head.size(),
            next_entry: header.first_entry,
        })
    }

    fn add_entry(
        &mut self,
        bytes: &[u8],
        detached: Option<&[u8]>,
        tables: &mut Tables<'_>,
    ) -> Result<(), StateError> {
        let index = self.next_entry;
        let entry = Entry::parse(bytes)
            .map_err(|error| refused(&format!("audit entry {index}: {error}")))?;
        if entry.header.index != index {
            return Err(refused(&format!("audit entry {index} is missing")));
        }
        self.next_entry += 1;
        if index < self.skip_to {
            return Ok(());
        }
        if entry.header.prev_chain != self.chain {
            return Err(refused(&format!(
                "audit entry {index} does not continue this node's chain: the logs have forked"
            )));
        }
        let mut nodes = Vec::new();
        self.tree
            .append(entry.leaf(), |id, hash: &NodeHash| nodes.push((id, *hash)));
        self.chain = entry.chain();
        tables.put_entry(index, bytes, &nodes)?;
        if let Some(file) = detached {
            let body = AuditEntry::detached_body(&entry, file);
            let body = body.map_err(|why| refused(&format!("audit entry {index}: {why}")))?;
            tables.put_detached(index, body.file())?;
        }
        Ok(())
    }

    fn finish(self, header: Header, own: &Core) -> Result<Core, StateError> {
        let Self {
            rows, chain, tree, ..
        } = self;
        let Header {
            meta,
            head: stated,
            root,
            ..
        } = header;
        let reached = [chain.0.as_slice(), &tree.to_bytes()].concat();
        if reached != stated {
            return Err(refused(
                "its audit entries do not lead to its chain head and tree",
            ));
        }
        let head = LogHead::from_bytes(&reached).map_err(|error| refused(&error.to_string()))?;
        let mut state = State::from_rows(rows)?;
        if state.root() != Hash(root) && !is_on(Mutant::FloorsLostAtInstall) {
            return Err(refused("its rows do not have its state root"));
        }
        if state.meta().next.0 != head.size() {
            return Err(refused("its state and its audit log are of different ages"));
        }
        if !is_on(Mutant::FloorsLostAtInstall) {
            check_never_falls(&own.state, &state)?;
        }
        let SnapshotMeta {
            last_log_id,
            last_membership,
        } = meta;
        Ok(Core {
            state,
            head,
            root: Hash(root),
            applied: last_log_id,
            membership: if is_on(Mutant::MembershipKeptAtInstall) {
                own.membership.clone()
            } else {
                last_membership
            },
        })
    }
}

/// FLOOR-1 and EPOCH-1: whatever the network says, nothing that only rises may fall here.
pub(super) fn check_never_falls(own: &State, new: &State) -> Result<(), StateError> {
    let (before, after) = (own.keys().epoch, new.keys().epoch);
    if after < before {
        return Err(refused(&format!(
            "its key epoch is {after}, this node's {before}"
        )));
    }
    for (scope, floor) in own.floors().iter() {
        let before = floor.security_version;
        let after = new.floors().get(scope).map(|floor| floor.security_version);
        if after.is_none_or(|after| after < before) {
            return Err(refused(&format!(
                "it would lower the floor of {scope:?} below {before:?} (to {after:?})"
            )));
        }
    }
    Ok(())
}

fn refused(why: &str) -> StateError {
    StateError::Refused(why.to_owned())
}
