//! A redb database that is closed where a panic is caught, and from outside.
//!
//! redb closes a database when it is dropped: it writes what was not synced, and takes locks that a
//! panic over a damaged page has poisoned, so that it panics again. In a destructor, that ends the
//! process amid its stop. So whoever uses a database has it from here, a stopping node closes it
//! itself, and one that panics marks its directory as not to be used again.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadTransaction, ReadableDatabase as _, StorageBackend, WriteTransaction};
use tidegate_runtime::Containment;
use tidegate_runtime::disk::Disk;

use super::headed::Headed;
use super::{Claim, IdentityError, unsound};

/// A database in a file of a node's directory, open until somebody closes it.
#[derive(Debug)]
pub(super) struct OwnDatabase {
    open: Mutex<Option<Arc<Contained<Database>>>>,
    /// Nothing is written to the file any more.
    abandoned: Arc<AtomicBool>,
    place: Place,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The file is not this directory's, or empty.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is damaged, or the disk failed.
    #[error(transparent)]
    Database(#[from] redb::Error),
}

/// Whose panics are contained.
#[derive(Clone, Debug)]
struct Place {
    name: &'static str,
    disk: Arc<dyn Disk>,
    containment: Containment,
}

impl OwnDatabase {
    /// Opens the file if it is this directory's, or begins a new database in it.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        name: &'static str,
        claim: &Claim,
        page_cache_bytes: usize,
    ) -> Result<Self, OpenError> {
        let file = unsound::open(disk, name).map_err(redb::Error::from)?;
        disk.sync_names().map_err(redb::Error::from)?;
        let file = Headed::open(file, name, claim)?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let file = Abandonable {
            file,
            abandoned: Arc::clone(&abandoned),
        };
        let place = Place {
            name,
            disk: Arc::clone(disk),
            containment: Containment::here(),
        };
        let create = move || {
            let mut builder = Database::builder();
            builder.set_cache_size(page_cache_bytes);
            builder.create_with_backend(file)
        };
        let database = place.containment.run(create).map_err(|panic| {
            redb::Error::Corrupted(format!("opening {name} panicked ({panic})"))
        })?;
        let database = database.map_err(redb::Error::from)?;
        Ok(Self {
            open: Mutex::new(Some(Arc::new(Contained::new(database, &place)))),
            abandoned,
            place,
        })
    }

    pub(super) fn begin_read(&self) -> Result<Contained<ReadTransaction>, redb::Error> {
        Ok(Contained::new(self.get()?.begin_read()?, &self.place))
    }

    pub(super) fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        Ok(self.get()?.begin_write()?)
    }

    /// Closes the database: what was committed is durable afterwards. Whoever reads meanwhile gets
    /// errors from then on; nobody may write meanwhile.
    ///
    /// # Errors
    /// It panicked; then the directory is marked, and no node starts on it again.
    pub(super) fn close(&self) -> io::Result<()> {
        match self.opened().take().map(Arc::into_inner) {
            Some(Some(database)) => database.let_go(),
            // Closed already, or a read that begins now closes it when it has begun.
            Some(None) | None => Ok(()),
        }
    }

    /// From now on not a byte is written: what is closed afterwards is left as by a crash.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    fn get(&self) -> Result<Arc<Contained<Database>>, redb::Error> {
        self.opened().clone().ok_or(redb::Error::DatabaseClosed)
    }

    // Replaced as a whole: a panic elsewhere does not spoil it.
    fn opened(&self) -> MutexGuard<'_, Option<Arc<Contained<Database>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of redb that may panic when it is dropped, which ends here.
#[derive(Debug)]
pub(super) struct Contained<T> {
    /// There until it is let go of.
    part: Option<T>,
    place: Place,
}

impl<T> Contained<T> {
    fn new(part: T, place: &Place) -> Self {
        Self {
            part: Some(part),
            place: place.clone(),
        }
    }

    fn let_go(mut self) -> io::Result<()> {
        self.drop_part()
    }

    fn drop_part(&mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else {
            return Ok(());
        };
        let Place {
            name,
            disk,
            containment,
        } = &self.place;
        containment.run(|| drop(part)).inspect_err(|panic| {
            let why = format!("closing {name} panicked ({panic}): what it holds makes no sense");
            tracing::error!("{why}");
            if let Err(error) = unsound::mark(disk.as_ref(), &why) {
                tracing::error!(%error, "this could not be marked on the disk: do NOT start this node again");
            }
        })
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.part {
            Some(part) => part,
            None => unreachable!("only who drops it takes the part out"),
        }
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        // Whoever must know closes it; here nobody hears of it but the log and the directory.
        let _ = self.drop_part();
    }
}

