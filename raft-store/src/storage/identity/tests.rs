use super::*;
use crate::storage::rig::Numbers;
use tidegate_runtime::disk::{SimDisk, SimMount};

const LOG_FILE: &str = "log-00000001";

fn node(origin: &str, node: NodeId) -> Identity {
    Identity {
        origin: origin.to_owned(),
        incarnation: 7,
        node,
    }
}

fn joined_directory() -> SimDisk {
    let disk = SimDisk::new();
    let mount = disk.mount();
    let claimed = claim(&node("a.example/fleet", 1), &mount).unwrap();
    assert!(matches!(claimed, Claim::New(_)));
    mount.open(LOG_FILE).unwrap();
    mount.open(STATE_FILE).unwrap();
    claimed.mark_joined(&mount).unwrap();
    disk
}

fn claim(who: &Identity, mount: &SimMount) -> Result<Claim, IdentityError> {
    who.claim(mount, &Numbers::default())
}

fn check_refused(who: &Identity, disk: &SimDisk, says: &str) {
    let refused = claim(who, &disk.mount()).unwrap_err().to_string();
    assert!(refused.contains(says), "{refused:?} does not say {says:?}");
}

#[test]
fn a_node_finds_its_own_directory_again() {
    let disk = joined_directory();
    let returning = claim(&node("a.example/fleet", 1), &disk.mount()).unwrap();
    let owner = Owner {
        identity: node("a.example/fleet", 1),
        directory: DirectoryId([1; 16]),
    };
    assert_eq!(returning, Claim::Returning(owner));
}

#[test]
fn other_owners_are_refused_by_name() {
    let disk = joined_directory();
    check_refused(
        &node("b.example/fleet", 1),
        &disk,
        "belongs to cluster \"a.example/fleet\"",
    );
    check_refused(
        &node("a.example/fleet", 2),
        &disk,
        "belongs to node 1, this is node 2",
    );
    let restored = Identity {
        incarnation: 8,
        ..node("a.example/fleet", 1)
    };
    check_refused(
        &restored,
        &disk,
        "incarnation 7 of the cluster, this node is of 8",
    );
}

#[test]
fn a_newer_format_is_refused() {
    let disk = joined_directory();
    let text = disk.mount().read(IDENTITY_FILE).unwrap().unwrap();
    let text = String::from_utf8(text)
        .unwrap()
        .replace("format 1", "format 2");
    disk.mount()
        .replace(IDENTITY_FILE, text.as_bytes())
        .unwrap();
    check_refused(
        &node("a.example/fleet", 1),
        &disk,
        "format 2, this build knows up to 1",
    );
}

#[test]
fn a_node_that_joined_and_lost_a_database_may_not_return() {
    for lost in [LOG_FILE, STATE_FILE] {
        let disk = joined_directory();
        disk.mount().remove(lost).unwrap();
        check_refused(&node("a.example/fleet", 1), &disk, "under a new number");
    }
}

#[test]
fn a_first_start_that_was_cut_short_may_begin_again() {
    let disk = SimDisk::new();
    let who = node("a.example/fleet", 1);
    let first = claim(&who, &disk.mount()).unwrap();
    disk.mount().open(LOG_FILE).unwrap();
    let again = claim(&who, &disk.mount()).unwrap();
    assert!(matches!(again, Claim::New(_)));
    assert_eq!(again, first);
    assert_eq!(
        disk.mount().names().unwrap(),
        [IDENTITY_FILE],
        "half a database is no use"
    );
}

#[test]
fn databases_without_an_identity_are_refused() {
    let disk = joined_directory();
    disk.mount().remove(IDENTITY_FILE).unwrap();
    check_refused(
        &node("a.example/fleet", 1),
        &disk,
        "has log-00000001 but no identity",
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let len = joined_directory()
        .mount()
        .read(IDENTITY_FILE)
        .unwrap()
        .unwrap()
        .len();
    for bit in 0..len * 8 {
        let disk = joined_directory();
        assert!(disk.flip_bit(IDENTITY_FILE, bit / 8, (bit % 8) as u8));
        assert!(
            claim(&node("a.example/fleet", 1), &disk.mount()).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn an_identity_that_was_emptied_or_cut_is_refused_with_what_to_do() {
    let whole = joined_directory();
    let text = whole.mount().read(IDENTITY_FILE).unwrap().unwrap();
    for len in 0..text.len() {
        let disk = joined_directory();
        disk.mount().replace(IDENTITY_FILE, &text[..len]).unwrap();
        check_refused(&node("a.example/fleet", 1), &disk, "remove node 1");
    }
}

#[test]
fn a_file_is_looked_at_before_a_returning_node_uses_it() {
    let disk = joined_directory();
    let returning = claim(&node("a.example/fleet", 1), &disk.mount()).unwrap();
    let own = returning.owner().to_bytes();
    assert!(!returning.begins("a", &own).unwrap());
    let emptied = returning.begins("a", &[]).unwrap_err().to_string();
    assert!(emptied.contains("but a is empty"), "{emptied}");
    assert!(emptied.contains("remove node 1"), "{emptied}");
    let new = Claim::New(returning.owner().clone());
    assert!(new.begins("a", &[]).unwrap());
    assert!(!new.begins("a", &own).unwrap());
    assert!(new.begins("a", b"what?").is_err());
}
