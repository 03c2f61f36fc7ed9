//! A disk in memory that does what real disks may do when power is lost.
//!
//! What no completed sync covers may, after a power loss, be kept, lost, or torn at 512-byte
//! sectors, each sector on its own: that also makes later writes survive earlier ones. Changes of
//! names survive in order, as a journal keeps them: up to some point, and nothing after it. The
//! model is plain data without threads or clocks, so it serves `cargo test` and the simulator alike.

mod faults;
mod file;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::StorageBackend;

use self::faults::Faults;
use self::file::{Change, File, write_at};
use super::{BlockFile, Disk, check_name};

/// A simulated device. Cheap to clone; clones are the same device, which outlives the nodes that
/// use it.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<Device>>);

/// A [`SimDisk`] as one power cycle of one process sees it. After [`SimDisk::lose_power`] or
/// [`SimDisk::kill`] every call on it fails, so that a database which is dropped late cannot write
/// to the disk of its successor.
#[derive(Clone, Debug)]
pub struct SimMount {
    disk: SimDisk,
    cycle: u64,
}

/// What a device did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Writes and changes of length.
    pub writes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Bytes over all files, as the running system sees them.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Device {
    files: BTreeMap<String, File>,
    /// What names meant before each change that no sync of names covers, in order.
    renamed: Vec<(String, Option<File>)>,
    /// Mounts of an earlier cycle are dead.
    cycle: u64,
    stats: DiskStats,
    faults: Faults,
}

impl SimDisk {
    /// An empty device without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the device for a process that starts now; any earlier mount is dead.
    #[must_use]
    pub fn mount(&self) -> SimMount {
        let mut device = self.device();
        device.cycle += 1;
        SimMount {
            disk: self.clone(),
            cycle: device.cycle,
        }
    }

    /// The process dies, the machine lives: nothing that was written is lost.
    pub fn kill(&self) {
        self.device().cycle += 1;
    }

    /// The machine loses power. `random` decides for every unsynced sector whether it survives;
    /// pending faults are cleared.
    pub fn lose_power(&self, random: &mut dyn FnMut() -> u64) {
        let mut device = self.device();
        device.cycle += 1;
        device.faults.power_fails_after = None;
        device.faults.sync_fails_after = None;
        device.faults.write_fails_after = None;
        device.faults.read_fails_after = None;
        device.faults.misdirected_after = None;
        // Half of the crashes are the clean extremes, which coin flips would hardly ever give.
        let mut survives: Box<dyn FnMut() -> bool> = match random() % 4 {
            0 => Box::new(|| false),
            1 => Box::new(|| true),
            _ => Box::new(|| random().is_multiple_of(2)),
        };
        let mut renamed = std::mem::take(&mut device.renamed);
        let kept = renamed.iter().take_while(|_| survives()).count();
        for (name, before) in renamed.drain(kept..).rev() {
            match before {
                Some(file) => device.files.insert(name, file),
                None => device.files.remove(&name),
            };
        }
        for file in device.files.values_mut() {
            file.lose_unsynced(&mut *survives);
        }
    }

    /// Another device, without faults, with what would be left for certain of the files with such
    /// names if the machine lost power now.
    #[must_use]
    pub fn after_power_loss(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let left = Self::new();
        let device = self.device();
        // What names mean for certain: what they meant before the first change that is not synced.
        let mut certain: BTreeMap<&str, Option<&File>> = BTreeMap::new();
        for (name, file) in &device.files {
            certain.insert(name, Some(file));
        }
        for (name, before) in device.renamed.iter().rev() {
            certain.insert(name, before.as_ref());
        }
        for (name, file) in certain {
            let Some(file) = file.filter(|_| is_wanted(name)) else {
                continue;
            };
            let file = File::synced(file.durable.clone());
            left.device().files.insert(name.to_owned(), file);
        }
        left
    }

    /// The names of all files and their lengths as the running system sees them.
    #[must_use]
    pub fn files(&self) -> Vec<(String, usize)> {
        let device = self.device();
        let files = device.files.iter();
        files
            .map(|(name, file)| (name.clone(), file.view.len()))
            .collect()
    }

    /// The length of a file as the running system sees it; 0 if there is none.
    #[must_use]
    pub fn len(&self, name: &str) -> usize {
        self.device()
            .files
            .get(name)
            .map_or(0, |file| file.view.len())
    }

    /// Loses everything: the disk was replaced.
    pub fn wipe(&self) {
        let mut device = self.device();
        device.cycle += 1;
        device.files.clear();
        device.renamed.clear();
    }

    /// What the device did so far.
    #[must_use]
    pub fn stats(&self) -> DiskStats {
        let device = self.device();
        DiskStats {
            bytes: device.bytes(),
            ..device.stats
        }
    }

