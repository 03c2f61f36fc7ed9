//! A cluster of real nodes on loopback, with disks that can lose power, and commands to give it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
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
use tidegate_runtime::{Clock, SystemClock, SystemEntropy};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes 1, 2, … in one process.
pub(crate) struct Cluster {
    pub(crate) configs: Vec<NodeConfig>,
    pub(crate) disks: Vec<SimDisk>,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) fleet: Fleet,
}

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

impl Cluster {
    /// Starts a cluster and holds its key ceremony.
    pub(crate) async fn start(shape: Shape) -> Self {
        let mut cluster = Self::without_keys(shape).await;
        let ceremony = cluster.fleet.rotation(&[0, 1, 2]);
        let command = cluster.sign(ceremony);
        cluster.fleet.apply(&command.to_bytes());
        let proposed = cluster.client().propose(command.to_bytes()).await.unwrap();
        assert!(
            matches!(proposed.outcome, Outcome::Accepted(_)),
            "{proposed:?}"
        );
        cluster
    }

    pub(crate) async fn without_keys(shape: Shape) -> Self {
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let bind = |_| Listener::bind(loopback).unwrap();
        let listeners: Vec<Listener> = (0..shape.nodes).map(bind).collect();
        let peers: Vec<Peer> = listeners
            .iter()
            .zip(1..)
            .map(|(listener, node_id)| Peer {
                node_id,
                member: Member {
                    addr: listener.address().to_string(),
                    region: format!("region-{node_id}"),
                },
            })
            .collect();
        let config = |peer: &Peer| NodeConfig {
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
            ..NodeConfig::single(
                peer.node_id,
                Fleet::ORIGIN,
                &peer.member.region,
                peer.member.addr.parse().unwrap(),
            )
        };
        let mut cluster = Self {
            configs: peers.iter().map(config).collect(),
            disks: peers.iter().map(|_| SimDisk::new()).collect(),
            nodes: peers.iter().map(|_| None).collect(),
            fleet: Fleet::unborn(),
        };
        // The founder last: the others answer its votes at once.
        for (at, listener) in listeners.into_iter().enumerate().rev() {
            cluster.start_on(at, listener).await;
        }
        cluster
    }

    async fn start_on(&mut self, at: usize, listener: Listener) {
        let host = Host {
            disk: Arc::new(self.disks[at].mount()),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let number = u8::try_from(at).unwrap();
        let key = |role| Some(self.fleet.keys.key(role, number).clone());
        let keys = NodeKeys {
            node: key(Role::Node),
            log: key(Role::Checkpoint),
            checkpoint: key(Role::Checkpoint),
        };
        let node = Node::start(self.configs[at].clone(), keys, listener, host).await;
        self.nodes[at] = Some(node.unwrap());
    }

    /// Starts a node again where it was.
    pub(crate) async fn restart(&mut self, id: NodeId) {
        let at = index(id);
        let listener = Listener::bind(self.configs[at].listen).unwrap();
        self.start_on(at, listener).await;
    }

    /// Ends a node as SIGKILL and a power cut together would: what was not synced may be gone.
    pub(crate) async fn cut_power(&mut self, id: NodeId) {
        let at = index(id);
        self.disks[at].kill();
        self.nodes[at].take().unwrap().kill().await;
        let mut seed = id;
        self.disks[at].lose_power(&mut || {
            // SplitMix64, so that losing is the same in every run.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes[index(id)].as_ref().unwrap()
    }

    pub(crate) fn address(&self, id: NodeId) -> String {
        self.configs[index(id)].advertise.clone()
    }

    /// A client of all nodes.
    pub(crate) fn client(&self) -> StoreClient {
        let endpoints = self.configs.iter().map(|config| config.advertise.clone());
        client(endpoints.collect())
    }

    /// A client of one node only.
    pub(crate) fn client_of(&self, id: NodeId) -> StoreClient {
        client(vec![self.address(id)])
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

    /// Waits until a node covers as many entries as another.
    pub(crate) async fn catch_up(&self, id: NodeId, entries: u64) {
        eventually("the node caught up", || {
            (self.node(id).state().position().entries >= entries).then_some(())
        })
        .await;
    }

    /// Signs a command as those whom it takes, valid now.
    pub(crate) fn sign(&mut self, command: impl Into<Command>) -> SignedCommand {
        self.fleet.now = LogTime(SystemClock.wall().0);
        let mut proposal = self.fleet.proposal(command);
        proposal.not_before = LogTime(self.fleet.now.0 - 60_000);
        proposal.base = Base::genesis(Fleet::ORIGIN);
        let signers = self.fleet.signers(&proposal.command);
        seal(&proposal, &signers.iter().collect::<Vec<_>>())
    }

    /// A command that is accepted whatever came before it, each with another number.
    pub(crate) fn variant(&mut self, number: u32) -> SignedCommand {
        self.sign(RegisterVariant {
            traits: traits(&format!("model-{number}/r1/eu/none")),
        })
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_iter().flatten() {
            node.stop().await.unwrap();
        }
    }
}

pub(crate) fn client(endpoints: Vec<String>) -> StoreClient {
    StoreClient::new(ClientConfig {
        deadline: PATIENCE,
        ..ClientConfig::new(endpoints)
    })
    .unwrap()
}

pub(crate) fn accepted(proposed: &Proposed) {
    assert!(
        matches!(proposed.outcome, Outcome::Accepted(_)),
        "{proposed:?}"
    );
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

const fn index(id: NodeId) -> usize {
    id as usize - 1
}
