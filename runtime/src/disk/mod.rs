//! Where bytes live: one directory of a node, behind a trait that the simulator can break.
//!
//! Production code opens [`BlockFile`]s (redb databases, journal segments) and replaces small files
//! through [`Disk`] only, so that every byte that matters meets the faults of [`SimDisk`].

mod real;
mod sim;

pub use real::{DirDisk, OpenDirError};
pub use sim::{DiskStats, SimDisk, SimMount};

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use redb::StorageBackend;

/// One directory that belongs to this process alone.
///
/// File names are plain: no separators, not empty, no leading dot.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file for reads and writes at any offset, and creates it if it is missing. Its bytes
    /// are durable after [`StorageBackend::sync_data`], a new name after [`Disk::sync_names`].
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn open(&self, name: &str) -> io::Result<BlockFile>;

    /// The bytes of a small file, or `None` if there is no such file.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a small file, all or nothing. The bytes are durable on return; that the name means
    /// them is after [`Disk::sync_names`].
    ///
    /// # Errors
    /// Whatever the file system answers; the file is then the old or the new one, never a mix.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file; not an error if it is gone already. Durable after [`Disk::sync_names`].
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes what names mean durable: files that were created, replaced or removed. Without it, a
    /// power loss may bring back what was, although every byte was synced.
    ///
    /// # Errors
    /// Whatever the file system answers; the caller must not rely on any name that changed.
    fn sync_names(&self) -> io::Result<()>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Bytes that can still be written. A store that refuses work while a reserve is left can go on
    /// reading, and be stopped in order; one that meets the end of the disk cannot.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn free_bytes(&self) -> io::Result<u64>;

    /// How long a caller must wait, on the virtual clock, before its next sync: blocking work takes
    /// no virtual time, so a simulated device states its latency here. Zero on real disks.
    fn sync_delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// A file of a [`Disk`], read and written at any offset; what redb stores a database in.
///
/// It takes no lock of its own: the disk's directory is locked as a whole.
#[derive(Debug)]
pub struct BlockFile(Box<dyn StorageBackend>);

impl BlockFile {
    /// Wraps a backend of whatever origin.
    pub fn new(backend: impl StorageBackend) -> Self {
        Self(Box::new(backend))
    }
}

impl StorageBackend for BlockFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

/// Refuses names that could leave the directory or collide with the disk's own files.
fn check_name(name: &str) -> io::Result<()> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    if plain {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("not a plain file name: {name:?}"),
    ))
}
