//! A cluster of real nodes on loopback, with disks that can lose power, and commands to give it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidegate_client::{ClientConfig, Proposed, StoreClient};
use tidegate_domain::command::{Base, Command, RegisterVariant, seal};
use tidegate_domain::id::LogTime;
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, traits};
use tidegate_domain::{Outcome, SignedCommand};
use tidegate_raft_store::config::{NodeConfig, NodeLimits, Peer, RaftTimers};
use tidegate_raft_store::{Host, Listener, Member, Node, NodeId, NodeKeys};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::{BootInstant, Clock, SystemClock, SystemEntropy, WallMs};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a cluster is started with besides defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) limits: NodeLimits,
    pub(crate) snapshot_every: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            nodes: 3,
            limits: NodeLimits::default(),
            snapshot_every: 10_000,
        }
    }
}

/// A clock that tells the right time until it is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct WrongClock {
    ahead_ms: Arc<AtomicI64>,
}

impl WrongClock {
    /// Tells a time so far ahead of the right one from now on.
    pub(crate) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::SeqCst);
    }
}

impl Clock for WrongClock {
    fn wall(&self) -> WallMs {
        let ahead = self.ahead_ms.load(Ordering::SeqCst);
        WallMs(SystemClock.wall().0.saturating_add_signed(ahead))
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }
}

/// Nodes 1, 2, … in one process.
pub(crate) struct Cluster {
    pub(crate) configs: Vec<NodeConfig>,
    pub(crate) disks: Vec<SimDisk>,
    pub(crate) clocks: Vec<WrongClock>,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) fleet: Fleet,
}

impl Cluster {
    /// Starts a cluster and holds its key ceremony.
    pub(crate) async fn start(shape: Shape) -> Self {
        let listeners: Vec<Listener> = (0..shape.nodes).map(|_| free()).collect();
        let addresses: Vec<SocketAddr> = listeners.iter().map(Listener::address).collect();
        Self::start_at(shape, listeners, &addresses).await
    }

    /// A cluster whose nodes are reached elsewhere than where they listen, by each other and by
    /// clients.
    pub(crate) async fn start_at(
        shape: Shape,
        listeners: Vec<Listener>,
        reached: &[SocketAddr],
    ) -> Self {
        let mut configs = configs(reached, shape);
        for (config, listener) in configs.iter_mut().zip(&listeners) {
            config.listen = listener.address();
        }
        let mut cluster = Self {
            disks: configs.iter().map(|_| SimDisk::new()).collect(),
            clocks: configs.iter().map(|_| WrongClock::default()).collect(),
            nodes: configs.iter().map(|_| None).collect(),
            configs,
            fleet: Fleet::unborn(),
        };
        // The founder last: the others answer its votes at once.
        for (at, listener) in listeners.into_iter().enumerate().rev() {
            cluster.start_on(at, listener).await;
        }
        let command = ceremony(&mut cluster.fleet);
        accepted(&cluster.client().propose(command).await.unwrap());
        cluster
    }

    async fn start_on(&mut self, at: usize, listener: Listener) {
        let (config, keys) = (self.configs[at].clone(), node_keys(&self.fleet, at));
        let host = Host {
            clock: Arc::new(self.clocks[at].clone()),
            ..host(&self.disks[at])
        };
        let node = Node::start(config, keys, listener, host).await;
        self.nodes[at] = Some(node.unwrap());
    }

    /// Starts a node again where it was.
    pub(crate) async fn restart(&mut self, id: NodeId) {
        let at = place(id);
        let listener = Listener::bind(self.configs[at].listen).unwrap();
        self.start_on(at, listener).await;
    }

    /// Starts a node again, somewhere else.
    pub(crate) async fn restart_at(&mut self, id: NodeId, listener: Listener) {
        let at = place(id);
        self.configs[at].listen = listener.address();
        self.configs[at].advertise = listener.address().to_string();
        self.start_on(at, listener).await;
    }

    /// Ends a node as SIGKILL and a power cut together would: what was not synced may be gone.
    pub(crate) async fn cut_power(&mut self, id: NodeId) {
        let at = place(id);
        self.disks[at].kill();
        self.nodes[at].take().unwrap().kill().await;
        self.disks[at].lose_power(&mut random(id));
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes[place(id)].as_ref().unwrap()
    }

    /// A client of all nodes.
    pub(crate) fn client(&self) -> StoreClient {
        client(&self.configs)
    }

    /// A client of one node only.
    pub(crate) fn client_of(&self, id: NodeId) -> StoreClient {
        client(&self.configs[place(id)..=place(id)])
    }

