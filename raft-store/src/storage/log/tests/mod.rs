//! What the log promises, on a disk that crashes, lies, fills up and fails.

mod crash;
mod damage;

use std::ops::Range;

use super::*;
use crate::storage::rig::{Dice, Numbers, claim, run};
use crate::storage::{Identity, STATE_FILE};
use crate::types::{CommittedLeader, EntryPayload, Proposal};
use bytes::Bytes;
use futures::TryStreamExt as _;
use openraft::RaftLogReader as _;
use openraft::impls::leader_id_std::LeaderId;
use openraft::type_config::TypeConfigExt as _;
use tidegate_runtime::disk::SimDisk;

const OPTIONS: LogOptions = LogOptions {
    cache_bytes_max: 4_096,
    message_bytes_max: 2_048,
    segment_bytes: 16 << 10,
};

fn log_id(index: u64) -> LogId {
    LogId {
        leader_id: CommittedLeader { term: 1 },
        index,
    }
}

/// An entry whose content says which it is.
fn entry(index: u64, bytes: usize) -> Entry {
    let command = Bytes::from(vec![index as u8; bytes]).into();
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(Proposal {
            stamp_ms: index,
            command,
        }),
    }
}

async fn open(disk: &SimDisk) -> Result<LogStore, OpenLogError> {
    LogStore::open(Arc::new(disk.mount()), &returning(), OPTIONS).await
}

/// A directory in which nothing may be missing.
fn returning() -> Claim {
    Claim::Returning(claim().owner().clone())
}

/// As a node starts: an interrupted first start begins again.
async fn start(disk: &SimDisk) -> Result<LogStore, Box<dyn std::error::Error>> {
    let mount = Arc::new(disk.mount());
    let identity = Identity {
        origin: "t.example/log".to_owned(),
        incarnation: 1,
        node: 1,
    };
    let claim = identity.claim(mount.as_ref(), &Numbers::default())?;
    let log = LogStore::open(Arc::clone(&mount) as Arc<dyn Disk>, &claim, OPTIONS).await?;
    mount.open(STATE_FILE)?;
    claim.mark_joined(mount.as_ref())?;
    Ok(log)
}

/// Appends and waits until it is durable.
async fn append(log: &mut LogStore, entries: Vec<Entry>) -> io::Result<()> {
    let (done, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    flushed.await.map_err(io::Error::other)?
}

async fn indices(log: &mut LogStore, range: Range<u64>) -> Vec<u64> {
    let entries = log.try_get_log_entries(range).await.unwrap();
    for found in &entries {
        let EntryPayload::Normal(Proposal { stamp_ms, command }) = &found.payload else {
            panic!("{found:?}")
        };
        assert_eq!(*stamp_ms, found.log_id.index);
        assert!(
            command
                .bytes()
                .iter()
                .all(|byte| *byte == found.log_id.index as u8)
        );
    }
    entries.iter().map(|entry| entry.log_id.index).collect()
}

struct Tally {
    crashes: u64,
    lost: u64,
    refused: u64,
}

/// Appends, crashes at random points (recovery included) and looks what came back.
fn campaign(seeds: Range<u64>, lying: bool) -> Tally {
    let mut tally = Tally {
        crashes: 0,
        lost: 0,
        refused: 0,
    };
    for seed in seeds {
        run(async {
            let mut dice = Dice(seed);
            let disk = SimDisk::new();
            let (mut acked, mut attempted) = (0, 0);
            for _cycle in 0..5 {
                let crash_in_recovery = dice.below(4) == 0;
                disk.set_lying(false);
                disk.fail_power_after(if crash_in_recovery {
                    dice.below(12)
                } else {
                    u64::MAX
                });
                let mut log = match start(&disk).await {
                    Ok(log) => log,
                    Err(error) if error.to_string().contains("power lost") => {
                        tally.crashes += 1;
                        disk.lose_power(&mut || dice.roll());
                        continue;
                    }
                    Err(_) => {
                        tally.refused += 1;
                        return;
                    }
                };
                let found = indices(&mut log, 0..u64::MAX).await;
                assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?}");
                let found = found.len() as u64;
                assert!(found <= attempted, "an entry from nowhere");
                if found < acked {
                    tally.lost += 1;
                    return;
                }
                (acked, attempted) = (found, found);
                disk.set_lying(lying);
                if !crash_in_recovery {
                    disk.fail_power_after(dice.below(50));
                }
                loop {
                    let group = 1 + dice.below(6);
                    let sizes = (attempted..attempted + group)
                        .map(|i| entry(i, dice.below(2_000) as usize));
                    let group: Vec<_> = sizes.collect();
                    attempted += group.len() as u64;
                    match append(&mut log, group).await {
                        Ok(()) => acked = attempted,
                        Err(_) => break,
                    }
                    if acked > 300 {
                        break;
                    }
                }
                tally.crashes += 1;
                disk.lose_power(&mut || dice.roll());
            }
        });
    }
    tally
}

