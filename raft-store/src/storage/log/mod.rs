//! Raft's log: durable before acknowledged, one sync for all that wait.
//!
//! Every change goes through one writer task in the order in which it was asked for. The writer
//! commits what has gathered while it synced last as one group: all appends of a moment share a sync.
//! What is not synced yet is read from the cache: openraft replicates before its own sync completes.
//!
//! A failed commit poisons the log: the kernel may have dropped the pages that it could not write,
//! and a second sync would succeed without them (fsyncgate). Nothing is retried; openraft stops.

mod cache;
mod error;
mod group;
mod index;
mod op;
mod reader;
mod recover;
mod segment;
mod segments;
mod writer;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use tidegate_runtime::disk::Disk;
use tidegate_runtime::{AsyncRuntime as _, Rt, blocking};
use tokio::sync::{mpsc, oneshot};

use self::cache::Cache;
pub use self::error::OpenLogError;
use self::op::Op;
pub use self::segment::is_log_file;
use self::segment::{Sizes, Standing};
use self::segments::Segments;
pub use self::writer::Poison;
use self::writer::{Done, Request};
use super::{Claim, codec, unsound};
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Sizes that a log is opened with.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes of entries that are kept in memory; older synced ones are read from the disk.
    pub cache_bytes_max: usize,
    /// Bytes of entries in one message to a follower; a single larger entry goes alone.
    pub message_bytes_max: usize,
    /// Bytes after which the log goes on in another file; a larger group of entries has one for itself.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 << 20,
            message_bytes_max: 2 << 20,
            segment_bytes: 16 << 20,
        }
    }
}

/// Raft's log. Clones share one log.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
    message_bytes_max: usize,
}

#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    segments: Segments,
    disk: Arc<dyn Disk>,
}

/// The log as its readers see it: with all that was asked for, synced or not.
#[derive(Debug)]
struct View {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Index of the first entry that is there, or of the next one if none is.
    first: u64,
    last: Option<LogId>,
    cache: Cache,
    /// Number of the last request that was handed to the writer.
    requests: u64,
    /// Counts truncations and purges, so that a reader notices one during its read.
    generation: u64,
    /// Why nothing can be written any more.
    poisoned: Option<Poison>,
}

impl LogStore {
    /// Opens the log on `disk`, verifies every record in it, and starts its writer.
    ///
    /// # Errors
    /// [`OpenLogError`] if the disk fails or the log is damaged. Never starts on part of a log.
    pub async fn open(
        disk: Arc<dyn Disk>,
        claim: &Claim,
        options: LogOptions,
    ) -> Result<Self, OpenLogError> {
        let opened = {
            let (disk, claim) = (Arc::clone(&disk), claim.clone());
            let mut cache = Cache::new(options.cache_bytes_max);
            blocking(move || {
                let sizes = Sizes::of(options.segment_bytes);
                let segments = Segments::open(&disk, &claim, sizes, &mut cache)?;
                Ok::<_, OpenLogError>((segments, cache))
            })
        };
        let (segments, mut cache) = opened.await??;
        let Standing {
            vote,
            committed,
            purged,
            last,
        } = segments.standing();
        if let Some(purged) = &purged {
            cache.purge(purged.index);
        }
        let view = View {
            vote,
            committed,
            purged,
            first: next_index(purged.as_ref()),
            last,
            cache,
            requests: 0,
            generation: 0,
            poisoned: None,
        };
        let shared = Arc::new(Shared {
            view: Mutex::new(view),
            segments,
            disk: Arc::clone(&disk),
        });
        let (requests, queue) = mpsc::unbounded_channel();
        // The task ends by itself when the last clone of the log is gone.
        let _writer = Rt::spawn(writer::run(Arc::clone(&shared), queue, disk));
        Ok(Self {
            shared,
            requests,
            message_bytes_max: options.message_bytes_max,
        })
    }

    /// Whether the entry after this one was there once and is not any more.
    pub(crate) fn has_purged(&self, after: Option<&LogId>) -> bool {
        next_index(after) < self.shared.view().first
    }

