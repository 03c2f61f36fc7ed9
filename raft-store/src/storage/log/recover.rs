//! Opening a log: what of it is there, and what must not be missing.
//!
//! Every group was synced before the next one was begun. So a crash leaves at most one group that
//! is not whole, at the end, where a sector of it is still zero: that one was never acknowledged, and
//! is removed. Whatever else does not fit is damage, and a log with damage is not opened: a voter that
//! forgot what it acknowledged, or how it voted, breaks promises of the whole group.
//!
//! What cannot be told is a file that ends with zeros instead of its last groups, which is what an
//! older copy of it looks like. See docs/adr/0010-the-log-is-segments.md.

use std::collections::BTreeSet;
use std::sync::Arc;

use redb::StorageBackend as _;
use tidegate_runtime::disk::{BlockFile, Disk};

use super::cache::Cache;
use super::group::{self, HEADING_BYTES, Heading, Key, may_be_torn};
use super::index::{Index, Place};
use super::op::{self, Change};
use super::segment::{
    End, Header, PAGE_BYTES, Sizes, Standing, Tail, file_name, number_of, to_usize,
};
use super::segments::Kept;
use super::{OpenLogError, next_index};
use crate::storage::{Claim, unsound};

type Recovered<T> = Result<T, OpenLogError>;

/// Opens the segments on `disk`, or makes the first one, and shows every entry to `cache`.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    claim: &Claim,
    sizes: Sizes,
    cache: &mut Cache,
) -> Recovered<(Tail, Kept)> {
    let names = disk.names()?;
    let numbers: BTreeSet<u32> = names.iter().filter_map(|name| number_of(name)).collect();
    let Some(run) = last_run(&numbers) else {
        return begin(disk, claim, sizes);
    };
    let mut replay = Replay::new(disk, claim, cache);
    let last = *run.last().unwrap_or(&0);
    for number in &run {
        match replay.next(*number, *number == last)? {
            Next::Follows => {}
            Next::IsUnused => {
                disk.remove(&file_name(last))?;
                break;
            }
            Next::IsToBegin => {
                for number in &numbers {
                    disk.remove(&file_name(*number))?;
                }
                return begin(disk, claim, sizes);
            }
        }
    }
    // Before anything is promised: what is read may be in the kernel's memory only.
    let (tail, kept) = replay.finish()?;
    for number in numbers.iter().filter(|number| !run.contains(number)) {
        // Purged, and back after a loss of power.
        disk.remove(&file_name(*number))?;
    }
    disk.sync_names()?;
    Ok((tail, kept))
}

/// The numbers up to the last one without a gap.
fn last_run(numbers: &BTreeSet<u32>) -> Option<Vec<u32>> {
    let last = *numbers.last()?;
    let mut run: Vec<u32> = numbers
        .iter()
        .rev()
        .zip(0..)
        .take_while(|(number, behind)| last - **number == *behind)
        .map(|(number, _)| *number)
        .collect();
    run.reverse();
    Some(run)
}

fn begin(disk: &Arc<dyn Disk>, claim: &Claim, sizes: Sizes) -> Recovered<(Tail, Kept)> {
    let header = Header {
        number: 1,
        before: End::default(),
        reserved: 0,
        standing: Standing::default(),
    };
    let tail = Tail::create(disk, claim.owner(), header, sizes)?;
    let mut kept = Kept::default();
    kept.files.insert(tail.number, Arc::clone(&tail.file));
    Ok((tail, kept))
}

/// What follows a segment that was read.
enum Next {
    /// What should.
    Follows,
    /// A segment that was made and never used.
    IsUnused,
    /// Nothing: its file is empty in a directory in which nothing was promised yet.
    IsToBegin,
}

struct Replay<'a> {
    disk: &'a Arc<dyn Disk>,
    claim: &'a Claim,
    cache: &'a mut Cache,
    kept: Kept,
    /// The segment read last.
    tail: Option<Tail>,
}

impl<'a> Replay<'a> {
    fn new(disk: &'a Arc<dyn Disk>, claim: &'a Claim, cache: &'a mut Cache) -> Self {
        Self {
            disk,
            claim,
            cache,
            kept: Kept::default(),
            tail: None,
        }
    }

