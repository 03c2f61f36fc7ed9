//! The few things that an export needs of a file system, so that the simulator can give another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files by path. Paths are relative, with `/` between parts.
pub trait Directory {
    /// Opens a file, or `None` if there is none.
    ///
    /// # Errors
    /// Any other reason why it cannot be read.
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + '_>>>;

    /// What a folder holds, sorted by name; empty if there is no such folder.
    ///
    /// # Errors
    /// Any other reason why it cannot be listed.
    fn list(&self, path: &str) -> io::Result<Vec<Listed>>;
}

impl<D: Directory + ?Sized> Directory for &D {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        (**self).open(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        (**self).list(path)
    }
}

impl<D: WritableDirectory + ?Sized> WritableDirectory for &D {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        (**self).put(path, bytes)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        (**self).remove(path)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Name within the folder.
    pub name: String,
    /// Whether it is itself a folder.
    pub folder: bool,
}

/// A [`Directory`] that can be written. One writer at a time.
pub trait WritableDirectory: Directory {
    /// Puts a file in place whole or not at all, even if the machine stops meanwhile.
    ///
    /// # Errors
    /// Why the file could not be written; what stood there before is unchanged.
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file; fine if there is none.
    ///
    /// # Errors
    /// Why the file could not be removed.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Returns once all that was put or removed stays so after the machine stops.
    ///
    /// # Errors
    /// Why that cannot be promised.
    fn sync(&self) -> io::Result<()>;
}

/// Room made before a file is read: a whole tile, and most other small files, come in one read.
const READ_AHEAD_BYTES: usize = 16 * 1024;

/// Reads a file of at most `limit` bytes; a longer one is cut one byte past the limit, so that
/// the caller sees that it is too long without holding it.
pub(crate) fn read_file(
    directory: &(impl Directory + ?Sized),
    path: &str,
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = directory.open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(limit.saturating_add(1).min(READ_AHEAD_BYTES));
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A folder of the file system. Files are written to `tmp/`, synced, then renamed.
#[derive(Debug)]
pub struct FsDirectory {
    root: PathBuf,
    /// Folders whose entries changed since the last sync.
    unsynced: Mutex<BTreeSet<PathBuf>>,
}

impl FsDirectory {
    /// Uses `root`, which is created when something is first put.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            unsynced: Mutex::new(BTreeSet::new()),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Notes every folder from the file's up to the root: any of them may be new.
    fn changed(&self, file: &Path) {
        let folders = file
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(&self.root));
        lock(&self.unsynced).extend(folders.map(Path::to_path_buf));
    }
}

impl Directory for FsDirectory {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        match File::open(self.root.join(path)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let folder = entry.file_type()?.is_dir();
            listed.push(Listed {
                name: entry.file_name().to_string_lossy().into_owned(),
                folder,
            });
        }
        listed.sort();
        Ok(listed)
    }
}

impl WritableDirectory for FsDirectory {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (target, temporary) = (self.root.join(path), self.root.join("tmp/next"));
        for file in [&target, &temporary] {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
        }
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        self.changed(&target);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let target = self.root.join(path);
        match fs::remove_file(&target) {
            Ok(()) => self.changed(&target),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        // Taken out only once all are synced: after an error the next sync tries again.
        let mut unsynced = lock(&self.unsynced);
        for folder in unsynced.iter() {
            File::open(folder)?.sync_all()?;
        }
        unsynced.clear();
        // Nobody needs to see it; the next put makes it again. A file left by a crash keeps it.
        let _ = fs::remove_dir(self.root.join("tmp"));
        Ok(())
    }
}

/// Nothing at this path, or a file where a folder would have to be.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Files in memory: for tests and small exports that are sent elsewhere.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryDirectory {
    /// A directory without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// All files, by path.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.files).clone()
    }
}

impl From<BTreeMap<String, Vec<u8>>> for MemoryDirectory {
    fn from(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            files: Mutex::new(files),
        }
    }
}

impl Directory for MemoryDirectory {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        let file = lock(&self.files).get(path).cloned();
        Ok(file.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read>))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        let files = lock(&self.files);
        let prefix = format!("{path}/");
        let below = files.keys().filter_map(|file| file.strip_prefix(&prefix));
        let names: BTreeSet<Listed> = below
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => Listed {
                    name: name.to_owned(),
                    folder: true,
                },
                None => Listed {
                    name: rest.to_owned(),
                    folder: false,
                },
            })
            .collect();
        Ok(names.into_iter().collect())
    }
}

impl WritableDirectory for MemoryDirectory {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        lock(&self.files).insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        lock(&self.files).remove(path);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Every change under these locks is one step, so a panic elsewhere leaves them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
