//! Disks that fill up: commands are refused in time, everything else goes on, and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::support::{Cluster, PATIENCE, Shape, accepted, ceremony, eventually, host};
use tidegate_client::{ClientConfig, ClientError, Position, StoreClient};
use tidegate_domain::command::EmergencyStop;
use tidegate_domain::guard::{StopCovers, StopScope};
use tidegate_domain::testing::{Fleet, reason};
use tidegate_proto::Refusal;
use tidegate_proto::v1::{DiskState, NodeRole, StatusResponse};
use tidegate_raft_store::config::{NodeConfig, NodeLimits};
use tidegate_raft_store::{Host, Listener, Node, NodeId, NodeKeys};
use tidegate_runtime::disk::{DirDisk, SimDisk};

/// Far more than the databases of these tests grow by at once.
const RESERVE: u64 = 64 << 20;

fn shape(nodes: usize, disk_reserve_bytes: u64) -> Shape {
    let limits = NodeLimits {
        disk_reserve_bytes,
        ..NodeLimits::default()
    };
    Shape {
        nodes,
        limits,
        ..Shape::default()
    }
}

/// Leaves so many bytes free on a node's disk.
fn leave(cluster: &Cluster, id: NodeId, free: u64) {
    let disk = &cluster.disks[id as usize - 1];
    disk.set_capacity(Some(disk.stats().bytes + free));
}

fn make_room(cluster: &Cluster, id: NodeId) {
    cluster.disks[id as usize - 1].set_capacity(None);
}

/// A client that gives up soon.
fn hurried(cluster: &Cluster, ids: &[NodeId]) -> StoreClient {
    let endpoint = |id: &NodeId| cluster.configs[*id as usize - 1].advertise.clone();
    StoreClient::new(ClientConfig {
        deadline: Duration::from_secs(3),
        ..ClientConfig::new(ids.iter().map(endpoint).collect())
    })
    .unwrap()
}

async fn status(cluster: &Cluster, id: NodeId) -> StatusResponse {
    cluster.client_of(id).statuses().await.remove(0).1.unwrap()
}

