//! What changed, for whoever watches: a bounded ring of the last batches, and a signal.
//!
//! A watcher that is not in the ring any more reads the audit entries instead; they are never
//! compacted. One that does not fold events further but needs the state anew is told so by
//! [`Position::installs`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft_rt::Watch as _;
use openraft_rt::watch::{WatchReceiver, WatchSender};
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

    /// The events that a watcher with `after` entries lacks.
    fn since(&self, after: u64) -> &[Bytes] {
        let mut known = usize::try_from(after.saturating_sub(self.from)).unwrap_or(usize::MAX);
        if is_on(Mutant::WatchTwice) {
            known = 0;
        }
        self.events.get(known..).unwrap_or_default()
    }

    /// Adds from the next batch of the ring what a watcher lacks and what fits. Whether all did.
    fn extend(&mut self, next: &Self, room: &mut usize) -> bool {
        let lacks = next.since(self.to());
        let fits = lacks.iter().take_while(|events| {
            let left = room.checked_sub(events.len());
            *room = left.unwrap_or(0);
            left.is_some()
        });
        let mut fits = fits.count();
        if fits == 0 && self.events.is_empty() {
            // A single larger entry stands alone.
            fits = 1;
        }
        let all = fits >= lacks.len();
        if fits > 0 {
            self.events.extend(lacks.iter().take(fits).cloned());
            self.root = next.root.filter(|_| all);
            self.log_time_ms = next.log_time_ms;
        }
        all
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(|events| events.len() + 64).sum()
    }
}

/// Wakes when the position moves.
pub type PositionWatch = <Watch as openraft_rt::Watch>::Receiver<Position>;

/// Waits until what is stored covers `entries`; `false` if it never will, since the node stops.
///
/// The state in memory runs ahead of this by the batch that is being applied: what was seen there
/// is read from the audit log only after this.
pub(crate) async fn reach(mut moved: PositionWatch, entries: u64) -> bool {
    while moved.borrow_watched().entries < entries {
        if moved.changed().await.is_err() {
            return false;
        }
    }
    true
}

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

impl Ring {
    /// The batches from the one on that a watcher with `after` entries needs next, until they hold
    /// `bytes_max`; none if the ring does not go back that far.
    fn after(&self, after: u64, bytes_max: usize) -> Vec<Arc<Batch>> {
        let at = self.batches.partition_point(|batch| batch.to() <= after);
        let lacks = self.batches.range(at..);
        let mut bytes = 0_usize;
        let lacks = lacks.take_while(|batch| {
            let full = bytes > bytes_max;
            bytes += batch.since(after).iter().map(Bytes::len).sum::<usize>();
            !full
        });
        match self.batches.get(at) {
            Some(first) if first.from <= after => lacks.cloned().collect(),
            Some(_) | None => Vec::new(),
        }
    }
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

    /// What a watcher with `after` entries lacks, of as many batches as fit into `bytes_max` of
    /// events, if the ring goes back that far. One larger entry stands alone.
    pub(super) fn batch_after(&self, after: u64, bytes_max: usize) -> Option<Batch> {
        let lacks = self.ring().after(after, bytes_max);
        let first = lacks.first()?;
        let mut batch = Batch {
            from: after,
            events: Vec::new(),
            root: None,
            log_time_ms: first.log_time_ms,
        };
        let mut room = bytes_max;
        // Stops at the first that does not fit as a whole.
        let _ = lacks.iter().all(|next| batch.extend(next, &mut room));
        Some(batch)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A feed with batches of so many entries of ten bytes each, from entry 10 on.
    fn feed(batches: &[usize]) -> Feed {
        let feed = Feed::new(Position::default(), 1 << 20);
        let mut from = 10;
        for (number, entries) in (1..).zip(batches) {
            let batch = Batch {
                from,
                events: (from..).take(*entries).map(events).collect(),
                root: Some([number; 32]),
                log_time_ms: number.into(),
            };
            from = batch.to();
            let at = Position {
                entries: from,
                ..Position::default()
            };
            feed.publish(batch, at);
        }
        feed
    }

    fn events(entry: u64) -> Bytes {
        Bytes::from(format!("{entry:010}"))
    }

    #[tokio::test]
    async fn whoever_waits_for_entries_is_woken_by_the_batch_that_holds_the_last() {
        let feed = feed(&[2, 3]);
        assert!(reach(feed.subscribe(), 15).await, "they are there");
        let waits = reach(feed.subscribe(), 16);
        tokio::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        let at = |entries| Position {
            entries,
            ..Position::default()
        };
        feed.replace(at(15));
        assert!(futures::poll!(&mut waits).is_pending());
        feed.replace(at(17));
        assert!(waits.await);
        let never = reach(feed.subscribe(), 18);
        drop(feed);
        assert!(!never.await, "the node stops");
    }

    /// The one that a watcher gets, in short.
    fn cut(feed: &Feed, after: u64, bytes_max: usize) -> Option<(u64, Option<u8>, u64)> {
        let batch = feed.batch_after(after, bytes_max)?;
        assert_eq!(batch.from, after);
        let expected: Vec<_> = (after..batch.to()).map(events).collect();
        assert_eq!(batch.events, expected, "each once, in order");
        Some((
            batch.to(),
            batch.root.map(|root| root[0]),
            batch.log_time_ms,
        ))
    }

    #[test]
    fn a_batch_is_cut_for_a_watcher_that_stands_inside_it() {
        let feed = feed(&[3]);
        assert_eq!(cut(&feed, 11, 1_000), Some((13, Some(1), 1)));
        assert_eq!(cut(&feed, 13, 1_000), None);
        assert_eq!(cut(&feed, 9, 1_000), None, "entry 9 is not in memory");
    }

    #[test]
    fn a_watcher_gets_as_many_batches_at_once_as_fit() {
        let feed = feed(&[3, 1, 4]);
        assert_eq!(cut(&feed, 10, 1_000), Some((18, Some(3), 3)));
        assert_eq!(cut(&feed, 12, 60), Some((18, Some(3), 3)), "just so");
        assert_eq!(cut(&feed, 10, 40), Some((14, Some(2), 2)), "two whole ones");
        assert_eq!(cut(&feed, 10, 49), Some((14, Some(2), 2)));
        // Inside a batch nobody knows the root.
        assert_eq!(cut(&feed, 10, 50), Some((15, None, 3)));
        assert_eq!(cut(&feed, 10, 20), Some((12, None, 1)));
        assert_eq!(cut(&feed, 17, 1), Some((18, Some(3), 3)), "never nothing");
        assert_eq!(cut(&feed, 10, 1), Some((11, None, 1)));
    }
}
