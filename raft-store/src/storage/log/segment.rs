//! One segment: a file that begins with a page that says whose it is and what was before it, then
//! groups, then zeros.
//!
//! ```text
//! segment    = first page [4096] | group, … (group.rs) | zeros
//! first page = owner, zeros [1024] | magic [8] | length u32, little-endian | header (a record) | zeros
//! ```

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use minicbor::{Decoder, Encoder, decode, encode};
use redb::StorageBackend as _;
use tidegate_runtime::disk::{BlockFile, Disk};

use super::group::{Checksum, HEADING_BYTES, Heading, Key};
use super::index::Place;
use crate::storage::codec::{self, Record, decode_option, encode_option, expect_array};
use crate::storage::{LOG_FILES, Owner, unsound};
use crate::types::{LogId, Vote};

/// Bytes before the first group.
pub(super) const PAGE_BYTES: usize = 4_096;
/// Bytes for the owner.
const OWNER_BYTES: usize = 1_024;
const MAGIC: [u8; 8] = *b"tideLog1";

/// What a segment says of itself and of what was before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its number, from 1.
    pub(super) number: u32,
    /// How the one before it ends; all zero in the first one.
    pub(super) before: End,
    /// Bytes of this file that are durable before any group is written to it.
    pub(super) reserved: u64,
    /// What the groups before it amount to.
    pub(super) standing: Standing,
}

/// Where a segment ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Number of the last group, over all segments.
    pub(super) group: u64,
    /// Checksum of its heading.
    pub(super) chain: Checksum,
    /// Where the next group would begin.
    pub(super) at: u64,
}

/// What a log amounts to beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The last entry, or the last one purged if none is left.
    pub(super) last: Option<LogId>,
}

/// How much is laid out at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes after which the next segment begins.
    pub(super) segment: u64,
    /// Bytes of zeros that are made durable at once, so that a group changes no length.
    pub(super) step: u64,
}

impl Sizes {
    /// Sizes that go with segments of so many bytes.
    pub(super) fn of(segment: u64) -> Self {
        const STEP_BYTES_MAX: u64 = 1 << 20;
        let page = PAGE_BYTES as u64;
        let step = (segment / 16).clamp(page, STEP_BYTES_MAX);
        Self {
            segment,
            step: step.next_multiple_of(page),
        }
    }
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) number: u32,
    pub(super) file: Arc<BlockFile>,
    pub(super) key: Key,
    pub(super) end: End,
    /// Bytes of the file that are durable, zeros included.
    pub(super) reserved: u64,
}

/// The file of a segment.
pub(super) fn file_name(number: u32) -> String {
    format!("{LOG_FILES}{number:08}")
}

/// The segment that a file is, if it is one.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix(LOG_FILES)?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Whether a file of a data directory is one of the log's.
#[must_use]
pub fn is_log_file(name: &str) -> bool {
    number_of(name).is_some()
}

impl Header {
    /// The first page of a file of `owner`.
    fn page(&self, owner: &Owner) -> Vec<u8> {
        let mut page = owner.to_bytes();
        assert!(
            page.len() <= OWNER_BYTES,
            "an owner is text of bounded parts"
        );
        let record = codec::to_bytes(self);
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        page.resize(OWNER_BYTES, 0);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&length.to_le_bytes());
        page.extend_from_slice(&record);
        assert!(page.len() <= PAGE_BYTES, "a header is numbers");
        page.resize(PAGE_BYTES, 0);
        page
    }

    /// The header in a first page. Why there is none, otherwise.
    pub(super) fn read(page: &[u8]) -> Result<Self, String> {
        let header = page.get(OWNER_BYTES..PAGE_BYTES);
        let header = header.and_then(|header| header.strip_prefix(&MAGIC));
        let header = header.and_then(<[u8]>::split_first_chunk::<4>);
        let (length, rest) = header.ok_or("it does not begin as a segment of the log does")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let record = rest.get(..length).ok_or("its header does not end")?;
        codec::from_bytes(record).map_err(|error| error.to_string())
    }
}

