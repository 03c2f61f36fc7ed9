//! What operators do to a cluster of one node that really runs: settings, recovery images, and
//! commands that are late, lost, or meant for somebody else.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod support;

use serde_json::Value as Json;
use std::{fs, path::Path};
use support::fleet::Fleet;

const OPERATOR_1: [&str; 2] = ["--key", "fleet/keys/operator-1.key"];

fn setting(fleet: &Fleet<'_>, name: &str) -> Json {
    fleet.done(&["cluster", "config", "show"])["settings"][name].clone()
}

#[test]
fn settings_change_by_quorum_and_never_over_somebody_elses_change() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, _node) = Fleet::single(folder.path());
    let set = ["cluster", "config", "set", "--lease", "5s"];
    let planned = fleet.done(&[&set[..], &["--dry-run"]].concat());
    let change = planned["changes"][0].as_str().unwrap();
    assert!(change.contains("lease 10 s → 5 s"), "{change}");
    assert_eq!(setting(&fleet, "lease_ms"), 10_000);
    fleet.refused(&[&set[..], &OPERATOR_1].concat(), "needs 2 signature(s)");

    // Two operators sign one at a time; meanwhile somebody changes another setting.
    let collect = [&set[..], &OPERATOR_1, &["--collect", "lease.command"]].concat();
    fleet.done(&collect);
    let key = "fleet/keys/operator-2.key";
    fleet.done(&["approval", "sign", "lease.command", "--key", key]);
    let limit = ["cluster", "config", "set", "--limit", "rollouts_max=7"];
    fleet.done(&limit);
    fleet.refused(
        &["approval", "submit", "lease.command"],
        "expected revision",
    );
    assert_eq!(setting(&fleet, "lease_ms"), 10_000);
    fleet.done(&set);
    assert_eq!(setting(&fleet, "lease_ms"), 5_000);
    assert_eq!(setting(&fleet, "limits.rollouts_max"), 7);

    let again = fleet.run(&set);
    assert_eq!(again.code, 2, "{again:?}");
    fleet.refused(
        &["cluster", "config", "set", "--lease", "2h"],
        "is accepted",
    );
}

#[test]
fn rules_that_no_build_knows_are_not_raised() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, _node) = Fleet::single(folder.path());
    assert_eq!(
        fleet.done(&["cluster", "status"])["cluster"]["state_version"],
        1
    );
    for version in ["1", "2"] {
        let says = format!("state version is 1, cannot become {version}");
        fleet.refused(&["cluster", "raise-version", version], &says);
    }
    let collect = ["cluster", "raise-version", "2", "--collect", "v.command"];
    fleet.done(&collect);
    let listed = fleet.done(&["approval", "list", "v.command"]);
    let asks = listed["commands"][0]["asks"]["sentence"].as_str().unwrap();
    assert!(asks.contains("rules of version 2"), "{asks}");
    fleet.refused(&["approval", "submit", "v.command"], "cannot become 2");
}

#[test]
fn a_recovery_image_bounds_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, _node) = Fleet::single(folder.path());
    fleet.release("rescue", "1.0.0", "3");
    let recovery = ["floor", "recovery", "--component", "detector-model"];
    let unknown = fleet.run(&[&recovery[..], &["--release", "factory"]].concat());
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("--security-version"), "{unknown:?}");
    let image = [&recovery[..], &["--release", "rescue"]].concat();
    let other = fleet.run(&[&image[..], &["--security-version", "4"]].concat());
    assert_eq!(other.code, 2, "{other:?}");
    fleet.done(&[&image[..], &["--dry-run"]].concat());
    assert_eq!(
        fleet.done(&["floor", "list"])["recovery_images"],
        Json::Array(Vec::new())
    );
    fleet.done(&image);
    let listed = fleet.done(&["floor", "list"]);
    assert_eq!(listed["recovery_images"][0]["security_version"], 3);
    let raise = ["floor", "raise", "--component", "detector-model"];
    let to = |floor| [&raise[..], &["--to", floor, "--reason", "CVE"]].concat();
    fleet.refused(&to("4"), "above recovery image rescue");
    fleet.done(&to("3"));
    // And an image below a floor is no way back.
    let old = [
        &recovery[..],
        &["--release", "old", "--security-version", "2"],
    ]
    .concat();
    fleet.refused(&old, "below the floor");
}

/// The node takes the request and is stopped before it answers: only repeating the same bytes tells.
#[test]
fn a_command_whose_outcome_nobody_knows_ends_with_3_and_is_settled_later() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, node) = Fleet::single(folder.path());
    let register = ["variant", "register", "gw-200/b2/eu-west/none"];
    fleet.done(&[&register[..], &["--collect", "variant.command"]].concat());
    node.signal("STOP");
    let lost = ["approval", "submit", "variant.command", "--timeout", "2s"];
    let ran = fleet.run(&lost);
    node.signal("CONT");
    assert_eq!(ran.code, 3, "{ran:?}");
    let error = &ran.json()["error"];
    assert_eq!(error["kind"], "outcome_unknown");
    let advice = error["next"][0].as_str().unwrap();
    let kept = advice.split_whitespace().nth(3).unwrap().trim_matches('`');
    assert!(advice.starts_with("`tidegate approval submit "), "{advice}");
    // The same bytes again: whether they were applied then or are now, it happens once.
    fleet.eventually(&["approval", "submit", kept], |told| told["entry"].is_u64());
    let settled = fleet.done(&["approval", "submit", kept]);
    assert_eq!(settled["duplicate"], true);
    let variants = fleet.done(&["variant", "list"]);
    assert_eq!(variants["variants"].as_array().unwrap().len(), 1);
}

