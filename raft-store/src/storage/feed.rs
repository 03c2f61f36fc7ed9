//! What changed, for whoever watches: a bounded ring of the last batches, and a signal.
//!
//! A watcher that is not in the ring any more reads the audit entries instead; they are never
//! compacted. One that does not fold events further but needs the state anew is told so by
//! [`Position::installs`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft_rt::Watch as _;
use openraft_rt::watch::WatchSender;
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::Watch;

use crate::types::LogId;

/// Where a node's state stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Audit entries that the state covers; the index of the next one.
    pub entries: u64,
    /// The chain after the last of them.
    pub chain: [u8; 32],
    /// The state root.
    pub root: [u8; 32],
    /// Log time in milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// The last Raft entry that was applied.
    pub applied: Option<LogId>,
    /// How often this process replaced its state by a snapshot: a watcher whose number is older
    /// must resync, since entries before it may have been skipped.
    pub installs: u64,
}

/// Consecutive entries that were applied together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the first.
    pub from: u64,
    /// Canonical CBOR of the complete events of each entry.
    pub events: Vec<Bytes>,
    /// The state root after the last, where it is known.
    pub root: Option<[u8; 32]>,
    /// Log time after the last, in milliseconds since the Unix epoch.
    pub log_time_ms: u64,
}

impl Batch {
    /// Entries covered after the batch.
    #[must_use]
    pub fn to(&self) -> u64 {
        self.from + self.events.len() as u64
    }

    /// The part of the batch that a watcher with `after` entries lacks.
    fn since(&self, after: u64) -> Self {
        let mut known = usize::try_from(after.saturating_sub(self.from)).unwrap_or(usize::MAX);
        if is_on(Mutant::WatchTwice) {
            known = 0;
        }
        let events = self.events.iter().skip(known).cloned().collect();
        Self {
            from: self.from.max(after),
            events,
            ..*self
        }
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(|events| events.len() + 64).sum()
    }
}

/// Wakes when the position moves.
pub type PositionWatch = <Watch as openraft_rt::Watch>::Receiver<Position>;

/// The ring and the signal.
pub(super) struct Feed {
    signal: <Watch as openraft_rt::Watch>::Sender<Position>,
    watch: PositionWatch,
    ring: Mutex<Ring>,
    bytes_max: usize,
}

#[derive(Default)]
struct Ring {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl Feed {
    pub(super) fn new(at: Position, bytes_max: usize) -> Self {
        let (signal, watch) = Watch::channel(at);
        Self {
            signal,
            watch,
            ring: Mutex::default(),
            bytes_max,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.signal.borrow_watched().clone()
    }

    pub(super) fn subscribe(&self) -> PositionWatch {
        self.watch.clone()
    }

    /// Adds a batch and moves the position behind it.
    pub(super) fn publish(&self, batch: Batch, at: Position) {
        if !batch.events.is_empty() {
            let mut ring = self.ring();
            ring.bytes += batch.bytes();
            ring.batches.push_back(Arc::new(batch));
            while ring.bytes > self.bytes_max
                && let Some(oldest) = ring.batches.pop_front()
            {
                ring.bytes -= oldest.bytes();
            }
        }
        self.set(at);
    }

    /// The state was replaced: what the ring holds leads nowhere.
    pub(super) fn replace(&self, at: Position) {
        *self.ring() = Ring::default();
        self.set(at);
    }

    /// The next batch for a watcher with `after` entries, if the ring goes back that far.
    pub(super) fn batch_after(&self, after: u64) -> Option<Batch> {
        let ring = self.ring();
        let at = ring.batches.partition_point(|batch| batch.to() <= after);
        let batch = ring.batches.get(at)?;
        (batch.from <= after).then(|| batch.since(after))
    }

    fn set(&self, at: Position) {
        self.signal.send_if_modified(|position| {
            *position = at;
            true
        });
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("at", &self.position())
            .finish_non_exhaustive()
    }
}
