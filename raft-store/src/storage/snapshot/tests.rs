//! A snapshot arrives whole or not at all, and never takes back what only rises.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use openraft::{RaftSnapshotBuilder as _, StorageHelper};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::{AsyncRuntime as _, Rt};

use super::install::check_never_falls;
use super::piece::{Digest, Piece};
use super::*;
use crate::storage::rig::{Dice, Rig, claim, open_state, open_state_on, run};
use crate::storage::{LogOptions, LogStore, StateError, StateStore};
use crate::types::{
    CommittedLeader, Entry, EntryPayload, LogId, Snapshot, SnapshotMeta, TypeConfig,
};

async fn sender() -> Rig {
    let mut rig = Rig::new().await;
    for number in 1..8 {
        rig.some_work(number);
    }
    // Larger than an entry: travels with its detached body.
    rig.propose(vec![0; 100_000].into());
    rig
}

async fn pieces_of(store: &StateStore, first_entry: u64) -> Vec<Vec<u8>> {
    let Snapshot { snapshot, .. } = store.clone().build_snapshot().await.unwrap();
    let mut pieces = snapshot.into_pieces(first_entry);
    let mut all = Vec::new();
    while let Some(piece) = pieces.next_piece().unwrap() {
        all.push(piece);
    }
    all
}

fn receive(
    store: &StateStore,
    pieces: &[Vec<u8>],
) -> Result<(SnapshotMeta, SnapshotData), StateError> {
    let mut receiver = store.receive_snapshot()?;
    for piece in pieces {
        receiver.push(piece)?;
    }
    receiver.finish()
}

fn take(store: &StateStore, pieces: &[Vec<u8>]) -> Result<(), StateError> {
    let (meta, data) = receive(store, pieces)?;
    install(store, &meta, data)
}

#[test]
fn a_new_node_gets_the_state_and_the_whole_audit_log() {
    run(async {
        let mut from = sender().await;
        let pieces = pieces_of(&from.store, 0).await;
        let disk = SimDisk::new();
        let store = open_state(&disk).await.unwrap();
        take(&store, &pieces).unwrap();
        let position = from.store.position();
        assert_eq!(
            store.position(),
            crate::storage::Position {
                installs: 1,
                ..position
            }
        );
        let (ours, theirs) = (store.view().unwrap(), from.store.view().unwrap());
        assert_eq!(ours.head(), theirs.head());
        assert_eq!(
            ours.entries(0, usize::MAX).unwrap(),
            theirs.entries(0, usize::MAX).unwrap()
        );
        assert!(
            ours.entries(0, usize::MAX)
                .unwrap()
                .iter()
                .any(|entry| entry.detached.is_some())
        );
        // Durable on return, and both go on as one.
        disk.lose_power(&mut || 0);
        let store = open_state(&disk).await.unwrap();
        from.raise_floor(9);
        store.apply_for_test(from.history.last().unwrap());
        assert_eq!(store.position().chain, from.store.position().chain);
        assert_eq!(store.position().root, from.store.position().root);
        assert!(
            !disk
                .mount()
                .names()
                .unwrap()
                .iter()
                .any(|name| name.ends_with(".incoming"))
        );
    });
}

#[test]
fn a_node_that_lags_gets_only_the_entries_that_it_lacks() {
    run(async {
        let from = sender().await;
        let store = open_state(&SimDisk::new()).await.unwrap();
        for entry in &from.history[..6] {
            store.apply_for_test(entry);
        }
        let all: usize = pieces_of(&from.store, 0).await.iter().map(Vec::len).sum();
        let pieces = pieces_of(&from.store, store.position().entries).await;
        assert!(pieces.iter().map(Vec::len).sum::<usize>() < all);
        take(&store, &pieces).unwrap();
        assert_eq!(store.position().root, from.store.position().root);
        assert_eq!(
            store.view().unwrap().entries(0, usize::MAX).unwrap().len(),
            from.history.len()
        );
        // Entries that the node has already do no harm.
        let other = open_state(&SimDisk::new()).await.unwrap();
        other.apply_for_test(&from.history[0]);
        take(&other, &pieces_of(&from.store, 0).await).unwrap();
        assert_eq!(other.position().chain, from.store.position().chain);
    });
}

