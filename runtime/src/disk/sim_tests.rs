//! The model of the disk must itself be able to lose, tear and lie.

use super::*;

/// A generator that answers the given values in turn, then repeats the last.
fn script(values: &[u64]) -> impl FnMut() -> u64 {
    let mut values = values.to_vec();
    values.reverse();
    move || {
        if values.len() > 1 {
            values.pop().unwrap()
        } else {
            values[0]
        }
    }
}

fn bytes_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    disk.mount().read(name).unwrap().unwrap_or_default()
}

/// A new file whose name is durable.
fn opened(disk: &SimDisk) -> BlockFile {
    let mount = disk.mount();
    let file = mount.open("f").unwrap();
    mount.sync_names().unwrap();
    file
}

#[test]
fn synced_bytes_survive_and_unsynced_bytes_may_not() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    file.write(0, b"synced").unwrap();
    file.sync_data().unwrap();
    file.write(0, b"UNSYNC").unwrap();
    disk.lose_power(&mut script(&[0]));
    assert_eq!(bytes_of(&disk, "f"), b"synced");
}

#[test]
fn what_a_loss_of_power_would_leave_is_seen_without_one() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    let file = mount.open("f").unwrap();
    mount.sync_names().unwrap();
    file.write(0, b"synced").unwrap();
    file.sync_data().unwrap();
    file.write(0, b"UNSYNC").unwrap();
    mount.open("g").unwrap();
    assert_eq!(
        bytes_of(&disk.after_power_loss(|name| name == "f"), "f"),
        b"synced"
    );
    let left = disk.after_power_loss(|name| name == "g").mount();
    assert_eq!(left.names().unwrap(), [""; 0], "its name was not synced");
    let mut now = [0; 6];
    file.read(0, &mut now).unwrap();
    assert_eq!(&now, b"UNSYNC", "the device itself lives on");
}

#[test]
fn a_write_tears_at_sector_boundaries_only() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    file.set_len(2048).unwrap();
    file.sync_data().unwrap();
    file.write(256, &[7; 1024]).unwrap();
    // Sectors at 256..512, 512..1024 and 1024..1280: keep the middle one only.
    disk.lose_power(&mut script(&[2, 1, 0, 1]));
    let bytes = bytes_of(&disk, "f");
    assert!(bytes[..512].iter().all(|byte| *byte == 0));
    assert!(bytes[512..1024].iter().all(|byte| *byte == 7));
    assert!(bytes[1024..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    file.write(0, b"page cache").unwrap();
    disk.kill();
    assert!(
        file.write(0, b"too late").is_err(),
        "the dead process still writes"
    );
    assert_eq!(bytes_of(&disk, "f"), b"page cache");
}

#[test]
fn a_mount_dies_with_its_successor() {
    let disk = SimDisk::new();
    let old = disk.mount();
    let _new = disk.mount();
    assert!(old.names().is_err());
}

#[test]
fn power_fails_at_the_chosen_change() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    disk.fail_power_after(2);
    file.write(0, b"a").unwrap();
    file.sync_data().unwrap();
    assert!(file.write(1, b"b").is_err());
    assert!(file.sync_data().is_err(), "the machine is off");
    disk.lose_power(&mut script(&[0]));
    assert_eq!(bytes_of(&disk, "f"), b"a");
}

#[test]
fn a_failed_sync_drops_the_bytes_for_good() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    disk.fail_sync_after(0);
    file.write(0, b"gone").unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    disk.lose_power(&mut script(&[1]));
    assert_eq!(
        bytes_of(&disk, "f"),
        b"",
        "a retried sync must not look like success"
    );
}

#[test]
fn a_full_disk_refuses_growth_and_keeps_working_in_place() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    let file = mount.open("f").unwrap();
    file.write(0, &[1; 100]).unwrap();
    disk.set_capacity(Some(120));
    assert_eq!(mount.free_bytes().unwrap(), 20);
    disk.set_capacity(Some(100));
    assert_eq!(mount.free_bytes().unwrap(), 0);
    assert_eq!(
        file.write(50, &[2; 51]).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(
        file.set_len(101).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(
        mount.replace("g", b"x").unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    file.write(50, &[3; 50]).unwrap();
}

#[test]
fn a_lying_disk_loses_what_it_said_was_synced() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    disk.set_lying(true);
    let file = mount.open("f").unwrap();
    mount.sync_names().unwrap();
    file.write(0, b"promised").unwrap();
    file.sync_data().unwrap();
    mount.replace("g", b"promised").unwrap();
    mount.sync_names().unwrap();
    disk.lose_power(&mut script(&[0]));
    assert_eq!(
        (bytes_of(&disk, "f"), bytes_of(&disk, "g")),
        (vec![], vec![])
    );
}

#[test]
fn replacing_a_file_is_all_or_nothing() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    mount.replace("identity", b"old").unwrap();
    mount.sync_names().unwrap();
    disk.fail_power_after(0);
    assert!(mount.replace("identity", b"new").is_err());
    disk.lose_power(&mut script(&[0]));
    assert_eq!(bytes_of(&disk, "identity"), b"old");
}

#[test]
fn a_name_that_was_not_synced_may_mean_what_it_meant_before() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    mount.replace("mark", b"1").unwrap();
    mount.replace("gone", b"1").unwrap();
    mount.sync_names().unwrap();
    mount.replace("mark", b"2").unwrap();
    mount.remove("gone").unwrap();
    let new = mount.open("new").unwrap();
    new.write(0, b"synced").unwrap();
    new.sync_data().unwrap();
    // The first change survives; what came after the first that did not is lost, too.
    disk.lose_power(&mut script(&[2, 0, 1]));
    assert_eq!(bytes_of(&disk, "mark"), b"2");
    assert_eq!(bytes_of(&disk, "gone"), b"1");
    assert_eq!(disk.mount().names().unwrap(), ["gone", "mark"]);
}

#[test]
fn synced_names_survive() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    mount.replace("mark", b"1").unwrap();
    mount.replace("mark", b"2").unwrap();
    mount.sync_names().unwrap();
    disk.lose_power(&mut script(&[0]));
    assert_eq!(bytes_of(&disk, "mark"), b"2");
}

#[test]
fn reads_and_writes_fail_once_at_the_chosen_one() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    disk.fail_write_after(1);
    file.write(0, b"ab").unwrap();
    assert!(file.write(0, b"cd").is_err());
    file.write(0, b"ef").unwrap();
    disk.fail_read_after(0);
    let mut bytes = [0; 2];
    assert!(file.read(0, &mut bytes).is_err());
    file.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"ef");
}

#[test]
fn a_misdirected_write_is_answered_and_lands_elsewhere() {
    let disk = SimDisk::new();
    let file = opened(&disk);
    file.set_len(2048).unwrap();
    disk.misdirect_after(0, 2);
    file.write(1024, b"lost").unwrap();
    file.sync_data().unwrap();
    let bytes = bytes_of(&disk, "f");
    assert_eq!(
        (&bytes[..4], &bytes[1024..1028]),
        (&b"lost"[..], &[0; 4][..])
    );
}

#[test]
fn what_somebody_puts_on_a_disk_outlives_a_power_loss() {
    let disk = SimDisk::new();
    let mount = disk.mount();
    mount.open("f").unwrap().set_len(8).unwrap();
    disk.put("g", b"old".to_vec());
    disk.put("f", b"cut".to_vec());
    disk.lose_power(&mut || 0);
    let files = disk.copy();
    assert_eq!(files["f"], b"cut");
    assert_eq!(files["g"], b"old");
    assert_eq!(files.len(), 2);
}
