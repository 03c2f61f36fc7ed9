//! How openraft reads the log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures::stream::{self, Stream, TryStreamExt as _};
use openraft::{OptionalSend, RaftLogReader};
use tidegate_runtime::blocking;

use super::{LogStore, View, cache, next_index};
use crate::types::{Entry, TypeConfig, Vote};

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.entries(
            (range.start_bound().cloned(), range.end_bound().cloned()),
            usize::MAX,
        )
        .await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries = self.entries(start..end, self.message_bytes_max).await?;
        // Purged meanwhile: nothing, which openraft sends as a heartbeat, and which ends the stream
        // (`network::append`). The rest alone would be taken for what follows `start`, and leave a
        // hole in the follower's log.
        if entries
            .first()
            .is_some_and(|first| first.log_id.index != start)
        {
            entries.clear();
        }
        Ok(entries)
    }

    // openraft's default reads the whole range at once, which after a restart can be the whole log.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.clone();
        let range = self.shared.view().clip(&range);
        let pieces = stream::try_unfold(range, move |left| {
            let log = log.clone();
            async move {
                if left.is_empty() {
                    return Ok(None);
                }
                let entries = log.entries(left.clone(), log.message_bytes_max).await?;
                let next = next_index(entries.last().map(|entry| &entry.log_id)).max(left.start);
                // Nothing there although it should be: the stream ends, and openraft notices.
                let left = if entries.is_empty() {
                    left.end..left.end
                } else {
                    next..left.end
                };
                Ok::<_, io::Error>(Some((stream::iter(entries.into_iter().map(Ok)), left)))
            }
        });
        Box::pin(pieces.try_flatten())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.vote())
    }
}

impl LogStore {
    /// The entries of `range` up to `bytes_max`, at least one if there is any: from the disk
    /// what the cache let go, the rest from the cache.
    async fn entries(
        &self,
        range: impl RangeBounds<u64>,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry>> {
        loop {
            let (on_disk, cached, generation) = {
                let view = self.shared.view();
                let range = view.clip(&range);
                let split = view.cache.first().clamp(range.start, range.end);
                let cached = view.cache.range(split..range.end);
                (range.start..split, cached, view.generation)
            };
            if on_disk.is_empty() {
                return Ok(within(bytes_max, cached));
            }
            let shared = Arc::clone(&self.shared);
            let wanted = on_disk.clone();
            let read = blocking(move || shared.segments.read(wanted, bytes_max)).await?;
            if self.shared.view().generation != generation {
                // The log was purged or truncated meanwhile: what was read may be neither the old
                // nor the new log.
                continue;
            }
            let mut entries = read.map_err(io::Error::other)?;
            if entries.len() as u64 == on_disk.end - on_disk.start {
                entries.extend(cached);
            }
            return Ok(within(bytes_max, entries));
        }
    }
}

impl View {
    /// The part of `range` that exists.
    fn clip(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let start = start.max(self.first);
        start..end.min(next_index(self.last.as_ref())).max(start)
    }
}

/// The entries that fit into `bytes_max`, and the first in any case.
fn within(bytes_max: usize, mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut bytes = 0usize;
    let fit = entries.iter().take_while(|entry| {
        bytes = bytes.saturating_add(cache::weight(entry));
        bytes <= bytes_max
    });
    let fit = fit.count().max(1);
    entries.truncate(fit);
    entries
}