/// A file that takes no more writes once it is abandoned.
#[derive(Debug)]
struct Abandonable {
    file: Headed,
    abandoned: Arc<AtomicBool>,
}

impl Abandonable {
    fn check(&self) -> io::Result<()> {
        if self.abandoned.load(Ordering::SeqCst) {
            return Err(io::Error::other("the node was killed"));
        }
        Ok(())
    }
}

impl StorageBackend for Abandonable {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(all(test, not(madsim)))]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use redb::TableDefinition;
    use tidegate_runtime::disk::{BlockFile, SimDisk};

    use super::*;
    use crate::storage::rig::claim;
    use crate::storage::unsound::found;

    const FILE: &str = "some.redb";
    const TABLE: TableDefinition<u64, u64> = TableDefinition::new("some");

    /// A disk whose writes panic once it is told so: where, and holding what, is redb's affair.
    #[derive(Debug)]
    struct Panicky {
        disk: Arc<dyn Disk>,
        panics: Arc<AtomicBool>,
    }

    #[derive(Debug)]
    struct PanickyFile {
        file: BlockFile,
        panics: Arc<AtomicBool>,
    }

    impl StorageBackend for PanickyFile {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            assert!(!self.panics.load(Ordering::SeqCst), "a page makes no sense");
            self.file.write(offset, data)
        }
    }

    impl Disk for Panicky {
        fn open(&self, name: &str) -> io::Result<BlockFile> {
            Ok(BlockFile::new(PanickyFile {
                file: self.disk.open(name)?,
                panics: Arc::clone(&self.panics),
            }))
        }
        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            self.disk.read(name)
        }
        fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            self.disk.replace(name, bytes)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }
        fn sync_names(&self) -> io::Result<()> {
            self.disk.sync_names()
        }
        fn names(&self) -> io::Result<Vec<String>> {
            self.disk.names()
        }
        fn free_bytes(&self) -> io::Result<u64> {
            self.disk.free_bytes()
        }
    }

    /// A database with a commit that is not synced, on a disk whose writes panic from here on.
    fn about_to_panic() -> (SimDisk, OwnDatabase) {
        let sim = SimDisk::new();
        let panics = Arc::new(AtomicBool::new(false));
        let disk: Arc<dyn Disk> = Arc::new(Panicky {
            disk: Arc::new(sim.mount()),
            panics: Arc::clone(&panics),
        });
        let database = OwnDatabase::open(&disk, FILE, &claim(), 1 << 20).unwrap();
        let mut write = database.begin_write().unwrap();
        write.set_durability(redb::Durability::None).unwrap();
        write.open_table(TABLE).unwrap().insert(1, 2).unwrap();
        write.commit().unwrap();
        panics.store(true, Ordering::SeqCst);
        (sim, database)
    }

    fn check_marked(disk: &SimDisk) {
        let why = found(&disk.mount()).unwrap().expect("a mark");
        assert!(why.contains("closing some.redb panicked"), "{why}");
        assert!(why.contains("a page makes no sense"), "{why}");
    }

    #[test]
    fn what_panics_when_it_is_closed_marks_its_directory() {
        let (disk, database) = about_to_panic();
        let closed = database.close().unwrap_err().to_string();
        assert!(closed.contains("a page makes no sense"), "{closed}");
        check_marked(&disk);
        assert!(database.close().is_ok(), "it is closed");
        assert!(database.begin_read().is_err());
        let (disk, database) = about_to_panic();
        drop(database);
        check_marked(&disk);
    }

    /// What panicked holds locks that are poisoned, and is dropped by the panic itself.
    #[test]
    fn a_panic_amid_a_commit_ends_there() {
        let (disk, database) = about_to_panic();
        let committed = Containment::here().run(move || {
            let write = database.begin_write().unwrap();
            write.open_table(TABLE).unwrap().insert(2, 3).unwrap();
            write.commit().is_ok()
        });
        assert!(committed.is_err());
        drop(disk);
    }

    #[test]
    fn what_is_abandoned_is_left_as_by_a_crash() {
        let disk = SimDisk::new();
        let mount: Arc<dyn Disk> = Arc::new(disk.mount());
        let database = OwnDatabase::open(&mount, FILE, &claim(), 1 << 20).unwrap();
        let read = database.begin_read().unwrap();
        let before = mount.read(FILE).unwrap();
        database.abandon();
        database.close().unwrap();
        drop((read, database));
        assert_eq!(mount.read(FILE).unwrap(), before);
        assert_eq!(found(mount.as_ref()).unwrap(), None, "no sync has failed");
    }
}
