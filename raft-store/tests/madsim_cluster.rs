//! Three nodes of the real store in the simulator: they elect, commit, lose a leader and whatever
//! its disk had not synced, then all of them at once, and agree on one chain that has every command
//! that was acknowledged. The same seed gives the same trace.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "every unwrap of a test is an assertion")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use madsim::net::NetSim;
use madsim::rand::{Rng as _, RngCore as _};
use madsim::runtime::{Handle, NodeHandle, Runtime};
use openraft_rt::watch::WatchReceiver as _;
use tidegate_domain::command::{Base, Command, Proposal, SignedCommand, seal};
use tidegate_domain::id::LogTime;
use tidegate_domain::testing::{Fleet, release};
use tidegate_domain::{Outcome, canonical};
use tidegate_proto::v1::ProposeRequest;
use tidegate_proto::v1::store_client::StoreClient;
use tidegate_raft_store::config::{KeyFiles, NodeConfig, NodeLimits, Peer, RaftTimers};
use tidegate_raft_store::storage::{Asked, Position};
use tidegate_raft_store::{Host, Listener, Member, Node, NodeId, NodeKeys};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::{Clock as _, SystemClock, SystemEntropy};

const NODES: u64 = 3;
const WRITERS: u64 = 3;

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

async fn sleep(length: Duration) {
    madsim::time::sleep(length).await;
}

/// Random pauses come from the seed.
async fn pause(from_ms: u64, to_ms: u64) {
    let length = madsim::rand::thread_rng().gen_range(from_ms..to_ms);
    sleep(ms(length)).await;
}

/// Everything that happened, in order, as one hash.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<(blake3::Hasher, u64)>>);

impl Trace {
    fn note(&self, event: &str) {
        let now = madsim::time::TimeHandle::current().elapsed().as_nanos();
        let mut trace = self.0.lock().unwrap();
        trace.0.update(format!("{now} {event}\n").as_bytes());
        trace.1 += 1;
    }

    fn end(&self) -> (String, u64) {
        let trace = self.0.lock().unwrap();
        (trace.0.finalize().to_hex().to_string(), trace.1)
    }
}

type Running = Arc<Mutex<BTreeMap<NodeId, Arc<Node>>>>;

/// What a run under a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    trace: String,
    events: u64,
    /// Audit entries that machines had applied and came back without.
    entries_rolled_back: u64,
}

struct Cluster {
    trace: Trace,
    /// Entries that each machine had when it lost power.
    had: Arc<Mutex<BTreeMap<NodeId, u64>>>,
    rolled_back: Arc<Mutex<u64>>,
    machines: Vec<(NodeHandle, SimDisk)>,
    running: Running,
}

fn address(id: NodeId) -> SocketAddr {
    format!("10.0.0.{id}:7000").parse().unwrap()
}

fn config(id: NodeId) -> NodeConfig {
    let member = |id: NodeId| Member {
        addr: address(id).to_string(),
        region: format!("r{id}"),
    };
    let peers = (1..=NODES).map(|node_id| Peer {
        node_id,
        member: member(node_id),
    });
    NodeConfig {
        node_id: id,
        origin: Fleet::ORIGIN.to_owned(),
        region: format!("r{id}"),
        listen: address(id),
        advertise: address(id).to_string(),
        data_dir: "simulated".into(),
        peers: peers.collect(),
        found_cluster: id == 1,
        raft: RaftTimers {
            snapshot_every: 100, // Snapshots and purges happen within a story, too.
            segment_bytes: 32 << 10,
            ..RaftTimers::default()
        },
        limits: NodeLimits::default(),
        tick_every: Duration::from_secs(1),
        keys: KeyFiles::default(),
    }
}

