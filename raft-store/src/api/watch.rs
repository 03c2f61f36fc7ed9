//! The feed of applied entries for one client: gapless, in order, each exactly once, or `resync`.
//!
//! A watcher pulls. Nothing is queued for it beyond the update on its way, so that a slow one costs
//! no memory: it gets all that it lacks at once, reads from the audit log what has left the feed,
//! and when it is too far behind for that it is told to take a snapshot.
//!
//! Watchers mostly lack the same. What one was sent is kept, encoded, for those who need it next: a
//! thousand of them cost one encoding, and no look at the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use openraft_rt::watch::WatchReceiver;
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::v1::watch_update::Update;
use tidegate_proto::v1::{Resync, ResyncReason, WatchBatch, WatchEntry, WatchIdle, WatchUpdate};
use tidegate_runtime::blocking;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ReadError, ReadIndexes};
use crate::config::NodeLimits;
use crate::storage::{Batch, Position, PositionWatch, StateError, StateStore};

/// How often a watcher hears that there is nothing new.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of events in one update; a single larger entry stands alone.
const UPDATE_BYTES: usize = 1 << 20;
/// Updates that are kept for other watchers.
const RECENT_MAX: usize = 8;

/// Opens watches, up to the node's limit. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    state: StateStore,
    recent: Recent,
    slots: Arc<Semaphore>,
    limits: NodeLimits,
}

/// Why a watch was not opened, or broke.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Too many watches are open.
    #[error("{max} watches are open on this node already; watch at another node")]
    Overloaded {
        /// The limit.
        max: usize,
    },
    /// The node does not serve reads yet, or could not say whether it is behind.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The node's disk failed.
    #[error("the node's state cannot be read: {0}")]
    Storage(String),
}

impl Watches {
    pub(crate) fn new(state: StateStore, limits: NodeLimits) -> Self {
        Self {
            state,
            recent: Recent::default(),
            slots: Arc::new(Semaphore::new(limits.watchers_max)),
            limits,
        }
    }

    /// Watches that are open.
    pub(crate) fn open_now(&self) -> usize {
        let free = self.slots.available_permits();
        self.limits.watchers_max.saturating_sub(free)
    }

    /// Ends all watches, within a second, and opens no more.
    pub(crate) fn close(&self) {
        self.slots.close();
    }

    /// The updates for a client whose state covers `after` entries of the cluster's life
    /// `incarnation`.
    pub(crate) async fn open(
        &self,
        reads: &ReadIndexes,
        after: u64,
        incarnation: u64,
    ) -> Result<impl Stream<Item = Result<WatchUpdate, WatchError>> + use<>, WatchError> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| WatchError::Overloaded {
            max: self.limits.watchers_max,
        })?;
        if !reads.is_ready() {
            return Err(ReadError::Recovering.into());
        }
        if after > self.state.position().entries {
            // The client saw more than this node has: it may be behind, or the client wrong.
            reads.confirm().await?;
        }
        let position = self.state.position();
        let own = self.state.incarnation().0;
        let refused = if incarnation != own {
            Some(ResyncReason::OtherIncarnation)
        } else if after > position.entries {
            Some(ResyncReason::Ahead)
        } else {
            None
        };
        let watcher = Watcher {
            state: self.state.clone(),
            moved: self.state.subscribe(),
            after,
            installs: position.installs,
            recent: self.recent.clone(),
            refused,
            slots: Arc::clone(&self.slots),
            lag_max: self.limits.watch_entries_max as u64,
            _slot: slot,
        };
        Ok(stream::unfold(Some(watcher), Watcher::advance))
    }
}

/// One open watch.
struct Watcher {
    state: StateStore,
    moved: PositionWatch,
    /// Entries that the client has.
    after: u64,
    /// Snapshots that this node had installed when the watch was opened.
    installs: u64,
    recent: Recent,
    /// Why the client must resync, if that was clear from the start.
    refused: Option<ResyncReason>,
    lag_max: u64,
    slots: Arc<Semaphore>,
    _slot: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next update and the rest; after `resync` and after errors there is no rest.
    async fn advance(
        this: Option<Self>,
    ) -> Option<(Result<WatchUpdate, WatchError>, Option<Self>)> {
        let mut this = this?;
        match this.next().await {
            Ok(Update::Resync(resync)) => Some((Ok(update(Update::Resync(resync))), None)),
            Ok(next) => Some((Ok(update(next)), Some(this))),
            Err(error) => Some((Err(error), None)),
        }
    }

    async fn next(&mut self) -> Result<Update, WatchError> {
        if let Some(reason) = self.refused {
            return Ok(resync(reason));
        }
        loop {
            if self.slots.is_closed() {
                return Err(ReadError::Stopped("shutting down".to_owned()).into());
            }
            let position = self.state.position();
            if is_on(Mutant::WatchSkipsInstall) && position.installs != self.installs {
                (self.after, self.installs) = (position.entries, position.installs);
            }
            if position.installs != self.installs {
                return Ok(resync(ResyncReason::SnapshotInstalled));
            }
            if position.entries.saturating_sub(self.after) > self.lag_max {
                return Ok(resync(ResyncReason::TooSlow));
            }
            if position.entries > self.after
                && let Some(encoded) = self.read(&position).await?
            {
                // Read again: a snapshot may have come between, and then this batch may be its.
                if self.state.position().installs != self.installs {
                    return Ok(resync(ResyncReason::SnapshotInstalled));
                }
                self.after = encoded.to;
                return Ok(Update::Batch(encoded.batch));
            }
            match tokio::time::timeout(IDLE_EVERY, self.moved.changed()).await {
                Ok(Ok(())) if is_on(Mutant::WatchProgressAhead) => {
                    let entries = self.state.position().entries;
                    return Ok(Update::Idle(WatchIdle { entries }));
                }
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(WatchError::Storage("shutting down".to_owned())),
                Err(_) => {
                    return Ok(Update::Idle(WatchIdle {
                        entries: self.after,
                    }));
                }
            }
        }
    }

