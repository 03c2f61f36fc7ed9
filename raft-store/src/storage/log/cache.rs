//! The tail of the log in memory, bounded by bytes.

use std::collections::VecDeque;
use std::ops::Range;

use crate::types::{Entry, EntryPayload};

/// The newest entries of the log, gapless up to its end. Invariant: an entry leaves the front only
/// after its request was synced, so whatever is not here can be read from the database.
#[derive(Debug)]
pub(super) struct Cache {
    /// Index of the first entry, or of the next one to come.
    first: u64,
    entries: VecDeque<Cached>,
    bytes: usize,
    bytes_max: usize,
    /// Number of the last request that the writer made durable.
    synced: u64,
}

#[derive(Debug)]
struct Cached {
    entry: Entry,
    /// The request that brought it.
    request: u64,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            first: 0,
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
            synced: 0,
        }
    }

    /// Index of the first entry that is here; the end of the log if none is.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The entries of a range, all of which must be here.
    pub(super) fn range(&self, range: Range<u64>) -> Vec<Entry> {
        let at = |index: u64| {
            let offset = index.saturating_sub(self.first);
            usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(self.entries.len())
        };
        self.entries
            .range(at(range.start)..at(range.end))
            .map(|c| c.entry.clone())
            .collect()
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: Entry, request: u64) {
        if self.entries.is_empty() {
            self.first = entry.log_id.index;
        }
        self.bytes = self.bytes.saturating_add(weight(&entry));
        self.entries.push_back(Cached { entry, request });
        self.evict();
    }

    /// Everything up to `request` is durable and may leave.
    pub(super) fn synced(&mut self, request: u64) {
        self.synced = request;
        self.evict();
    }

    /// Forgets the entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.first + self.entries.len() as u64 > from {
            match self.entries.pop_back() {
                Some(cached) => self.forget(&cached),
                // All that was here is gone; the log now ends before it.
                None => self.first = from,
            }
        }
    }

    /// Forgets the entries up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.first <= upto {
            match self.entries.pop_front() {
                Some(cached) => {
                    self.forget(&cached);
                    self.first += 1;
                }
                None => self.first = upto.saturating_add(1),
            }
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.entries.front()
            && oldest.request <= self.synced
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forget(&oldest);
            self.first += 1;
        }
    }

    fn forget(&mut self, cached: &Cached) {
        self.bytes = self.bytes.saturating_sub(weight(&cached.entry));
    }
}

/// What an entry counts for, in bytes: its own and an allowance for what surrounds it.
pub(super) fn weight(entry: &Entry) -> usize {
    const OVERHEAD: usize = 96;
    OVERHEAD
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(proposal) => proposal.command.bytes().len(),
            EntryPayload::Membership(membership) => 128 * membership.nodes().count(),
        }
}