impl Cluster {
    fn start() -> Self {
        let (trace, running) = (Trace::default(), Running::default());
        let machines = (1..=NODES).map(|id| {
            let disk = SimDisk::new();
            disk.set_sync_delay(ms(3));
            let boot = {
                let (trace, running, disk) = (trace.clone(), Arc::clone(&running), disk.clone());
                move || serve(id, trace.clone(), Arc::clone(&running), disk.clone())
            };
            let handle = Handle::current();
            let builder = handle.create_node().name(format!("n{id}"));
            (builder.ip(address(id).ip()).init(boot).build(), disk)
        });
        let machines = machines.collect();
        let (had, rolled_back) = Default::default();
        Self {
            trace,
            had,
            rolled_back,
            machines,
            running,
        }
    }

    fn leader(&self) -> Option<NodeId> {
        let running = self.running.lock().unwrap();
        running
            .iter()
            .find(|(_, node)| node.is_leader())
            .map(|(id, _)| *id)
    }

    async fn wait_for_leader(&self) -> NodeId {
        loop {
            if let Some(leader) = self.leader() {
                return leader;
            }
            sleep(ms(20)).await;
        }
    }

    /// The machine loses power, and with it what was not synced.
    fn lose_power(&self, id: NodeId) {
        let (machine, disk) = &self.machines[id as usize - 1];
        // The disk first: killing the node drops its databases, which would close in good order.
        disk.lose_power(&mut || madsim::rand::thread_rng().next_u64());
        Handle::current().kill(machine.id());
        let node = self.running.lock().unwrap().remove(&id);
        let entries = node.map_or(0, |node| node.state().position().entries);
        self.had.lock().unwrap().insert(id, entries);
        self.trace.note(&format!("n{id} lost power"));
    }

    fn restart(&self, id: NodeId) {
        Handle::current().restart(self.machines[id as usize - 1].0.id());
        self.trace.note(&format!("n{id} restarts"));
    }

    fn positions(&self) -> Vec<Position> {
        let running = self.running.lock().unwrap();
        running
            .values()
            .map(|node| node.state().position())
            .collect()
    }

    /// Waits until the machine serves again, and counts what it had applied and forgot.
    async fn wait_until_up(&self, id: NodeId) {
        let entries = loop {
            let up = self.running.lock().unwrap().get(&id).cloned();
            match up {
                Some(node) => break node.state().position().entries,
                None => sleep(ms(1)).await,
            }
        };
        let had = self.had.lock().unwrap()[&id];
        *self.rolled_back.lock().unwrap() += had.saturating_sub(entries);
    }

    /// Waits until all nodes stand at one place.
    async fn wait_for_agreement(&self) -> Position {
        for _ in 0..600 {
            let positions = self.positions();
            let first = positions.first().cloned().unwrap_or_default();
            let same =
                |other: &Position| (other.entries, other.applied) == (first.entries, first.applied);
            if positions.len() == NODES as usize && first.entries > 0 && positions.iter().all(same)
            {
                for other in &positions {
                    assert_eq!(other.chain, first.chain, "the nodes' chains differ");
                    assert_eq!(other.root, first.root, "the nodes' states differ");
                }
                return first;
            }
            sleep(ms(50)).await;
        }
        panic!("no agreement: {:?}", self.positions());
    }
}

