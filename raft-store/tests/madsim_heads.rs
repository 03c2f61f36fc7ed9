//! A node whose chain becomes another one stops and says where; the others, who have one bad peer or
//! had a bad leader, go on.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "every unwrap of a test is an assertion")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use tidegate_domain::command::{Base, ChangeMembership, Command, Proposal, RegisterVariant, seal};
use tidegate_domain::config::Member as WantedMember;
use tidegate_domain::id::{LogTime, NodeId as WantedId, Region};
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, traits};
use tidegate_domain::{Outcome, canonical};
use tidegate_proto::v1::ProposeRequest;
use tidegate_proto::v1::store_client::StoreClient;
use tidegate_raft_store::config::{NodeConfig, Peer};
use tidegate_raft_store::{Host, Listener, Member, Node, NodeId, NodeKeys, OUTVOTED};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::{Clock as _, SystemClock, SystemEntropy};

const NODES: u64 = 3;
/// Longer than a node may take to stop, and to start again or to refuse to.
const PATIENCE: Duration = Duration::from_secs(20);

type Running = Arc<Mutex<BTreeMap<NodeId, Result<Arc<Node>, String>>>>;

struct Cluster {
    machines: BTreeMap<NodeId, (NodeHandle, SimDisk)>,
    running: Running,
    client: NodeHandle,
    fleet: Arc<Mutex<Fleet>>,
}

fn address(id: NodeId) -> SocketAddr {
    format!("10.0.0.{id}:7000").parse().unwrap()
}

fn config(id: NodeId) -> NodeConfig {
    let peer = |node_id: NodeId| Peer {
        node_id,
        member: Member {
            addr: address(node_id).to_string(),
            region: "r".to_owned(),
        },
    };
    NodeConfig {
        peers: (1..=NODES).filter(|peer| *peer != id).map(peer).collect(),
        found_cluster: id == 1,
        ..NodeConfig::single(id, Fleet::ORIGIN, "r", address(id))
    }
}

