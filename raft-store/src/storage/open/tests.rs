//! What somebody may do to the files of a data directory while its node is down: each is refused with
//! what to do, or changes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use openraft::RaftSnapshotBuilder as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use tidegate_runtime::SystemClock;
use tidegate_runtime::disk::SimDisk;

use super::*;
use crate::storage::rig::{Numbers, log_id, run, vote};
use crate::storage::{IDENTITY_FILE, Position, STATE_FILE};
use crate::types::{Entry, EntryPayload, LogId, Proposal, TypeConfig, Vote};

/// The one file of a log that is not long.
const LOG_FILE: &str = "log-00000001";
/// Bytes of a page: what file systems lose as a whole.
const PAGE: usize = 4_096;

/// The names and bytes of a directory.
type Files = BTreeMap<String, Vec<u8>>;
type Opened = Result<(LogStore, StateStore), StorageError>;

/// What a node finds when it starts.
#[derive(Debug, PartialEq)]
struct Found {
    vote: Option<Vote>,
    last: Option<LogId>,
    position: Position,
}

fn identity(node: u64) -> Identity {
    Identity {
        origin: "a.example/fleet".to_owned(),
        incarnation: 1,
        node,
    }
}

async fn open_node(node: u64, disk: &SimDisk, numbers: &Arc<Numbers>) -> Opened {
    let host = Host {
        disk: Arc::new(disk.mount()),
        clock: Arc::new(SystemClock),
        entropy: Arc::clone(numbers) as _,
    };
    let log = LogOptions {
        cache_bytes_max: 4_096,
        message_bytes_max: 2_048,
        segment_bytes: 1 << 20,
    };
    let state = StateOptions {
        page_cache_bytes: 1 << 20,
        unsynced_bytes_max: 1 << 30,
        feed_bytes_max: 4_096,
    };
    open(&identity(node), &host, (log, state)).await
}

/// A node opened on files as somebody left them.
async fn open_on(files: &Files) -> Opened {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    open_node(1, &disk, &Arc::default()).await
}

async fn found((log, state): (LogStore, StateStore)) -> Found {
    let found = Found {
        vote: log.vote(),
        last: log.last(),
        position: state.position(),
    };
    abandon(log, state).await;
    found
}

/// Appends entries with these indices and applies them.
async fn work((log, state): (&mut LogStore, &StateStore), indices: std::ops::Range<u64>) {
    for index in indices {
        let command = Bytes::from(vec![u8::try_from(index % 251).unwrap(); 3_000]);
        let entry = Entry {
            log_id: log_id(index),
            payload: EntryPayload::Normal(Proposal {
                stamp_ms: index,
                command: command.into(),
            }),
        };
        let (done, flushed) = TypeConfig::oneshot();
        log.append([entry.clone()], IOFlushed::signal(done))
            .await
            .unwrap();
        flushed.await.unwrap().unwrap();
        state.apply_for_test(&entry);
    }
}

/// The files of a node that has voted, worked, and dropped the beginning of its log; as it was in the
/// middle, and at the end.
async fn lived_in(node: u64, numbers: &Arc<Numbers>) -> (Files, Files) {
    let disk = SimDisk::new();
    let (mut log, mut state) = open_node(node, &disk, numbers).await.unwrap();
    log.save_vote(&vote(1)).await.unwrap();
    work((&mut log, &state), 0..8).await;
    state.build_snapshot().await.unwrap();
    state.close().await.unwrap();
    log.close().await.unwrap();
    let middle = disk.copy();

    let (mut log, mut state) = open_node(node, &disk, numbers).await.unwrap();
    work((&mut log, &state), 8..30).await;
    state.build_snapshot().await.unwrap();
    log.purge(log_id(20)).await.unwrap();
    log.save_vote(&vote(1)).await.unwrap();
    state.close().await.unwrap();
    log.close().await.unwrap();
    (middle, disk.copy())
}

fn check_refused(opened: Opened, says: &str) {
    let refused = opened.map(drop).expect_err(says).to_string();
    assert!(refused.contains(says), "{refused:?} does not say {says:?}");
    let advice = refused.contains("under a new number");
    assert!(advice, "{refused:?} does not say what to do");
}

