//! A directory that cannot be trusted any more says so beyond the process: a file tells why, and a
//! directory with that file is not used again.
//!
//! That a sync failed is one reason: the kernel drops what it could not write and calls its pages
//! clean, and a process that starts again reads them as if they were on the disk, and would
//! acknowledge what the next power loss takes
//! ([ADR 0007](../../../docs/adr/0007-a-failed-sync-ends-a-directory.md)). The file itself is then
//! not synced, and need not be: the danger lasts as long as the kernel remembers, and so does the
//! file at least.
//!
//! That a disk lost what it said it had is another
//! ([ADR 0008](../../../docs/adr/0008-who-lost-what-it-acknowledged-is-told.md)); this file is synced.
//! So it is if a majority of the voters signed another chain than the one that is here.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;
use tidegate_runtime::disk::{BlockFile, Disk};

/// File that says why a directory is not to be used again.
pub const UNSOUND_FILE: &str = "unsound";

/// Opens a database file whose syncs are promises.
pub(super) fn open(disk: &Arc<dyn Disk>, name: &str) -> io::Result<BlockFile> {
    let file = disk.open(name)?;
    Ok(BlockFile::new(Promised {
        file,
        name: name.to_owned(),
        disk: Arc::clone(disk),
    }))
}

/// Why the directory is not to be used, if it is so.
pub(super) fn found(disk: &dyn Disk) -> io::Result<Option<String>> {
    let text = disk.read(UNSOUND_FILE)?;
    Ok(
        text.map(|text| match String::from_utf8_lossy(&text).trim_end() {
            // The name outlived a loss of power that the text did not.
            "" => "no more is known".to_owned(),
            text => text.to_owned(),
        }),
    )
}

/// Says for good why the directory is not to be used again.
pub(super) fn mark(disk: &dyn Disk, why: &str) -> io::Result<()> {
    disk.replace(UNSOUND_FILE, format!("{why}\n").as_bytes())?;
    disk.sync_names()
}

#[derive(Debug)]
struct Promised {
    file: BlockFile,
    name: String,
    disk: Arc<dyn Disk>,
}

impl Promised {
    fn remember(&self, error: &io::Error) {
        let text = format!(
            "a sync of {} failed ({error}): what it seems to hold may not be on the disk, and would \
             be gone with the next loss of power\n",
            self.name
        );
        // Not `Disk::replace`, which shows a file only after it was synced.
        let file = self.disk.open(UNSOUND_FILE);
        let written = file.and_then(|file| {
            file.set_len(text.len() as u64)?;
            file.write(0, text.as_bytes())
        });
        if let Err(unwritten) = written {
            tracing::error!(
                file = self.name,
                %error,
                %unwritten,
                "a sync failed, and so did the note of it: do NOT start this node again before the \
                 machine was restarted"
            );
        }
    }
}

impl StorageBackend for Promised {
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
        self.file
            .sync_data()
            .inspect_err(|error| self.remember(error))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_runtime::disk::SimDisk;

    use super::*;
    use crate::storage::Identity;
    use crate::storage::rig::Numbers;

    #[test]
    fn a_directory_in_which_a_sync_failed_is_not_used_again() {
        let identity = Identity {
            origin: "a.example/fleet".to_owned(),
            incarnation: 1,
            node: 4,
        };
        let disk = SimDisk::new();
        let mount: Arc<dyn Disk> = Arc::new(disk.mount());
        identity.claim(mount.as_ref(), &Numbers::default()).unwrap();
        let file = open(&mount, "state.redb").unwrap();
        file.set_len(4).unwrap();
        file.sync_data().unwrap();
        assert_eq!(found(mount.as_ref()).unwrap(), None);
        disk.fail_sync_after(0);
        assert!(file.sync_data().is_err());
        disk.kill();
        let refused = identity.claim(&disk.mount(), &Numbers::default());
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("a sync of state.redb failed ("),
            "{refused}"
        );
        assert!(refused.contains("Remove node 4"), "{refused}");
    }
}