    /// Reads the next segment.
    fn next(&mut self, number: u32, is_last: bool) -> Recovered<Next> {
        let Some(mut segment) = Segment::read(self.disk, self.claim, number)? else {
            return Ok(Next::IsToBegin);
        };
        match &self.tail {
            None => {
                let standing = segment.header.standing;
                self.kept.standing = standing;
                self.kept.index = Index::beginning_at(next_index(standing.last.as_ref()));
            }
            Some(before) if before.end != segment.header.before => {
                let what = "its groups are not those after which the next segment was begun";
                return Err(damaged(before.number, what));
            }
            Some(_) => {}
        }
        while let Some((begin, end)) = segment.next_group()? {
            self.apply(&segment, begin..end)?;
        }
        self.kept.files.insert(number, Arc::clone(&segment.file));
        let next = if segment.is_sealed {
            segment.check_rest(segment.end.at)?;
            if is_last {
                return Err(OpenLogError::Missing(file_name(number + 1)));
            }
            Next::Follows
        } else if is_last {
            segment.cut_torn()?;
            Next::Follows
        } else {
            // Nothing is written to a segment before the one before it is sealed for good.
            if !is_unused(self.disk, number + 1)?
                || self.disk.names()?.contains(&file_name(number + 2))
            {
                return Err(damaged(
                    number,
                    "it is not sealed, and a later one is in use",
                ));
            }
            segment.cut_torn()?;
            Next::IsUnused
        };
        self.tail = Some(segment.into_tail());
        Ok(next)
    }

    fn apply(&mut self, segment: &Segment, body: std::ops::Range<usize>) -> Recovered<()> {
        let (begin, body) = (body.start, &segment.bytes[body]);
        let mut at = 0;
        while at < body.len() {
            let changed = op::read(body, at).map_err(|error| damaged(segment.number, error))?;
            let (change, next) = changed;
            match change {
                Change::Append(entry, from, length) => {
                    let (expected, found) = (self.kept.index.next(), entry.log_id.index);
                    if found != expected {
                        return Err(OpenLogError::Gap { expected, found });
                    }
                    let Ok(short) = u32::try_from(length) else {
                        unreachable!("its length was read from 32 bits")
                    };
                    let place = Place {
                        segment: segment.number,
                        length: short,
                        offset: (begin + from) as u64,
                    };
                    self.kept.append(entry.log_id, place);
                    // Request 0 is done: everything read here may leave the cache at once.
                    self.cache.push(entry, 0);
                }
                Change::Truncate(last) => {
                    self.kept.truncate(last);
                    self.cache.truncate(next_index(last.as_ref()));
                }
                Change::Purge(upto) => {
                    self.kept.purge(upto);
                    self.cache.purge(upto.index);
                }
                Change::Vote(vote) => self.kept.standing.vote = Some(vote),
                Change::Committed(committed) => self.kept.standing.committed = committed,
            }
            at = next;
        }
        Ok(())
    }

    fn finish(self) -> Recovered<(Tail, Kept)> {
        let Self { kept, tail, .. } = self;
        let Some(tail) = tail else {
            unreachable!("there is a first segment")
        };
        for file in kept.files.values().rev().take(2) {
            file.sync_data()?;
        }
        // Older segments may be gone only if all their entries were purged.
        let oldest = kept.files.keys().next().map_or(0, |oldest| *oldest);
        if kept.index.first() > next_index(kept.standing.purged.as_ref()) {
            return Err(OpenLogError::Missing(file_name(oldest.saturating_sub(1))));
        }
        Ok((tail, kept))
    }
}

/// Whether a segment holds no group, nor ever did.
fn is_unused(disk: &Arc<dyn Disk>, number: u32) -> Recovered<bool> {
    let bytes = disk.read(&file_name(number))?.unwrap_or_default();
    let groups = bytes.get(PAGE_BYTES..).unwrap_or_default();
    Ok(groups.iter().all(|byte| *byte == 0))
}

/// One segment's file in memory, while it is read.
struct Segment {
    number: u32,
    file: Arc<BlockFile>,
    bytes: Vec<u8>,
    key: Key,
    header: Header,
    end: End,
    reserved: u64,
    is_sealed: bool,
}