    // Plain data, valid at every step: a panic elsewhere does not spoil it.
    fn device(&self) -> MutexGuard<'_, Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    /// What a name means now; nothing if there is no such file any more.
    fn rename(&mut self, name: &str, file: Option<File>) {
        let before = match file {
            Some(file) => self.files.insert(name.to_owned(), file),
            None => self.files.remove(name),
        };
        self.renamed.push((name.to_owned(), before));
    }

    fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.view.len() as u64).sum()
    }

    /// Counts one change and fails if the power is gone or goes now.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.faults.power_fails_after {
            Some(0) => {
                self.cycle += 1;
                return Err(power_lost());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.stats.writes += 1;
        Ok(())
    }

    fn make_room(&self, grow: usize) -> io::Result<()> {
        match self.faults.capacity_bytes {
            Some(capacity) if grow > 0 && self.bytes() + grow as u64 > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.change()?;
        let Some(file) = self.files.get_mut(name) else {
            return Err(removed());
        };
        match &mut self.faults.sync_fails_after {
            Some(0) => {
                self.faults.sync_fails_after = None;
                file.unsynced.clear();
                return Err(broken());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.stats.syncs += 1;
        if !self.faults.lying {
            file.persist();
        }
        Ok(())
    }
}

impl SimMount {
    fn device(&self) -> io::Result<MutexGuard<'_, Device>> {
        let device = self.disk.device();
        if device.cycle == self.cycle {
            Ok(device)
        } else {
            Err(power_lost())
        }
    }
}

impl Disk for SimMount {
    fn open(&self, name: &str) -> io::Result<BlockFile> {
        check_name(name)?;
        let mut device = self.device()?;
        if !device.files.contains_key(name) {
            device.rename(name, Some(File::default()));
        }
        drop(device);
        Ok(BlockFile::new(SimFile {
            mount: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        check_name(name)?;
        Ok(self.device()?.files.get(name).map(|file| file.view.clone()))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        check_name(name)?;
        let mut device = self.device()?;
        device.make_room(bytes.len())?;
        device.change()?;
        if !device.faults.lying {
            device.rename(name, Some(File::synced(bytes.to_vec())));
            return Ok(());
        }
        let file = device.files.entry(name.to_owned()).or_default();
        file.view = bytes.to_vec();
        file.unsynced.push(Change::SetLen(bytes.len()));
        file.unsynced.push(Change::Write {
            offset: 0,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let mut device = self.device()?;
        if device.files.contains_key(name) {
            device.change()?;
            device.rename(name, None);
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut device = self.device()?;
        device.change()?;
        if !device.faults.lying {
            device.renamed.clear();
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.device()?.files.keys().cloned().collect())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let device = self.device()?;
        let capacity = device.faults.capacity_bytes.unwrap_or(u64::MAX);
        Ok(capacity.saturating_sub(device.bytes()))
    }

    fn sync_delay(&self) -> Duration {
        self.disk.device().faults.sync_delay
    }
}

#[derive(Debug)]
struct SimFile {
    mount: SimMount,
    name: String,
}

impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        let device = self.mount.device()?;
        Ok(device.files.get(&self.name).ok_or_else(removed)?.view.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut device = self.mount.device()?;
        if device.faults.fails_read() {
            return Err(broken());
        }
        let view = &device.files.get(&self.name).ok_or_else(removed)?.view;
        let start = to_usize(offset)?;
        let bytes = start
            .checked_add(out.len())
            .and_then(|end| view.get(start..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = to_usize(len)?;
        let mut device = self.mount.device()?;
        let before = device.files.get(&self.name).ok_or_else(removed)?.view.len();
        device.make_room(len.saturating_sub(before))?;
        device.change()?;
        let file = device.files.get_mut(&self.name).ok_or_else(removed)?;
        file.view.resize(len, 0);
        file.unsynced.push(Change::SetLen(len));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = to_usize(offset)?;
        let mut device = self.mount.device()?;
        let before = device.files.get(&self.name).ok_or_else(removed)?.view.len();
        device.make_room((offset + data.len()).saturating_sub(before))?;
        let mut written = device.change();
        if device.faults.fails_write() {
            written = written.and(Err(broken()));
        }
        let offset = device.faults.place(offset);
        let file = device.files.get_mut(&self.name).ok_or_else(removed)?;
        write_at(&mut file.view, offset, data);
        // A write that fails, or during which the power does, may still reach the platter in part.
        file.unsynced.push(Change::Write {
            offset,
            bytes: data.to_vec(),
        });
        written
    }

    fn sync_data(&self) -> io::Result<()> {
        self.mount.device()?.sync(&self.name)
    }
}

fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn broken() -> io::Error {
    io::Error::other("input/output error (simulated)")
}

fn power_lost() -> io::Error {
    io::Error::other("power lost (simulated)")
}

fn removed() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the file was removed while open")
}

#[cfg(test)]
#[path = "sim_tests.rs"]
mod tests;
