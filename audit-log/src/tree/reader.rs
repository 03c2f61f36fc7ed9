//! Where proofs get their hashes from.

use super::{NodeId, TREE_SIZE_MAX, leaves_under};
use crate::hash::{HASH_BYTES, NodeHash};
use crate::tiles::{TILE_HEIGHT, TILE_WIDTH, TileId, tiles_at_level};

/// Reads the hash of any full subtree.
pub trait HashReader {
    /// Why a hash cannot be had.
    type Error;

    /// The hash of the full subtree `id`. Called only for subtrees within the tree's size.
    ///
    /// # Errors
    /// If the hash is not stored or cannot be read.
    fn node(&self, id: NodeId) -> Result<NodeHash, Self::Error>;
}

impl<R: HashReader + ?Sized> HashReader for &R {
    type Error = R::Error;

    fn node(&self, id: NodeId) -> Result<NodeHash, Self::Error> {
        (**self).node(id)
    }
}

/// Reads tiles: runs of up to 256 hashes of every eighth level, as tlog-tiles cuts them.
pub trait TileSource {
    /// Why a tile cannot be had.
    type Error;

    /// The concatenated hashes of a tile, at least `tile.width` of them.
    ///
    /// # Errors
    /// If the tile is not stored or cannot be read.
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, Self::Error>;
}

/// Why a hash could not be read from tiles or memory.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError<E> {
    /// The hash lies outside the tree, or the tile has fewer hashes than it should.
    #[error("no hash for level {}, index {}", .0.level, .0.index)]
    Missing(NodeId),
    /// The tile could not be read.
    #[error("tile: {0}")]
    Tile(E),
}

/// A [`HashReader`] over tiles: hashes of the levels between are computed from the tile below.
#[derive(Clone, Debug)]
pub struct TileHashes<T> {
    tiles: T,
    size: u64,
}

impl<T: TileSource> TileHashes<T> {
    /// Reads hashes of the tree with `size` leaves. The size says how wide the last tiles are.
    pub fn new(tiles: T, size: u64) -> Self {
        Self { tiles, size }
    }
}

impl<T: TileSource> HashReader for TileHashes<T> {
    type Error = ReadError<T::Error>;

    fn node(&self, id: NodeId) -> Result<NodeHash, Self::Error> {
        let missing = || ReadError::Missing(id);
        let end = id
            .index
            .checked_add(1)
            .and_then(|i| i.checked_mul(leaves_under(id.level)));
        if end.is_none_or(|end| end > self.size.min(TREE_SIZE_MAX)) {
            return Err(missing());
        }
        // The node is the root over 2^above hashes of the tile level at or below its own.
        let above = id.level % TILE_HEIGHT;
        let level = id.level / TILE_HEIGHT;
        let first = id.index.wrapping_shl(u32::from(above));
        let count = usize::try_from(leaves_under(above)).map_err(|_| missing())?;
        let index = first / TILE_WIDTH;
        let last = tiles_at_level(self.size, level)
            .width(index)
            .ok_or_else(missing)?;
        let bytes = self
            .tiles
            .tile(TileId {
                level,
                index,
                width: last,
            })
            .map_err(ReadError::Tile)?;
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        let start = usize::try_from(first % TILE_WIDTH).map_err(|_| missing())?;
        let run = hashes
            .get(start..start.saturating_add(count))
            .ok_or_else(missing)?;
        Ok(full_root(run))
    }
}

/// The root over a power of two of hashes.
fn full_root(run: &[[u8; HASH_BYTES]]) -> NodeHash {
    let mut range = super::CompactRange::new();
    for hash in run {
        range.append(NodeHash(*hash), |_, _| ());
    }
    range.root()
}

/// All hashes of a tree in memory: for tests, small logs and journal segments.
#[derive(Clone, Debug, Default)]
pub struct MemoryHashes {
    levels: Vec<Vec<NodeHash>>,
}

impl MemoryHashes {
    /// Stores a node; nodes of one level come in order, as [`append`](super::CompactRange::append)
    /// gives them.
    pub fn push(&mut self, id: NodeId, hash: &NodeHash) {
        let level = usize::from(id.level);
        while self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        if let Some(hashes) = self.levels.get_mut(level) {
            hashes.push(*hash);
        }
    }
}

impl HashReader for MemoryHashes {
    type Error = ReadError<std::convert::Infallible>;

    fn node(&self, id: NodeId) -> Result<NodeHash, Self::Error> {
        let index = usize::try_from(id.index).map_err(|_| ReadError::Missing(id))?;
        let level = self.levels.get(usize::from(id.level));
        level
            .and_then(|l| l.get(index))
            .copied()
            .ok_or(ReadError::Missing(id))
    }
}