#[test]
fn whatever_is_wrong_with_the_pieces_the_node_keeps_what_it_had() {
    run(async {
        let from = sender().await;
        let pieces = pieces_of(&from.store, 0).await;
        let store = open_state(&SimDisk::new()).await.unwrap();
        store.apply_for_test(&from.history[0]);
        let before = store.position();
        let mut dice = Dice(1);
        for _ in 0..200 {
            let mut damaged = pieces.clone();
            let at = dice.below(pieces.len() as u64) as usize;
            let bit = dice.below(damaged[at].len() as u64 * 8) as usize;
            damaged[at][bit / 8] ^= 1 << (bit % 8);
            assert!(take(&store, &damaged).is_err(), "piece {at}, bit {bit}");
        }
        for at in 0..pieces.len() {
            let mut fewer = pieces.clone();
            fewer.remove(at);
            assert!(take(&store, &fewer).is_err(), "piece {at} is missing");
            let mut twice = pieces.clone();
            twice.insert(at, pieces[at].clone());
            assert!(take(&store, &twice).is_err(), "piece {at} comes twice");
        }
        for at in 1..pieces.len() {
            let mut swapped = pieces.clone();
            swapped.swap(at - 1, at);
            assert!(
                take(&store, &swapped).is_err(),
                "pieces {at} and the one before are swapped"
            );
        }
        assert_eq!(store.position(), before);
        take(&store, &pieces).unwrap();
    });
}

#[test]
fn a_node_on_another_fork_refuses() {
    run(async {
        let from = sender().await;
        let mut other = Rig::new().await;
        other.propose(b"a fork".to_vec().into());
        let before = other.store.position();
        let pieces = pieces_of(&from.store, before.entries).await;
        let refused = take(&other.store, &pieces).unwrap_err();
        assert!(refused.to_string().contains("forked"), "{refused}");
        assert_eq!(other.store.position(), before);
    });
}

#[test]
fn an_older_snapshot_never_takes_a_node_back() {
    run(async {
        let mut rig = sender().await;
        let older = pieces_of(&rig.store, 0).await;
        rig.raise_floor(8);
        let before = rig.store.position();
        assert!(take(&rig.store, &older).is_err());
        assert_eq!(rig.store.position(), before);
    });
}

#[test]
fn floors_and_epochs_may_not_fall_whatever_the_chain_says() {
    run(async {
        let mut rig = Rig::new().await;
        rig.some_work(3);
        let low = rig.store.read(Clone::clone);
        rig.raise_floor(7);
        let high = rig.store.read(Clone::clone);
        let refused = check_never_falls(&high, &low).unwrap_err().to_string();
        assert!(refused.contains("lower the floor"), "{refused}");
        check_never_falls(&low, &high).unwrap();
        let rotation = rig.fleet.rotation(&[1, 2, 3]);
        rig.ask(rotation);
        let rotated = rig.store.read(Clone::clone);
        assert!(
            rotated.keys().epoch > high.keys().epoch,
            "the rotation was refused"
        );
        let refused = check_never_falls(&rotated, &high).unwrap_err().to_string();
        assert!(refused.contains("key epoch"), "{refused}");
    });
}

#[test]
fn a_snapshot_covers_nothing_that_a_crash_can_take() {
    run(async {
        let mut rig = sender().await;
        let syncs = rig.disk.stats().syncs;
        let mut builder = rig.store.clone();
        let mut building = std::pin::pin!(builder.build_snapshot());
        let begun = futures::poll!(&mut building);
        while rig.disk.stats().syncs == syncs {
            Rt::sleep(Duration::from_millis(1)).await;
        }
        // openraft builds in a task of its own and applies on: here, as soon as the sync lets it.
        rig.some_work(9);
        let built = match begun {
            Poll::Ready(built) => built,
            Poll::Pending => building.await,
        };
        let covered = built.unwrap().meta.last_log_id;
        rig.disk.lose_power(&mut || 0);
        let left = open_state(&rig.disk).await.unwrap().position().applied;
        assert!(
            left >= covered,
            "the log is purged up to {covered:?}, the state came back as of {left:?}"
        );
    });
}

/// The pieces with a change, and hashes and digest that fit it: what a node that lies would send.
fn forged(pieces: &[Vec<u8>], change: impl Fn(&Bytes, &mut Option<Bytes>)) -> Vec<Vec<u8>> {
    let mut digest = Digest::default();
    let forge = |bytes: &Vec<u8>| {
        let bytes = match Piece::from_bytes(bytes).unwrap() {
            Piece::Entries(mut entries) => {
                for (entry, detached) in &mut entries {
                    change(entry, detached);
                }
                Piece::Entries(entries).to_bytes()
            }
            Piece::End { .. } => digest.end().to_bytes(),
            other => other.to_bytes(),
        };
        digest.add(&bytes);
        bytes
    };
    pieces.iter().map(forge).collect()
}

