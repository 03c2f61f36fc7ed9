//! Bad input gets a clear error, the right exit code, and loses nothing.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use support::{done, repository, run};

/// An address where nobody listens: port 1 is reserved.
const NOBODY: &str = "127.0.0.1:1";

fn check(folder: &Path, arguments: &[&str], code: i32, says: &[&str]) {
    let ran = run(folder, arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
    for words in says {
        assert!(
            ran.stderr.contains(words),
            "{arguments:?} does not say {words:?}: {ran:?}"
        );
    }
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_wrong_rollout_file_is_refused_with_place_and_advice() {
    let folder = folder();
    for (name, says) in [
        (
            "unknown-key",
            [
                "unknown key `target_percnt`",
                "did you mean `target_percent`?",
            ],
        ),
        ("percent-falls", ["falls from 5 %", "at least 5 %"]),
        ("percent-nan", ["not a finite number", "from 0 to 100"]),
        ("percent-negative", ["negative", "from 0 to 100"]),
        ("percent-over", ["`100.0001`", "from 0 to 100"]),
    ] {
        let file = repository(&format!("cli/tests/corpus/rollout/{name}.yaml"));
        let file = file.to_str().unwrap();
        check(folder.path(), &["rollout", "validate", file], 1, &says);
        check(
            folder.path(),
            &["rollout", "validate", file],
            1,
            &[&format!("{file}:")],
        );
        // A wrong file is told so before any cluster is asked.
        let plan = ["rollout", "plan", file, "--store", NOBODY];
        check(folder.path(), &plan, 1, &says);
    }
}

#[test]
fn in_json_every_problem_has_its_place() {
    let file = repository("cli/tests/corpus/rollout/several-at-once.yaml");
    let ran = run(
        folder().path(),
        &["--json", "rollout", "validate", file.to_str().unwrap()],
    );
    assert_eq!(ran.code, 1);
    let problems = ran.json()["error"]["details"].as_array().unwrap().clone();
    assert_eq!(problems.len(), 3);
    assert!(
        problems
            .iter()
            .all(|problem| problem["line"].as_u64() > Some(10))
    );
}

#[test]
fn the_example_is_valid_and_the_schema_is_json() {
    let folder = folder();
    let file = repository("examples/detector-v3.2.yaml");
    let ran = done(
        folder.path(),
        &["--json", "rollout", "validate", file.to_str().unwrap()],
    );
    assert_eq!(ran.json()["files"][0]["stages"][0]["target_ppm"], 50_000);
    // Colour is for terminals only.
    let text = done(
        folder.path(),
        &["rollout", "validate", file.to_str().unwrap()],
    )
    .stdout;
    assert!(!text.contains('\u{1b}'), "{text}");
    let schema = done(folder.path(), &["rollout", "schema"]).json();
    assert_eq!(schema["properties"]["version"]["const"], 1);
}

#[test]
fn wrong_use_is_2_and_help_is_0() {
    let folder = folder();
    for arguments in [
        &["rollot", "list"][..],
        &["rollout", "show", "seven"],
        &["rollout", "halt", "7"],
        &["rollout", "advance", "7", "--reason", "x"],
        &["lift", "1"],
        &["stop", "--reason", "x"],
        &["stop", "--fleet", "--region", "eu", "--reason", "x"],
        &["rollout", "halt", "7", "--reason", "  "],
        &[
            "floor",
            "raise",
            "--component",
            "a b",
            "--to",
            "7",
            "--reason",
            "x",
        ],
        &["rollout", "list"],
        &["rollout", "list", "--store", "nonsense"],
        &[
            "checkin",
            "car-1",
            "--variant",
            "a/b/c/d",
            "--runs",
            "os=1.0.0:1",
        ],
        &["rollout", "validate", "no-such-file.yaml"],
        &["audit", "verify", "no-such-directory"],
        &["approval", "list", "no-such-file"],
        &["rollout", "list", "--settings", "no-such-file"],
    ] {
        check(folder.path(), arguments, 2, &["error"]);
    }
    check(folder.path(), &["rollout"], 2, &["Usage:"]);
    let said = run(folder.path(), &["rollout", "halt", "7"]);
    assert!(said.stderr.contains("--reason"), "{said:?}");
    let help = done(folder.path(), &["rollout", "apply", "--help"]);
    assert!(help.stdout.contains("Examples:"), "{help:?}");
}

#[test]
fn nobody_there_is_3() {
    let folder = folder();
    done(
        folder.path(),
        &["key", "new", "--role", "operator", "--name", "a", "a.key"],
    );
    for arguments in [
        &["rollout", "list"][..],
        &["cluster", "status"],
        &["rollout", "halt", "7", "--reason", "x", "--key", "a.key"],
        &["audit", "export", "out"],
        &[
            "checkin",
            "car-1",
            "--to",
            NOBODY,
            "--variant",
            "a/b/c/d",
            "--runs",
            "os=1.0.0:1",
        ],
    ] {
        let common = ["--store", NOBODY, "--timeout", "300ms"];
        check(
            folder.path(),
            &[arguments, &common].concat(),
            3,
            &["error", "next:"],
        );
    }
    let json = run(
        folder.path(),
        &[
            "--json",
            "rollout",
            "list",
            "--store",
            NOBODY,
            "--timeout",
            "300ms",
        ],
    );
    assert_eq!(json.json()["error"]["kind"], "unreachable");
}

#[test]
fn a_key_that_others_may_read_signs_nothing() {
    let folder = folder();
    done(
        folder.path(),
        &["key", "new", "--role", "operator", "--name", "a", "a.key"],
    );
    let key = folder.path().join("a.key");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    check(
        folder.path(),
        &["key", "list", "a.key"],
        1,
        &["mode 0644", "chmod 600"],
    );
    check(
        folder.path(),
        &["key", "new", "--role", "operator", "--name", "b", "a.key"],
        1,
        &["exists"],
    );
}

/// The ceremony of the first epoch: each holder signs where their key is, without a network.
#[test]
fn a_key_ceremony_needs_no_network() {
    let folder = folder();
    let folder = folder.path();
    for (role, name) in [("root", "r1"), ("root", "r2"), ("operator", "o1")] {
        done(
            folder,
            &[
                "key",
                "new",
                "--role",
                role,
                "--name",
                name,
                &format!("{name}.key"),
            ],
        );
    }
    let rotate = [
        "key",
        "rotate",
        "--first",
        "fleet.example",
        "--add",
        "r1.key.pub",
        "r2.key.pub",
        "o1.key.pub",
        "--threshold",
        "root=2",
        "--key",
        "r1.key",
        "--collect",
        "e1.command",
    ];
    let ran = done(folder, &[&["--json"], &rotate[..]].concat());
    assert_eq!(
        (&ran.json()["signatures"], &ran.json()["needed"]),
        (&1.into(), &2.into())
    );
    check(folder, &rotate, 1, &["e1.command", "exist"]);
    done(
        folder,
        &["approval", "sign", "e1.command", "--key", "r2.key"],
    );
    let listed = done(folder, &["--json", "approval", "list", "e1.command"]).json();
    let command = &listed["commands"][0];
    assert_eq!(command["command"], "RotateKeys");
    assert_eq!(command["origin"], "fleet.example");
    let signatures = command["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 2);
    assert!(
        signatures
            .iter()
            .all(|signature| signature["verifies"] == true)
    );
    check(
        folder,
        &[
            "approval",
            "submit",
            "e1.command",
            "--store",
            NOBODY,
            "--timeout",
            "300ms",
        ],
        3,
        &["error"],
    );
}

#[test]
fn a_damaged_command_file_is_refused() {
    let folder = folder();
    let folder = folder.path();
    let damaged = "-----BEGIN TIDEGATE COMMAND-----\nAAAA\n";
    fs::write(folder.join("x.command"), damaged).unwrap();
    check(
        folder,
        &["approval", "list", "x.command"],
        2,
        &["no command file"],
    );
}

#[test]
fn a_release_is_signed_offline_and_never_changes() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("payload.bin"), b"not much of a model").unwrap();
    for name in ["rel-1", "rel-2"] {
        done(
            folder,
            &[
                "key",
                "new",
                "--role",
                "release",
                "--name",
                name,
                &format!("{name}.key"),
            ],
        );
    }
    done(
        folder,
        &["key", "new", "--role", "operator", "--name", "o", "o.key"],
    );
    let describe = [
        "--name",
        "detector-v3.2",
        "--kind",
        "model",
        "--component",
        "detector-model",
        "--release-version",
        "3.2.0",
        "--security-version",
        "4",
        "--payload",
        "payload.bin",
        "--url",
        "https://cdn.example/r",
        "--origin",
        "fleet.example",
    ];
    let sign = [
        "--json",
        "release",
        "sign",
        "d.release",
        "--key",
        "rel-1.key",
    ];
    let signed = done(folder, &[&sign[..], &describe].concat()).json();
    let payload = &signed["payloads"][0];
    assert_eq!(payload["urls"][0], "https://cdn.example/r/payload.bin");
    assert_eq!(payload["size"], 19);
    let again = [&sign[..], &describe].concat();
    check(folder, &again, 2, &["a signed release never changes"]);
    let second = [
        "--json",
        "release",
        "sign",
        "d.release",
        "--key",
        "rel-2.key",
    ];
    assert_eq!(done(folder, &second).json()["signatures"], 2);
    // The same key again is no second signature.
    assert_eq!(done(folder, &second).json()["signatures"], 2);
    check(
        folder,
        &["release", "sign", "d.release", "--key", "o.key"],
        2,
        &["role operator", "role release"],
    );
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = done(folder().path(), &["completions", shell]).stdout;
        assert!(script.contains("rollout"), "{shell}");
    }
}
