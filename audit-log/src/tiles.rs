//! How C2SP tlog-tiles cuts a tree and its entries into files (<https://c2sp.org/tlog-tiles>).

use std::fmt;

/// Tree levels in a tile.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Bytes of a full tile.
pub const TILE_BYTES: usize = 8_192;
/// Tile levels that a tree of the largest size has.
pub const TILE_LEVELS_MAX: u8 = 8;

/// A tile of hashes: `width` hashes of level `8 · level`, from `256 · index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileId {
    /// Level of tiles; 0 holds leaf hashes.
    pub level: u8,
    /// Place within the level, from 0.
    pub index: u64,
    /// Hashes in the tile, 1 to 256.
    pub width: u16,
}

impl TileId {
    /// `tile/<level>/<index>[.p/<width>]`.
    pub fn path(&self) -> String {
        format!(
            "tile/{}/{}",
            self.level,
            PathTail {
                index: self.index,
                width: self.width
            }
        )
    }

    /// The first leaf under this tile.
    pub fn first_leaf(&self) -> u64 {
        let shift = u32::from(self.level.saturating_add(1)).saturating_mul(8);
        self.index.checked_shl(shift).unwrap_or(u64::MAX)
    }
}

/// A bundle of entries: `width` entries from `256 · index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundleId {
    /// Place among the bundles, from 0.
    pub index: u64,
    /// Entries in the bundle, 1 to 256.
    pub width: u16,
}

impl BundleId {
    /// `tile/entries/<index>[.p/<width>]`.
    pub fn path(&self) -> String {
        format!(
            "tile/entries/{}",
            PathTail {
                index: self.index,
                width: self.width
            }
        )
    }

    /// The first entry in this bundle.
    pub fn first_entry(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH)
    }
}

/// Full tiles of one level, and the width of the partial one after them (0 if there is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelTiles {
    /// Number of full tiles.
    pub full: u64,
    /// Hashes in the partial tile, 0 to 255.
    pub partial: u16,
}

impl LevelTiles {
    /// The width of tile `index`, or `None` if the level has no such tile.
    pub fn width(&self, index: u64) -> Option<u16> {
        match index.cmp(&self.full) {
            std::cmp::Ordering::Less => Some(256),
            std::cmp::Ordering::Equal if self.partial > 0 => Some(self.partial),
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => None,
        }
    }

    /// Number of tiles, the partial one included.
    pub fn count(&self) -> u64 {
        self.full.saturating_add(u64::from(self.partial > 0))
    }
}

/// The tiles that a tree of `size` leaves has at a tile level. Bundles are cut as level 0 is.
pub fn tiles_at_level(size: u64, level: u8) -> LevelTiles {
    let shift = u32::from(level).saturating_mul(8);
    let hashes = size.checked_shr(shift).unwrap_or(0);
    let partial = u16::try_from(hashes % TILE_WIDTH).unwrap_or(0);
    LevelTiles {
        full: hashes / TILE_WIDTH,
        partial,
    }
}

/// The index in groups of three digits, all but the last marked with `x`, and the width if the
/// tile is partial.
struct PathTail {
    index: u64,
    width: u16,
}

impl fmt::Display for PathTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = [0u64; 7];
        let mut rest = self.index;
        let mut used = 0usize;
        for group in &mut groups {
            *group = rest % 1000;
            rest /= 1000;
            used = used.saturating_add(1);
            if rest == 0 {
                break;
            }
        }
        for (place, group) in groups.iter().enumerate().take(used).rev() {
            match place {
                0 => write!(f, "{group:03}")?,
                _ => write!(f, "x{group:03}/")?,
            }
        }
        if u64::from(self.width) < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}