#[test]
fn only_the_detached_body_that_an_entry_names_is_taken() {
    run(async {
        let from = sender().await;
        let pieces = pieces_of(&from.store, 0).await;
        let store = open_state(&SimDisk::new()).await.unwrap();
        let before = store.position();
        let flipped = forged(&pieces, |_, detached| {
            if let Some(file) = detached {
                let mut bytes = file.to_vec();
                bytes[50_000] ^= 1;
                *file = bytes.into();
            }
        });
        let file = from.store.view().unwrap().entries(0, usize::MAX).unwrap();
        let file = file.into_iter().find_map(|entry| entry.detached);
        let everywhere = forged(&pieces, |_, detached| detached.clone_from(&file));
        for wrong in [flipped, everywhere] {
            let refused = take(&store, &wrong).unwrap_err().to_string();
            assert!(refused.contains("detached body"), "{refused}");
            assert_eq!(store.position(), before);
        }
        // One that was erased is not missed.
        take(&store, &forged(&pieces, |_, detached| *detached = None)).unwrap();
        assert_eq!(store.position().root, from.store.position().root);
    });
}

#[test]
fn after_a_crash_the_log_does_not_contradict_the_snapshot_that_replaced_it() {
    const OPTIONS: LogOptions = LogOptions {
        cache_bytes_max: 1 << 20,
        message_bytes_max: 1 << 20,
        segment_bytes: 64 << 10,
    };
    run(async {
        let pieces = pieces_of(&sender().await.store, 0).await;
        let disk = SimDisk::new();
        let mount: Arc<dyn Disk> = Arc::new(disk.mount());
        let mut log = LogStore::open(Arc::clone(&mount), &claim(), OPTIONS)
            .await
            .unwrap();
        let store = open_state_on(mount).await.unwrap();
        // What an older leader wrote beyond the snapshot's end, and never committed.
        let uncommitted = |index| Entry {
            log_id: LogId {
                leader_id: CommittedLeader { term: 0 },
                index,
            },
            payload: EntryPayload::Blank,
        };
        let (done, flushed) = TypeConfig::oneshot();
        let flushing = log.append((0..90).map(uncommitted), IOFlushed::signal(done));
        flushing.await.unwrap();
        flushed.await.unwrap().unwrap();
        // The log's file is slow to sync, the state's is not.
        disk.set_sync_delay(Duration::from_millis(200));
        log.truncate_after(None).await.unwrap();
        take(&store, &pieces).unwrap();
        disk.lose_power(&mut || 0);

        let mount: Arc<dyn Disk> = Arc::new(disk.mount());
        let mut log = LogStore::open(Arc::clone(&mount), &claim(), OPTIONS)
            .await
            .unwrap();
        let mut store = open_state_on(mount).await.unwrap();
        let mut node = StorageHelper::new(&mut log, &mut store).with_id(1);
        let started = node.get_initial_state().await;
        assert!(started.is_ok(), "{:?}", started.err());
    });
}

#[test]
fn a_crash_during_the_install_leaves_the_old_state_or_the_new() {
    let (pieces, first, done) = run(async {
        let from = sender().await;
        let pieces = pieces_of(&from.store, 0).await;
        (pieces, from.history[0].clone(), from.store.position().chain)
    });
    let (mut old, mut new) = (0, 0);
    for seed in 0..80 {
        run(async {
            let mut dice = Dice(seed);
            let disk = SimDisk::new();
            let store = open_state(&disk).await.unwrap();
            store.apply_for_test(&first);
            store.flush().await.unwrap();
            let before = store.position().chain;
            let (meta, data) = receive(&store, &pieces).unwrap();
            disk.fail_power_after(dice.below(200));
            let _ = install(&store, &meta, data);
            disk.lose_power(&mut || dice.roll());
            let chain = open_state(&disk).await.unwrap().position().chain;
            old += u32::from(chain == before);
            new += u32::from(chain == done);
        });
    }
    assert_eq!(old + new, 80, "something between the two came back");
    assert!(
        old > 5 && new > 5,
        "{old} old and {new} new: the crashes miss the install"
    );
}