/// What runs on a machine while it has power.
async fn serve(id: NodeId, running: Running, disk: SimDisk) {
    let host = Host {
        disk: Arc::new(disk.mount()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let number = u8::try_from(id).unwrap() - 1;
    let keys = NodeKeys {
        checkpoint: Some(Fleet::unborn().keys.key(Role::Checkpoint, number).clone()),
        ..NodeKeys::default()
    };
    let listener = Listener::bind(address(id)).unwrap();
    let node = Node::start(config(id), keys, listener, host).await;
    let node = node.map(Arc::new).map_err(|error| error.to_string());
    running.lock().unwrap().insert(id, node);
    std::future::pending().await
}

impl Cluster {
    /// Three nodes that hold their key ceremony, with their keys entered.
    async fn start() -> Self {
        let (running, handle) = (Running::default(), Handle::current());
        let machine = |id: NodeId| {
            let disk = SimDisk::new();
            let life = {
                let (running, disk) = (Arc::clone(&running), disk.clone());
                move || serve(id, Arc::clone(&running), disk.clone())
            };
            let builder = handle.create_node().name(format!("n{id}"));
            let builder = builder.ip(address(id).ip()).init(life);
            (id, (builder.build(), disk))
        };
        let client = handle.create_node().name("client");
        let cluster = Self {
            machines: (1..=NODES).map(machine).collect(),
            client: client.ip("10.0.0.100".parse().unwrap()).build(),
            running,
            fleet: Arc::new(Mutex::new(Fleet::unborn())),
        };
        let (ceremony, members) = {
            let fleet = cluster.fleet.lock().unwrap();
            let member = |id: NodeId| WantedMember {
                id: WantedId(id),
                address: address(id).to_string(),
                region: Region::new("r").unwrap(),
                voter: true,
                checkpoint_key: {
                    let number = u8::try_from(id).unwrap() - 1;
                    Some(fleet.keys.public(Role::Checkpoint, number))
                },
            };
            let members = (1..=NODES).map(member).collect();
            (fleet.rotation(&[0, 1, 2]), ChangeMembership { members })
        };
        cluster.command(ceremony).await;
        cluster.command(members).await;
        cluster
    }

    fn node(&self, id: NodeId) -> Arc<Node> {
        let running = self.running.lock().unwrap();
        Arc::clone(running[&id].as_ref().unwrap())
    }

    async fn leader(&self) -> NodeId {
        loop {
            let leader = {
                let running = self.running.lock().unwrap();
                let mut up = running
                    .iter()
                    .filter_map(|(id, node)| Some((*id, node.as_ref().ok()?)));
                up.find(|(_, node)| node.is_leader()).map(|(id, _)| id)
            };
            match leader {
                Some(leader) => return leader,
                None => madsim::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Has a command accepted, by whichever node takes it; answers its index.
    async fn command(&self, command: impl Into<Command>) -> u64 {
        let command = {
            let mut fleet = self.fleet.lock().unwrap();
            // A little in the past: the leader's stamp must not come before it.
            fleet.now = LogTime(SystemClock.wall().0 - 60_000);
            let command = command.into();
            let signers = fleet.signers(&command);
            let base = Base::genesis(Fleet::ORIGIN);
            let proposal = Proposal {
                base,
                ..fleet.proposal(command)
            };
            let bytes = seal(&proposal, &signers.iter().collect::<Vec<_>>()).to_bytes();
            fleet.apply(&bytes);
            bytes
        };
        let asked = self.client.spawn(async move {
            for to in (1..=NODES).cycle() {
                let command = command.clone();
                let attempt = async {
                    let endpoint = format!("http://{}", address(to));
                    let mut client = StoreClient::connect(endpoint).await.ok()?;
                    let answer = client.propose(ProposeRequest { command }).await;
                    Some(answer.ok()?.into_inner())
                };
                let answer = madsim::time::timeout(Duration::from_secs(2), attempt).await;
                if let Ok(Some(answer)) = answer {
                    let outcome: Outcome = canonical::decode(&answer.outcome).unwrap();
                    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
                    return answer.index;
                }
                madsim::time::sleep(Duration::from_millis(100)).await;
            }
            unreachable!("a cycle has no end")
        });
        asked.await.unwrap()
    }

    async fn variant(&self, number: u64) -> u64 {
        let traits = traits(&format!("model-{number}/r1/eu/none"));
        self.command(RegisterVariant { traits }).await
    }

    /// Stops what runs on a machine, and starts it again; answers why it refused.
    async fn refuses_to_start(&self, id: NodeId) -> String {
        self.machines[&id].1.kill();
        Handle::current().kill(self.machines[&id].0.id());
        self.running.lock().unwrap().remove(&id);
        Handle::current().restart(self.machines[&id].0.id());
        loop {
            if let Some(started) = self.running.lock().unwrap().get(&id) {
                let refused = started.as_ref().map(|_| "it started");
                return refused.unwrap_err().clone();
            }
            madsim::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The node that leads diverges, or one that follows.
async fn story(leads: bool) {
    let cluster = Cluster::start().await;
    let last_sound = cluster.variant(0).await;
    // Everybody has said so.
    madsim::time::sleep(Duration::from_secs(4)).await;
    let leader = cluster.leader().await;
    let bad = if leads { leader } else { leader % NODES + 1 };
    let node = cluster.node(bad);
    node.state().diverge(last_sound + 2);
    let first_bad = cluster.variant(1).await;
    assert_eq!(first_bad, last_sound + 1);
    let why = madsim::time::timeout(PATIENCE, node.failed()).await;
    let why = why.expect("a node that a majority contradicts goes on");
    assert!(why.starts_with(OUTVOTED), "{why}");
    let said = format!("entry {first_bad} differs, entry {last_sound} the last known to agree");
    assert!(why.contains(&said), "{why}");
    drop(node);
    let refused = cluster.refuses_to_start(bad).await;
    assert!(refused.contains("not to be trusted"), "{refused}");
    assert!(refused.contains(&format!("Remove node {bad}")), "{refused}");
    for number in 2..8 {
        cluster.variant(number).await;
        madsim::time::sleep(Duration::from_secs(1)).await;
    }
    for id in (1..=NODES).filter(|id| *id != bad) {
        let node = cluster.node(id);
        let failed = madsim::time::timeout(Duration::from_secs(1), node.failed()).await;
        assert!(failed.is_err(), "node {id} stopped: {failed:?}");
    }
}

#[test]
fn a_node_whose_chain_a_majority_contradicts_stops_and_the_others_go_on() {
    for leads in [false, true] {
        let mut runtime = Runtime::with_seed_and_config(7, madsim::Config::default());
        runtime.set_time_limit(Duration::from_secs(300));
        runtime.block_on(story(leads));
    }
}

#[test]
fn who_has_one_bad_peer_goes_on() {
    let runtime = Runtime::with_seed_and_config(8, madsim::Config::default());
    runtime.block_on(async {
        let cluster = Cluster::start().await;
        let leader = cluster.leader().await;
        let (bad, away) = (leader % NODES + 1, (leader + 1) % NODES + 1);
        // One does not hear the other: to each of the two that talk, one peer is bad.
        let net = madsim::net::NetSim::current();
        net.clog_link(
            cluster.machines[&away].0.id(),
            cluster.machines[&bad].0.id(),
        );
        let entries = cluster.variant(0).await;
        cluster.node(bad).state().diverge(entries);
        for number in 1..15 {
            cluster.variant(number).await;
            madsim::time::sleep(Duration::from_secs(1)).await;
        }
        for id in 1..=NODES {
            let node = cluster.node(id);
            let failed = madsim::time::timeout(Duration::from_secs(1), node.failed()).await;
            assert!(failed.is_err(), "node {id} stopped: {failed:?}");
        }
    });
}
