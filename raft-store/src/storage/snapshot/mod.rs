//! Snapshots: the whole state, and with it the audit log.
//!
//! A snapshot brings the audit entries that the receiver lacks, not only the place in the log:
//! every node must be able to serve an export from entry 0, and fetching old entries later would
//! leave a time in which a node that leads cannot. The receiver says how many entries it has, so
//! that one which was only briefly behind gets the state and the new entries.
//!
//! A snapshot travels as *pieces* of bounded size, each with a hash of its own; a digest over all
//! of them ends it. What is installed is verified against itself: the rows must have the state
//! root, the entries must continue the receiver's own chain and end in the sender's.

mod install;
mod piece;
mod receive;
mod send;

pub use self::receive::SnapshotReceiver;
pub use self::send::{Pieces, SnapshotData};

pub(super) use self::install::install;

use std::io;

use tidegate_runtime::disk::Disk;

/// Where a snapshot is kept while it arrives.
const INCOMING_SUFFIX: &str = ".incoming";
/// Bytes of rows or entries in one piece; a single larger one stands alone.
pub const PIECE_BYTES: usize = 256 << 10;

/// Removes what an interrupted transfer left.
pub(super) fn remove_leftovers(disk: &dyn Disk) -> io::Result<()> {
    for name in disk.names()? {
        if name.ends_with(INCOMING_SUFFIX) {
            disk.remove(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