impl Tail {
    /// Makes the segment that `header` describes but for its size, durable with its name.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        owner: &Owner,
        mut header: Header,
        sizes: Sizes,
    ) -> io::Result<Self> {
        let name = file_name(header.number);
        let file = unsound::open(disk, &name)?;
        let page = with_room(sizes.step, |step| {
            header.reserved = PAGE_BYTES as u64 + step;
            let page = header.page(owner);
            file.write(0, &page)?;
            write_zeros(&file, PAGE_BYTES as u64..header.reserved)?;
            Ok(page)
        })?;
        file.sync_data()?;
        disk.sync_names()?;
        Ok(Self {
            number: header.number,
            file: Arc::new(file),
            key: Key::of(&page),
            end: End {
                at: PAGE_BYTES as u64,
                ..header.before
            },
            reserved: header.reserved,
        })
    }

    /// Whether the next segment should be begun before a group with so long a body.
    pub(super) fn is_full(&self, body: usize, sizes: Sizes) -> bool {
        self.end.at > PAGE_BYTES as u64 && self.needs(body) > sizes.segment
    }

    /// Makes room for a group with so long a body: durable before the group is written, and with
    /// place for one more heading, so that the first group behind old room stands in it at least
    /// with its heading and tells how long the file was.
    pub(super) fn reserve(&mut self, body: usize, sizes: Sizes) -> io::Result<()> {
        let needed = self.needs(body);
        if needed <= self.reserved {
            return Ok(());
        }
        let from = self.reserved;
        let until = with_room(sizes.step, |step| {
            let until = needed.next_multiple_of(step);
            write_zeros(&self.file, from..until)?;
            Ok(until)
        })?;
        self.file.sync_data()?;
        self.reserved = until;
        Ok(())
    }

    /// Writes a group, not yet durable, and answers where its body begins.
    pub(super) fn write(&mut self, body: &[u8]) -> io::Result<u64> {
        assert!(self.needs(body.len()) <= self.reserved + HEADING_BYTES as u64);
        let End { group, chain, at } = self.end;
        let place = (group + 1, at, self.reserved);
        let (heading, chain) = Heading::new(&self.key, place, chain, body).to_bytes(&self.key);
        let bytes = [&heading, body].concat();
        self.file.write(at, &bytes)?;
        self.end = End {
            group: group + 1,
            chain,
            at: at + bytes.len() as u64,
        };
        Ok(at + HEADING_BYTES as u64)
    }

    /// Where a record stands that ends at `end` of the body that begins at `begin`.
    pub(super) fn place(&self, begin: u64, end: usize, length: usize) -> Place {
        let Ok(short) = u32::try_from(length) else {
            unreachable!("a record is no longer than a request")
        };
        Place {
            segment: self.number,
            length: short,
            offset: begin + (end - length) as u64,
        }
    }

    /// Says for good that no group follows in this segment. Its place was kept by [`Self::reserve`].
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.write(&[])?;
        self.file.sync_data()
    }

    /// How this segment ends if it is sealed now.
    pub(super) fn end_when_sealed(&self) -> End {
        let End { group, chain, at } = self.end;
        let place = (group + 1, at, self.reserved);
        let (heading, chain) = Heading::new(&self.key, place, chain, &[]).to_bytes(&self.key);
        End {
            group: group + 1,
            chain,
            at: at + heading.len() as u64,
        }
    }

    fn needs(&self, body: usize) -> u64 {
        self.end.at + (HEADING_BYTES + body + HEADING_BYTES) as u64
    }
}

/// Lays out as much as usual, or just enough if there is no room for that: who keeps a reserve may
/// still have to write a vote from it.
fn with_room<T>(step: u64, mut lay_out: impl FnMut(u64) -> io::Result<T>) -> io::Result<T> {
    match lay_out(step) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => lay_out(PAGE_BYTES as u64),
        laid_out => laid_out,
    }
}

/// Fills whole pages with zeros, one by one: what is written at once, Linux may keep as one folio,
/// and then a group of some bytes makes all of it dirty.
fn write_zeros(file: &BlockFile, range: Range<u64>) -> io::Result<()> {
    const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    range
        .step_by(PAGE_BYTES)
        .try_for_each(|at| file.write(at, &ZEROS))
}

pub(super) fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl Record for Header {
    const NAME: &'static str = "log segment";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self {
            number,
            before: End { group, chain, at },
            reserved,
            standing,
        } = self;
        let Standing {
            vote,
            committed,
            purged,
            last,
        } = standing;
        out.array(9)?.u32(*number)?;
        out.u64(*group)?.bytes(chain)?.u64(*at)?.u64(*reserved)?;
        encode_option(vote.as_ref(), out)?;
        for id in [committed, purged, last] {
            encode_option(id.as_ref(), out)?;
        }
        Ok(())
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 9)?;
        let number = from.u32()?;
        let group = from.u64()?;
        let chain = from.bytes()?.try_into();
        let chain = chain.map_err(|_| decode::Error::message("a checksum of another length"))?;
        Ok(Self {
            number,
            before: End {
                group,
                chain,
                at: from.u64()?,
            },
            reserved: from.u64()?,
            standing: Standing {
                vote: decode_option(from)?,
                committed: decode_option(from)?,
                purged: decode_option(from)?,
                last: decode_option(from)?,
            },
        })
    }
}
