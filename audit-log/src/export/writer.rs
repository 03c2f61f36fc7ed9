//! Writing an export: incremental, and whole after a crash at any step.

use super::{CHECKPOINT_PATH, Export, ExportError, LOG_VKEY_PATH, POLICY_PATH, split_frame};
use crate::checkpoint::SignedCheckpoint;
use crate::detached::DetachedBody;
use crate::directory::WritableDirectory;
use crate::entry::Entry;
use crate::hash::{HASH_BYTES, NodeHash};
use crate::head::LogHead;
use crate::note::VerifierKey;
use crate::policy::Policy;
use crate::tiles::{
    BundleId, LevelTiles, TILE_BYTES, TILE_HEIGHT, TILE_LEVELS_MAX, TILE_WIDTH, TileId,
    tiles_at_level,
};
use crate::tree::{CompactRange, TileSource as _};

/// Writes entries, tiles and checkpoints into a directory.
///
/// Full tiles are written as they fill. The checkpoint is replaced last, so a directory always
/// holds the export of its checkpoint: what a crash leaves beyond it is written again by whoever
/// opens the directory next and appends from [`size`](Self::size) on.
#[derive(Debug)]
pub struct ExportWriter<D> {
    directory: D,
    head: LogHead,
    /// Hashes of the unfinished tile of each tile level.
    tiles: Vec<Vec<u8>>,
    /// Frames of the unfinished bundle.
    bundle: Vec<u8>,
    /// Size of the checkpoint in the directory.
    committed: u64,
}

impl<D: WritableDirectory> ExportWriter<D> {
    /// Opens a directory to write the log of `origin`, new or continued after its checkpoint.
    ///
    /// # Errors
    /// [`ExportError::OtherLog`] if it holds another log, [`ExportError::Damaged`] if its last
    /// tiles are not those of its checkpoint.
    pub fn open(directory: D, origin: &str) -> Result<Self, ExportError> {
        let mut writer = Self {
            head: LogHead::genesis(origin),
            tiles: vec![Vec::new(); usize::from(TILE_LEVELS_MAX)],
            bundle: Vec::new(),
            committed: 0,
            directory,
        };
        let export = Export::new(&writer.directory);
        let signed = match export.checkpoint() {
            Ok(signed) => signed,
            Err(ExportError::Missing { .. }) => return Ok(writer),
            Err(error) => return Err(error),
        };
        let claim = signed.unverified_claim();
        if claim.origin.as_str() != origin {
            let (found, expected) = (claim.origin.to_string(), origin.to_owned());
            return Err(ExportError::OtherLog { found, expected });
        }
        if claim.size == 0 {
            return Ok(writer);
        }
        let tree = CompactRange::from_reader(&export.hashes(claim.size), claim.size)?;
        let last = export.entry(claim.size.saturating_sub(1), claim.size)?;
        let chain = Entry::parse(&last)?.chain();
        if tree.root() != claim.root {
            return Err(ExportError::Damaged);
        }
        let (tiles, bundle) = unfinished(&export, claim.size)?;
        writer.head = LogHead::resume(chain, tree);
        writer.committed = claim.size;
        writer.tiles = tiles;
        writer.bundle = bundle;
        Ok(writer)
    }

    /// Number of entries so far; the index of the next.
    pub fn size(&self) -> u64 {
        self.head.size()
    }

    /// Chain and tree of the entries so far.
    pub fn head(&self) -> &LogHead {
        &self.head
    }

    /// The directory.
    pub fn directory(&self) -> &D {
        &self.directory
    }

    /// Appends the next entry.
    ///
    /// # Errors
    /// [`ExportError::Entry`] or [`ExportError::Follow`] if it is not the next entry; nothing has
    /// changed then. [`ExportError::Io`] if a full tile could not be written; open a new writer.
    pub fn append(&mut self, entry: &[u8]) -> Result<(), ExportError> {
        let parsed = Entry::parse(entry)?;
        let length = u16::try_from(entry.len()).map_err(|_| ExportError::Damaged)?;
        // A leaf completes at most one node of every tile level.
        let mut full = [None; TILE_LEVELS_MAX as usize];
        self.head.follow(&parsed, |id, hash| {
            let slot = full.get_mut(usize::from(id.level / TILE_HEIGHT));
            if let Some(slot) = slot.filter(|_| id.level % TILE_HEIGHT == 0) {
                *slot = Some(*hash);
            }
        })?;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        if self.size().is_multiple_of(TILE_WIDTH) {
            let index = (self.size() / TILE_WIDTH).saturating_sub(1);
            put(
                &self.directory,
                &BundleId { index, width: 256 }.path(),
                &self.bundle,
            )?;
            self.bundle.clear();
        }
        for (level, hash) in (0u8..).zip(full) {
            if let Some(hash) = hash {
                self.push_hash(level, &hash)?;
            }
        }
        Ok(())
    }

    fn push_hash(&mut self, level: u8, hash: &NodeHash) -> Result<(), ExportError> {
        let tiles = tiles_at_level(self.head.size(), level);
        let Some(tile) = self.tiles.get_mut(usize::from(level)) else {
            return Ok(());
        };
        tile.extend_from_slice(&hash.0);
        if tile.len() == TILE_BYTES {
            let index = tiles.full.saturating_sub(1);
            put(
                &self.directory,
                &TileId {
                    level,
                    index,
                    width: 256,
                }
                .path(),
                tile,
            )?;
            tile.clear();
        }
        Ok(())
    }