#[test]
fn commands_that_are_late_or_meant_for_others_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, _node) = Fleet::single(folder.path());
    let collected = |traits: &str, more: &[&str]| {
        let file = format!("{}.command", traits.replace('/', "-"));
        let register = ["variant", "register", traits, "--collect", &file];
        fleet.done(&[&register[..], more].concat());
        file
    };
    let expired = collected("a/b/c/d", &["--valid-for", "1s"]);
    let old_epoch = collected("e/f/g/h", &[]);
    let listed = fleet.done(&["approval", "list", &old_epoch]);
    assert_eq!(listed["commands"][0]["expired"], false);
    wait_until_expired(&fleet, &expired);
    fleet.refused(&["approval", "submit", &expired], "log time is");

    let rotate = ["key", "rotate", "--threshold", "operator=1"];
    let roots = [1, 2].map(|n| format!("fleet/keys/root-{n}.key"));
    let keys = ["--key", &roots[0], "--key", &roots[1]];
    fleet.done(&[&rotate[..], &keys].concat());
    fleet.refused(&["approval", "submit", &old_epoch], "key epoch");

    other_cluster(&fleet, folder.path());
    let variants = fleet.done(&["variant", "list"]);
    assert_eq!(variants["variants"], Json::Array(Vec::new()));
}

fn wait_until_expired(fleet: &Fleet<'_>, file: &str) {
    fleet.eventually(&["approval", "list", file], |listed| {
        listed["commands"][0]["expired"] == true
    });
}

/// A command of another cluster, and a profile that names another one.
fn other_cluster(fleet: &Fleet<'_>, folder: &Path) {
    let first = ["key", "rotate", "--first", "other.example"];
    let add = ["--add", "fleet/keys/root-1.key.pub"];
    let sign = [
        "--key",
        "fleet/keys/root-1.key",
        "--collect",
        "other.command",
    ];
    fleet.done(&[&first[..], &add, &sign].concat());
    fleet.refused(&["approval", "submit", "other.command"], "other.example");
    let settings = fs::read_to_string(folder.join("fleet/tidegate.toml")).unwrap();
    let other = settings.replace("origin = \"fleet.example\"", "origin = \"other.example\"");
    fs::write(folder.join("fleet/other.toml"), other).unwrap();
    let ran = support::run(
        folder,
        &["variant", "list", "--settings", "fleet/other.toml"],
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("other.example"), "{ran:?}");
}

/// Releases that too few, strangers, or the same key twice have signed.
#[test]
fn badly_signed_releases_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, _node) = Fleet::single(folder.path());
    for name in ["stranger", "second", "third"] {
        let new = ["key", "new", "--role", "release", "--name", name];
        fleet.done(&[&new[..], &[&format!("{name}.key")]].concat());
    }
    let good = fleet.sign("good", "1.0.0", "1");
    fleet.done(&["release", "sign", &good, "--key", "stranger.key"]);
    fleet.refused(&["release", "register", &good], "release signature of key");
    // Two keys must sign from now on.
    let rotate = [
        "key",
        "rotate",
        "--add",
        "second.key.pub",
        "third.key.pub",
        "--threshold",
        "release=2",
    ];
    let roots = [1, 2].map(|n| format!("fleet/keys/root-{n}.key"));
    let keys = ["--key", &roots[0], "--key", &roots[1]];
    fleet.done(&[&rotate[..], &keys].concat());
    let few = fleet.sign("few", "2.0.0", "1");
    fleet.done(&["release", "sign", &few, "--key", "fleet/keys/release-1.key"]);
    fleet.refused(&["release", "register", &few], "needs 2 signature(s)");
    fleet.done(&["release", "sign", &few, "--key", "second.key"]);
    fleet.done(&["release", "register", &few]);
    revoked_key(&fleet);
}

fn revoked_key(fleet: &Fleet<'_>) {
    let list = fleet.done(&["key", "list"]);
    let keys = list["keys"].as_array().unwrap();
    let second = keys.iter().find(|key| key["name"] == "second").unwrap();
    let revoke = [
        "key",
        "revoke",
        second["key"].as_str().unwrap(),
        "--reason",
        "lost",
    ];
    fleet.refused(&revoke, "would strand");
    fleet.done(&[&revoke[..], &["--override"]].concat());
    let shown = fleet.done(&["release", "show", "few"]);
    assert_eq!(shown["offerable"], false, "{shown}");
    let later = fleet.sign("later", "3.0.0", "1");
    fleet.done(&["release", "sign", &later, "--key", "second.key"]);
    fleet.refused(&["release", "register", &later], "release signature of key");
}

/// A data directory belongs to one cluster.
#[test]
fn data_of_another_cluster_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, node) = Fleet::single(folder.path());
    assert_eq!(node.end(), 0);
    let config = folder.path().join("fleet/node-1.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("fleet.example", "other.example")).unwrap();
    fleet.refused(
        &["serve", "--config", "fleet/node-1.toml"],
        "belongs to cluster \"fleet.example\"",
    );
    fs::write(&config, text).unwrap();
    let _again = fleet.serve(1);
    fleet.eventually(&["cluster", "status"], |status| {
        status["cluster"]["entries"].as_u64() > Some(2)
    });
}
