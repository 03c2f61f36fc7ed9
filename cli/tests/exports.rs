//! Exports of a cluster that really runs: who vouches for them, and what is missing from them.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod support;

use std::{fs, path::Path};
use support::fleet::Fleet;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Before the members are approved nobody's cosignature is known to count.
#[test]
fn an_export_that_no_majority_cosigned_says_so_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::init(folder.path(), "eu-west");
    let _node = fleet.serve(1);
    fleet.eventually(&["cluster", "status"], |status| status["quorum"] == true);
    fleet.done(&["approval", "submit", "fleet/epoch-1.command"]);
    let told = fleet.told(&["audit", "export", "early"]);
    assert!(told.contains("WARNING: no member"), "{told}");
    assert!(told.contains("the log's key alone"), "{told}");
    let json = fleet.done(&["audit", "export", "early"]);
    assert_eq!(json["policy"], "log_only");
    assert!(json["warning"].is_string());
    let verify = ["audit", "verify", "early", "-p", "early/policy"];
    let verified = fleet.told(&verify);
    assert!(verified.contains("cosigned by nobody"), "{verified}");

    fleet.done(&["approval", "submit", "fleet/members.command"]);
    let json = fleet.done(&["audit", "export", "later"]);
    assert_eq!(
        (&json["policy"], &json["warning"]),
        (&"majority".into(), &().into())
    );
    assert_eq!(
        (&json["voters"], &json["cosigners"]),
        (&1.into(), &1.into())
    );
    // One line of the log's key and one of the voter's, though the voter is also who made it.
    let note = fs::read_to_string(folder.path().join("later/checkpoint")).unwrap();
    let signed = note.lines().filter(|line| line.starts_with('—')).count();
    assert_eq!(signed, 2, "{note}");
    assert!(
        !fleet
            .told(&["audit", "export", "later"])
            .contains("WARNING")
    );
}

/// An older export is whole in itself. Whoever knows a newer checkpoint sees that it was cut.
#[test]
fn a_known_checkpoint_shows_truncation_and_forks() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, node) = Fleet::single(folder.path());
    let old = fleet.done(&["audit", "export", "new"])["entries"].clone();
    copy(&folder.path().join("new"), &folder.path().join("old"));
    fleet.done(&["variant", "register", "gw-200/b2/eu-west/none"]);
    let new = fleet.done(&["audit", "export", "new"])["entries"].clone();
    assert!(new.as_u64() > old.as_u64());

    let verify = |directory: &str, known: &str| {
        let policy = ["-p", "new/policy", "--known", known];
        fleet.run(&[&["audit", "verify", directory], &policy[..]].concat())
    };
    assert_eq!(verify("new", "old/checkpoint").code, 0);
    assert_eq!(verify("new", "new/checkpoint").code, 0);
    let cut = verify("old", "new/checkpoint");
    assert_eq!(cut.code, 1, "{cut:?}");
    assert_eq!(
        (&cut.json()["ok"], &cut.json()["first_bad"]),
        (&false.into(), &old)
    );
    let says = format!("truncated: a known checkpoint has {new} entries");
    assert!(cut.stderr.contains(&says), "{cut:?}");
    assert!(
        cut.json()["problem"]
            .as_str()
            .unwrap()
            .contains("truncated")
    );

    // Whoever holds all keys begins the log anew: it is authentic, and not the same.
    assert_eq!(node.end(), 0);
    fs::remove_dir_all(folder.path().join("fleet/data")).unwrap();
    let _node = fleet.serve(1);
    fleet.eventually(&["cluster", "status"], |status| status["quorum"] == true);
    for file in ["fleet/epoch-1.command", "fleet/members.command"] {
        fleet.done(&["approval", "submit", file]);
    }
    fleet.done(&["variant", "register", "other/b2/eu-west/none"]);
    fleet.done(&["audit", "export", "fork"]);
    let forked = verify("fork", "old/checkpoint");
    assert_eq!(forked.code, 1, "{forked:?}");
    assert!(forked.stderr.contains("forked"), "{forked:?}");
    assert_eq!(forked.json()["first_bad"], 0);
}
