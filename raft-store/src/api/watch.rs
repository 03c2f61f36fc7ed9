//! The feed of applied entries for one client: gapless, in order, each exactly once, or `resync`.
//!
//! A watcher pulls. Nothing is queued for it beyond the batch on its way, so that a slow one costs
//! no memory: it reads from the audit log what has left the feed, and when it is too far behind for
//! that it is told to take a snapshot.

use std::sync::Arc;
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
use crate::storage::{Batch, PositionWatch, StateError, StateStore};

/// How often a watcher hears that there is nothing new.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of events in one update; a single larger entry stands alone.
const UPDATE_BYTES: usize = 1 << 20;

/// Opens watches, up to the node's limit. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    state: StateStore,
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
            rest: None,
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
    /// What did not fit into the last update.
    rest: Option<Batch>,
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
        if let Some(rest) = self.rest.take() {
            return Ok(self.deliver(rest));
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
                && let Some(batch) = self.read().await?
            {
                // Read again: a snapshot may have come between, and then this batch may be its.
                if self.state.position().installs != self.installs {
                    return Ok(resync(ResyncReason::SnapshotInstalled));
                }
                return Ok(self.deliver(batch));
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

    async fn read(&self) -> Result<Option<Batch>, WatchError> {
        let (state, after) = (self.state.clone(), self.after);
        let storage = |error: &dyn std::fmt::Display| WatchError::Storage(error.to_string());
        blocking(move || state.changes_after(after, UPDATE_BYTES))
            .await
            .map_err(|error| storage(&error))?
            .map_err(|error: StateError| storage(&error))
    }

    /// As much of the batch as fits into one update; the rest comes with the next.
    fn deliver(&mut self, mut batch: Batch) -> Update {
        let fits = fitting(&batch.events);
        if fits < batch.events.len() {
            let rest = Batch {
                from: batch.from + fits as u64,
                events: batch.events.split_off(fits),
                ..batch
            };
            self.rest = Some(rest);
            batch.root = None;
        }
        self.after = batch.to();
        Update::Batch(WatchBatch {
            from: batch.from,
            to: batch.to(),
            entries: batch.events.iter().map(entry).collect(),
            state_root: batch.root.map(Vec::from),
            log_time_ms: batch.log_time_ms,
        })
    }
}

/// How many of these events make up one update: at least one.
fn fitting(events: &[Bytes]) -> usize {
    let mut bytes = 0_usize;
    let fits = events.iter().take_while(|events| {
        bytes = bytes.saturating_add(events.len());
        bytes <= UPDATE_BYTES
    });
    fits.count().max(1)
}

fn entry(events: &Bytes) -> WatchEntry {
    WatchEntry {
        events: events.to_vec(),
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

    #[test]
    fn an_update_holds_what_fits_and_never_nothing() {
        let events = |len: usize| Bytes::from(vec![0; len]);
        assert_eq!(fitting(&[events(UPDATE_BYTES + 1), events(1)]), 1);
        assert_eq!(
            fitting(&[events(UPDATE_BYTES - 1), events(1), events(1)]),
            2
        );
        assert_eq!(fitting(&[events(10), events(10)]), 2);
    }
}
