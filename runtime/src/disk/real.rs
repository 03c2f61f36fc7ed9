//! A real directory, locked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;

use super::{BlockFile, Disk, check_name};

/// A directory of the file system, held by this process until it is dropped.
#[derive(Debug)]
pub struct DirDisk {
    path: PathBuf,
    /// Open for as long as the lock must be held; the kernel drops it with the process.
    _lock: File,
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenDirError {
    /// Another process holds the lock.
    #[error("{path} is in use by another process (it holds {path}/{LOCK_FILE})")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory could not be created, opened or locked.
    #[error("cannot open the data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

const LOCK_FILE: &str = ".lock";
/// A file that is being replaced is first written under its name with this suffix and a leading
/// dot, which no caller can name.
const PARTIAL_SUFFIX: &str = ".partial";

impl DirDisk {
    /// Opens `path`, creates it if it is missing, and locks it against other processes.
    ///
    /// # Errors
    /// [`OpenDirError::InUse`] if another process has it; [`OpenDirError::Io`] otherwise.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenDirError> {
        let path = path.into();
        let failed = |source| OpenDirError::Io {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenDirError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(OpenDirError::Io { path, source }),
        }
        sync_dir(&path).map_err(failed)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_dir(parent).map_err(failed)?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.path.join(name))
    }
}

impl Disk for DirDisk {
    fn open(&self, name: &str) -> io::Result<BlockFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file(name)?)?;
        Ok(BlockFile::new(
            FileBackend::new(file).map_err(io::Error::other)?,
        ))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(name)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.file(name)?;
        let partial = self.path.join(format!(".{name}{PARTIAL_SUFFIX}"));
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Names that are not UTF-8 or start with a dot are not ours.
            if let Ok(name) = entry?.file_name().into_string()
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let volume = rustix::fs::statvfs(&self.path)?;
        // What is left for us, not for root.
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

/// Without this, a file that was created or renamed may be missing after a power loss although its
/// bytes were synced.
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend as _;

    #[test]
    fn files_outlive_the_handle() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DirDisk::open(dir.path().join("node/1")).unwrap();
        disk.replace("identity", b"one").unwrap();
        disk.replace("identity", b"two").unwrap();
        let file = disk.open("state.redb").unwrap();
        file.set_len(8).unwrap();
        file.write(3, b"abc").unwrap();
        file.sync_data().unwrap();
        drop((disk, file));

        let disk = DirDisk::open(dir.path().join("node/1")).unwrap();
        assert_eq!(disk.read("identity").unwrap().unwrap(), b"two");
        assert_eq!(disk.read("absent").unwrap(), None);
        assert_eq!(disk.names().unwrap(), ["identity", "state.redb"]);
        let mut bytes = [0; 8];
        disk.open("state.redb")
            .unwrap()
            .read(0, &mut bytes)
            .unwrap();
        assert_eq!(&bytes, b"\0\0\0abc\0\0");
        disk.remove("identity").unwrap();
        disk.remove("identity").unwrap();
        assert_eq!(disk.names().unwrap(), ["state.redb"]);
    }

    #[test]
    fn a_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirDisk::open(dir.path()).unwrap();
        assert!(matches!(
            DirDisk::open(dir.path()),
            Err(OpenDirError::InUse { .. })
        ));
        drop(first);
        assert!(DirDisk::open(dir.path()).is_ok());
    }

    #[test]
    fn a_volume_says_how_much_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DirDisk::open(dir.path()).unwrap();
        let free = disk.free_bytes().unwrap();
        assert!(free > 0 && free < 1 << 60, "{free}");
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DirDisk::open(dir.path()).unwrap();
        for name in ["", "..", "../x", "a/b", ".lock"] {
            let refused = disk.replace(name, b"x").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
