//! Room on the disk: who has how much, and what is refused before it runs out.
//!
//! A node that meets the end of its disk stops, since a log that was written in part is not to be
//! trusted. So a reserve is kept: below it a leader lets nothing in but what stops harm, and hands
//! over to a voter that has room. What is left of the reserve after that serves votes and whatever
//! else Raft itself must write; a follower takes no entries then. Reads go on all the while, and
//! everything else as soon as there is room again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_runtime::blocking;
use tidegate_runtime::disk::Disk;

use crate::types::NodeId;

/// How often the free space is looked at. What is let in between two looks is counted.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes written for each byte of a command: to the log, the audit log and the state, with the
/// pages that are copied for them.
const WRITTEN_PER_BYTE: u64 = 4;

/// How much room a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    /// Half of the reserve is gone: no entry is taken any more, whoever asks.
    Last = 0,
    /// The reserve is touched: only what stops harm is let in.
    Reserve = 1,
    /// As usual.
    #[default]
    Ample = 2,
}

impl Level {
    /// The level that a peer states; one that it cannot state counts as none left.
    pub(crate) const fn stated(byte: u8) -> Self {
        match byte {
            1 => Self::Reserve,
            2 => Self::Ample,
            _ => Self::Last,
        }
    }
}

/// Why there is no room for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// On this node's own disk.
    Here {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are kept in reserve.
        reserve: u64,
    },
    /// On the disks of so many voters that no majority is left.
    Voters(Vec<NodeId>),
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { free, reserve } => write!(
                f,
                "this node's disk is full: {} MiB are free, and {} MiB are kept in reserve \
                 (`limits.disk_reserve_bytes`); free space on its volume",
                free >> 20,
                reserve >> 20
            ),
            Self::Voters(full) => {
                f.write_str("the disks of too many voters are full (nodes")?;
                for id in full {
                    write!(f, " {id}")?;
                }
                f.write_str("); free space on their volumes")
            }
        }?;
        f.write_str(", and writes go on by themselves. Reads and halts go on meanwhile")
    }
}

/// What is known of the disks of the group.
#[derive(Debug)]
pub(crate) struct Room {
    disk: Arc<dyn Disk>,
    reserve: u64,
    /// Bytes that were free at the last look.
    free: AtomicU64,
    /// Bytes that commands under way will take.
    promised: AtomicU64,
    /// What the others last said of themselves.
    peers: Mutex<BTreeMap<NodeId, Level>>,
}

/// Room that is kept for one command until it is written.
#[derive(Debug)]
pub(crate) struct Promise<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Room {
    /// The room on `disk`, of which `reserve` bytes are kept back.
    pub(crate) async fn new(disk: Arc<dyn Disk>, reserve: u64) -> std::io::Result<Self> {
        let room = Self {
            disk,
            reserve,
            free: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            peers: Mutex::default(),
        };
        room.look().await?;
        Ok(room)
    }

