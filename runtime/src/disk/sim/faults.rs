//! What can be done to a simulated disk.

use std::time::Duration;

use super::SimDisk;

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Changes that still succeed before the power fails.
    pub(super) power_fails_after: Option<u64>,
    /// Syncs that still succeed before one answers EIO.
    pub(super) sync_fails_after: Option<u64>,
    /// Bytes over all files beyond which writes answer ENOSPC.
    pub(super) capacity_bytes: Option<u64>,
    /// Answers syncs without persisting anything.
    pub(super) lying: bool,
    pub(super) sync_delay: Duration,
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

    /// Takes back every fault that is still to come, and gives the disk all its room.
    pub fn mend(&self) {
        let mut device = self.device();
        device.faults = Faults {
            sync_delay: device.faults.sync_delay,
            ..Faults::default()
        };
    }
}
