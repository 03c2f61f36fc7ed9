//! Taking in a snapshot: every piece is verified, then kept on disk until all are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend as _;
use tidegate_runtime::disk::{BlockFile, Disk};

use super::piece::{Digest, Header, Piece};
use super::{INCOMING_SUFFIX, SnapshotData};
use crate::storage::{StateError, StateStore};
use crate::types::SnapshotMeta;

/// Most bytes of one piece: the largest detached body, and room around it.
const PIECE_BYTES_MAX: usize = 20 << 20;

/// A snapshot that is arriving. Its calls write to the disk.
#[derive(Debug)]
pub struct SnapshotReceiver {
    spool: Spool,
    header: Option<Header>,
    digest: Digest,
    complete: bool,
}

impl StateStore {
    /// Begins to take in a snapshot. The sender is to be told [`Position::entries`] of
    /// [`StateStore::position`], and sends the audit entries from there on.
    ///
    /// [`Position::entries`]: crate::storage::Position::entries
    ///
    /// # Errors
    /// The disk failed.
    pub fn receive_snapshot(&self) -> Result<SnapshotReceiver, StateError> {
        Ok(SnapshotReceiver {
            spool: Spool::create(self.shared_disk())?,
            header: None,
            digest: Digest::default(),
            complete: false,
        })
    }
}

impl SnapshotReceiver {
    /// Takes the next piece; answers whether it was the last.
    ///
    /// # Errors
    /// The piece is damaged or out of place ([`StateError::Refused`]), or the disk failed.
    pub fn push(&mut self, piece: &[u8]) -> Result<bool, StateError> {
        if piece.len() > PIECE_BYTES_MAX || self.complete {
            return Err(StateError::Refused(
                "a piece is too large, or after the end".to_owned(),
            ));
        }
        match (Piece::from_bytes(piece)?, &self.header) {
            (Piece::Header(header), None) => self.header = Some(header),
            (Piece::Rows(_) | Piece::Entries(_), Some(_)) => {}
            (end @ Piece::End { .. }, Some(_)) => {
                if end != self.digest.end() {
                    return Err(StateError::Refused("pieces are missing".to_owned()));
                }
                self.complete = true;
            }
            _ => return Err(StateError::Refused("a piece is out of place".to_owned())),
        }
        self.digest.add(piece);
        self.spool.append(piece)?;
        Ok(self.complete)
    }

    /// What openraft installs, once all pieces are there.
    ///
    /// # Errors
    /// [`StateError::Refused`] if pieces are missing.
    pub fn finish(self) -> Result<(SnapshotMeta, SnapshotData), StateError> {
        match self.header {
            Some(header) if self.complete => Ok((header.meta, SnapshotData::of_spool(self.spool))),
            _ => Err(StateError::Refused("pieces are missing".to_owned())),
        }
    }
}

/// Pieces in a file, each behind its length. Not synced: what a crash interrupts is sent again.
#[derive(Debug)]
pub(super) struct Spool {
    disk: Arc<dyn Disk>,
    name: String,
    file: BlockFile,
    bytes: u64,
}

impl Spool {
    fn create(disk: Arc<dyn Disk>) -> Result<Self, StateError> {
        // Two transfers may overlap when the leader changes.
        static TRANSFERS: AtomicU64 = AtomicU64::new(0);
        let number = TRANSFERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("snapshot-{number}{INCOMING_SUFFIX}");
        disk.remove(&name)?;
        let file = disk.open(&name)?;
        Ok(Self {
            disk,
            name,
            file,
            bytes: 0,
        })
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), StateError> {
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        self.file.write(self.bytes, &len.to_be_bytes())?;
        self.file.write(self.bytes + 4, piece)?;
        self.bytes += 4 + u64::from(len);
        Ok(())
    }

    /// The piece at `offset`, which is moved behind it.
    pub(super) fn read(&self, offset: &mut u64) -> Result<Option<Vec<u8>>, StateError> {
        if *offset >= self.bytes {
            return Ok(None);
        }
        let mut len = [0; 4];
        self.file.read(*offset, &mut len)?;
        let len = u32::from_be_bytes(len);
        let mut piece = vec![
            0;
            usize::try_from(len)
                .unwrap_or(usize::MAX)
                .min(PIECE_BYTES_MAX)
        ];
        self.file.read(*offset + 4, &mut piece)?;
        *offset += 4 + u64::from(len);
        Ok(Some(piece))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Left-overs are also removed at the next start, so a failure here costs only space.
        if let Err(error) = self.disk.remove(&self.name) {
            tracing::warn!("{}: {error}", self.name);
        }
    }
}
