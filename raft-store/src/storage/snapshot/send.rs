//! Cutting a snapshot into pieces.

use bytes::Bytes;

use super::PIECE_BYTES;
use super::piece::{Digest, Header, Piece};
use super::receive::Spool;
use crate::storage::{StateError, StateView};
use crate::types::SnapshotMeta;

/// A snapshot: a view of this node's state, or one that arrived from another.
#[derive(Debug)]
pub struct SnapshotData(Source);

#[derive(Debug)]
enum Source {
    View {
        view: Box<StateView>,
        meta: SnapshotMeta,
        origin: String,
        incarnation: u64,
    },
    Spool(Spool),
}

impl SnapshotData {
    pub(in crate::storage) fn of_view(
        view: StateView,
        meta: SnapshotMeta,
        (origin, incarnation): (String, u64),
    ) -> Self {
        // Less would be applied twice, and more never.
        assert_eq!(
            meta.last_log_id,
            view.position().applied,
            "a snapshot claims exactly what its state has applied"
        );
        Self(Source::View {
            view: Box::new(view),
            meta,
            origin,
            incarnation,
        })
    }

    pub(super) fn of_spool(spool: Spool) -> Self {
        Self(Source::Spool(spool))
    }

    /// The snapshot in pieces, with the audit entries from `first_entry` on: how many the receiver
    /// has. (One that arrived from another node is given as it came.)
    #[must_use]
    pub fn into_pieces(self, first_entry: u64) -> Pieces {
        let next = match &self.0 {
            Source::View { view, .. } => Next::Header {
                first_entry: first_entry.min(view.position().entries),
            },
            Source::Spool(_) => Next::Spooled { offset: 0 },
        };
        Pieces {
            source: self.0,
            next,
            digest: Digest::default(),
        }
    }
}

/// The pieces of a snapshot, one after the other. Reading one reads the disk.
#[derive(Debug)]
pub struct Pieces {
    source: Source,
    next: Next,
    digest: Digest,
}

#[derive(Debug)]
enum Next {
    Header {
        first_entry: u64,
    },
    Rows {
        after: Option<Bytes>,
        first_entry: u64,
    },
    Entries {
        from: u64,
    },
    End,
    Spooled {
        offset: u64,
    },
    Nothing,
}

impl Pieces {
    /// The next piece, or `None` after the last.
    ///
    /// # Errors
    /// The database or the spooled file cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, StateError> {
        let piece = match (&self.source, &mut self.next) {
            (Source::Spool(spool), Next::Spooled { offset }) => {
                let piece = spool.read(offset)?;
                return Ok(piece);
            }
            (
                Source::View {
                    view,
                    meta,
                    origin,
                    incarnation,
                },
                next,
            ) => view_piece(view, (meta, origin, *incarnation), next, &self.digest)?,
            (Source::Spool(_), _) => None,
        };
        let bytes = piece.map(|piece| piece.to_bytes());
        if let Some(bytes) = &bytes {
            self.digest.add(bytes);
        }
        Ok(bytes)
    }
}

/// The piece that `next` says, and moves `next` on.
fn view_piece(
    view: &StateView,
    (meta, origin, incarnation): (&SnapshotMeta, &str, u64),
    next: &mut Next,
    digest: &Digest,
) -> Result<Option<Piece>, StateError> {
    loop {
        match next {
            Next::Header { first_entry } => {
                let header = Header {
                    meta: meta.clone(),
                    origin: origin.to_owned(),
                    incarnation,
                    head: view.head().to_bytes().into(),
                    root: view.position().root,
                    first_entry: *first_entry,
                };
                *next = Next::Rows {
                    after: None,
                    first_entry: *first_entry,
                };
                return Ok(Some(Piece::Header(header)));
            }
            Next::Rows { after, first_entry } => {
                let rows = view.rows(after.as_deref(), PIECE_BYTES)?;
                let Some((last, _)) = rows.last() else {
                    *next = Next::Entries { from: *first_entry };
                    continue;
                };
                *after = Some(last.clone());
                return Ok(Some(Piece::Rows(rows)));
            }
            Next::Entries { from } => {
                let entries = view.entries(*from, PIECE_BYTES)?;
                if entries.is_empty() {
                    *next = Next::End;
                    continue;
                }
                *from += entries.len() as u64;
                let entries = entries
                    .into_iter()
                    .map(|entry| (entry.bytes, entry.detached));
                return Ok(Some(Piece::Entries(entries.collect())));
            }
            Next::End => {
                *next = Next::Nothing;
                return Ok(Some(digest.end()));
            }
            Next::Spooled { .. } | Next::Nothing => return Ok(None),
        }
    }
}
