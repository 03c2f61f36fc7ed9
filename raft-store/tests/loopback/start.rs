//! What keeps a node from starting, and that it says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::support::{Cluster, PATIENCE, Shape, accepted, host};
use tidegate_raft_store::config::NodeConfig;
use tidegate_raft_store::{Host, Listener, Node, NodeKeys};
use tidegate_runtime::disk::{DirDisk, SimDisk};

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let taken = Listener::bind(loopback()).unwrap();
    let refused = Listener::bind(taken.address()).unwrap_err().to_string();
    let port = taken.address().port();
    assert!(
        refused.contains(&format!("127.0.0.1:{port} is in use")),
        "{refused}"
    );
    assert!(
        refused.contains("choose another `listen` address"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_data_directory_in_use_or_of_another_node_is_refused() {
    let path = tempfile::tempdir().unwrap();
    let disk = Arc::new(DirDisk::open(path.path()).unwrap());
    let in_use = DirDisk::open(path.path()).unwrap_err().to_string();
    assert!(in_use.contains("in use by another process"), "{in_use}");

    let on_disk = || Host {
        disk: Arc::clone(&disk) as _,
        ..host(&SimDisk::new())
    };
    let start = async |node_id, origin: &str| {
        let listener = Listener::bind(loopback()).unwrap();
        let config = NodeConfig::single(node_id, origin, "eu", listener.address());
        Node::start(config, NodeKeys::default(), listener, on_disk()).await
    };
    start(1, "a.example/fleet")
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let check = async |node_id, origin: &str, says: &str| {
        let refused = start(node_id, origin).await.err().unwrap().to_string();
        assert!(refused.contains(says), "{refused:?} does not say {says:?}");
    };
    check(2, "a.example/fleet", "belongs to node 1, this is node 2").await;
    check(
        1,
        "b.example/fleet",
        "belongs to cluster \"a.example/fleet\"",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_says_so_and_can_be_ended() {
    // The first sync that fails is the log's in one case, the state's in the other.
    for (hurt, says) in [
        (Hurt::Log, "the log could not be written"),
        (Hurt::State, "state: "),
    ] {
        let shape = Shape {
            nodes: 1,
            ..Shape::default()
        };
        let mut cluster = Cluster::start(shape).await;
        let command = cluster.variant(1).to_bytes();
        let (client, node) = (cluster.client(), cluster.nodes[0].take().unwrap());
        let early = tokio::time::timeout(Duration::from_millis(50), node.failed()).await;
        assert!(early.is_err(), "{early:?}");
        cluster.disks[0].fail_sync_after(0);
        match hurt {
            Hurt::Log => drop(tokio::spawn(async move { client.propose(command).await })),
            Hurt::State => node.raft().trigger().snapshot().await.unwrap(),
        }
        let why = tokio::time::timeout(PATIENCE, node.failed()).await.unwrap();
        assert!(why.contains(says), "{why}");
        node.kill().await;
    }
}

enum Hurt {
    Log,
    State,
}

/// A new disk under an old number: the node itself cannot know, and its leader does. (ADR 0008)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_without_what_it_acknowledged_stops_for_good() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let command = cluster.variant(1).to_bytes();
    accepted(&cluster.client().propose(command).await.unwrap());
    let leader = cluster.leader().await;
    let node = if leader == 3 { 2 } else { 3 };
    let entries = cluster.node(leader).state().position().entries;
    cluster.catch_up(node, entries).await;
    cluster.cut_power(node).await;
    let at = if leader == 3 { 1 } else { 2 };
    cluster.disks[at] = SimDisk::new();
    cluster.restart(node).await;
    let why = tokio::time::timeout(PATIENCE, cluster.node(node).failed()).await;
    let why = why.expect("the node ends");
    let says = format!("was acknowledged to node {leader}, and what is left on the disk ends with");
    assert!(why.contains(&says), "{why}");
    cluster.nodes[at].take().unwrap().kill().await;
    let listener = Listener::bind(cluster.configs[at].listen).unwrap();
    let (config, host) = (cluster.configs[at].clone(), host(&cluster.disks[at]));
    let again = Node::start(config, NodeKeys::default(), listener, host).await;
    let refused = again.err().unwrap().to_string();
    assert!(refused.contains(&why), "{refused}");
    let advice = format!("Remove node {node} from the cluster");
    assert!(refused.contains(&advice), "{refused}");
    let command = cluster.variant(2).to_bytes();
    accepted(&cluster.client().propose(command).await.unwrap());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_keeps_what_it_acknowledged_across_restarts() {
    let shape = Shape {
        nodes: 1,
        ..Shape::default()
    };
    let mut cluster = Cluster::start(shape).await;
    for round in 0..5 {
        let proposed = cluster
            .client()
            .propose(cluster.variant(round).to_bytes())
            .await
            .unwrap();
        accepted(&proposed);
        if round % 2 == 0 {
            cluster.cut_power(1).await;
        } else {
            cluster.nodes[0].take().unwrap().stop().await.unwrap();
        }
        cluster.restart(1).await;
        let entries = cluster
            .client()
            .read_index()
            .await
            .unwrap()
            .position
            .entries;
        assert!(entries > proposed.index.0);
    }
    let variants = cluster.node(1).state().read(|state| state.variants().len());
    assert_eq!(variants, 5);
    cluster.stop().await;
}