#[test]
fn a_file_that_was_shortened_is_refused_or_nothing_is_missing() {
    run(async {
        let (_, files) = lived_in(1, &Arc::default()).await;
        let whole = found(open_on(&files).await.unwrap()).await;
        assert_eq!(whole.last, Some(log_id(29)));
        let (mut refused, mut harmless) = (0, 0);
        for name in [IDENTITY_FILE, LOG_FILE, STATE_FILE] {
            for len in (0..files[name].len()).step_by(PAGE) {
                let mut cut = files.clone();
                cut.get_mut(name).unwrap().truncate(len);
                match open_on(&cut).await {
                    Ok(opened) => {
                        assert_eq!(found(opened).await, whole, "{name} of {len} bytes");
                        harmless += 1;
                    }
                    Err(error) => {
                        let said = error.to_string();
                        let advice = said.contains("under a new number");
                        assert!(advice, "{name} of {len} bytes: {said}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 10, "{refused} refused, {harmless} harmless");
    });
}

#[test]
fn a_file_that_was_emptied_is_refused_by_name() {
    run(async {
        let (_, files) = lived_in(1, &Arc::default()).await;
        for (name, says) in [
            (IDENTITY_FILE, "the identity file is damaged: it is empty"),
            (
                LOG_FILE,
                "node 1 joined the cluster before but log-00000001 is empty",
            ),
            (
                STATE_FILE,
                "node 1 joined the cluster before but state.redb is empty",
            ),
        ] {
            let mut emptied = files.clone();
            emptied.get_mut(name).unwrap().clear();
            check_refused(open_on(&emptied).await, says);
        }
    });
}

#[test]
fn a_file_of_another_node_or_of_another_directory_is_refused() {
    run(async {
        let numbers = Arc::default();
        let (_, files) = lived_in(1, &numbers).await;
        let (_, of_node_2) = lived_in(2, &numbers).await;
        let (_, of_before) = lived_in(1, &numbers).await;
        for name in [LOG_FILE, STATE_FILE] {
            for (other, says) in [
                (&of_node_2, "belongs to node 2 of \"a.example/fleet\""),
                (&of_before, "belongs to node 1 of \"a.example/fleet\""),
            ] {
                let mut swapped = files.clone();
                swapped.insert(name.to_owned(), other[name].clone());
                check_refused(open_on(&swapped).await, &format!("{name} {says}"));
            }
        }
        let mut swapped = files.clone();
        swapped.insert(IDENTITY_FILE.to_owned(), of_before[IDENTITY_FILE].clone());
        check_refused(open_on(&swapped).await, "log-00000001 belongs to node 1 of");
    });
}

#[test]
fn an_older_copy_of_one_file_is_refused() {
    run(async {
        let (middle, files) = lived_in(1, &Arc::default()).await;
        let with_old = |name: &str| {
            let mut mixed = files.clone();
            mixed.insert(name.to_owned(), middle[name].clone());
            mixed
        };
        let log = open_on(&with_old(LOG_FILE)).await;
        check_refused(
            log,
            "state.redb remembers that entry 29 of term 1 was committed",
        );
        let state = open_on(&with_old(STATE_FILE)).await;
        check_refused(
            state,
            "state.redb ends with entry 7 of term 1, and the log begins after",
        );
        // Two of one age are what the node was: nothing on this disk tells.
        let both = found(open_on(&middle).await.unwrap()).await;
        assert_eq!(both.last, Some(log_id(7)));
    });
}

/// Between the snapshot and the purge nothing is lost by an older state: the log leads it on.
#[test]
fn an_older_state_is_led_on_by_its_log() {
    run(async {
        let numbers = Arc::default();
        let disk = SimDisk::new();
        let (mut log, state) = open_node(1, &disk, &numbers).await.unwrap();
        work((&mut log, &state), 0..4).await;
        let old = disk.copy();
        work((&mut log, &state), 4..8).await;
        state.close().await.unwrap();
        log.close().await.unwrap();
        let mut files = disk.copy();
        files.insert(STATE_FILE.to_owned(), old[STATE_FILE].clone());
        let mixed = found(open_on(&files).await.unwrap()).await;
        assert_eq!(mixed.last, Some(log_id(7)));
        assert!(mixed.position.entries < 8, "{:?}", mixed.position);
    });
}

/// A purge is not synced by itself. After a snapshot that is ahead of the log it is all that the log
/// has to show for the entries before it, so the state must not count on it.
#[test]
fn a_snapshot_ahead_of_the_log_survives_a_purge_that_was_lost() {
    run(async {
        let disk = SimDisk::new();
        let (mut log, mut state) = open_node(1, &disk, &Arc::default()).await.unwrap();
        work((&mut log, &state), 0..4).await;
        for index in 4..20 {
            state.apply_for_test(&Entry {
                log_id: log_id(index),
                payload: EntryPayload::Blank,
            });
        }
        state.build_snapshot().await.unwrap();
        log.purge(log_id(19)).await.unwrap();
        state.build_snapshot().await.unwrap();
        let crashed = found(open_on(&disk.copy()).await.unwrap()).await;
        assert_eq!(crashed.last, Some(log_id(3)));
        assert_eq!(crashed.position.applied, Some(log_id(19)));
        abandon(log, state).await;
    });
}
