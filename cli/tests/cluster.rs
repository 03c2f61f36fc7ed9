//! The binary against itself: three store nodes and a decision node as processes of their own, run
//! as the README tells a new user to.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod support;

use std::fs;
use support::{fleet::Fleet, repository};

const DEVICE: [&str; 5] = [
    "car-1",
    "--variant",
    "gw-200/b2/eu-west/none",
    "--runs",
    "detector-model=3.0.0:1",
];

#[test]
fn a_new_user_gets_from_nothing_to_a_verified_export() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::init(folder.path(), "eu-west,us-east,ap-south");
    let mut running: Vec<_> = (1..=3).map(|node| fleet.serve(node)).collect();
    fleet.eventually(&["cluster", "status"], |status| status["quorum"] == true);
    second_process_is_told_why(&fleet);

    // Nothing is accepted before the ceremony; afterwards a repetition is told apart.
    fleet.refused(
        &["variant", "register", "gw-200/b2/eu-west/none"],
        "ceremony",
    );
    fleet.done(&["approval", "submit", "fleet/epoch-1.command"]);
    let again = fleet.done(&["approval", "submit", "fleet/epoch-1.command"]);
    assert_eq!(again["duplicate"], true);
    fleet.done(&["approval", "submit", "fleet/members.command"]);
    fleet.done(&["variant", "register", "gw-200/b2/eu-west/none"]);

    running.push(fleet.start(&["decide", "--config", "fleet/decide.toml"]));
    fleet.says("fleet-decide-toml.err", "session open");
    second_decision_node_is_told_why(&fleet);
    nothing_to_worry_about(&fleet);
    first_release(&fleet);
    second_release(&fleet);
    quorums(&fleet);
    export(&fleet);

    // Decision node first: it reports and closes its session at the store.
    for process in running.into_iter().rev() {
        assert_eq!(process.end(), 0);
    }
}

/// A file that is empty after a power cut is the classic. The voter must not come back without what it
/// knew: a majority of it and a node that was down would forget what was acknowledged.
#[test]
fn a_voter_whose_log_was_emptied_stays_away_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::init(folder.path(), "eu-west,us-east,ap-south");
    let [one, two, three] = [1, 2, 3].map(|node| fleet.serve(node));
    fleet.eventually(&["cluster", "status"], |status| status["quorum"] == true);
    fleet.done(&["approval", "submit", "fleet/epoch-1.command"]);
    fleet.done(&["approval", "submit", "fleet/members.command"]);
    assert_eq!(two.end(), 0);
    fleet.done(&["stop", "--fleet", "--reason", "a bad release"]);
    // As the power does.
    drop((one, three));

    let path = |file: &str| fleet.folder.join("fleet/data/node-1").join(file);
    let start = ["serve", "--config", "fleet/node-1.toml"];
    for (file, page) in [
        ("log-00000001", "bytes are left"),
        ("state.redb", "is empty"),
    ] {
        let whole = fs::read(path(file)).unwrap();
        for (len, says) in [(0, "is empty"), (4_096, page), (8_192, "new number")] {
            fs::write(path(file), &whole[..len]).unwrap();
            let refused = fleet.run(&start);
            assert_eq!(refused.code, 1, "{file} of {len} bytes: {refused:?}");
            for says in [file.split('.').next().unwrap(), says, "under a new number"] {
                assert!(refused.stderr.contains(says), "no {says:?}: {refused:?}");
            }
        }
        fs::write(path(file), &whole).unwrap();
    }
    fs::write(path("log-00000001"), "").unwrap();
    fleet.refused(
        &start,
        "node 1 joined the cluster before but log-00000001 is empty",
    );

    // The others are a majority, and remember.
    let _running = [2, 3].map(|node| fleet.serve(node));
    fleet.eventually(&["cluster", "status"], |status| {
        status["cluster"]["stops"][0]["stop"] == 1
    });
}

