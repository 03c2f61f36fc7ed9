//! A log larger than the memory that verifying it takes. The entries never exist all at once:
//! the directory makes each file when it is opened, a part at a time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use support::{ORIGIN, log_key};
use tidegate_audit_log::directory::{Directory, Listed};
use tidegate_audit_log::entry::ENTRY_BYTES_MAX;
use tidegate_audit_log::note::KeyName;
use tidegate_audit_log::tiles::{BundleId, TileId, tiles_at_level};
use tidegate_audit_log::verify::{AnyDeterministic, Options};
use tidegate_audit_log::{
    Checkpoint, Kind, LogHead, NewEntry, NodeHash, Policy, SignedCheckpoint, verify,
};

const SIZE: u64 = 50_000;
const ENTRY_BYTES: u64 = 8 * 1024;
/// 400 MB of entries.
const LOG_BYTES: u64 = SIZE * ENTRY_BYTES;
/// What a verifier may hold at once: a buffer of two largest entries, and a tile of each level.
const BUFFERED_BYTES_MAX: usize = 2 * (ENTRY_BYTES_MAX + 1) + 8 * 8192;
/// What the process may grow by at most, page tables and all: a thirtieth of the log.
const RESIDENT_GROWTH_KB_MAX: u64 = 13_000;

/// Makes the entries of bundles in order; keeps one bundle's leaves, and tiles of upper levels.
struct Generated {
    /// The log up to the bundle that is to be opened next.
    head: RefCell<LogHead>,
    bundle: RefCell<Vec<u8>>,
    level_0: Vec<NodeHash>,
    upper: Vec<Vec<NodeHash>>,
    checkpoint: String,
    longest_read: Cell<usize>,
    open_files: Cell<usize>,
    bytes_read: Cell<u64>,
}

fn append(head: &mut LogHead, nodes: &mut dyn FnMut(u8, &NodeHash)) -> Vec<u8> {
    let content = usize::try_from(ENTRY_BYTES).unwrap() - 72 - 5;
    let mut body = vec![0xa1, 0x01, 0x59];
    body.extend_from_slice(&u16::try_from(content).unwrap().to_be_bytes());
    body.resize(5 + content, head.size().to_le_bytes()[0]);
    let t_ms = head.size();
    let new = NewEntry {
        detached: false,
        kind: Kind(1),
        raft_term: 1,
        t_ms,
        key_epoch: 1,
        body: &body,
    };
    head.append(&new, |id, hash| nodes(id.level, hash))
        .unwrap()
        .entry
}

impl Generated {
    fn new() -> Self {
        let mut head = LogHead::genesis(ORIGIN);
        let mut levels = vec![Vec::new(); 3];
        for _ in 0..SIZE {
            append(&mut head, &mut |level, hash| {
                if level % 8 == 0 {
                    levels[usize::from(level / 8)].push(*hash);
                }
            });
        }
        let origin = KeyName::new(ORIGIN).unwrap();
        let claim = Checkpoint {
            origin,
            size: SIZE,
            root: head.root(),
        };
        let mut signed = SignedCheckpoint::unsigned(claim);
        signed.sign(&log_key(), 0).unwrap();
        Self {
            head: RefCell::new(LogHead::genesis(ORIGIN)),
            bundle: RefCell::default(),
            level_0: levels.remove(0),
            upper: levels,
            checkpoint: signed.to_string(),
            longest_read: Cell::new(0),
            open_files: Cell::new(0),
            bytes_read: Cell::new(0),
        }
    }

    fn tile(&self, path: &str) -> Option<Vec<u8>> {
        for (level, hashes) in (0u8..).zip(std::iter::once(&self.level_0).chain(&self.upper)) {
            let tiles = tiles_at_level(SIZE, level);
            for index in 0..tiles.count() {
                let width = tiles.width(index).unwrap();
                if (TileId {
                    level,
                    index,
                    width,
                })
                .path()
                    == path
                {
                    let start = usize::try_from(256 * index).unwrap();
                    let run = &hashes[start..start + usize::from(width)];
                    return Some(run.iter().flat_map(|hash| hash.0).collect());
                }
            }
        }
        None
    }

    /// Makes the next bundle, which must be the one that is asked for.
    fn next_bundle(&self, path: &str) -> Vec<u8> {
        let mut head = self.head.borrow_mut();
        let index = head.size() / 256;
        let width = tiles_at_level(SIZE, 0).width(index).unwrap();
        assert_eq!(
            path,
            BundleId { index, width }.path(),
            "bundles are read once, in order"
        );
        let mut bundle = std::mem::take(&mut *self.bundle.borrow_mut());
        bundle.clear();
        for _ in 0..width {
            let entry = append(&mut head, &mut |_, _| ());
            bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap().to_be_bytes());
            bundle.extend_from_slice(&entry);
        }
        bundle
    }
}

impl Directory for Generated {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        let bytes = match path {
            "checkpoint" => self.checkpoint.clone().into_bytes(),
            "log.vkey" => log_key().verifier().to_string().into_bytes(),
            _ if path.starts_with("tile/entries/") => self.next_bundle(path),
            _ => match self.tile(path) {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        self.open_files.set(self.open_files.get() + 1);
        assert!(self.open_files.get() <= 1, "one file is open at a time");
        Ok(Some(Box::new(Metered {
            of: self,
            bytes,
            at: 0,
        })))
    }

    fn list(&self, _: &str) -> io::Result<Vec<Listed>> {
        Ok(Vec::new())
    }
}

/// A file that notes how much is asked of it at once.
struct Metered<'a> {
    of: &'a Generated,
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.of
            .longest_read
            .set(self.of.longest_read.get().max(buffer.len()));
        let read = (&self.bytes[self.at..]).read(buffer)?;
        self.at += read;
        self.of
            .bytes_read
            .set(self.of.bytes_read.get() + u64::try_from(read).unwrap());
        Ok(read)
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        self.of.open_files.set(self.of.open_files.get() - 1);
        // The next bundle reuses the room of this one.
        *self.of.bundle.borrow_mut() = std::mem::take(&mut self.bytes);
    }
}

/// The most memory that this process ever had, in KiB; `None` where the system does not say.
fn resident_peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn verifying_takes_the_same_memory_however_long_the_log() {
    let directory = Generated::new();
    let policy = Policy::log_only(log_key().verifier().clone()).unwrap();
    let options = Options {
        policy: Some(&policy),
        ..Options::default()
    };
    let before = resident_peak_kb();
    let report = verify(&directory, &options, &mut AnyDeterministic).unwrap();
    assert_eq!(report.first_bad, None);
    assert!(report.ok && report.authentic && report.entries == SIZE);
    assert!(
        directory.bytes_read.get() > LOG_BYTES,
        "every byte of every entry was read"
    );
    let longest = directory.longest_read.get();
    assert!(
        longest <= BUFFERED_BYTES_MAX,
        "{longest} bytes were asked for at once"
    );
    if let (Some(before), Some(after)) = (before, resident_peak_kb()) {
        let growth = after - before;
        assert!(
            growth < RESIDENT_GROWTH_KB_MAX,
            "the process grew by {growth} KiB"
        );
    }
}
