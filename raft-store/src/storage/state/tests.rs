//! What the state promises: one chain, the same bytes after every crash, and nothing damaged used.

use bytes::Bytes;
use tidegate_audit_log::ChainHash;
use tidegate_audit_log::tree::{TileHashes, inclusion_proof, verify_inclusion};
use tidegate_domain::evolve::evolve;
use tidegate_domain::testing::Fleet;
use tidegate_domain::{Event, Outcome, Rejection, canonical};
use tidegate_runtime::disk::SimDisk;

use super::*;
use crate::storage::audit_body::{Asked, KIND_MEMBERSHIP, KIND_UNREADABLE};
use crate::storage::rig::{Dice, Rig, assert_accepted, open_state, run};
use crate::types::{Applied, EntryPayload, Member, Membership};

fn membership() -> Membership {
    let member = Member {
        addr: "10.0.0.1:7000".to_owned(),
        region: "eu".to_owned(),
    };
    Membership::new(
        vec![[1].into()],
        std::collections::BTreeMap::from([(1, member)]),
    )
    .unwrap()
}

#[test]
fn every_command_and_membership_is_one_entry_of_one_chain() {
    run(async {
        let mut rig = Rig::unborn().await;
        assert_eq!(rig.apply(EntryPayload::Blank), Applied::Blank);
        rig.apply(EntryPayload::Membership(membership()));
        let ceremony = rig.fleet.rotation(&[0, 1, 2]);
        assert_accepted(&rig.ask(ceremony));
        rig.some_work(3);
        rig.propose(Bytes::from_static(b"not a command"));

        let view = rig.store.view().unwrap();
        let entries = view.entries(0, usize::MAX).unwrap();
        assert_eq!(
            entries.len(),
            rig.history.len() - 1,
            "all but the blank one"
        );
        let mut chain = ChainHash::genesis(Fleet::ORIGIN);
        for (entry, raft) in entries.iter().zip(&rig.history[1..]) {
            let parsed = tidegate_audit_log::Entry::parse(&entry.bytes).unwrap();
            assert_eq!(parsed.header.prev_chain, chain);
            chain = parsed.chain();
            let body = entry.body().unwrap();
            assert_eq!(body.raft_index, raft.log_id.index);
            assert_eq!(parsed.header.kind, body.asked.kind());
            assert_eq!(
                body.to_bytes(),
                parsed.body,
                "the body is read as it was written"
            );
            match (&body.asked, &raft.payload) {
                (Asked::Command(found), EntryPayload::Normal(proposed)) => {
                    assert_eq!(found, proposed.command.bytes());
                }
                (Asked::Membership(found), EntryPayload::Membership(asked)) => {
                    assert_eq!(found, asked);
                    assert_eq!(parsed.header.kind, KIND_MEMBERSHIP);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(chain.0, rig.store.position().chain);
        let size = view.head().size();
        let hashes = TileHashes::new(&view, size);
        for (index, entry) in entries.iter().enumerate() {
            let leaf = tidegate_audit_log::NodeHash::leaf(&entry.bytes);
            let path = inclusion_proof(&hashes, index as u64, size).unwrap();
            verify_inclusion(leaf, index as u64, size, &path, &view.head().root()).unwrap();
        }
    });
}

#[test]
fn what_no_honest_leader_proposes_is_chained_as_evidence() {
    run(async {
        let mut rig = Rig::new().await;
        let before = rig.store.read(|state| state.floors().len());
        let huge = Bytes::from(vec![0xff; tidegate_domain::command::ENVELOPE_BYTES_MAX + 1]);
        let large = Bytes::from(vec![0xff; 100_000]);
        for proposed in [
            Bytes::new(),
            Bytes::from_static(b"\xa0"),
            large.clone(),
            huge,
        ] {
            let Applied::Chained { outcome, index, .. } = rig.propose(proposed.clone()) else {
                panic!("not chained")
            };
            let outcome: Outcome = canonical::decode(&outcome).unwrap();
            assert!(
                matches!(outcome, Outcome::Rejected(Rejection::Unauthorized(_))),
                "{outcome:?}"
            );
            let entry = rig
                .store
                .view()
                .unwrap()
                .entries(index, 1)
                .unwrap()
                .remove(0);
            let header = tidegate_audit_log::Entry::parse(&entry.bytes)
                .unwrap()
                .header;
            assert_eq!(header.kind, KIND_UNREADABLE);
            // What does not fit into an entry stands beside it, as far as it can be a command.
            assert_eq!(header.detached, proposed == large);
            assert_eq!(entry.body().unwrap().asked, Asked::command(proposed));
        }
        assert_eq!(rig.store.read(|state| state.floors().len()), before);
    });
}

/// Folds what a watcher is told, as a decision node does.
fn fold(state: &mut tidegate_domain::State, batch: &Batch) {
    for events in &batch.events {
        for event in canonical::decode::<Vec<Event>>(events).unwrap() {
            evolve(state, &event).unwrap();
        }
    }
}

#[test]
fn a_watcher_that_folds_the_events_has_the_state() {
    run(async {
        let mut rig = Rig::new().await;
        let mut watched = rig.store.read(Clone::clone);
        let mut covered = rig.store.position().entries;
        for number in 1..30 {
            rig.some_work(number);
        }
        let in_memory = rig.store.shared.feed.batch_after(covered, 2_000);
        assert_eq!(
            in_memory, None,
            "the feed should have let go of the first batches"
        );
        let (mut from_log, mut from_memory) = (0, 0);
        while let Some(batch) = rig.store.changes_after(covered, 2_000).unwrap() {
            match rig.store.shared.feed.batch_after(covered, 2_000) {
                Some(_) => from_memory += 1,
                None => from_log += 1,
            }
            assert_eq!(batch.from, covered);
            fold(&mut watched, &batch);
            covered = batch.to();
            if let Some(root) = batch.root {
                assert_eq!(watched.root().0, root, "after {covered} entries");
            }
        }
        assert!(from_log > 1 && from_memory > 1, "{from_log} {from_memory}");
        assert_eq!(covered, rig.store.position().entries);
        assert_eq!(watched.root().0, rig.store.position().root);
        assert!(
            rig.store.changes_after(covered + 1, 1).is_err(),
            "more than there is"
        );
    });
}

#[test]
fn after_any_crash_the_rest_of_the_log_leads_to_the_same_state() {
    let history = run(async {
        let mut rig = Rig::new().await;
        for number in 1..12 {
            rig.some_work(number);
        }
        rig.apply(EntryPayload::Membership(membership()));
        (rig.history, rig.store.position())
    });
    let (history, expected) = history;
    let mut lost_some = 0;
    for seed in 0..60 {
        run(async {
            let mut dice = Dice(seed);
            let disk = SimDisk::new();
            let mut durable = 0;
            open_state(&disk).await.unwrap().flush().await.unwrap();
            for _crash in 0..5 {
                // Recovery may be cut short, too.
                disk.fail_power_after(dice.below(60));
                if let Ok(store) = open_state(&disk).await {
                    let next = |store: &StateStore| {
                        store
                            .position()
                            .applied
                            .map_or(0, |applied| applied.index as usize + 1)
                    };
                    let mut at = next(&store);
                    assert!(at >= durable, "seed {seed}: a flushed entry was lost");
                    while at < history.len() {
                        let to = (at + 1 + dice.below(4) as usize).min(history.len());
                        if store.apply(&history[at..to]).is_err() {
                            break;
                        }
                        at = to;
                        if dice.below(4) == 0 && store.flush().await.is_ok() {
                            durable = at;
                        }
                    }
                    lost_some += u32::from(at > durable);
                }
                disk.lose_power(&mut || dice.roll());
            }
            let store = open_state(&disk).await.unwrap();
            let at = store
                .position()
                .applied
                .map_or(0, |applied| applied.index as usize + 1);
            assert!(at >= durable, "seed {seed}: a flushed entry was lost");
            store.apply(&history[at..]).unwrap();
            assert_eq!(store.position(), expected, "seed {seed}");
        });
    }
    assert!(
        lost_some > 20,
        "the crashes hit nothing that was not synced"
    );
}

#[test]
fn a_failing_disk_stops_the_state_for_good() {
    run(async {
        let mut rig = Rig::new().await;
        rig.disk.fail_sync_after(0);
        assert!(rig.store.flush().await.is_err());
        let entry = rig.history[0].clone();
        let refused = rig.store.apply(&[entry]).unwrap_err();
        assert!(matches!(refused, StateError::Poisoned(_)), "{refused}");
        // What was read before stays readable; what was applied comes back from the log.
        rig.disk.lose_power(&mut || 0);
        rig.store = open_state(&rig.disk).await.unwrap();
        let at = rig
            .store
            .position()
            .applied
            .map_or(0, |applied| applied.index as usize + 1);
        rig.store.apply(&rig.history[at..]).unwrap();
    });
}

#[test]
fn a_full_disk_stops_the_state_and_loses_nothing_synced() {
    run(async {
        let rig = Rig::new().await;
        rig.store.flush().await.unwrap();
        rig.disk.set_capacity(Some(rig.disk.stats().bytes));
        let filler = Bytes::from(vec![0; 400_000]);
        let stop = (0..100).find_map(|n| {
            let proposal = crate::types::Proposal {
                stamp_ms: n,
                command: filler.clone().into(),
            };
            let entry = crate::storage::rig::entry(n + 9, EntryPayload::Normal(proposal));
            rig.store.apply(&[entry]).err()
        });
        let stop = stop.expect("the disk never filled up");
        assert!(rig.store.poisoned().unwrap().full);
        assert!(
            matches!(&stop, StateError::Database(redb::Error::Io(io))
            if io.kind() == std::io::ErrorKind::StorageFull),
            "{stop}"
        );
        rig.disk.kill();
        rig.disk.set_capacity(None);
        assert!(open_state(&rig.disk).await.unwrap().position().entries >= 1);
    });
}

#[test]
fn a_damaged_state_does_not_open() {
    run(async {
        let mut rig = Rig::new().await;
        rig.some_work(3);
        rig.store.flush().await.unwrap();
        let entry = rig
            .store
            .view()
            .unwrap()
            .entries(2, 1)
            .unwrap()
            .remove(0)
            .bytes;
        let row = rig.store.view().unwrap().rows(None, usize::MAX).unwrap();
        let (_, config) = row
            .iter()
            .max_by_key(|(_, value)| value.len())
            .unwrap()
            .clone();
        drop(rig.store);
        rig.disk.kill();
        let file = rig.disk.mount().read(STATE_FILE).unwrap().unwrap();
        for part in [entry, config] {
            let mut found = 0;
            for (at, _) in file
                .windows(part.len())
                .enumerate()
                .filter(|(_, w)| *w == part)
            {
                // Old pages may hold copies: damage them all.
                assert!(rig.disk.flip_bit(STATE_FILE, at + part.len() / 2, 1));
                found += 1;
            }
            assert!(found > 0);
            let refused = open_state(&rig.disk).await.unwrap_err();
            let named = matches!(refused, StateError::Damaged(_) | StateError::Rows(_));
            let caught =
                named || matches!(refused, StateError::Database(redb::Error::Corrupted(_)));
            assert!(caught, "{refused}");
            for (at, _) in file
                .windows(part.len())
                .enumerate()
                .filter(|(_, w)| *w == part)
            {
                assert!(rig.disk.flip_bit(STATE_FILE, at + part.len() / 2, 1));
            }
        }
        open_state(&rig.disk)
            .await
            .expect("all bits are as they were");
    });
}

#[test]
fn a_state_of_another_cluster_does_not_open() {
    run(async {
        let rig = Rig::new().await;
        rig.store.flush().await.unwrap();
        let mut owner = crate::storage::rig::claim().owner().clone();
        owner.identity.origin = "other.example".to_owned();
        let other = Claim::Returning(owner);
        let mount = Arc::new(rig.disk.mount());
        let refused = StateStore::open(mount, &other, rig.store.shared.options)
            .await
            .unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("belongs to node 1 of \"fleet.example\""),
            "{refused}"
        );
    });
}
