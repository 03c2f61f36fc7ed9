//! A group of changes as it stands in a segment: written at once, synced at once, and valid as a
//! whole or not at all.
//!
//! ```text
//! group   = heading | body [length]
//! heading = magic [4] | number u64 | at u64 | reserved u64 | length u64
//!         | previous [8] | checksum of the body [8] | checksum of all before it [8]
//! ```
//! Numbers are little-endian. Both checksums are keyed with the segment's first page, so that
//! neither a command that contains such bytes nor a group of another segment passes for one.
//! A heading proves what was durable when it was written: every group with a smaller number, and
//! `reserved` bytes of the file. A group without a body seals its segment.

use std::ops::Range;

/// Bytes of a heading.
pub(super) const HEADING_BYTES: usize = 60;
/// What a disk keeps or loses as a whole.
const SECTOR_BYTES: usize = 512;
const MAGIC: [u8; 4] = *b"tLg1";
const CHECKSUM_BYTES: usize = 8;

/// First bytes of a keyed BLAKE3.
pub(super) type Checksum = [u8; CHECKSUM_BYTES];

/// What the groups of one segment are checked with.
#[derive(Clone, Debug)]
pub(super) struct Key([u8; blake3::KEY_LEN]);

/// What a group says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// Groups are numbered from 1 over all segments.
    pub(super) number: u64,
    /// Where in its file it was meant to stand.
    pub(super) at: u64,
    /// Bytes of the file that were durable by then, written or not.
    pub(super) reserved: u64,
    /// Bytes of the body.
    pub(super) length: u64,
    /// Checksum of the heading before it: the end of the segment before, for the first of one.
    pub(super) previous: Checksum,
    body: Checksum,
}

impl Key {
    /// The key of the segment that begins with these bytes.
    pub(super) fn of(first_page: &[u8]) -> Self {
        Self(blake3::derive_key(
            "tidegate 2026-11-29 groups of a segment of Raft's log",
            first_page,
        ))
    }

    fn checksum(&self, bytes: &[u8]) -> Checksum {
        let hash = blake3::keyed_hash(&self.0, bytes);
        let mut checksum = [0; CHECKSUM_BYTES];
        checksum.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
        checksum
    }
}

impl Heading {
    /// The heading of the next group.
    pub(super) fn new(
        key: &Key,
        (number, at, reserved): (u64, u64, u64),
        previous: Checksum,
        body: &[u8],
    ) -> Self {
        Self {
            number,
            at,
            reserved,
            length: body.len() as u64,
            previous,
            body: key.checksum(body),
        }
    }

    /// The heading that `bytes` begin with, if they do and it is this segment's.
    pub(super) fn read(key: &Key, bytes: &[u8]) -> Option<Self> {
        let (heading, stated) = bytes
            .get(..HEADING_BYTES)?
            .split_last_chunk::<CHECKSUM_BYTES>()?;
        let mut rest = heading.strip_prefix(&MAGIC)?;
        if key.checksum(heading) != *stated {
            return None;
        }
        let found = Self {
            number: u64::from_le_bytes(take(&mut rest)?),
            at: u64::from_le_bytes(take(&mut rest)?),
            reserved: u64::from_le_bytes(take(&mut rest)?),
            length: u64::from_le_bytes(take(&mut rest)?),
            previous: take(&mut rest)?,
            body: take(&mut rest)?,
        };
        assert!(rest.is_empty(), "a heading is as long as its fields");
        Some(found)
    }

