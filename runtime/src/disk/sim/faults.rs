//! What can be done to a simulated disk.

use std::collections::BTreeMap;
use std::time::Duration;

use super::SimDisk;
use super::file::{File, SECTOR_BYTES};

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Changes that still succeed before the power fails.
    pub(super) power_fails_after: Option<u64>,
    /// Syncs that still succeed before one answers EIO.
    pub(super) sync_fails_after: Option<u64>,
    /// Writes that still succeed before one answers EIO.
    pub(super) write_fails_after: Option<u64>,
    /// Reads that still succeed before one answers EIO.
    pub(super) read_fails_after: Option<u64>,
    /// Writes that still go where they should before one goes elsewhere, so many sectors away.
    pub(super) misdirected_after: Option<(u64, usize)>,
    /// Bytes over all files beyond which writes answer ENOSPC.
    pub(super) capacity_bytes: Option<u64>,
    /// Answers syncs without persisting anything.
    pub(super) lying: bool,
    pub(super) sync_delay: Duration,
}

impl Faults {
    /// Whether a read fails now.
    pub(super) fn fails_read(&mut self) -> bool {
        is_due(&mut self.read_fails_after)
    }

    /// Whether a write fails now.
    pub(super) fn fails_write(&mut self) -> bool {
        is_due(&mut self.write_fails_after)
    }

    /// Where a write that should go to `offset` really goes.
    pub(super) fn place(&mut self, offset: usize) -> usize {
        match &mut self.misdirected_after {
            None => offset,
            Some((0, sectors)) => {
                let back = *sectors * SECTOR_BYTES;
                self.misdirected_after = None;
                offset.saturating_sub(back)
            }
            Some((left, _)) => {
                *left -= 1;
                offset
            }
        }
    }
}

/// Counts down; true once, at the end.
fn is_due(after: &mut Option<u64>) -> bool {
    match after {
        Some(0) => {
            *after = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl SimDisk {
    /// Power fails at the change (write, change of length or of a name, sync) after the next
    /// `changes`; call [`SimDisk::lose_power`] to see what is left.
    pub fn fail_power_after(&self, changes: u64) {
        self.device().faults.power_fails_after = Some(changes);
    }

    /// Takes [`SimDisk::fail_power_after`] back.
    pub fn fail_power_never(&self) {
        self.device().faults.power_fails_after = None;
    }

    /// The sync after the next `syncs` answers EIO and drops what it should have persisted, as
    /// Linux does: a second sync then succeeds although the bytes are lost.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.device().faults.sync_fails_after = Some(syncs);
    }

    /// The write after the next `writes` answers EIO, and may have reached the platter in part.
    pub fn fail_write_after(&self, writes: u64) {
        self.device().faults.write_fails_after = Some(writes);
    }

    /// The read after the next `reads` answers EIO.
    pub fn fail_read_after(&self, reads: u64) {
        self.device().faults.read_fails_after = Some(reads);
    }

    /// The write after the next `writes` goes to a place of its file so many sectors further back,
    /// or to its beginning, and is answered as if it had gone where it should.
    pub fn misdirect_after(&self, writes: u64, sectors: usize) {
        self.device().faults.misdirected_after = Some((writes, sectors));
    }

    /// Writes that would bring the files above `bytes` in total answer ENOSPC; `None` lifts it.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.device().faults.capacity_bytes = bytes;
    }

    /// Firmware that answers syncs before anything is persisted: for tests that must catch it.
    pub fn set_lying(&self, lying: bool) {
        self.device().faults.lying = lying;
    }

    /// What each sync takes on the virtual clock.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.device().faults.sync_delay = delay;
    }

    /// Flips one bit on the platter, as cosmic rays do. Returns whether there is such a byte.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) -> bool {
        let mut device = self.device();
        let Some(file) = device.files.get_mut(name) else {
            return false;
        };
        let mask = 1u8 << (bit % 8);
        let mut flipped = false;
        for bytes in [&mut file.durable, &mut file.view] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= mask;
                flipped = true;
            }
        }
        flipped
    }

    /// The bytes of every file, as the running system sees them: a copy of the disk.
    #[must_use]
    pub fn copy(&self) -> BTreeMap<String, Vec<u8>> {
        let device = self.device();
        let bytes = device.files.iter();
        bytes
            .map(|(name, file)| (name.clone(), file.view.clone()))
            .collect()
    }

    /// Makes a file be so, for good: what whoever has the machine can do while nothing runs there.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut device = self.device();
        device.renamed.clear();
        device.files.insert(name.to_owned(), File::synced(bytes));
    }

    /// Takes back every fault that is still to come, and gives the disk all its room.
    pub fn mend(&self) {
        let mut device = self.device();
        device.faults = Faults {
            sync_delay: device.faults.sync_delay,
            ..Faults::default()
        };
    }
}