#[test]
fn no_acknowledged_entry_is_lost_in_any_crash() {
    let Tally {
        crashes,
        lost,
        refused,
    } = campaign(0..150, false);
    assert!(crashes > 500, "only {crashes} crashes happened");
    assert_eq!((lost, refused), (0, 0), "after {crashes} crashes");
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught() {
    let Tally { lost, refused, .. } = campaign(0..40, true);
    assert!(lost + refused > 0, "the campaign could not notice a loss");
}

#[test]
fn a_directory_is_marked_also_when_its_log_is_closed_already() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&disk).await.unwrap();
        log.clone().close().await.unwrap();
        log.distrust("an entry is gone".to_owned()).await.unwrap();
        let marked = unsound::found(&disk.mount()).unwrap();
        assert_eq!(marked.as_deref(), Some("an entry is gone"));
    });
}

#[test]
fn a_failed_sync_poisons_the_log_for_good() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, vec![entry(0, 10)]).await.unwrap();
        disk.fail_sync_after(0);
        assert!(append(&mut log, vec![entry(1, 10)]).await.is_err());
        assert!(log.poisoned().is_some());
        assert!(
            append(&mut log, vec![entry(2, 10)]).await.is_err(),
            "nothing is retried"
        );
        let leader_id = LeaderId {
            term: 2,
            voted_for: 1,
        };
        assert!(
            log.save_vote(&Vote {
                leader_id,
                committed: false
            })
            .await
            .is_err()
        );
        disk.lose_power(&mut || 1);
        let mut log = open(&disk).await.unwrap();
        assert_eq!(indices(&mut log, 0..9).await, [0]);
    });
}

#[test]
fn a_full_disk_is_named_and_what_was_acknowledged_stays_readable() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, vec![entry(0, 10)]).await.unwrap();
        disk.set_capacity(Some(disk.stats().bytes));
        let mut next = 1;
        while append(&mut log, vec![entry(next, 60_000)]).await.is_ok() {
            next += 1;
        }
        let reason = log.poisoned().unwrap().reason;
        assert!(reason.contains("disk is full"), "{reason}");
        assert_eq!(indices(&mut log, 0..1).await, [0]);
        drop(log);
        disk.kill();
        disk.set_capacity(None);
        let mut log = open(&disk).await.unwrap();
        assert_eq!(
            indices(&mut log, 0..u64::MAX).await,
            (0..next).collect::<Vec<_>>()
        );
    });
}

#[test]
fn entries_that_left_the_cache_are_read_from_the_disk() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        for index in 0..64 {
            append(&mut log, vec![entry(index, 300)]).await.unwrap();
        }
        assert!(
            log.shared.view().cache.first() > 40,
            "the cache holds more than it may"
        );
        assert_eq!(indices(&mut log, 0..64).await, (0..64).collect::<Vec<_>>());
        assert_eq!(indices(&mut log, 60..64).await, [60, 61, 62, 63]);
        let limited = log.limited_get_log_entries(3, 64).await.unwrap();
        assert_eq!((limited[0].log_id.index, limited.len()), (3, 5));
        let stream = log
            .entries_stream(10..50)
            .await
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        assert!(stream.iter().map(|entry| entry.log_id.index).eq(10..50));
    });
}

#[test]
fn truncated_and_purged_entries_stay_away() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, (0..20).map(|index| entry(index, 300)).collect())
            .await
            .unwrap();
        log.truncate_after(Some(log_id(9))).await.unwrap();
        assert_eq!(indices(&mut log, 0..99).await.len(), 10);
        append(&mut log, vec![entry(10, 5)]).await.unwrap();
        log.purge(log_id(4)).await.unwrap();
        let expected: Vec<u64> = (5..=10).collect();
        assert_eq!(indices(&mut log, 0..99).await, expected);
        log.clone().close().await.unwrap();
        assert!(
            append(&mut log, vec![entry(11, 5)]).await.is_err(),
            "the log is closed"
        );
        let mut log = open(&disk).await.unwrap();
        assert_eq!(indices(&mut log, 0..99).await, expected);
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(4)));
        assert_eq!(state.last_log_id, Some(log_id(10)));
    });
}

/// A leader that still reads for a follower what was purged meanwhile must not send the rest as if
/// nothing lay between: the follower's log would have a hole.
#[test]
fn a_piece_of_the_log_begins_where_it_was_asked_for_or_is_empty() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, (0..20).map(|index| entry(index, 5)).collect())
            .await
            .unwrap();
        log.purge(log_id(9)).await.unwrap();
        let from = async |log: &mut LogStore, start| {
            let piece = log.limited_get_log_entries(start, 20).await.unwrap();
            piece.first().map(|entry| entry.log_id.index)
        };
        assert_eq!(from(&mut log, 10).await, Some(10));
        assert_eq!(from(&mut log, 6).await, None);
    });
}

#[test]
fn the_vote_is_durable_before_it_is_answered() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        let vote = Vote {
            leader_id: LeaderId {
                term: 7,
                voted_for: 3,
            },
            committed: false,
        };
        log.save_vote(&vote).await.unwrap();
        disk.lose_power(&mut || 0);
        let mut log = open(&disk).await.unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    });
}
