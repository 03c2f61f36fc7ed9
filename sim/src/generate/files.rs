//! Files of a node that somebody empties, cuts, swaps or puts back from an older copy. At most one in a
//! run, which then ruins no other disk.

use super::{Make, RUINED_MAX, STORM_MS, Storm, ruin};
use crate::dice::Dice;
use crate::schedule::{Fault, Timed};

/// Every class of what may be done to a file.
pub(super) const FILE_CLASSES: [Make; 4] = [empty, cut, swap, old_copy];

const FILES: [&str; 2] = ["log", "state.redb"];
/// When it begins, in ms: there is something in the files, and time for what follows.
const WHEN_MS: std::ops::Range<u64> = 3_000..STORM_MS - 10_000;

impl Storm {
    /// What is done to a file of this run, if anything is. The draw is one of its own: the storm is
    /// the same without.
    pub(super) fn file_fault(&mut self, dice: Dice) -> Option<Timed> {
        self.dice = dice;
        if self.ruined >= RUINED_MAX || !self.dice.one_in(2) {
            return None;
        }
        let make = self.dice.pick(&FILE_CLASSES).copied()?;
        let at_ms = self.dice.within(WHEN_MS);
        make(self).map(|fault| Timed { at_ms, fault })
    }

    fn file(&mut self) -> Option<String> {
        self.dice.pick(&FILES).map(|file| (*file).to_owned())
    }

    fn down_ms(&mut self) -> u64 {
        self.dice.within(20..3_000)
    }
}

fn empty(storm: &mut Storm) -> Option<Fault> {
    let at = ruin(storm)?;
    Some(Fault::EmptyFile {
        at,
        file: storm.file()?,
        for_ms: storm.down_ms(),
    })
}

fn cut(storm: &mut Storm) -> Option<Fault> {
    let at = ruin(storm)?;
    Some(Fault::CutFile {
        at,
        file: storm.file()?,
        kept_ppm: u32::try_from(storm.dice.below(1_000_000)).ok()?,
        for_ms: storm.down_ms(),
    })
}

fn swap(storm: &mut Storm) -> Option<Fault> {
    let at = ruin(storm)?;
    let others = storm.stores.iter().filter(|other| **other != at);
    let others: Vec<_> = others.cloned().collect();
    Some(Fault::SwapFile {
        at,
        file: storm.file()?,
        with: storm.dice.pick(&others)?.clone(),
        for_ms: storm.down_ms(),
    })
}

/// One file, or the whole directory.
fn old_copy(storm: &mut Storm) -> Option<Fault> {
    let at = ruin(storm)?;
    let file = if storm.dice.one_in(2) {
        storm.file()
    } else {
        None
    };
    Some(Fault::OldCopy {
        at,
        file,
        age_ms: storm.dice.within(100..8_000),
        for_ms: storm.down_ms(),
    })
}
