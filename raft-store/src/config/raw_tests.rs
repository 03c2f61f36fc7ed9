//! What a node's file may say, and what each mistake answers.

use super::*;

const GOOD: &str = r#"
    node_id = 1
    origin = "fleet.example/prod"
    region = "eu-west"
    listen = "127.0.0.1:7101"
    data_dir = "/var/lib/tidegate"
    found_cluster = true
    [[peers]]
    node_id = 2
    address = "10.0.0.2:7101"
    region = "us-east"
    [raft]
    heartbeat_ms = 50
    election_min_ms = 150
    election_max_ms = 300
    [limits]
    watchers_max = 10
"#;

fn refused(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "{from:?} is not in the good text");
    let error = NodeConfig::parse(&GOOD.replace(from, to))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(expected),
        "{error:?} does not say {expected:?}"
    );
}

#[test]
fn a_full_file_is_read() {
    let config = NodeConfig::parse(GOOD).unwrap();
    assert_eq!(config.advertise, "127.0.0.1:7101");
    assert_eq!(config.raft.heartbeat, Duration::from_millis(50));
    assert_eq!(config.limits.watchers_max, 10);
    assert_eq!(
        config.limits.watch_entries_max,
        NodeLimits::default().watch_entries_max
    );
    let members = config.first_members();
    assert_eq!(members.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(members[&2].region, "us-east");
}

#[test]
fn a_peer_list_may_be_the_same_file_on_all_nodes() {
    let config = NodeConfig::parse(&GOOD.replace("node_id = 2", "node_id = 1")).unwrap();
    assert_eq!(config.peers, []);
}

#[test]
fn timers_follow_from_the_profile_or_the_heartbeat() {
    let explicit = "heartbeat_ms = 50\n    election_min_ms = 150\n    election_max_ms = 300";
    assert!(GOOD.contains(explicit));
    let timers = |lines: &str| {
        let raft = NodeConfig::parse(&GOOD.replace(explicit, lines))
            .unwrap()
            .raft;
        [raft.heartbeat, raft.election_min, raft.election_max].map(|length| length.as_millis())
    };
    assert_eq!(timers(""), [100, 400, 700]);
    assert_eq!(timers("profile = \"region\""), [100, 400, 700]);
    assert_eq!(timers("profile = \"loopback\""), [35, 140, 245]);
    assert_eq!(timers("profile = \"wan\""), [400, 1_600, 2_800]);
    assert_eq!(
        timers("profile = \"wan\"\nheartbeat_ms = 200"),
        [200, 800, 1_400]
    );
    assert_eq!(timers("election_max_ms = 900"), [100, 400, 900]);
    assert_eq!(timers("heartbeat_ms = 10000"), [10_000, 40_000, 60_000]);
}

#[test]
fn bad_settings_are_refused_with_the_field_and_what_is_right() {
    refused(
        "watchers_max = 10",
        "watcher_max = 10",
        "unknown field `watcher_max`",
    );
    refused("node_id = 1", "node_id = 0", "`node_id` is 0, must be 1");
    refused(
        "origin = \"fleet.example/prod\"",
        "",
        "missing field `origin`",
    );
    refused("fleet.example/prod", "fleet example", "`origin` must be");
    refused("\"eu-west\"", "\"eu west\"", "`region` is not a region");
    refused("127.0.0.1:7101", "127.0.0.1", "socket address");
    refused(
        "127.0.0.1:7101",
        "0.0.0.0:7101",
        "`advertise` must be given",
    );
    refused(
        "10.0.0.2:7101",
        "10.0.0.2",
        "`peers.address` is \"10.0.0.2\"",
    );
    refused("10.0.0.2:7101", "10.0.0.2:0", "`peers.address`");
    refused(
        "watchers_max = 10",
        "watchers_max = 0",
        "`limits.watchers_max` is 0",
    );
    refused("watchers_max = 10", "watchers_max = 1e3", "invalid type");
    refused(
        "watchers_max = 10",
        "disk_reserve_bytes = 0",
        "`limits.disk_reserve_bytes` is 0, must be 1048576",
    );
    refused(
        "heartbeat_ms = 50",
        "heartbeat_ms = 51",
        "at least three heartbeats",
    );
    refused(
        "heartbeat_ms = 50",
        "profile = \"lan\"",
        "unknown variant `lan`, expected one of `loopback`, `region`, `wan`",
    );
    refused(
        "election_max_ms = 300",
        "election_max_ms = 150",
        "`raft.election_max_ms`",
    );
    refused("found_cluster = true", "", "missing field `found_cluster`");
}

#[test]
fn a_node_named_twice_is_refused() {
    let twice = format!(
        "{GOOD}\n[[peers]]\nnode_id = 2\naddress = \"10.0.0.3:7101\"\nregion = \"us-east\""
    );
    let error = NodeConfig::parse(&twice).unwrap_err().to_string();
    assert_eq!(error, "`peers` names node 2 twice");
}
