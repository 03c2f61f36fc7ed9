//! The tiles over the place where the verifier stands: one of each level, checked from the top
//! down as the walk enters them.

use super::report::Fault;
use super::{Stop, file};
use crate::checkpoint::Checkpoint;
use crate::directory::Directory;
use crate::export::Export;
use crate::hash::{HASH_BYTES, NodeHash};
use crate::tiles::{TILE_LEVELS_MAX, TILE_WIDTH, TileId, tiles_at_level};
use crate::tree::{CompactRange, root_at};

pub(super) struct Tower<'a, D: ?Sized> {
    directory: &'a D,
    size: u64,
    /// The tiles on the right edge, which have no tile above them, lead to the checkpoint's root.
    edge_is_sound: bool,
    /// The tile of each level, level 0 first.
    floors: [Option<Floor>; TILE_LEVELS_MAX as usize],
    /// Roots of the full tiles of level 0 that were walked.
    walked: CompactRange,
}

/// The tile of one level.
struct Floor {
    tile: TileId,
    hashes: Vec<NodeHash>,
    root: NodeHash,
    /// The tile's root is not the hash above it: one of the two is wrong, and the walk below it
    /// will tell where, or that it is the hash above.
    suspect: bool,
}

impl<'a, D: Directory + ?Sized> Tower<'a, D> {
    pub(super) fn new(directory: &'a D, checkpoint: &Checkpoint) -> Self {
        let size = checkpoint.size;
        // If they cannot be read, the walk will stop there and say so.
        let edge_root = root_at(&Export::new(directory).hashes(size), size);
        let edge_is_sound = edge_root.is_ok_and(|root| root == checkpoint.root);
        Self {
            directory,
            size,
            edge_is_sound,
            floors: Default::default(),
            walked: CompactRange::new(),
        }
    }

    /// Loads the tiles over bundle `bundle`. Bundles are entered in order.
    pub(super) fn enter(&mut self, bundle: u64) -> Result<(), Stop> {
        for level in (0..TILE_LEVELS_MAX).rev() {
            let index = bundle.wrapping_shr(u32::from(level).saturating_mul(8));
            let Some(width) = tiles_at_level(self.size, level).width(index) else {
                continue;
            };
            let tile = TileId {
                level,
                index,
                width,
            };
            if self.floor(level).is_some_and(|floor| floor.tile == tile) {
                continue;
            }
            let mut floor = self.load(tile)?;
            floor.suspect = self
                .hash_above(&tile)
                .is_some_and(|above| above != floor.root);
            if let Some(place) = self.floors.get_mut(usize::from(level)) {
                *place = Some(floor);
            }
        }
        Ok(())
    }

    /// The leaf hashes of the bundle that was entered.
    pub(super) fn leaves(&self) -> &[NodeHash] {
        self.floor(0).map_or(&[], |floor| &floor.hashes)
    }

    /// Whether the level-0 tile matches neither the hash above it nor the checkpoint.
    pub(super) fn leaves_are_suspect(&self) -> bool {
        let suspect = |floor: &Floor| floor.suspect || !(floor.is_full() || self.edge_is_sound);
        self.floor(0).is_some_and(suspect)
    }

    /// The path of the level-0 tile.
    pub(super) fn leaves_path(&self) -> String {
        self.floor(0)
            .map_or_else(String::new, |floor| floor.tile.path())
    }

    /// Ends the bundle that was entered: its entries match its tile. Tiles that end here must
    /// match the hash above them, for everything under them does.
    pub(super) fn leave(&mut self) -> Result<(), Stop> {
        let Some(floor) = self.floor(0) else {
            return Ok(());
        };
        let end = floor.tile.index.saturating_add(1);
        if floor.is_full() {
            self.walked.append(floor.root, |_, _| ());
        }
        for floor in self.floors.iter().flatten() {
            let shift = u32::from(floor.tile.level).saturating_mul(8);
            let tile_end = floor.tile.index.saturating_add(1).checked_shl(shift);
            if floor.suspect && tile_end == Some(end) {
                let above = self
                    .floor(floor.tile.level.saturating_add(1))
                    .unwrap_or(floor);
                let path = above.tile.path();
                return Err(Stop::bad(floor.tile.first_leaf(), path, Fault::TileNode));
            }
        }
        Ok(())
    }

    /// The root over all entries that were walked.
    pub(super) fn root(&self) -> NodeHash {
        let partial = self
            .floor(0)
            .filter(|floor| !floor.is_full())
            .map(|floor| floor.root);
        self.walked.root_before(partial)
    }

    fn floor(&self, level: u8) -> Option<&Floor> {
        self.floors.get(usize::from(level))?.as_ref()
    }

    /// The hash that the level above has for this tile; only full tiles have one.
    fn hash_above(&self, tile: &TileId) -> Option<NodeHash> {
        let above = self.floor(tile.level.saturating_add(1))?;
        let slot = usize::try_from(tile.index % TILE_WIDTH).ok()?;
        let full = u64::from(tile.width) == TILE_WIDTH;
        above.hashes.get(slot).copied().filter(|_| full)
    }

    fn load(&self, tile: TileId) -> Result<Floor, Stop> {
        let path = tile.path();
        let expected = usize::from(tile.width).saturating_mul(HASH_BYTES);
        let bytes = file(self.directory, &path, expected)?;
        let Some(bytes) = bytes else {
            return Err(Stop::bad(tile.first_leaf(), path, Fault::Missing));
        };
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        if bytes.len() != expected {
            // The first hash that is not there whole, or the first entry if there are too many.
            let whole = if bytes.len() < expected {
                hashes.len()
            } else {
                0
            };
            let leaves = 1u64.wrapping_shl(u32::from(tile.level).saturating_mul(8));
            let before = u64::try_from(whole).unwrap_or(0).saturating_mul(leaves);
            let index = tile.first_leaf().saturating_add(before);
            return Err(Stop::bad(index, path, Fault::Length { expected }));
        }
        let hashes: Vec<NodeHash> = hashes.iter().copied().map(NodeHash).collect();
        let root = root_of(&hashes);
        Ok(Floor {
            tile,
            hashes,
            root,
            suspect: false,
        })
    }
}

impl Floor {
    fn is_full(&self) -> bool {
        u64::from(self.tile.width) == TILE_WIDTH
    }
}

/// The Merkle tree hash over the hashes of a tile.
fn root_of(hashes: &[NodeHash]) -> NodeHash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, odd) = row.as_chunks::<2>();
        let parents = pairs
            .iter()
            .map(|[left, right]| NodeHash::node(left, right));
        // An odd last hash moves up as it is: that is where RFC 6962 splits it off.
        row = parents.chain(odd.iter().copied()).collect();
    }
    row.first().copied().unwrap_or_else(NodeHash::empty_tree)
}