    /// Stores a detached body beside the log.
    ///
    /// # Errors
    /// [`ExportError::Io`].
    pub fn put_detached(&self, body: &DetachedBody) -> Result<(), ExportError> {
        put(&self.directory, &body.commitment().path(), body.file())
    }

    /// Stores the log's verifier key and the policy that the exporter believes in.
    ///
    /// # Errors
    /// [`ExportError::Io`].
    pub fn put_keys(&self, log: &VerifierKey, policy: &Policy) -> Result<(), ExportError> {
        put(
            &self.directory,
            LOG_VKEY_PATH,
            format!("{log}\n").as_bytes(),
        )?;
        put(&self.directory, POLICY_PATH, policy.to_string().as_bytes())
    }

    /// Finishes the export at its present size: writes the unfinished tiles, makes all of it
    /// durable, and only then replaces the checkpoint. Calling it again with more signatures on
    /// the same checkpoint is fine.
    ///
    /// # Errors
    /// [`ExportError::OtherCheckpoint`] if `signed` is not of these entries.
    pub fn commit(&mut self, signed: &SignedCheckpoint) -> Result<(), ExportError> {
        let claim = signed.unverified_claim();
        let size = self.size();
        if claim.size != size || claim.root != self.head.root() {
            return Err(ExportError::OtherCheckpoint { size });
        }
        if size != self.committed {
            self.put_unfinished()?;
        }
        sync(&self.directory)?;
        put(
            &self.directory,
            CHECKPOINT_PATH,
            signed.to_string().as_bytes(),
        )?;
        sync(&self.directory)?;
        self.remove_superseded()?;
        self.committed = size;
        Ok(())
    }

    fn put_unfinished(&self) -> Result<(), ExportError> {
        for path in partial_paths(self.size()) {
            let bytes = match path.level {
                None => Some(&self.bundle),
                Some(level) => self.tiles.get(usize::from(level)),
            };
            put(
                &self.directory,
                &path.path,
                bytes.map_or(&[], Vec::as_slice),
            )?;
        }
        Ok(())
    }

    /// Removes the partial tiles that belonged to the checkpoint before this one only.
    fn remove_superseded(&self) -> Result<(), ExportError> {
        let current: Vec<_> = partial_paths(self.size())
            .map(|partial| partial.path)
            .collect();
        for Partial { path, .. } in partial_paths(self.committed) {
            if !current.contains(&path) {
                let removed = self.directory.remove(&path);
                removed.map_err(|source| ExportError::Io { path, source })?;
            }
        }
        sync(&self.directory)
    }
}

/// A partial tile, or the partial bundle (no level).
struct Partial {
    level: Option<u8>,
    path: String,
}

fn partial_paths(size: u64) -> impl Iterator<Item = Partial> {
    let bundle = tiles_at_level(size, 0);
    let bundle = (bundle.partial > 0).then(|| Partial {
        level: None,
        path: BundleId {
            index: bundle.full,
            width: bundle.partial,
        }
        .path(),
    });
    let tiles = (0..TILE_LEVELS_MAX).filter_map(move |level| {
        let tiles = tiles_at_level(size, level);
        let tile = TileId {
            level,
            index: tiles.full,
            width: tiles.partial,
        };
        (tiles.partial > 0).then(|| Partial {
            level: Some(level),
            path: tile.path(),
        })
    });
    bundle.into_iter().chain(tiles)
}

type Unfinished = (Vec<Vec<u8>>, Vec<u8>);

/// Reads back the unfinished tiles and bundle of a checkpoint of `size` entries.
fn unfinished<D: WritableDirectory>(
    export: &Export<'_, D>,
    size: u64,
) -> Result<Unfinished, ExportError> {
    let mut tiles = vec![Vec::new(); usize::from(TILE_LEVELS_MAX)];
    for (level, tile) in (0u8..).zip(&mut tiles) {
        let LevelTiles {
            full: index,
            partial: width,
        } = tiles_at_level(size, level);
        if width > 0 {
            *tile = export
                .tile(TileId {
                    level,
                    index,
                    width,
                })
                .map_err(|error| *error)?;
        }
        if tile.len() != usize::from(width).saturating_mul(HASH_BYTES) {
            return Err(ExportError::Damaged);
        }
    }
    let LevelTiles {
        full: index,
        partial: width,
    } = tiles_at_level(size, 0);
    if width == 0 {
        return Ok((tiles, Vec::new()));
    }
    let path = BundleId { index, width }.path();
    let bundle = export.file(&path, super::BUNDLE_BYTES_MAX)?;
    let mut rest = bundle.as_slice();
    for _ in 0..width {
        (_, rest) = split_frame(rest).ok_or(ExportError::Damaged)?;
    }
    if rest.is_empty() {
        Ok((tiles, bundle))
    } else {
        Err(ExportError::Damaged)
    }
}

fn put(directory: &impl WritableDirectory, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let put = directory.put(path, bytes);
    put.map_err(|source| ExportError::Io {
        path: path.to_owned(),
        source,
    })
}

fn sync(directory: &impl WritableDirectory) -> Result<(), ExportError> {
    directory.sync().map_err(|source| ExportError::Io {
        path: ".".to_owned(),
        source,
    })
}