/// Who does what `init` says, in that order, is warned of nothing.
fn nothing_to_worry_about(fleet: &Fleet<'_>) {
    for name in ["node-1", "node-2", "node-3", "decide"] {
        let log = fleet.log(&format!("fleet-{name}-toml.err"));
        // Elections on a busy machine may be told of; nobody here was unreachable or untrusted.
        let worry = log.lines().find(|line| {
            line.contains(" WARN ") && ["nreachable", "tidegate_"].iter().any(|w| line.contains(w))
        });
        assert_eq!(worry, None, "{name}");
    }
}

/// A port in use, and a data directory in use.
fn second_process_is_told_why(fleet: &Fleet<'_>) {
    fleet.refused(&["serve", "--config", "fleet/node-1.toml"], "in use");
    let text = fs::read_to_string(fleet.folder.join("fleet/node-1.toml")).unwrap();
    let elsewhere: Vec<&str> = text.lines().filter(|l| !l.starts_with("listen")).collect();
    let elsewhere = elsewhere.join("\n").replacen(
        "region =",
        "listen = \"127.0.0.1:0\"\nadvertise = \"127.0.0.1:9\"\nregion =",
        1,
    );
    fs::write(fleet.folder.join("fleet/twin.toml"), elsewhere).unwrap();
    fleet.refused(
        &["serve", "--config", "fleet/twin.toml"],
        "in use by another process",
    );
}

/// The same of a decision node.
fn second_decision_node_is_told_why(fleet: &Fleet<'_>) {
    let decide = ["decide", "--config", "fleet/decide.toml"];
    fleet.refused(&decide, "data/decide is in use by another process");
    let text = fs::read_to_string(fleet.folder.join("fleet/decide.toml")).unwrap();
    let elsewhere = text.replace("data/decide", "data/twin");
    fs::write(fleet.folder.join("fleet/twin.toml"), elsewhere).unwrap();
    fleet.refused(
        &["decide", "--config", "fleet/twin.toml"],
        "is in use by another process; stop it, or choose another address",
    );
}

