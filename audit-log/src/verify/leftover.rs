//! Looks for files among the tiles that the walk had no reason to open: entries beyond the
//! checkpoint, partial tiles of earlier checkpoints, and strangers.

use std::io::Read;

use super::Stop;
use super::report::Fault;
use crate::directory::{Directory, Listed};
use crate::tiles::{BundleId, TILE_LEVELS_MAX, TILE_WIDTH, TileId, tiles_at_level};

/// Bytes compared at a time.
const COMPARE_BYTES: usize = 8 * 1024;

/// What a tree of files under `tile/` holds.
#[derive(Clone, Copy)]
enum Shelf {
    Level(u8),
    Bundles,
}

impl Shelf {
    fn path(self, index: u64, width: u16) -> String {
        match self {
            Self::Level(level) => TileId {
                level,
                index,
                width,
            }
            .path(),
            Self::Bundles => BundleId { index, width }.path(),
        }
    }

    fn first_entry(self, index: u64) -> u64 {
        match self {
            Self::Level(level) => TileId {
                level,
                index,
                width: 256,
            }
            .first_leaf(),
            Self::Bundles => BundleId { index, width: 256 }.first_entry(),
        }
    }
}

pub(super) fn check<D: Directory + ?Sized>(directory: &D, size: u64) -> Result<(), Stop> {
    let check = Check { directory, size };
    for Listed { name, folder } in check.list("tile")? {
        let level = (0..TILE_LEVELS_MAX).find(|level| level.to_string() == name);
        let path = format!("tile/{name}");
        match (level, folder, name.as_str()) {
            (Some(level), true, _) => check.shelf(Shelf::Level(level), &path, 0)?,
            (None, true, "entries") => check.shelf(Shelf::Bundles, &path, 0)?,
            _ => return Err(check.unexpected(path)),
        }
    }
    Ok(())
}

struct Check<'a, D: ?Sized> {
    directory: &'a D,
    size: u64,
}

impl<D: Directory + ?Sized> Check<'_, D> {
    fn list(&self, path: &str) -> Result<Vec<Listed>, Stop> {
        self.directory
            .list(path)
            .map_err(|source| Stop::unreadable(path, source))
    }

    fn unexpected(&self, path: String) -> Stop {
        Stop::bad(self.size, path, Fault::Unexpected)
    }

    /// Walks one folder of a shelf; `before` is the index that the folders above it spell.
    fn shelf(&self, shelf: Shelf, folder: &str, before: u64) -> Result<(), Stop> {
        for Listed {
            name,
            folder: is_folder,
        } in self.list(folder)?
        {
            let path = format!("{folder}/{name}");
            let index = |digits| {
                let digits = three_digits(digits)?;
                before.checked_mul(1000)?.checked_add(digits)
            };
            let partials = name
                .strip_suffix(".p")
                .filter(|_| is_folder)
                .and_then(index);
            let deeper = name.strip_prefix('x').filter(|_| is_folder).and_then(index);
            let full = Some(name.as_str()).filter(|_| !is_folder).and_then(index);
            match (full, partials, deeper) {
                (Some(index), _, _) => self.tile(shelf, index, 256, path)?,
                (_, Some(index), _) => self.partials(shelf, index, &path)?,
                (_, _, Some(index)) => self.shelf(shelf, &path, index)?,
                (None, None, None) => return Err(self.unexpected(path)),
            }
        }
        Ok(())
    }

    fn partials(&self, shelf: Shelf, index: u64, folder: &str) -> Result<(), Stop> {
        for Listed {
            name,
            folder: is_folder,
        } in self.list(folder)?
        {
            let path = format!("{folder}/{name}");
            let width = name
                .parse::<u16>()
                .ok()
                .filter(|width| width.to_string() == name);
            match width.filter(|width| (1..256).contains(width) && !is_folder) {
                Some(width) => self.tile(shelf, index, width, path)?,
                None => return Err(self.unexpected(path)),
            }
        }
        Ok(())
    }

    /// A file that holds the first `width` items of tile or bundle `index`.
    fn tile(&self, shelf: Shelf, index: u64, width: u16, path: String) -> Result<(), Stop> {
        if shelf.path(index, width) != path {
            // Another spelling of the same index, such as a leading x000.
            return Err(self.unexpected(path));
        }
        let level = match shelf {
            Shelf::Level(level) => level,
            Shelf::Bundles => 0,
        };
        match tiles_at_level(self.size, level).width(index) {
            Some(current) if current == width => Ok(()),
            Some(current) if current > width => self.stale(shelf, index, (width, current), path),
            Some(_) | None => Err(Stop::bad(self.size, path, Fault::BeyondCheckpoint)),
        }
    }

    /// A partial tile of an earlier checkpoint must be the beginning of its successor.
    fn stale(
        &self,
        shelf: Shelf,
        index: u64,
        (width, current): (u16, u16),
        path: String,
    ) -> Result<(), Stop> {
        debug_assert!(u64::from(width) < TILE_WIDTH);
        let bad = || Stop::bad(shelf.first_entry(index), &path, Fault::StalePartial);
        let unreadable = |source| Stop::unreadable(&path, source);
        let old = self.directory.open(&path).map_err(unreadable)?;
        let new = self
            .directory
            .open(&shelf.path(index, current))
            .map_err(unreadable)?;
        let (Some(mut old), Some(mut new)) = (old, new) else {
            return Err(bad());
        };
        let (mut a, mut b) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
        loop {
            let read = old.read(&mut a).map_err(unreadable)?;
            let (Some(a), Some(b)) = (a.get(..read), b.get_mut(..read)) else {
                return Err(bad());
            };
            if a.is_empty() {
                return Ok(());
            }
            match new.read_exact(b) {
                Ok(()) if a == b => {}
                Ok(()) => return Err(bad()),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(bad());
                }
                Err(error) => return Err(unreadable(error)),
            }
        }
    }
}

fn three_digits(text: &str) -> Option<u64> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
