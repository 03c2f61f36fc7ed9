//! The log on the disk: append-only segments, of which the last one is written to.
//!
//! A commit is one write and one sync: its changes are one group ([`super::group`]) behind the last
//! one. So after a crash at most the last group is not whole, and everything else that does not fit
//! is damage ([`super::recover`]). Entries that were replaced stay where they are until their whole
//! segment is purged; an index in memory knows which ones count.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend as _;
use tidegate_runtime::disk::{BlockFile, Disk};

use super::cache::{self, Cache};
use super::index::{Index, Place};
use super::op::Op;
use super::segment::{Header, Sizes, Standing, Tail, file_name, to_usize};
use super::{OpenLogError, next_index, recover};
use crate::storage::{Claim, codec};
use crate::types::{Entry, LogId};

/// Records that are this close to each other are read at once.
const GAP_BYTES_MAX: u64 = 4_096;

/// The log's files.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    claim: Claim,
    sizes: Sizes,
    /// Nothing is written any more.
    abandoned: AtomicBool,
    /// Only the writer has it for longer than a moment.
    tail: Mutex<Tail>,
    kept: Mutex<Kept>,
}

/// What of the log counts, and where it stands.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) files: BTreeMap<u32, Arc<BlockFile>>,
    pub(super) index: Index,
    pub(super) standing: Standing,
}

impl Kept {
    pub(super) fn append(&mut self, id: LogId, place: Place) {
        self.index.push(id.index, place);
        self.standing.last = Some(id);
    }

    pub(super) fn truncate(&mut self, last: Option<LogId>) {
        let Standing {
            last: standing,
            purged,
            ..
        } = &mut self.standing;
        self.index.truncate(next_index(last.as_ref()));
        *standing = (*standing).min(last).max(*purged);
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        self.index.purge(upto.index);
        self.standing.purged = Some(upto);
        self.standing.last = self.standing.last.max(Some(upto));
    }
}

