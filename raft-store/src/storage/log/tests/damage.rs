//! What is not as it was written is refused by name, or harmless: never a shorter log without a word.

use super::*;

/// Sectors are what a disk keeps or loses.
const SECTOR_BYTES: usize = 512;

/// A disk with a log of several segments, none of them purged, that was closed in order.
async fn several_segments() -> SimDisk {
    let disk = SimDisk::new();
    let mut log = open(&disk).await.unwrap();
    for index in 0..120 {
        append(&mut log, vec![entry(index, 380)]).await.unwrap();
    }
    log.close().await.unwrap();
    assert!(log_files(&disk).len() > 2, "{:?}", log_files(&disk));
    disk
}

fn log_files(disk: &SimDisk) -> Vec<(String, usize)> {
    let files = disk.files().into_iter();
    files.filter(|(name, _)| is_log_file(name)).collect()
}

/// A copy of a disk of which one file was changed.
fn with(disk: &SimDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let copy = disk.after_power_loss(|_| true);
    let mut bytes = disk.copy()[name].clone();
    change(&mut bytes);
    copy.put(name, bytes);
    copy
}

async fn refusal(disk: &SimDisk) -> String {
    match open(disk).await {
        Ok(log) => format!("accepted, up to {:?}", log.last().map(|id| id.index)),
        Err(error) => error.to_string(),
    }
}

fn check_names(refusal: &str, file: &str) {
    assert!(refusal.contains(file), "{refusal:?} does not name {file}");
}

#[test]
fn a_file_that_was_emptied_or_shortened_is_refused_by_name() {
    run(async {
        let disk = several_segments().await;
        for (name, len) in log_files(&disk) {
            for left in (0..len).step_by(SECTOR_BYTES).chain([1, len - 1]) {
                let cut = with(&disk, &name, |bytes| bytes.truncate(left));
                let refusal = refusal(&cut).await;
                check_names(&refusal, &name);
                assert!(!refusal.contains("accepted"), "{refusal}");
            }
        }
    });
}

#[test]
fn a_file_that_is_gone_is_refused_by_name() {
    run(async {
        let disk = several_segments().await;
        for (name, _) in log_files(&disk) {
            let without = disk.after_power_loss(|_| true);
            let mount = without.mount();
            mount.remove(&name).unwrap();
            mount.sync_names().unwrap();
            check_names(&refusal(&without).await, &format!("{name} is missing"));
        }
    });
}

#[test]
fn a_file_in_the_place_of_another_is_refused_by_name() {
    run(async {
        let disk = several_segments().await;
        let files = log_files(&disk);
        for (name, _) in &files {
            for (other, _) in files.iter().filter(|(other, _)| other != name) {
                let copied = disk.copy()[other].clone();
                let mixed = with(&disk, name, |bytes| *bytes = copied);
                check_names(&refusal(&mixed).await, name);
            }
        }
    });
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    run(async {
        let disk = several_segments().await;
        let whole = refusal(&disk).await;
        assert_eq!(whole, "accepted, up to Some(119)");
        for (name, len) in log_files(&disk) {
            for place in (0..len).step_by(3) {
                let flipped = disk.after_power_loss(|_| true);
                assert!(flipped.flip_bit(&name, place, (place % 8) as u8));
                let said = refusal(&flipped).await;
                // Behind the last group there is nothing to lose.
                assert!(
                    said == whole || said.contains(&name),
                    "{name}, byte {place}: {said}"
                );
            }
        }
    });
}

/// A sector that reads as zeros, as after a write that went elsewhere.
#[test]
fn a_sector_that_was_lost_before_the_last_group_is_noticed() {
    run(async {
        let disk = several_segments().await;
        let whole = refusal(&disk).await;
        let files = log_files(&disk);
        for (name, len) in &files {
            for from in (0..*len).step_by(SECTOR_BYTES) {
                let lost = with(&disk, name, |bytes| {
                    bytes[from..from + SECTOR_BYTES].fill(0)
                });
                let said = refusal(&lost).await;
                // That the last group was whole once cannot be told from one that was cut short.
                let is_last =
                    said == "accepted, up to Some(118)" && *name == files[files.len() - 1].0;
                let is_fine = said == whole || is_last || said.contains(name);
                assert!(is_fine, "{name}, byte {from}: {said}");
            }
        }
    });
}