    /// What the client lacks, as far as it fits into one update; `None` if there is nothing.
    async fn read(&self, position: &Position) -> Result<Option<Encoded>, WatchError> {
        let (installs, after) = (self.installs, self.after);
        if let known @ Some(_) = self.recent.find((installs, after), position.entries) {
            return Ok(known);
        }
        let batch = match self.state.recent_after(after, UPDATE_BYTES) {
            Some(batch) => batch,
            None => match self.read_back().await? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let encoded = Encoded::new((installs, after), batch);
        self.recent.keep(&encoded);
        Ok(Some(encoded))
    }

    /// From the audit log.
    async fn read_back(&self) -> Result<Option<Batch>, WatchError> {
        let (state, after) = (self.state.clone(), self.after);
        let storage = |error: &dyn std::fmt::Display| WatchError::Storage(error.to_string());
        blocking(move || state.changes_after(after, UPDATE_BYTES))
            .await
            .map_err(|error| storage(&error))?
            .map_err(|error: StateError| storage(&error))
    }
}

/// A batch that is ready to be sent.
#[derive(Clone, Debug)]
struct Encoded {
    /// Whom it is for: installs of the node, and entries that the watcher has.
    whom: (u64, u64),
    /// Entries that the watcher has then.
    to: u64,
    batch: Bytes,
}

impl Encoded {
    fn new(whom: (u64, u64), batch: Batch) -> Self {
        let to = batch.to();
        let Batch {
            from,
            events,
            root,
            log_time_ms,
        } = batch;
        let entries = events.into_iter().map(|events| WatchEntry { events });
        let batch = WatchBatch {
            from,
            to,
            entries: entries.collect(),
            state_root: root.map(Vec::from),
            log_time_ms,
        };
        Self {
            whom,
            to,
            batch: batch.to_bytes(),
        }
    }
}

/// The last updates that were encoded, the newest first.
#[derive(Clone, Debug, Default)]
struct Recent(Arc<Mutex<VecDeque<Encoded>>>);

impl Recent {
    /// An update for a watcher while the node has so many entries. One that lacks the newest of them
    /// is of use only if it is about full: who is behind shall get all that it lacks at once.
    fn find(&self, whom: (u64, u64), entries: u64) -> Option<Encoded> {
        let is_enough = |it: &Encoded| it.to >= entries || it.batch.len() >= UPDATE_BYTES / 2;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = kept.iter().filter(|it| it.whom == whom);
        found.find(|it| is_enough(it)).cloned()
    }

    fn keep(&self, encoded: &Encoded) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|it| it.whom != encoded.whom);
        kept.push_front(encoded.clone());
        kept.truncate(RECENT_MAX);
    }
}

fn resync(reason: ResyncReason) -> Update {
    Update::Resync(Resync {
        reason: reason.into(),
    })
}

const fn update(update: Update) -> WatchUpdate {
    WatchUpdate {
        update: Some(update),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(after: u64, entries: usize, bytes: usize) -> Encoded {
        let batch = Batch {
            from: after,
            events: vec![Bytes::from(vec![7; bytes]); entries],
            root: None,
            log_time_ms: 1,
        };
        Encoded::new((0, after), batch)
    }

    #[test]
    fn an_update_is_encoded_once_for_all_who_lack_the_same() {
        let recent = Recent::default();
        let one = encoded(5, 2, 10);
        recent.keep(&one);
        let again = recent.clone().find((0, 5), 7).unwrap();
        assert_eq!(again.to, 7);
        assert_eq!(again.batch.as_ptr(), one.batch.as_ptr(), "the same memory");
        assert!(recent.find((0, 6), 7).is_none(), "lacks less");
        assert!(recent.find((1, 5), 7).is_none(), "of another state");
    }

    #[test]
    fn who_is_behind_gets_more_than_others_got_before() {
        let recent = Recent::default();
        recent.keep(&encoded(5, 2, 10));
        assert!(recent.find((0, 5), 8).is_none(), "an entry more is there");
        recent.keep(&encoded(5, 3, 10));
        assert_eq!(recent.find((0, 5), 8).unwrap().to, 8);
        recent.keep(&encoded(6, 2, UPDATE_BYTES / 4));
        assert_eq!(recent.find((0, 6), 99).unwrap().to, 8, "it is full");
        for after in 10..10 + RECENT_MAX as u64 {
            recent.keep(&encoded(after, 1, 1));
        }
        assert!(recent.find((0, 5), 8).is_none());
        assert_eq!(recent.0.lock().unwrap().len(), RECENT_MAX);
    }
}