impl Segments {
    /// Opens the log, or begins one where there is none, and verifies all of it.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        claim: &Claim,
        sizes: Sizes,
        cache: &mut Cache,
    ) -> Result<Self, OpenLogError> {
        let (tail, kept) = recover::open(disk, claim, sizes, cache)?;
        let this = Self {
            disk: Arc::clone(disk),
            claim: claim.clone(),
            sizes,
            abandoned: AtomicBool::new(false),
            tail: Mutex::new(tail),
            kept: Mutex::new(kept),
        };
        this.reclaim()?;
        Ok(this)
    }

    /// What the log amounts to beside its entries.
    pub(super) fn standing(&self) -> Standing {
        self.kept().standing
    }

    /// Writes all of `ops`, in order, or none. Durable on return.
    pub(super) fn commit(&self, ops: &[Op]) -> io::Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        let mut body = Vec::with_capacity(ops.iter().map(Op::weight).sum());
        let mut ends = Vec::with_capacity(ops.len());
        for op in ops {
            op.write(&mut body);
            ends.push(body.len());
        }
        let mut tail = self.tail();
        if self.abandoned.load(Ordering::SeqCst) {
            return Err(io::Error::other("the node was killed"));
        }
        if tail.is_full(body.len(), self.sizes) {
            self.rotate(&mut tail)?;
        }
        tail.reserve(body.len(), self.sizes)?;
        let begin = tail.write(&body)?;
        self.note(&tail, begin, ops, &ends);
        // Always, but for two known bugs: that one group at most is not durable is what `recover` goes by.
        if ops.iter().any(Op::must_sync) || ops.iter().all(Op::rides) {
            tail.file.sync_data()?;
        }
        Ok(())
    }

    /// Waits for a commit that is under way; from then on nothing is written: what is left is what a
    /// crash would leave.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        drop(self.tail());
    }

    /// Whether there are files of which nothing counts any more.
    pub(super) fn has_garbage(&self) -> bool {
        self.kept().not_needed().is_some()
    }

    /// Removes the files of which nothing counts any more.
    pub(super) fn reclaim(&self) -> io::Result<()> {
        let mut removed = false;
        loop {
            // Bound, so that the lock is not held while the disk works.
            let number = self.kept().not_needed();
            let Some(number) = number else { break };
            self.disk.remove(&file_name(number))?;
            self.kept().files.remove(&number);
            removed = true;
        }
        // Files that come back after a loss of power do no harm; that the directory shrinks does good.
        if removed {
            self.disk.sync_names()?;
        }
        Ok(())
    }

    /// The entries of a range up to `bytes_max`, at least one; all must be there.
    pub(super) fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, OpenLogError> {
        let mut entries = Vec::new();
        let (mut expected, mut bytes) = (range.start, 0usize);
        for run in self.runs(range, bytes_max)? {
            for record in run.records()? {
                let entry: Entry = codec::from_bytes(&record)?;
                let found = entry.log_id.index;
                if found != expected {
                    return Err(OpenLogError::Gap { expected, found });
                }
                bytes = bytes.saturating_add(cache::weight(&entry));
                if bytes > bytes_max && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(entry);
                expected += 1;
            }
        }
        Ok(entries)
    }

    /// Begins the next segment. It is durable before this one is sealed, and nothing is written to
    /// it before the seal is: an unused segment behind one without a seal is what a crash left.
    fn rotate(&self, tail: &mut Tail) -> io::Result<()> {
        let number = tail.number.checked_add(1);
        let number = number.ok_or_else(|| io::Error::other("the log has no more numbers"))?;
        let header = Header {
            number,
            before: tail.end_when_sealed(),
            reserved: 0,
            standing: self.standing(),
        };
        let next = Tail::create(&self.disk, self.claim.owner(), header, self.sizes)?;
        tail.seal()?;
        self.kept().files.insert(number, Arc::clone(&next.file));
        *tail = next;
        Ok(())
    }

    fn note(&self, tail: &Tail, begin: u64, ops: &[Op], ends: &[usize]) {
        let mut kept = self.kept();
        for (op, end) in ops.iter().zip(ends) {
            match op {
                Op::Append(id, record) => kept.append(*id, tail.place(begin, *end, record.len())),
                Op::Truncate(last) => kept.truncate(*last),
                Op::Purge(upto) => kept.purge(*upto),
                Op::Vote(vote) => kept.standing.vote = Some(*vote),
                Op::Committed(committed) => kept.standing.committed = *committed,
            }
        }
    }

    /// Where the records of a range stand, by what is read at once.
    fn runs(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Run>, OpenLogError> {
        let kept = self.kept();
        let found = kept.index.first();
        let places = kept.index.places(range.clone()).ok_or(OpenLogError::Gap {
            expected: range.start,
            found,
        })?;
        let (mut runs, mut bytes) = (Vec::<Run>::new(), 0usize);
        for place in places {
            if bytes > bytes_max {
                break;
            }
            bytes = bytes.saturating_add(place.length as usize);
            match runs.last_mut() {
                Some(run) if run.goes_on_with(&place) => run.places.push(place),
                _ => {
                    let file = kept.files.get(&place.segment);
                    let Some(file) = file.map(Arc::clone) else {
                        unreachable!("the files of all entries that count are open")
                    };
                    let places = vec![place];
                    runs.push(Run { file, places });
                }
            }
        }
        Ok(runs)
    }

    // A commit that panics poisons the log: nothing is written after it.
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Numbers that are valid at every step: a panic elsewhere does not spoil them.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The oldest segment, if no entry that counts is in it and it is not the one written to.
    fn not_needed(&self) -> Option<u32> {
        let (oldest, _) = self.files.first_key_value()?;
        let (newest, _) = self.files.last_key_value()?;
        let needed = self.index.first_segment().unwrap_or(*newest);
        (*oldest < needed).then_some(*oldest)
    }
}

/// Records of one file that stand close to each other, in order.
#[derive(Debug)]
struct Run {
    file: Arc<BlockFile>,
    places: Vec<Place>,
}

impl Run {
    fn goes_on_with(&self, place: &Place) -> bool {
        self.places.last().is_some_and(|last| {
            let end = last.offset + u64::from(last.length);
            last.segment == place.segment && place.offset.saturating_sub(end) <= GAP_BYTES_MAX
        })
    }

    fn records(&self) -> io::Result<Vec<Vec<u8>>> {
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else {
            return Ok(Vec::new());
        };
        let length = last.offset + u64::from(last.length) - first.offset;
        let mut bytes = vec![0; to_usize(length)?];
        self.file.read(first.offset, &mut bytes)?;
        let record = |place: &Place| {
            let from = to_usize(place.offset - first.offset)?;
            Ok(bytes[from..from + place.length as usize].to_vec())
        };
        self.places.iter().map(record).collect()
    }
}
