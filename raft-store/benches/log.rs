//! What a commit of Raft's log costs, and what the disk under it does.
//!
//! `cargo bench -p tidegate-raft-store --bench log [-- <rounds>]` appends groups of 1, 64 and 1,024
//! entries of 282 bytes, each as one request that is waited for, to the log and to a plain file that is
//! synced each time, in turns of 50 commits. Files are made below the directory named by
//! `TMPDIR`, which should be on a real disk.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use redb::StorageBackend;
use tidegate_raft_store::storage::{Claim, DirectoryId, Identity, LogOptions, LogStore, Owner};
use tidegate_raft_store::{CommittedLeader, Entry, EntryPayload, LogId, Proposal, TypeConfig};
use tidegate_runtime::disk::{BlockFile, DirDisk, Disk};
use tidegate_runtime::{AsyncRuntime as _, Rt};

const COMMAND_BYTES: usize = 282;
const TURN: usize = 50;

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    let rounds = rounds.unwrap_or(12);
    println!(
        "entries of {COMMAND_BYTES} bytes, {} commits of each size",
        rounds * TURN
    );
    println!(
        "{:<12} {:>6} {:>9} {:>9} {:>9} {:>12} {:>7} {:>6}",
        "", "group", "p50 µs", "p99 µs", "mean µs", "B/commit", "writes", "syncs"
    );
    Rt::new(2).block_on(async {
        for group in [1, 64, 1_024] {
            let (mut log, mut floor) = (Subject::open().await, Floor::open());
            for _ in 0..rounds {
                log.turn(group).await;
                floor.turn(group);
            }
            log.print(group);
            floor.print(group);
        }
    });
}

/// One log, and what its commits cost.
struct Subject {
    _folder: tempfile::TempDir,
    log: LogStore,
    counts: Arc<Counts>,
    before: [u64; 3],
    next: u64,
    taken: Vec<Duration>,
}

impl Subject {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let counts = Arc::new(Counts::default());
        let disk = Counted {
            disk: DirDisk::open(folder.path()).unwrap(),
            counts: Arc::clone(&counts),
        };
        let identity = Identity {
            origin: "bench.example/fleet".to_owned(),
            incarnation: 1,
            node: 1,
        };
        let directory = DirectoryId([7; 16]);
        let claim = Claim::New(Owner {
            identity,
            directory,
        });
        let log = LogStore::open(Arc::new(disk), &claim, LogOptions::default()).await;
        let log = log.unwrap();
        let before = counts.now();
        Self {
            _folder: folder,
            log,
            counts,
            before,
            next: 0,
            taken: Vec::new(),
        }
    }

    async fn turn(&mut self, group: u64) {
        for _ in 0..TURN {
            let entries: Vec<_> = (self.next..self.next + group).map(entry).collect();
            self.next += group;
            let begin = Instant::now();
            let (done, flushed) = TypeConfig::oneshot();
            let flushing = self.log.append(entries, IOFlushed::signal(done));
            flushing.await.unwrap();
            flushed.await.unwrap().unwrap();
            self.taken.push(begin.elapsed());
        }
    }

    fn print(self, group: u64) {
        let commits = self.taken.len() as f64;
        let now = self.counts.now();
        let each = |n: usize| (now[n] - self.before[n]) as f64 / commits;
        print!("{}", line("log", group, self.taken));
        println!(" {:>12.0} {:>7.2} {:>6.2}", each(0), each(1), each(2));
    }
}

/// A file to which the entries' bytes are appended and synced, and nothing else.
struct Floor {
    _folder: tempfile::TempDir,
    file: File,
    taken: Vec<Duration>,
}

impl Floor {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            file: File::create(folder.path().join("floor")).unwrap(),
            _folder: folder,
            taken: Vec::new(),
        }
    }

    fn turn(&mut self, group: u64) {
        let bytes = vec![7; COMMAND_BYTES * usize::try_from(group).unwrap()];
        for _ in 0..TURN {
            let begin = Instant::now();
            self.file.write_all(&bytes).unwrap();
            self.file.sync_data().unwrap();
            self.taken.push(begin.elapsed());
        }
    }

    fn print(self, group: u64) {
        let bytes = COMMAND_BYTES as u64 * group;
        print!("{}", line("plain file", group, self.taken));
        println!(" {bytes:>12} {:>7.2} {:>6.2}", 1.0, 1.0);
    }
}

fn line(name: &str, group: u64, mut taken: Vec<Duration>) -> String {
    taken.sort_unstable();
    let us = |at: usize| taken[at].as_secs_f64() * 1e6;
    let mean = taken.iter().sum::<Duration>().as_secs_f64() * 1e6 / taken.len() as f64;
    format!(
        "{name:<12} {group:>6} {:>9.0} {:>9.0} {mean:>9.0}",
        us(taken.len() / 2),
        us(taken.len() * 99 / 100)
    )
}

fn entry(index: u64) -> Entry {
    let leader_id = CommittedLeader { term: 1 };
    Entry {
        log_id: LogId { leader_id, index },
        payload: EntryPayload::Normal(Proposal {
            stamp_ms: 1_800_000_000_000 + index,
            command: Bytes::from(vec![index as u8; COMMAND_BYTES]).into(),
        }),
    }
}

/// What was asked of a disk: bytes written, writes, syncs.
#[derive(Debug, Default)]
struct Counts([AtomicU64; 3]);

impl Counts {
    fn add(&self, n: usize, count: u64) {
        self.0[n].fetch_add(count, Ordering::Relaxed);
    }

    fn now(&self) -> [u64; 3] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// A directory whose writes and syncs are counted.
#[derive(Debug)]
struct Counted {
    disk: DirDisk,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct CountedFile {
    file: BlockFile,
    counts: Arc<Counts>,
}

impl StorageBackend for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counts.add(2, 1);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.counts.add(0, data.len() as u64);
        self.counts.add(1, 1);
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

impl Disk for Counted {
    fn open(&self, name: &str) -> io::Result<BlockFile> {
        Ok(BlockFile::new(CountedFile {
            file: self.disk.open(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.replace(name, bytes)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.counts.add(2, 1);
        self.disk.sync_names()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}
