//! A simulated world: three machines with a store node each, two with a decision node each, one for
//! operators and one for devices. What runs on them is production code; clocks, disks and network
//! are the simulator's.
pub(crate) mod devices;
pub(crate) mod operators;
pub(crate) mod trace;

use madsim::{
    net::NetSim,
    runtime::{Handle, NodeHandle},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tidegate_client::{ClientConfig, StoreClient};
use tidegate_decision::{
    config::NodeConfig,
    engine::PseudonymKey,
    node::{Node, Secrets},
};
use tidegate_domain::{
    key::Role,
    testing::{self, Fleet},
};
use tidegate_raft_store as store;
use tidegate_runtime::{Host, disk::SimDisk};
use trace::Trace;

pub(crate) const STORES: u8 = 3;
pub(crate) const DECISIONS: u8 = 2;

pub(crate) fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

/// Virtual time since the simulation began.
pub(crate) fn now() -> Duration {
    madsim::time::TimeHandle::current().elapsed()
}

fn store_address(id: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, id], 7_100))
}

fn decision_address(id: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, id], 7_200))
}

fn stores() -> Vec<String> {
    (1..=STORES)
        .map(|id| store_address(id).to_string())
        .collect()
}

/// A client of all store nodes, for whoever is on the machine that asks.
pub(crate) fn store_client() -> StoreClient {
    StoreClient::new(ClientConfig::new(stores())).unwrap()
}

type Running<T> = Arc<Mutex<BTreeMap<u8, T>>>;

/// All machines, and what runs on them.
pub(crate) struct World {
    pub(crate) trace: Trace,
    stores: Vec<NodeHandle>,
    leading: Running<Arc<store::Node>>,
    decisions: Vec<NodeHandle>,
    deciding: Running<Node>,
    pub(crate) operators: NodeHandle,
    pub(crate) devices: NodeHandle,
}

impl World {
    pub(crate) fn start() -> Self {
        let (trace, leading, deciding) = (Trace::default(), Running::default(), Running::default());
        let stores = (1..=STORES).map(|id| {
            let disk = disk();
            let (trace, leading) = (trace.clone(), Arc::clone(&leading));
            machine(&format!("store-{id}"), store_address(id), move || {
                serve(id, trace.clone(), Arc::clone(&leading), disk.clone())
            })
        });
        let stores = stores.collect();
        let decisions = (1..=DECISIONS).map(|id| {
            let disk = disk();
            let deciding = Arc::clone(&deciding);
            machine(&format!("decide-{id}"), decision_address(id), move || {
                decide(id, Arc::clone(&deciding), disk.clone())
            })
        });
        let decisions = decisions.collect();
        let idle =
            |name, ip: [u8; 4]| machine(name, SocketAddr::from((ip, 0)), std::future::pending);
        Self {
            trace,
            stores,
            leading,
            decisions,
            deciding,
            operators: idle("operators", [10, 0, 2, 1]),
            devices: idle("devices", [10, 0, 3, 1]),
        }
    }

    pub(crate) fn decision(&self, id: u8) -> &NodeHandle {
        &self.decisions[usize::from(id) - 1]
    }

    fn leader(&self) -> Option<u8> {
        let nodes = self.leading.lock().unwrap();
        let leader = nodes.iter().find(|(_, node)| node.is_leader());
        leader.map(|(id, _)| *id)
    }

    /// Cuts the store's leader and a decision node off from everything but devices and each other.
    pub(crate) fn cut_leader_off_with(&self, decision: u8) -> u8 {
        let leader = self.leader().expect("somebody leads");
        self.between(leader, decision, |net, from, to| net.clog_link(from, to));
        self.trace
            .note(&format!("store-{leader} and decide-{decision} are cut off"));
        leader
    }

    pub(crate) fn heal(&self, leader: u8, decision: u8) {
        self.between(leader, decision, |net, from, to| net.unclog_link(from, to));
        self.trace.note("the network heals");
    }

    fn between(
        &self,
        leader: u8,
        decision: u8,
        change: impl Fn(&NetSim, madsim::task::NodeId, madsim::task::NodeId),
    ) {
        let net = NetSim::current();
        let inside = [
            self.stores[usize::from(leader) - 1].id(),
            self.decision(decision).id(),
        ];
        let nodes = self.stores.iter().chain(&self.decisions);
        let outside = nodes
            .chain([&self.operators])
            .map(NodeHandle::id)
            .filter(|id| !inside.contains(id));
        for other in outside {
            for id in inside {
                change(&net, id, other);
                change(&net, other, id);
            }
        }
    }

    /// Ends the decision nodes in order; their sessions are closed when this returns.
    pub(crate) async fn shut_down(&self) {
        for id in 1..=DECISIONS {
            let node = self.deciding.lock().unwrap().remove(&id).unwrap();
            let closed = self.decision(id).spawn(node.shutdown()).await.unwrap();
            closed.unwrap_or_else(|error| panic!("decide-{id}: {error}"));
            self.trace.note(&format!("decide-{id} is shut down"));
        }
    }
}

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.set_sync_delay(ms(3));
    disk
}

/// A machine that does something whenever it boots.
fn machine<F>(
    name: &str,
    address: SocketAddr,
    boot: impl Fn() -> F + Send + Sync + 'static,
) -> NodeHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let handle = Handle::current();
    let builder = handle.create_node().name(name).ip(address.ip());
    builder.init(boot).build()
}

/// A store node, for as long as its machine runs.
async fn serve(id: u8, trace: Trace, leading: Running<Arc<store::Node>>, disk: SimDisk) {
    use openraft_rt::watch::WatchReceiver as _;
    let member = |id| store::Member {
        addr: store_address(id).to_string(),
        region: format!("r{id}"),
    };
    let peer = |id: u8| store::config::Peer {
        node_id: id.into(),
        member: member(id),
    };
    let (address, number) = (store_address(id), id.into());
    let config = store::config::NodeConfig {
        peers: (1..=STORES).map(peer).collect(),
        found_cluster: id == 1,
        ..store::config::NodeConfig::single(number, Fleet::ORIGIN, &member(id).region, address)
    };
    let keys = store::NodeKeys {
        node: Some(Fleet::unborn().keys.key(Role::Node, id - 1).clone()),
        ..store::NodeKeys::default()
    };
    let listener = store::Listener::bind(address).unwrap();
    let host = Host::system(disk.mount());
    let node = store::Node::start(config, keys, listener, host).await;
    let node = Arc::new(node.unwrap_or_else(|error| panic!("store-{id} does not start: {error}")));
    let mut positions = node.state().subscribe();
    leading.lock().unwrap().insert(id, node);
    while positions.changed().await.is_ok() {
        let position = positions.borrow_watched().clone();
        trace.note(&format!(
            "store-{id} {} {:02x?}",
            position.entries, position.chain
        ));
    }
}

/// A decision node, for as long as its machine runs.
async fn decide(id: u8, deciding: Running<Node>, disk: SimDisk) {
    let region = testing::region("eu");
    let config = NodeConfig::new(Fleet::ORIGIN, stores(), region, decision_address(id));
    let secrets = Secrets {
        signing: Fleet::unborn().keys.key(Role::Decision, id - 1).clone(),
        pseudonyms: PseudonymKey::new([4; 32]),
    };
    let node = Node::start(config, secrets, Host::system(disk.mount())).await;
    deciding.lock().unwrap().insert(id, node.unwrap());
    std::future::pending().await
}
