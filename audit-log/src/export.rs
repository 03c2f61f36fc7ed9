//! An export: a C2SP tlog-tiles directory that needs nothing else to be verified, and the proofs
//! that can be made from it.

mod writer;

use std::io;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::detached::{self, Commitment, DetachedBody, DetachedError};
use crate::directory::{Directory, read_file};
use crate::entry::{ENTRY_BYTES_MAX, EntryError};
use crate::hash::NodeHash;
use crate::head::FollowError;
use crate::note::NOTE_BYTES_MAX;
use crate::receipt::Receipt;
use crate::tiles::{BundleId, TILE_BYTES, TILE_WIDTH, TileId, tiles_at_level};
use crate::tree::{
    ProofError, ReadError, TileHashes, TileSource, consistency_proof, inclusion_proof,
    verify_inclusion,
};

pub use writer::ExportWriter;

/// The signed checkpoint, which says how many entries the export has.
pub const CHECKPOINT_PATH: &str = "checkpoint";
/// The log's verifier key, one vkey line.
pub const LOG_VKEY_PATH: &str = "log.vkey";
/// The policy that whoever exported believes in. An auditor brings an own one.
pub const POLICY_PATH: &str = "policy";
/// Most bytes of an entry bundle.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);

/// Reads an export without verifying it: what comes out is as good as what
/// [`verify`](crate::verify()) said about it.
#[derive(Debug)]
pub struct Export<'a, D: ?Sized> {
    directory: &'a D,
}

impl<'a, D: Directory + ?Sized> Export<'a, D> {
    /// Reads the export in `directory`.
    pub fn new(directory: &'a D) -> Self {
        Self { directory }
    }

    /// The checkpoint, its signatures unverified.
    ///
    /// # Errors
    /// [`ExportError`] if it is missing or does not parse.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, ExportError> {
        let bytes = self.file(CHECKPOINT_PATH, NOTE_BYTES_MAX)?;
        Ok(SignedCheckpoint::parse(&bytes)?)
    }

    /// The bytes of an entry below `size`, the size of the checkpoint.
    ///
    /// # Errors
    /// [`ExportError`] if there is no such entry or its bundle is damaged.
    pub fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, ExportError> {
        let bundle = index / TILE_WIDTH;
        let width = tiles_at_level(size, 0)
            .width(bundle)
            .filter(|_| index < size);
        let width = width.ok_or(ExportError::NoSuchEntry { index, size })?;
        let path = BundleId {
            index: bundle,
            width,
        }
        .path();
        let bytes = self.file(&path, BUNDLE_BYTES_MAX)?;
        let mut rest = bytes.as_slice();
        for _ in 0..index % TILE_WIDTH {
            (_, rest) = split_frame(rest).ok_or(ExportError::Bundle { index })?;
        }
        let (entry, _) = split_frame(rest).ok_or(ExportError::Bundle { index })?;
        Ok(entry.to_vec())
    }

    /// The tree's hashes, for proofs about the tree of `size` entries.
    pub fn hashes(&self, size: u64) -> TileHashes<Self> {
        TileHashes::new(
            Export {
                directory: self.directory,
            },
            size,
        )
    }

    /// A receipt for an entry under the export's checkpoint; `extra` is for the application.
    ///
    /// # Errors
    /// [`ExportError`], also if the proof would not hold because the export is damaged.
    pub fn receipt(&self, index: u64, extra: Option<Vec<u8>>) -> Result<Receipt, ExportError> {
        let checkpoint = self.checkpoint()?;
        let claim = checkpoint.unverified_claim();
        let entry = self.entry(index, claim.size)?;
        let path = inclusion_proof(&self.hashes(claim.size), index, claim.size)?;
        verify_inclusion(
            NodeHash::leaf(&entry),
            index,
            claim.size,
            &path,
            &claim.root,
        )?;
        Ok(Receipt {
            extra,
            index,
            path,
            checkpoint,
        })
    }

    /// The proof that the log with `old` entries is a prefix of the one with `new` entries, which
    /// is at most the checkpoint's size.
    ///
    /// # Errors
    /// [`ExportError`] if a tile is missing or damaged.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<NodeHash>, ExportError> {
        let size = self.checkpoint()?.unverified_claim().size;
        if new > size {
            return Err(ExportError::NoSuchEntry {
                index: new.saturating_sub(1),
                size,
            });
        }
        Ok(consistency_proof(&self.hashes(size), old, new)?)
    }

    /// A detached body, or `None` if it is absent (erased, or withheld).
    ///
    /// # Errors
    /// [`ExportError::Detached`] if the file is not what the commitment says.
    pub fn detached(&self, commitment: &Commitment) -> Result<Option<DetachedBody>, ExportError> {
        let path = commitment.path();
        let limit = detached::PREFIX_BYTES.saturating_add(detached::BODY_BYTES_MAX);
        let file = read_file(self.directory, &path, limit);
        let Some(file) = file.map_err(|source| ExportError::Io { path, source })? else {
            return Ok(None);
        };
        let body = DetachedBody::from_file(file)?;
        if body.commitment() == commitment {
            Ok(Some(body))
        } else {
            Err(ExportError::Detached(DetachedError::Mismatch))
        }
    }

    fn file(&self, path: &str, limit: usize) -> Result<Vec<u8>, ExportError> {
        let file = read_file(self.directory, path, limit);
        let file = file.map_err(|source| ExportError::Io {
            path: path.to_owned(),
            source,
        })?;
        file.ok_or_else(|| ExportError::Missing {
            path: path.to_owned(),
        })
    }
}

impl<D: Directory + ?Sized> TileSource for Export<'_, D> {
    type Error = Box<ExportError>;

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, Self::Error> {
        self.file(&tile.path(), TILE_BYTES).map_err(Box::new)
    }
}

/// The first length-prefixed entry of a bundle, and what follows it.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Why an export could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// File concerned.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
    /// A file is not there.
    #[error("{path}: missing")]
    Missing {
        /// File concerned.
        path: String,
    },
    /// The entry is not in the export.
    #[error("no entry {index}: the export has {size} entries")]
    NoSuchEntry {
        /// Index asked for.
        index: u64,
        /// Entries in the export.
        size: u64,
    },
    /// The bundle of an entry is damaged.
    #[error("the bundle that holds entry {index} is damaged; verify the export")]
    Bundle {
        /// Index asked for.
        index: u64,
    },
    /// The checkpoint does not parse.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tile is missing or damaged.
    #[error("{0}")]
    Tile(#[from] ReadError<Box<ExportError>>),
    /// A proof from the export's tiles does not hold.
    #[error("{0}; the export is damaged, verify it")]
    Proof(#[from] ProofError),
    /// A detached body is not what its entry committed to.
    #[error(transparent)]
    Detached(#[from] DetachedError),
    /// Bytes given to the writer are not an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The entry given to the writer is not the next.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The directory holds another log.
    #[error("the directory holds the log {found}, not {expected}")]
    OtherLog {
        /// Origin in the directory.
        found: String,
        /// Origin that the writer was opened for.
        expected: String,
    },
    /// The checkpoint is not of the entries written.
    #[error("the checkpoint is not of the {size} entries that were written")]
    OtherCheckpoint {
        /// Entries written.
        size: u64,
    },
    /// The directory cannot be continued.
    #[error("the export does not match its own checkpoint; verify it, or write a new one")]
    Damaged,
}
