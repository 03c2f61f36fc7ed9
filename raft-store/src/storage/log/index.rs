//! Where each entry stands: 16 bytes of memory for each entry that is kept.

use std::collections::VecDeque;
use std::ops::Range;

/// Where the record of an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the segment.
    pub(super) segment: u32,
    /// Bytes of the record.
    pub(super) length: u32,
    /// Where in the segment's file it begins.
    pub(super) offset: u64,
}

/// The places of the entries that are kept. Invariant: they are gapless, and a later entry stands
/// behind an earlier one, since what an entry replaces was removed together with all after it.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Index of the first entry, or of the next one to come.
    first: u64,
    places: VecDeque<Place>,
}

impl Index {
    /// Of a log whose next entry is `first`.
    pub(super) fn beginning_at(first: u64) -> Self {
        Self {
            first,
            places: VecDeque::new(),
        }
    }

    /// Index of the first entry, or of the next one to come.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Index of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// The segment from which on all are needed; none if no entry is kept.
    pub(super) fn first_segment(&self) -> Option<u32> {
        self.places.front().map(|place| place.segment)
    }

    /// Adds the next entry. An empty log may go on anywhere: openraft says where.
    pub(super) fn push(&mut self, index: u64, place: Place) {
        if self.places.is_empty() {
            self.first = index;
        }
        assert_eq!(index, self.next(), "entries follow each other");
        self.places.push_back(place);
    }

    /// Forgets the entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        let kept = from.saturating_sub(self.first);
        self.places
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.first = self.first.min(from);
    }

    /// Forgets the entries up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.first <= upto {
            if self.places.pop_front().is_none() {
                self.first = upto.saturating_add(1);
                return;
            }
            self.first += 1;
        }
    }

    /// The places of the entries of `range`; nothing if one of them is not kept.
    pub(super) fn places(&self, range: Range<u64>) -> Option<impl Iterator<Item = Place> + '_> {
        let at = |index: u64| usize::try_from(index.checked_sub(self.first)?).ok();
        let range = at(range.start)?..at(range.end)?;
        (range.start <= range.end && range.end <= self.places.len())
            .then(|| self.places.range(range).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        Place {
            segment: 1,
            length: 10,
            offset,
        }
    }

    /// A log of entries 5 to 9, each at its tenfold.
    fn index() -> Index {
        let mut index = Index::beginning_at(5);
        for n in 5..10 {
            index.push(n, place(n * 10));
        }
        index
    }

    fn offsets(index: &Index, range: Range<u64>) -> Option<Vec<u64>> {
        Some(index.places(range)?.map(|place| place.offset).collect())
    }

    #[test]
    fn what_is_kept_is_found_and_nothing_else() {
        let index = index();
        assert_eq!(offsets(&index, 6..8), Some(vec![60, 70]));
        assert_eq!(offsets(&index, 4..8), None);
        assert_eq!(offsets(&index, 8..11), None);
        assert_eq!((index.first(), index.next()), (5, 10));
    }

    #[test]
    fn what_was_truncated_or_purged_is_gone() {
        let mut log = index();
        log.truncate(8);
        log.push(8, place(800));
        log.purge(5);
        assert_eq!(offsets(&log, 6..9), Some(vec![60, 70, 800]));
        log.purge(20);
        assert_eq!(
            (log.first(), log.next(), log.first_segment()),
            (21, 21, None)
        );
        log.truncate(9);
        assert_eq!((log.first(), log.next()), (9, 9));
    }
}