    pub(crate) async fn leader(&self) -> NodeId {
        eventually("a leader", || {
            let leads = |node: &Node| node.is_leader();
            let at = self
                .nodes
                .iter()
                .position(|node| node.as_ref().is_some_and(leads));
            at.map(|at| self.configs[at].node_id)
        })
        .await
    }

    /// Waits until a node covers so many entries.
    pub(crate) async fn catch_up(&self, id: NodeId, entries: u64) {
        eventually("the node caught up", || {
            (self.node(id).state().position().entries >= entries).then_some(())
        })
        .await;
    }

    pub(crate) fn sign(&mut self, command: impl Into<Command>) -> SignedCommand {
        sign(&mut self.fleet, command)
    }

    pub(crate) fn variant(&mut self, number: u32) -> SignedCommand {
        variant(&mut self.fleet, number)
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_iter().flatten() {
            node.stop().await.unwrap();
        }
    }
}

/// A listener where nobody listened before.
pub(crate) fn free() -> Listener {
    Listener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).unwrap()
}

/// The settings of the nodes of a cluster whose first node founds it.
pub(crate) fn configs(addresses: &[SocketAddr], shape: Shape) -> Vec<NodeConfig> {
    let peer = |(address, node_id): (&SocketAddr, NodeId)| Peer {
        node_id,
        member: Member {
            addr: address.to_string(),
            region: format!("region-{node_id}"),
        },
    };
    let peers: Vec<Peer> = addresses.iter().zip(1..).map(peer).collect();
    let config = |(peer, address): (&Peer, &SocketAddr)| NodeConfig {
        peers: peers
            .iter()
            .filter(|other| *other != peer)
            .cloned()
            .collect(),
        found_cluster: peer.node_id == 1,
        raft: RaftTimers {
            snapshot_every: shape.snapshot_every,
            ..RaftTimers::default()
        },
        limits: shape.limits,
        tick_every: Duration::from_millis(200),
        ..NodeConfig::single(peer.node_id, Fleet::ORIGIN, &peer.member.region, *address)
    };
    peers.iter().zip(addresses).map(config).collect()
}

/// The keys of a node, by its place.
pub(crate) fn node_keys(fleet: &Fleet, at: usize) -> NodeKeys {
    let number = u8::try_from(at).unwrap();
    NodeKeys {
        node: Some(fleet.keys.key(Role::Node, number).clone()),
        log: Some(fleet.keys.key(Role::Checkpoint, 3).clone()),
        checkpoint: Some(fleet.keys.key(Role::Checkpoint, number).clone()),
    }
}

/// What a node stands on, with its data on a disk that can fail.
pub(crate) fn host(disk: &SimDisk) -> Host {
    Host {
        disk: Arc::new(disk.mount()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    }
}

/// A client of these nodes.
pub(crate) fn client(configs: &[NodeConfig]) -> StoreClient {
    let endpoints = configs.iter().map(|config| config.advertise.clone());
    StoreClient::new(ClientConfig {
        deadline: PATIENCE,
        ..ClientConfig::new(endpoints.collect())
    })
    .unwrap()
}

/// The key ceremony of a new cluster; the fleet then signs with its keys.
pub(crate) fn ceremony(fleet: &mut Fleet) -> Vec<u8> {
    let rotation = fleet.rotation(&[0, 1, 2]);
    let command = sign(fleet, rotation).to_bytes();
    fleet.apply(&command);
    command
}

/// Signs a command as those whom it takes, valid now.
pub(crate) fn sign(fleet: &mut Fleet, command: impl Into<Command>) -> SignedCommand {
    fleet.now = LogTime(SystemClock.wall().0);
    let mut proposal = fleet.proposal(command);
    // Log time may be a minute behind the clocks.
    proposal.not_before = LogTime(fleet.now.0.saturating_sub(120_000));
    proposal.base = Base::genesis(Fleet::ORIGIN);
    let signers = fleet.signers(&proposal.command);
    seal(&proposal, &signers.iter().collect::<Vec<_>>())
}

/// A command that is accepted whatever came before it, each with another number.
pub(crate) fn variant(fleet: &mut Fleet, number: u32) -> SignedCommand {
    let traits = traits(&format!("model-{number}/r1/eu/none"));
    sign(fleet, RegisterVariant { traits })
}

#[track_caller]
pub(crate) fn accepted(proposed: &Proposed) {
    let is_accepted = matches!(proposed.outcome, Outcome::Accepted(_));
    assert!(is_accepted, "{proposed:?}");
}

/// Looks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Random numbers for what a power cut loses, the same in every run (SplitMix64).
pub(crate) fn random(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

const fn place(id: NodeId) -> usize {
    id as usize - 1
}