#[test]
fn a_misdirected_write_is_noticed_unless_it_was_the_last() {
    for sectors in 1..=9 {
        for after in 0..60 {
            run(async {
                let disk = SimDisk::new();
                let mut log = open(&disk).await.unwrap();
                disk.misdirect_after(after, sectors);
                for index in 0..80 {
                    append(&mut log, vec![entry(index, 380)]).await.unwrap();
                }
                disk.lose_power(&mut || 0);
                let said = refusal(&disk).await;
                assert!(
                    said.contains("is damaged") || said == "accepted, up to Some(79)",
                    "write {after}, {sectors} sectors back: {said}"
                );
            });
        }
    }
}

/// What cannot be told: nothing on the disk says that the file went on. Its leader says so (ADR 0008).
#[test]
fn an_older_copy_of_a_file_is_noticed_once_the_log_went_on_in_another() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, vec![entry(0, 380)]).await.unwrap();
        let (name, _) = log_files(&disk).remove(0);
        let older = disk.copy()[&name].clone();
        append(&mut log, vec![entry(1, 380)]).await.unwrap();
        let early = with(&disk, &name, |bytes| bytes.clone_from(&older));
        assert_eq!(refusal(&early).await, "accepted, up to Some(0)");
        for index in 2..80 {
            append(&mut log, vec![entry(index, 380)]).await.unwrap();
        }
        assert!(log_files(&disk).len() > 1);
        let late = with(&disk, &name, |bytes| *bytes = older);
        check_names(&refusal(&late).await, &name);
    });
}

#[test]
fn files_of_purged_entries_go_and_may_come_back() {
    run(async {
        let disk = several_segments().await;
        let before = log_files(&disk);
        let mut log = open(&disk).await.unwrap();
        log.purge(log_id(100)).await.unwrap();
        log.synced().await.unwrap();
        log.close().await.unwrap();
        let after = log_files(&disk);
        assert!(after.len() < before.len(), "{after:?}");
        let gone = before.iter().filter(|file| !after.contains(file));
        let old = several_segments().await;
        for (name, _) in gone {
            // One alone, as a file system may do it, and behind a gap if it is an old one.
            let back = disk.after_power_loss(|_| true);
            back.put(name, old.copy()[name].clone());
            let mut log = open(&back).await.unwrap();
            assert_eq!(
                indices(&mut log, 0..999).await,
                (101..120).collect::<Vec<_>>()
            );
            assert_eq!(log_files(&back), after);
        }
    });
}

#[test]
fn a_vote_outlives_the_file_that_it_was_written_to() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        let leader_id = LeaderId {
            term: 7,
            voted_for: 3,
        };
        let vote = Vote {
            leader_id,
            committed: true,
        };
        log.save_vote(&vote).await.unwrap();
        let (first, _) = log_files(&disk).remove(0);
        for index in 0..80 {
            append(&mut log, vec![entry(index, 380)]).await.unwrap();
        }
        log.purge(log_id(79)).await.unwrap();
        log.synced().await.unwrap();
        log.close().await.unwrap();
        assert!(!log_files(&disk).iter().any(|(name, _)| *name == first));
        let log = open(&disk).await.unwrap();
        assert_eq!((log.vote(), log.last()), (Some(vote), Some(log_id(79))));
    });
}

/// Room that is laid out ahead is no room that a vote must wait for.
#[test]
fn a_disk_without_room_for_a_step_still_takes_a_vote() {
    run(async {
        let disk = SimDisk::new();
        let options = LogOptions {
            segment_bytes: 1 << 20,
            ..OPTIONS
        };
        let log = LogStore::open(Arc::new(disk.mount()), &returning(), options).await;
        let mut log = log.unwrap();
        // Up to the end of the first step.
        append(&mut log, vec![entry(0, 65_000)]).await.unwrap();
        disk.set_capacity(Some(disk.stats().bytes + 5_000));
        append(&mut log, vec![entry(1, 900)]).await.unwrap();
        let leader_id = LeaderId {
            term: 2,
            voted_for: 1,
        };
        let vote = Vote {
            leader_id,
            committed: false,
        };
        log.save_vote(&vote).await.unwrap();
    });
}