async fn until_ready_is(cluster: &Cluster, id: NodeId, ready: bool) {
    let looking = async {
        while status(cluster, id).await.ready != ready {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let looked = tokio::time::timeout(PATIENCE, looking).await;
    looked.unwrap_or_else(|_| panic!("node {id} is not ready: {ready}"));
}

async fn until_disk_is(cluster: &Cluster, id: NodeId, state: DiskState) {
    let looking = async {
        while status(cluster, id).await.disk() != state {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, looking).await;
    reached.unwrap_or_else(|_| panic!("node {id} never said {state:?}"));
}

#[track_caller]
fn refused_for_room(error: &ClientError) {
    assert_eq!(error.refusal(), Refusal::DiskFull, "{error}");
    assert!(!error.is_effect_unknown(), "{error}");
    let text = error.to_string();
    for part in ["full", "free space on", "go on"] {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_refuse_commands_and_nothing_else() {
    let mut cluster = Cluster::start(shape(3, RESERVE)).await;
    let client = cluster.client();
    accepted(&client.propose(cluster.variant(1).to_bytes()).await.unwrap());
    for id in 1..=3 {
        leave(&cluster, id, RESERVE * 3 / 4);
    }
    for id in 1..=3 {
        until_disk_is(&cluster, id, DiskState::Full).await;
    }
    let before = client.read_index().await.unwrap().position;
    for id in 1..=3 {
        let command = cluster.variant(2).to_bytes();
        let refused = hurried(&cluster, &[id]).propose(command).await;
        refused_for_room(&refused.unwrap_err());
    }
    // Reads go on, at every node; and so does what stops harm.
    assert_eq!(client.read_index().await.unwrap().position, before);
    for id in 1..=3 {
        let one = cluster.client_of(id);
        let (manifest, rows) = one.snapshot(Position::default()).await.unwrap();
        assert_eq!(manifest.rows, rows.len() as u64);
    }
    let stop = cluster.sign(EmergencyStop {
        scope: StopScope::Fleet,
        covers: StopCovers::Both,
        reason: reason(),
    });
    accepted(&client.propose(stop.to_bytes()).await.unwrap());

    for id in 1..=3 {
        make_room(&cluster, id);
    }
    accepted(&client.propose(cluster.variant(3).to_bytes()).await.unwrap());
    for id in 1..=3 {
        until_disk_is(&cluster, id, DiskState::Writable).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_full_disk_hands_over() {
    let mut cluster = Cluster::start(shape(3, RESERVE)).await;
    let full = cluster.leader().await;
    leave(&cluster, full, RESERVE * 3 / 4);
    eventually("another leads", || {
        let others = (1..=3).filter(|id| *id != full);
        others.into_iter().find(|id| cluster.node(*id).is_leader())
    })
    .await;
    // Also for those who ask the node whose disk is full.
    let one = cluster.client_of(full);
    accepted(&one.propose(cluster.variant(1).to_bytes()).await.unwrap());
    assert_eq!(status(&cluster, full).await.disk(), DiskState::Full);
    make_room(&cluster, full);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_a_full_disk_votes_stands_aside_and_catches_up() {
    let mut cluster = Cluster::start(shape(3, RESERVE)).await;
    let leader = cluster.leader().await;
    let (full, healthy) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    leave(&cluster, full, RESERVE / 4);
    until_disk_is(&cluster, full, DiskState::Full).await;
    let client = hurried(&cluster, &[leader, healthy]);
    for number in 0..50 {
        let command = cluster.variant(number).to_bytes();
        accepted(&client.propose(command).await.unwrap());
    }
    let entries = cluster.node(leader).state().position().entries;
    cluster.catch_up(healthy, entries).await;
    let behind = cluster.node(full).state().position().entries;
    assert!(behind < entries - 40, "it took {behind} of {entries}");
    let stale = cluster.client_of(full).stale_read().await.unwrap().0;
    assert_eq!(stale.position.entries, behind);
    until_ready_is(&cluster, full, false).await;
    assert!(status(&cluster, healthy).await.ready);

    // Its vote is needed, and given.
    cluster.cut_power(leader).await;
    eventually("the healthy one leads", || {
        cluster.node(healthy).is_leader().then_some(())
    })
    .await;
    let one = cluster.client_of(healthy);
    make_room(&cluster, full);
    accepted(&one.propose(cluster.variant(99).to_bytes()).await.unwrap());
    cluster.catch_up(full, entries + 1).await;
    until_ready_is(&cluster, full, true).await;
    cluster.restart(leader).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_disk_stops_the_node_and_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start(shape(1, 0)).await;
    leave(&cluster, 1, 0);
    let client = hurried(&cluster, &[1]);
    let mut acknowledged = 0;
    while let Ok(proposed) = client
        .propose(cluster.variant(acknowledged).to_bytes())
        .await
    {
        accepted(&proposed);
        acknowledged += 1;
        assert!(acknowledged < 100_000, "the disk never filled up");
    }
    let stopped = status(&cluster, 1).await;
    assert_eq!(stopped.role(), NodeRole::Stopped);
    assert_eq!(stopped.disk(), DiskState::Full);
    cluster.cut_power(1).await;
    make_room(&cluster, 1);
    cluster.restart(1).await;
    cluster.client().read_index().await.unwrap();
    let found = cluster.node(1).state().read(|state| state.variants().len());
    assert!(found as u64 >= u64::from(acknowledged), "{found}");
}

/// The same on a real volume, whose free space only the operating system knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_volume_below_its_reserve_refuses_commands_and_reads_on() {
    let path = tempfile::tempdir().unwrap();
    let disk = Arc::new(DirDisk::open(path.path()).unwrap());
    let start = async |disk_reserve_bytes: u64| {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let config = NodeConfig {
            limits: shape(1, disk_reserve_bytes).limits,
            ..NodeConfig::single(1, Fleet::ORIGIN, "eu", listener.address())
        };
        let host = Host {
            disk: Arc::clone(&disk) as _,
            ..host(&SimDisk::new())
        };
        let client = StoreClient::new(ClientConfig {
            deadline: Duration::from_secs(3),
            ..ClientConfig::new(vec![config.advertise.clone()])
        });
        let node = Node::start(config, NodeKeys::default(), listener, host);
        (node.await.unwrap(), client.unwrap())
    };
    let command = ceremony(&mut Fleet::unborn());
    let (node, client) = start(u64::MAX).await;
    client.read_index().await.unwrap();
    let refused = client.propose(command.clone()).await;
    refused_for_room(&refused.unwrap_err());
    let said = client.statuses().await.remove(0).1.unwrap();
    assert_eq!(said.disk(), DiskState::Full);
    assert!(said.disk_free_bytes > 0, "{said:?}");
    client.read_index().await.unwrap();
    node.stop().await.unwrap();

    let (node, client) = start(1).await;
    accepted(&client.propose(command).await.unwrap());
    node.stop().await.unwrap();
}