/// The first release of a component: it becomes the baseline.
fn first_release(fleet: &Fleet<'_>) {
    fleet.release("detector-v3.1", "3.1.0", "3");
    let example = repository("examples/detector-v3.2.yaml");
    fleet.refused(
        &["rollout", "plan", example.to_str().unwrap()],
        "no release named detector-v3.2",
    );
    fs::write(
        fleet.folder.join("first.yaml"),
        "rollout:\n  model_version: detector-v3.1\n  stages:\n    - name: all\n      \
         target_percent: 100\n  rollback:\n    to: fix_forward_only\n",
    )
    .unwrap();
    let plan = fleet.done(&["rollout", "plan", "first.yaml"]);
    assert_eq!(plan["variants"], 1);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 3);
    assert_eq!(
        fleet.done(&["rollout", "list"])["rollouts"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    fleet.done(&["rollout", "apply", "first.yaml", "--approve"]);
    let why = fleet.done(&["rollout", "why", "1"]);
    let first = why["reasons"][0].as_str().unwrap();
    assert!(first.contains("wave all "), "{why}");
    // What the engine says of the state, and what the decision node says to a device.
    let told = fleet.done(&[&["device", "why"], &DEVICE[..]].concat());
    assert_eq!(told["reasons"][0]["rollout"], 1, "{told}");
    let check_in = [&["checkin"], &DEVICE[..]].concat();
    fleet.eventually(&check_in, |answer| answer["verdict"] == "offer");

    fleet.refused(&["rollout", "complete", "1"], "refused");
    fleet.done(&[
        "rollout",
        "advance",
        "1",
        "--override",
        "--reason",
        "one car is no sample",
    ]);
    fleet.done(&["rollout", "complete", "1"]);
    let baselines = fleet.done(&["baseline", "list"]);
    assert_eq!(baselines["baselines"][0]["release"], "detector-v3.1");
}

/// The example, halted and lifted.
fn second_release(fleet: &Fleet<'_>) {
    fleet.release("detector-v3.2", "3.2.0", "4");
    let example = repository("examples/detector-v3.2.yaml");
    let example = example.to_str().unwrap();
    fleet.done(&["rollout", "apply", example, "--dry-run"]);
    fleet.done(&["rollout", "apply", example]);
    assert_eq!(fleet.done(&["rollout", "show", "2"])["life"], "draft");
    fleet.refused(
        &[
            "rollout",
            "approve",
            "2",
            "--key",
            "fleet/keys/operator-1.key",
        ],
        "needs 2 signature(s)",
    );
    fleet.done(&["rollout", "approve", "2"]);
    let shown = fleet.done(&["rollout", "show", "2"]);
    assert_eq!(shown["waves"][0]["stage"], "soaking");
    fleet.refused(
        &[
            "rollout",
            "halt",
            "2",
            "--reason",
            "drill",
            "--if-revision",
            "1",
        ],
        "expected revision 1",
    );
    fleet.done(&[
        "rollout",
        "halt",
        "2",
        "--reason",
        "drill",
        "--key",
        "fleet/keys/operator-1.key",
    ]);
    fleet.refused(&["rollout", "watch", "2"], "halted");
    fleet.refused(&["rollout", "apply", example], "barred by the halt");
}

/// What takes two is collected offline.
fn quorums(fleet: &Fleet<'_>) {
    let key = |n: u8| format!("fleet/keys/operator-{n}.key");
    let resume = [
        "rollout",
        "resume",
        "2",
        "--reason",
        "drill is over",
        "--key",
    ];
    fleet.refused(&[&resume[..], &[&key(1)]].concat(), "approval sign");
    fleet.done(&[&resume[..], &[&key(1), "--collect", "resume.command"]].concat());
    fleet.refused(&["approval", "submit", "resume.command"], "signature");
    fleet.done(&["approval", "sign", "resume.command", "--key", &key(2)]);
    fleet.done(&["approval", "submit", "resume.command"]);
    assert_eq!(fleet.done(&["rollout", "show", "2"])["life"], "running");
    fleet.done(&["stop", "--fleet", "--reason", "drill"]);
    let status = fleet.done(&["cluster", "status"]);
    assert_eq!(status["cluster"]["stops"][0]["stop"], 1);
    fleet.done(&["lift", "1", "--reason", "drill is over"]);
    fleet.refused(
        &[
            "floor",
            "raise",
            "--component",
            "detector-model",
            "--to",
            "9",
            "--reason",
            "drill",
        ],
        "--retire",
    );
}

/// An export verifies; one flipped bit does not, and is named.
fn export(fleet: &Fleet<'_>) {
    let exported = fleet.done(&["audit", "export", "out"]);
    let roots = [1, 2, 3].map(|n| format!("fleet/keys/root-{n}.key.pub"));
    let verify = [
        "audit",
        "verify",
        "out",
        "-p",
        "out/policy",
        "--root",
        &roots[0],
        "--root",
        &roots[1],
        "--root",
        &roots[2],
    ];
    let verified = fleet.done(&verify);
    assert_eq!(verified["ok"], true);
    assert_eq!(verified["first_bad"], serde_json::Value::Null);
    assert_eq!(verified["entries"], exported["entries"]);
    // Every entry was applied again, with the same outcome.
    assert_eq!(verified["commands_applied"], verified["entries"]);
    assert!(
        verified["cosigners"].as_array().unwrap().len() >= 2,
        "{verified}"
    );
    fleet.refused(
        &["audit", "verify", "out", "--root", &roots[0]],
        "other root keys",
    );
    fleet.done(&["audit", "prove", "out", "3", "--out", "3.receipt"]);
    fleet.done(&[
        "audit",
        "prove",
        "out",
        "3",
        "--check",
        "3.receipt",
        "-p",
        "out/policy",
    ]);

    let bundles = fleet.folder.join("out/tile/entries/000.p");
    let bundle = fs::read_dir(bundles)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let bad = fleet.run(&["audit", "verify", "out"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert_eq!(bad.json()["ok"], false);
    assert!(
        bad.json()["first_bad"]
            .as_u64()
            .is_some_and(|index| index > 0),
        "{bad:?}"
    );
}