/// What runs on a machine while it has power.
async fn serve(id: NodeId, trace: Trace, running: Running, disk: SimDisk) {
    let host = Host {
        disk: Arc::new(disk.mount()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let listener = Listener::bind(address(id)).unwrap();
    let node = Node::start(config(id), NodeKeys::default(), listener, host).await;
    let node = Arc::new(node.unwrap_or_else(|error| panic!("n{id} does not start: {error}")));
    running.lock().unwrap().insert(id, Arc::clone(&node));
    trace.note(&format!(
        "n{id} is up at {}",
        node.state().position().entries
    ));
    let mut positions = node.state().subscribe();
    drop(node);
    while positions.changed().await.is_ok() {
        let Position { entries, chain, .. } = positions.borrow_watched().clone();
        trace.note(&format!("n{id} {entries} {chain:02x?}"));
    }
}

/// Operators with all keys in one hand. They sign on top of genesis, so that no command depends on
/// another one's place.
#[derive(Clone)]
struct Operators(Arc<Mutex<Fleet>>);

impl Operators {
    /// The operators, and the command with which epoch 1 begins.
    fn new() -> (Self, SignedCommand) {
        let mut fleet = Fleet::unborn();
        fleet.now = now();
        let ceremony = fleet.rotation(&[0, 1, 2]);
        let ceremony = fleet.sealed(ceremony);
        fleet.apply(&ceremony.to_bytes());
        (Self(Arc::new(Mutex::new(fleet))), ceremony)
    }

    /// The registration of a release of that name.
    fn registration(&self, name: &str) -> SignedCommand {
        let mut fleet = self.0.lock().unwrap();
        fleet.now = now();
        let command = Command::from(fleet.registration(release(name).security_version(1)));
        let signers = fleet.signers(&command);
        let base = Base::genesis(Fleet::ORIGIN);
        let proposal = Proposal {
            base,
            ..fleet.proposal(command)
        };
        seal(&proposal, &signers.iter().collect::<Vec<_>>())
    }
}

/// A little in the past: the leader's stamp must not come before it.
fn now() -> LogTime {
    LogTime(SystemClock.wall().0 - 60_000)
}

/// Proposes a command at one node after the other until it is acknowledged; answers its index.
async fn acknowledged(trace: &Trace, command: &SignedCommand, what: &str) -> u64 {
    loop {
        let to = madsim::rand::thread_rng().gen_range(1..=NODES);
        let command = command.to_bytes();
        let attempt = madsim::time::timeout(ms(2_000), async {
            let endpoint = tonic::transport::Endpoint::new(format!("http://{}", address(to)));
            let channel = endpoint.map_err(|e| e.to_string())?.connect().await;
            let mut client = StoreClient::new(channel.map_err(|e| e.to_string())?);
            let answer = client.propose(ProposeRequest { command }).await;
            Ok::<_, String>(answer.map_err(|e| e.to_string())?.into_inner())
        });
        if let Ok(Ok(answer)) = attempt.await {
            let outcome: Outcome = canonical::decode(&answer.outcome).unwrap();
            assert!(
                matches!(outcome, Outcome::Accepted(_)),
                "{what}: {outcome:?}"
            );
            trace.note(&format!("{what} is acknowledged as {}", answer.index));
            return answer.index;
        }
        pause(20, 120).await;
    }
}

type Acknowledged = Arc<Mutex<BTreeMap<u64, Vec<u8>>>>;

async fn write(writer: u64, count: u64, trace: Trace, operators: Operators, done: Acknowledged) {
    for number in 0..count {
        let what = format!("r{writer}-{number}");
        let command = operators.registration(&what);
        let index = acknowledged(&trace, &command, &what).await;
        let before = done.lock().unwrap().insert(index, command.to_bytes());
        assert!(
            before.is_none(),
            "two commands were acknowledged as entry {index}"
        );
        pause(5, 40).await;
    }
}

/// The whole story under one seed. Disks that are not honest stop persisting what they say they
/// did, once the cluster stands.
async fn story(honest: bool) -> Told {
    let cluster = Cluster::start();
    cluster.wait_for_leader().await;
    let handle = Handle::current();
    let client = handle.create_node().name("client");
    let client = client.ip("10.0.0.100".parse().unwrap()).build();
    let (operators, ceremony) = Operators::new();
    let done = Acknowledged::default();
    {
        let (trace, done) = (cluster.trace.clone(), Arc::clone(&done));
        let begun = client.spawn(async move {
            let index = acknowledged(&trace, &ceremony, "the ceremony").await;
            done.lock().unwrap().insert(index, ceremony.to_bytes());
        });
        begun.await.unwrap();
    }
    for (_, disk) in &cluster.machines {
        disk.set_lying(!honest);
    }
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (trace, done) = (cluster.trace.clone(), Arc::clone(&done));
            client.spawn(write(writer, 60, trace, operators.clone(), done))
        })
        .collect();

    pause(400, 900).await;
    let first = cluster.wait_for_leader().await;
    cluster.lose_power(first);
    let second = cluster.wait_for_leader().await;
    assert_ne!(first, second, "a machine without power leads");
    pause(300, 900).await;
    cluster.restart(first);
    cluster.wait_until_up(first).await;
    pause(300, 900).await;
    // One-way and late: what the leader sends arrives nowhere, and it does not know.
    let cut = cluster.wait_for_leader().await;
    let net = NetSim::current();
    let cut = cluster.machines[cut as usize - 1].0.id();
    net.clog_node_out(cut);
    pause(500, 2_000).await;
    net.unclog_node_out(cut);
    pause(300, 900).await;
    (1..=NODES).for_each(|id| cluster.lose_power(id));
    sleep(ms(500)).await;
    for id in 1..=NODES {
        cluster.restart(id);
        cluster.wait_until_up(id).await;
    }

    for writer in writers {
        writer.await.unwrap();
    }
    let agreed = cluster.wait_for_agreement().await;
    check_logs(&cluster, &done.lock().unwrap(), &agreed);
    let (trace, events) = cluster.trace.end();
    let entries_rolled_back = *cluster.rolled_back.lock().unwrap();
    Told {
        trace,
        events,
        entries_rolled_back,
    }
}

