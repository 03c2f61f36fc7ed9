//! A database file behind a page that says whose it is.
//!
//! The page is read before the database is: redb repairs what it opens, and begins a new database in
//! a file that is empty.

use std::io;

use redb::StorageBackend;
use tidegate_runtime::disk::BlockFile;

use super::{Claim, IdentityError};

/// Bytes before the database: one page of it, so that its pages stay where a disk likes them.
const PAGE_BYTES: usize = 4_096;

/// A file of which redb sees what follows the first page.
#[derive(Debug)]
pub(super) struct Headed(BlockFile);

impl Headed {
    /// Looks whose the file is, or begins it. Durable on return.
    pub(super) fn open(file: BlockFile, name: &str, claim: &Claim) -> Result<Self, IdentityError> {
        // The page alone is no database either.
        let is_empty = file.len()? <= PAGE_BYTES as u64;
        let mut page = vec![0; if is_empty { 0 } else { PAGE_BYTES }];
        file.read(0, &mut page)?;
        if claim.begins(name, &page)? {
            let mut page = claim.owner().to_bytes();
            page.resize(PAGE_BYTES, 0);
            file.set_len(PAGE_BYTES as u64)?;
            file.write(0, &page)?;
            file.sync_data()?;
        }
        Ok(Self(file))
    }
}

fn behind(offset: u64) -> io::Result<u64> {
    let past_end = || io::Error::from(io::ErrorKind::FileTooLarge);
    offset.checked_add(PAGE_BYTES as u64).ok_or_else(past_end)
}

impl StorageBackend for Headed {
    fn len(&self) -> io::Result<u64> {
        // Cut within the page by somebody who has the file open: redb notices that nothing is left.
        Ok(self.0.len()?.saturating_sub(PAGE_BYTES as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(behind(offset)?, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(behind(len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(behind(offset)?, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