    /// Looks at the disk for as long as the node runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let before = self.level();
            if let Err(error) = self.look().await {
                // What it was is the best guess; a disk that is gone stops the log soon enough.
                tracing::warn!(%error, "the free space cannot be read");
                continue;
            }
            let (level, free) = (self.level(), self.free());
            if level < before {
                tracing::error!(free, reserve = self.reserve, ?level, "the disk is full");
            } else if level > before {
                tracing::info!(free, reserve = self.reserve, ?level, "there is room again");
            }
        }
    }

    async fn look(&self) -> std::io::Result<()> {
        let disk = Arc::clone(&self.disk);
        let free = blocking(move || disk.free_bytes()).await??;
        self.free.store(free, Ordering::SeqCst);
        Ok(())
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::SeqCst)
    }

    /// Bytes that are kept in reserve.
    pub(crate) const fn reserve(&self) -> u64 {
        self.reserve
    }

    /// How much room this node has.
    pub(crate) fn level(&self) -> Level {
        let promised = self.promised.load(Ordering::SeqCst);
        match self.free().saturating_sub(promised) {
            free if free >= self.reserve => Level::Ample,
            free if free >= self.reserve / 2 => Level::Reserve,
            _ => Level::Last,
        }
    }

    /// Notes what a peer said of itself.
    pub(crate) fn heard(&self, peer: NodeId, level: Level) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.insert(peer, level);
    }

    /// How much room a peer has, as it last said; who said nothing yet has ample.
    pub(crate) fn of_peer(&self, peer: NodeId) -> Level {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).copied().unwrap_or_default()
    }

    /// Keeps room for a command of `bytes` bytes that the leader `me` is to propose to `voters`.
    ///
    /// # Errors
    /// Here, or on most voters, it would touch the reserve; for an `urgent` one, which stops harm,
    /// half of it.
    pub(crate) fn promise(
        &self,
        bytes: usize,
        urgent: bool,
        (me, voters): (NodeId, &[NodeId]),
    ) -> Result<Promise<'_>, NoRoom> {
        let least = if urgent { Level::Reserve } else { Level::Ample };
        let bytes = u64::try_from(bytes)
            .unwrap_or(u64::MAX)
            .saturating_mul(WRITTEN_PER_BYTE);
        self.promised.fetch_add(bytes, Ordering::SeqCst);
        let promise = Promise { room: self, bytes };
        if self.level() < least {
            let (free, reserve) = (self.free(), self.reserve);
            return Err(NoRoom::Here { free, reserve });
        }
        let full = |id: &&NodeId| **id != me && self.of_peer(**id) < least;
        let full: Vec<NodeId> = voters.iter().filter(full).copied().collect();
        if (voters.len() - full.len()) * 2 > voters.len() {
            Ok(promise)
        } else {
            Err(NoRoom::Voters(full))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::disk::SimDisk;
    use tidegate_runtime::{AsyncRuntime as _, Rt};

    const RESERVE: u64 = 1_000;

    fn run<T>(test: impl Future<Output = T>) -> T {
        Rt::new(1).block_on(test)
    }

    /// A disk with so many bytes free.
    fn room(free: u64) -> (SimDisk, Room) {
        let disk = SimDisk::new();
        disk.set_capacity(Some(free));
        let room = run(Room::new(Arc::new(disk.mount()), RESERVE)).unwrap();
        (disk, room)
    }

    fn lets_in(room: &Room, urgent: bool) -> bool {
        room.promise(0, urgent, (1, &[1])).is_ok()
    }

    #[test]
    fn what_stops_harm_is_let_in_for_longer() {
        for (free, level, usual, urgent) in [
            (RESERVE, Level::Ample, true, true),
            (RESERVE - 1, Level::Reserve, false, true),
            (RESERVE / 2, Level::Reserve, false, true),
            (RESERVE / 2 - 1, Level::Last, false, false),
            (0, Level::Last, false, false),
        ] {
            let (_, room) = room(free);
            assert_eq!(room.level(), level, "{free} bytes");
            assert_eq!(lets_in(&room, false), usual, "{free} bytes");
            assert_eq!(lets_in(&room, true), urgent, "{free} bytes");
        }
    }

    #[test]
    fn what_is_under_way_counts_until_it_is_done() {
        let (_, room) = room(RESERVE + 8);
        let first = room.promise(2, false, (1, &[1])).unwrap();
        let refused = room.promise(1, false, (1, &[1])).unwrap_err();
        assert!(matches!(refused, NoRoom::Here { .. }), "{refused}");
        drop(first);
        assert!(room.promise(2, false, (1, &[1])).is_ok());
    }

    #[test]
    fn room_comes_back_by_itself() {
        let (disk, room) = room(0);
        assert!(!lets_in(&room, false));
        disk.set_capacity(None);
        run(room.look()).unwrap();
        assert!(lets_in(&room, false));
    }

    #[test]
    fn one_full_voter_of_three_stops_nothing_and_two_do() {
        let (_, room) = room(RESERVE + 100);
        let voters = (1, [1, 2, 3].as_slice());
        room.heard(2, Level::Last);
        assert!(room.promise(1, false, voters).is_ok());
        room.heard(3, Level::Reserve);
        let refused = room.promise(1, false, voters).unwrap_err();
        assert_eq!(refused, NoRoom::Voters(vec![2, 3]));
        assert!(room.promise(1, true, voters).is_ok());
        room.heard(2, Level::Ample);
        assert!(room.promise(1, false, voters).is_ok());
    }

    #[test]
    fn a_level_means_the_same_to_a_peer() {
        for level in [Level::Last, Level::Reserve, Level::Ample] {
            assert_eq!(Level::stated(level as u8), level);
        }
    }
}