    /// Heading and its own checksum, which the next group repeats.
    pub(super) fn to_bytes(&self, key: &Key) -> ([u8; HEADING_BYTES], Checksum) {
        let Self {
            number,
            at,
            reserved,
            length,
            previous,
            body,
        } = self;
        let mut bytes = [0; HEADING_BYTES];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, &MAGIC);
        for number in [number, at, reserved, length] {
            put(&mut rest, &number.to_le_bytes());
        }
        put(&mut rest, previous);
        put(&mut rest, body);
        assert_eq!(rest.len(), CHECKSUM_BYTES, "only its checksum is left");
        let (heading, checksum) = bytes.split_at_mut(HEADING_BYTES - CHECKSUM_BYTES);
        let chain = key.checksum(heading);
        checksum.copy_from_slice(&chain);
        (bytes, chain)
    }

    /// Whether this is its body.
    pub(super) fn fits(&self, key: &Key, body: &[u8]) -> bool {
        key.checksum(body) == self.body
    }

    /// Whether the group seals its segment: no other follows in it.
    pub(super) const fn seals(&self) -> bool {
        self.length == 0
    }
}

/// The first heading of this segment in `bytes` from `from` on, wherever it stands.
pub(super) fn find(key: &Key, bytes: &[u8], from: usize) -> Option<Heading> {
    let rest = bytes.get(from..)?;
    let mut places = rest.windows(MAGIC.len()).enumerate();
    places.find_map(|(at, window)| {
        (window == MAGIC)
            .then(|| Heading::read(key, &rest[at..]))
            .flatten()
    })
}

/// Whether a write to `range`, where there was nothing but zeros, may have been cut short: a sector
/// of it is still as it was, or its end is, where a checksum should be. If neither, all bytes were
/// written, and changed afterwards.
pub(super) fn may_be_torn(bytes: &[u8], range: Range<usize>) -> bool {
    let end = range.end.min(bytes.len());
    let is_blank = |from: usize, until: usize| bytes[from..until].iter().all(|byte| *byte == 0);
    let mut from = range.start;
    while from < end {
        let until = (from - from % SECTOR_BYTES + SECTOR_BYTES).min(end);
        if is_blank(from, until) {
            return true;
        }
        from = until;
    }
    is_blank(end.saturating_sub(CHECKSUM_BYTES).max(range.start), end)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

fn put(into: &mut &mut [u8], bytes: &[u8]) {
    let (head, rest) = std::mem::take(into).split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    *into = rest;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(key: &Key, body: &[u8]) -> Heading {
        Heading::new(key, (7, 4_096, 65_536), [3; 8], body)
    }

    #[test]
    fn a_group_is_read_as_it_was_written_and_by_its_segment_only() {
        let (key, other) = (Key::of(b"one"), Key::of(b"another"));
        let written = heading(&key, b"body");
        let (bytes, _) = written.to_bytes(&key);
        let read = Heading::read(&key, &bytes).unwrap();
        assert_eq!(read, written);
        assert!(read.fits(&key, b"body") && !read.fits(&key, b"bodz"));
        assert_eq!(Heading::read(&other, &bytes), None);
    }

    #[test]
    fn every_flipped_bit_of_a_heading_is_noticed() {
        let key = Key::of(b"one");
        let (bytes, _) = heading(&key, b"body").to_bytes(&key);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Heading::read(&key, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_heading_is_found_wherever_it_stands() {
        let key = Key::of(b"one");
        let (bytes, _) = heading(&key, b"body").to_bytes(&key);
        let file = [&[0; 77], &bytes[..], &[0; 5]].concat();
        assert_eq!(find(&key, &file, 0), Some(heading(&key, b"body")));
        assert_eq!(find(&key, &file, 78), None);
    }

    #[test]
    fn what_was_torn_has_a_sector_of_zeros() {
        let mut file = vec![1; 2_048];
        assert!(!may_be_torn(&file, 100..2_000));
        file[512..1_024].fill(0);
        assert!(may_be_torn(&file, 100..2_000));
        assert!(!may_be_torn(&file, 1_024..2_048));
        assert!(may_be_torn(&file, 1_000..2_048), "only its own bytes count");
        file[1_990..2_048].fill(0);
        assert!(may_be_torn(&file, 1_100..2_000), "cut within a sector");
        assert!(!may_be_torn(&file, 1_100..1_990));
    }
}