    /// The last vote, durable or about to be; none if there was never one.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.shared.view().vote
    }

    /// The last entry, durable or about to be, or the last one purged if none is left.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.shared.view().last
    }

    /// The last entry that is in the log, durable or about to be; none if all were purged.
    pub(crate) fn last_entry(&self) -> Option<LogId> {
        let view = self.shared.view();
        view.last.filter(|last| last.index >= view.first)
    }

    /// Why the log takes no more writes, or `None` while it does.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.shared.view().poisoned.clone()
    }

    /// Waits until the log takes no more writes, and says why.
    pub(crate) async fn failed(&self) -> String {
        self.requests.closed().await;
        let poison = self.poisoned();
        poison.map_or_else(|| writer_gone().to_string(), |poison| poison.reason)
    }

    /// Takes no more writes, since this node's storage is not to be trusted: the node ends, as after
    /// a write that failed. A log that is closed already keeps its first reason.
    pub(crate) fn give_up(&self, why: String) {
        let mut view = self.shared.view();
        let (done, _) = oneshot::channel();
        if self.send(&mut view, Vec::new(), Done::Close(done)).is_ok() {
            view.poisoned = Some(Poison {
                reason: why,
                full: false,
            });
        }
    }

    /// Takes no more writes, since what was acknowledged is gone from the disk, and marks the
    /// directory so that no node starts on it again. Returns when that is durable.
    ///
    /// # Errors
    /// The mark could not be written; the log is closed all the same.
    pub(crate) async fn distrust(&self, why: String) -> io::Result<()> {
        let (disk, mark) = (Arc::clone(&self.shared.disk), why.clone());
        let marked = blocking(move || unsound::mark(disk.as_ref(), &mark)).await;
        // Only now: who hears of it ends the process.
        self.give_up(why);
        marked?
    }

    /// Waits until all entries and votes asked for so far are durable.
    ///
    /// # Errors
    /// The last writes failed.
    pub(crate) async fn synced(&self) -> io::Result<()> {
        let synced = self.ask(&mut self.shared.view(), Vec::new())?;
        synced.await
    }

    /// Waits until everything asked for so far is durable, ends the writer, and closes the file.
    /// Clones answer errors from then on.
    ///
    /// # Errors
    /// The last writes failed.
    pub async fn close(self) -> io::Result<()> {
        let (done, closed) = oneshot::channel();
        self.send(&mut self.shared.view(), Vec::new(), Done::Close(done))?;
        closed.await.map_err(|_| writer_gone())?
    }

    /// Closes the file at once, as a crash of the process would: nothing more is written to it, and
    /// clones answer errors.
    pub(crate) async fn abandon(self) {
        let shared = Arc::clone(&self.shared);
        // Nobody has to be told: what was asked for since is lost.
        drop(blocking(move || shared.segments.abandon()).await);
        drop(self.close().await);
    }

    /// Hands a request to the writer; the caller holds the view, so that requests are queued in
    /// the order in which they changed it.
    fn send(&self, view: &mut View, ops: Vec<Op>, done: Done) -> io::Result<()> {
        if let Some(poison) = &view.poisoned {
            return Err(io::Error::other(poison.reason.clone()));
        }
        view.requests += 1;
        let request = Request {
            number: view.requests,
            ops,
            done,
        };
        self.requests.send(request).map_err(|_| writer_gone())
    }

    /// As [`Self::send`]; what it returns waits until the change is durable.
    fn ask(
        &self,
        view: &mut View,
        ops: Vec<Op>,
    ) -> io::Result<impl Future<Output = io::Result<()>> + use<>> {
        let (done, answered) = oneshot::channel();
        self.send(view, ops, Done::Answer(done))?;
        Ok(async move { answered.await.map_err(|_| writer_gone())? })
    }
}

impl Shared {
    // Plain data, valid at every step: a panic elsewhere does not spoil it.
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = self.shared.view();
        Ok(LogState {
            last_purged_log_id: view.purged,
            last_log_id: view.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let saved = self.ask(&mut self.shared.view(), vec![Op::Vote(*vote)])?;
        saved.await?;
        // Readers see the vote only once it cannot be forgotten.
        self.shared.view().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut view = self.shared.view();
        view.committed = committed;
        // Rides on the next sync. Losing it only means that more is applied again after a crash.
        self.send(&mut view, vec![Op::Committed(committed)], Done::Nothing)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let view = self.shared.view();
        // It was not synced with the entries, so it may be ahead of what a crash left of them.
        Ok(view.committed.min(view.last))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut ops = Vec::with_capacity(entries.len());
        for entry in &entries {
            ops.push(Op::Append(entry.log_id, codec::to_bytes(entry)));
        }
        let mut view = self.shared.view();
        self.send(&mut view, ops, Done::Flushed(flushed))?;
        let request = view.requests;
        if let Some(entry) = entries.first()
            && next_index(view.last.as_ref()) <= view.first
        {
            view.first = entry.log_id.index;
        }
        for entry in entries {
            view.last = Some(entry.log_id);
            view.cache.push(entry, request);
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let truncated = {
            let mut view = self.shared.view();
            let from = next_index(last.as_ref());
            let truncated = self.ask(&mut view, vec![Op::Truncate(last)])?;
            view.cache.truncate(from);
            view.last = view.last.min(last).max(view.purged);
            view.generation += 1;
            truncated
        };
        // What follows may be a snapshot, which syncs another file: were this one behind it after
        // a crash, the log would contradict the state, and the node could not start.
        truncated.await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut view = self.shared.view();
        self.send(&mut view, vec![Op::Purge(upto)], Done::Nothing)?;
        view.cache.purge(upto.index);
        view.purged = Some(upto);
        view.first = next_index(Some(&upto));
        view.last = view.last.max(Some(upto));
        view.generation += 1;
        Ok(())
    }
}

/// The index after `last`, where a log begins at 0.
fn next_index(last: Option<&LogId>) -> u64 {
    last.map_or(0, |id| id.index.saturating_add(1))
}

fn writer_gone() -> io::Error {
    io::Error::other("the log is closed")
}

#[cfg(test)]
mod tests;