/// LOG-1 and LOG-2: every acknowledged command stands where it was acknowledged, once, on all.
fn check_logs(cluster: &Cluster, acknowledged: &BTreeMap<u64, Vec<u8>>, agreed: &Position) {
    assert_eq!(acknowledged.len() as u64, WRITERS * 60 + 1);
    for node in cluster.running.lock().unwrap().values() {
        let entries = node.state().view().unwrap().entries(0, usize::MAX).unwrap();
        assert_eq!(entries.len() as u64, agreed.entries);
        let mut accepted = BTreeMap::new();
        for entry in &entries {
            let body = entry.body().unwrap();
            // A repetition of a command that had been applied is an entry of its own, refused.
            if let (Asked::Command(command), Outcome::Accepted(_)) =
                (body.asked, body.applied.outcome)
            {
                accepted.insert(entry.index, command.to_vec());
            }
        }
        assert_eq!(
            accepted, *acknowledged,
            "acknowledged commands and the log differ"
        );
    }
}

/// Runs the story in a thread of its own, since std's hash maps are seeded per thread.
#[expect(
    clippy::disallowed_methods,
    reason = "outside the simulator: a fresh thread per run"
)]
fn run(seed: u64, honest: bool, limit: Duration) -> std::thread::Result<Told> {
    let simulation = move || {
        let mut config = madsim::Config::default();
        config.net.packet_loss_rate = 0.005;
        let mut runtime = Runtime::with_seed_and_config(seed, config);
        runtime.set_time_limit(limit);
        runtime.block_on(story(honest))
    };
    std::thread::spawn(simulation).join()
}

#[test]
fn three_nodes_lose_a_leader_and_unsynced_disks_and_agree() {
    let seeds = match std::env::var("TIDEGATE_SEED") {
        Ok(seed) => {
            let seed = seed.parse::<u64>().expect("TIDEGATE_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 1..6,
    };
    let tell = |seed| match run(seed, true, Duration::from_secs(300)) {
        Ok(told) => told,
        Err(_) => panic!("seed {seed} failed; run it alone with TIDEGATE_SEED={seed}"),
    };
    let (mut traces, mut rolled_back) = (BTreeSet::new(), 0);
    for seed in seeds.clone() {
        let told = tell(seed);
        assert!(
            told.events > 300,
            "seed {seed}: only {} events",
            told.events
        );
        assert_eq!(tell(seed), told, "seed {seed} does not repeat");
        rolled_back += told.entries_rolled_back;
        traces.insert(told.trace);
    }
    assert_eq!(
        traces.len() as u64,
        seeds.end - seeds.start,
        "seeds do not differ"
    );
    assert!(
        rolled_back > 0,
        "no machine ever lost what it had not synced"
    );
}

/// The story must be able to fail: on disks that only say that they synced, it does.
#[test]
fn three_nodes_on_lying_disks_are_caught() {
    let told = run(1, false, Duration::from_secs(60));
    assert!(told.is_err(), "lost commands went unnoticed: {told:?}");
}