impl Segment {
    /// Nothing if it is to be begun.
    fn read(disk: &Arc<dyn Disk>, claim: &Claim, number: u32) -> Recovered<Option<Self>> {
        let name = file_name(number);
        let file = unsound::open(disk, &name)?;
        let mut bytes = vec![0; to_usize(file.len()?)?];
        file.read(0, &mut bytes)?;
        if claim.begins(&name, &bytes)? {
            return Ok(None);
        }
        let header = Header::read(&bytes).map_err(|what| damaged(number, what))?;
        if header.number != number {
            let what = format!("it is a copy of {}", file_name(header.number));
            return Err(damaged(number, what));
        }
        let segment = Self {
            number,
            file: Arc::new(file),
            key: Key::of(&bytes[..PAGE_BYTES]),
            end: End {
                at: PAGE_BYTES as u64,
                ..header.before
            },
            reserved: header.reserved,
            header,
            bytes,
            is_sealed: false,
        };
        segment.check_length(segment.reserved)?;
        Ok(Some(segment))
    }

    /// The place of the next group's body. Nothing at the end, whole or torn.
    fn next_group(&mut self) -> Recovered<Option<(usize, usize)>> {
        let at = to_usize(self.end.at)?;
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(heading) = Heading::read(&self.key, rest).filter(|_| !self.is_sealed) else {
            return Ok(None);
        };
        let follows = heading.number == self.end.group + 1
            && heading.at == self.end.at
            && heading.previous == self.end.chain;
        if !follows {
            return Err(self.damaged("a group stands where another one should"));
        }
        // Durable before the heading was written.
        self.check_length(heading.reserved)?;
        let begin = at + HEADING_BYTES;
        let end = begin.saturating_add(to_usize(heading.length)?);
        let Some(body) = self.bytes.get(begin..end) else {
            return Err(self.damaged("a group is longer than its file"));
        };
        if !heading.fits(&self.key, body) {
            return Ok(None);
        }
        let (_, chain) = heading.to_bytes(&self.key);
        self.end = End {
            group: heading.number,
            chain,
            at: end as u64,
        };
        self.reserved = heading.reserved;
        self.is_sealed = heading.seals();
        Ok(Some((begin, end)))
    }

    /// Refuses a file that was longer once.
    fn check_length(&self, reserved: u64) -> Recovered<()> {
        let found = self.bytes.len() as u64;
        if found >= reserved {
            return Ok(());
        }
        Err(self.damaged(&format!("{found} bytes are left of {reserved}")))
    }

    /// Refuses what shows that groups before it are missing.
    fn check_rest(&self, from: u64) -> Recovered<()> {
        match group::find(&self.key, &self.bytes, to_usize(from)?) {
            None => Ok(()),
            Some(later) => Err(self.damaged(&format!(
                "nothing fits after group {}, and group {} was written",
                self.end.group, later.number
            ))),
        }
    }

    /// Removes what is left of a group that was not written to its end.
    fn cut_torn(&mut self) -> Recovered<()> {
        let at = to_usize(self.end.at)?;
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(left) = rest.iter().rposition(|byte| *byte != 0) else {
            return Ok(());
        };
        let until = at + left + 1;
        let begin = at + HEADING_BYTES;
        let (written, end) = match Heading::read(&self.key, rest) {
            // That it is the next one was checked when the groups were read.
            Some(heading) => {
                let end = begin.saturating_add(to_usize(heading.length)?);
                (begin..end, end)
            }
            None => (at..begin, usize::MAX),
        };
        if !may_be_torn(&self.bytes, written) || until > end {
            return Err(self.damaged(&format!(
                "group {} is damaged, and not because it was cut short",
                self.end.group + 1
            )));
        }
        self.check_rest(begin as u64)?;
        self.bytes[at..until].fill(0);
        self.file.write(at as u64, &self.bytes[at..until])?;
        self.file.sync_data()?;
        let (file, bytes) = (file_name(self.number), until - at);
        tracing::warn!(
            file,
            at,
            bytes,
            "removed a write to the log that was cut short"
        );
        Ok(())
    }

    fn into_tail(self) -> Tail {
        let Self {
            number,
            file,
            key,
            end,
            reserved,
            ..
        } = self;
        Tail {
            number,
            file,
            key,
            end,
            reserved,
        }
    }

    fn damaged(&self, what: &str) -> OpenLogError {
        damaged(self.number, format!("{what} (at byte {})", self.end.at))
    }
}

fn damaged(number: u32, what: impl ToString) -> OpenLogError {
    OpenLogError::Damaged {
        file: file_name(number),
        what: what.to_string(),
    }
}
