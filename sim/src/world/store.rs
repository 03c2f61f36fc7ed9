//! A machine with a store node: what is wired up here is what the binary wires up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use madsim::task::NodeId;
use openraft_rt::watch::WatchReceiver as _;
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, Keyring};
use tidegate_raft_store::config::{KeyFiles, NodeConfig, NodeLimits, Peer, RaftTimers};
use tidegate_raft_store::storage::{Position, StateError, StateStore};
use tidegate_raft_store::{Listener, Member, Node, NodeKeys, OUTVOTED};
use tidegate_runtime::Host;
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::sim::contain;

use super::disks::Disks;
use super::machine::{Breakable as _, Machine, Process};
use super::witness::Witness;
use super::{ballots, copies};
use crate::load::members::checkpoint_key;
use crate::oracle::Seen;
use crate::record::Kind;
use crate::schedule::{StoreSpec, WorldSpec};

/// The port of every store node.
const PORT: u16 = 7_000;
/// Bytes of entries that are read at once for the oracles.
const READ_BYTES: usize = 64 << 20;
/// Bytes of a file of the log: a run goes through many, and through all that happens between two.
const SEGMENT_BYTES: u64 = 32 << 10;
/// How long whatever starts processes on a machine waits after one died by itself.
const RESPAWN_MS: u64 = 1_000;
/// How long it waits after one refused to start.
const RETRY_MS: u64 = 3_000;

/// A store node of the world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) spec: StoreSpec,
    pub(crate) machine: Machine<Node>,
    /// It led when it was last looked at.
    led: Arc<AtomicBool>,
}

/// What a node is started with, every time.
struct Boot {
    lane: String,
    config: NodeConfig,
    keys: NodeKeys,
    disk: SimDisk,
    process: Process<Node>,
    witness: Witness,
    disks: Disks,
}

pub(crate) fn address(id: u64) -> SocketAddr {
    let last = u8::try_from(id).unwrap_or(u8::MAX);
    SocketAddr::from(([10, 0, 0, last], PORT))
}

pub(crate) fn member(spec: &StoreSpec) -> Member {
    Member {
        addr: address(spec.id).to_string(),
        region: spec.region.clone(),
    }
}

impl Store {
    /// Builds the machine and switches it on.
    pub(crate) fn build(
        spec: StoreSpec,
        world: &WorldSpec,
        founders: &[StoreSpec],
        (witness, disks): (&Witness, &Disks),
    ) -> Self {
        let disk = SimDisk::new();
        disk.set_sync_delay(Duration::from_micros(world.sync_us));
        let (process, lane) = (Process::default(), format!("s{}", spec.id));
        let boot = Arc::new(Boot {
            lane: lane.clone(),
            config: config(&spec, world, founders),
            keys: keys(spec.id),
            disk: disk.clone(),
            process: process.clone(),
            witness: witness.clone(),
            disks: disks.clone(),
        });
        let life = move || Arc::clone(&boot).run();
        let place = (address(spec.id), spec.region.as_str());
        let machine = Machine::build(&lane, place, disk, process, life);
        disks.enter(spec.id, machine.id(), machine.disk());
        Self {
            machine,
            spec,
            led: Arc::default(),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.machine.with(Node::is_leader).unwrap_or(false)
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.machine.with(|node| node.state().position())
    }

    /// What whoever starts processes on this machine does every now and then, and what an observer
    /// sees from outside.
    pub(crate) fn look_after(&self, witness: &Witness) {
        if self.machine.start_if_due() {
            return;
        }
        let lane = self.machine.lane();
        if self.machine.refused() && !self.machine.is_due() {
            self.machine.back_after(RETRY_MS);
        }
        if let Some(why) = self.died() {
            if why.starts_with(OUTVOTED) {
                let ruined = self.machine.is_ruined();
                witness.see(&Seen::Outvoted { lane, ruined });
            }
            witness.note(lane, Kind::Stopped { why });
            self.machine.kill();
            self.machine.back_after(RESPAWN_MS);
            return;
        }
        let (leads, term) = self
            .machine
            .with(|node| {
                show_membership(witness, lane, node);
                (node.is_leader(), term(node))
            })
            .unwrap_or_default();
        match (self.led.swap(leads, Ordering::Relaxed), leads) {
            (false, true) => witness.note(lane, Kind::Leader { term }),
            (true, false) => witness.note(lane, Kind::Deposed),
            _ => {}
        }
    }

    /// Why the process ended itself, if it did: what the binary waits for is asked at once.
    fn died(&self) -> Option<String> {
        self.machine.with(|node| node.failed().now_or_never())?
    }
}

fn show_membership(witness: &Witness, lane: &str, node: &Node) {
    // What is applied is read first: what is believed may only be newer.
    let applied = node.state().position().applied.map_or(0, |id| id.index);
    let metrics = node.raft().metrics();
    let metrics = metrics.borrow_watched();
    let believed = metrics.membership_config.log_id();
    let believed = believed.as_ref().map_or(0, |id| id.index);
    witness.see(&Seen::Membership {
        lane,
        applied,
        believed,
    });
}

fn term(node: &Node) -> u64 {
    node.raft().metrics().borrow_watched().current_term
}

impl Boot {
    /// One life of the process.
    async fn run(self: Arc<Self>) {
        let host = Host::system(self.disk.mount());
        let refuse = |why: &str| self.process.refuse(&self.witness, &self.lane, why);
        let listener = match Listener::bind(self.config.listen) {
            Ok(listener) => listener,
            Err(error) => return refuse(&error.to_string()),
        };
        let left = self.disks.after_power_loss(self.config.node_id).await;
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let node = match Node::start(config, keys, listener, host.clone()).await {
            Ok(node) => node,
            Err(error) => return refuse(&error.to_string()),
        };
        let (state, raft) = (node.state().clone(), node.raft().clone());
        if let Some(entries) = self.disks.diverged(self.config.node_id) {
            state.diverge(entries);
        }
        let position = state.position();
        let stopped = self.process.serves(node, &host);
        let entries = position.entries;
        self.witness.note(&self.lane, Kind::Started { entries });
        if let Some(left) = left {
            self.witness.see(&Seen::Restarted {
                node: self.config.node_id,
                lane: &self.lane,
                // A snapshot may be installed for good before the log is cut behind it.
                left: left.last.max(position.applied).as_ref().map(copies::place),
            });
        }
        tokio::select! {
            biased;
            _ = stopped => self.stop().await,
            () = self.watch(&state) => {}
            () = ballots::watch(&self.disks, &self.witness, &self.lane, &raft) => {}
            () = copies::watch(&self.witness, &raft) => {}
        }
    }

    async fn stop(&self) {
        let Some(node) = self.process.take() else {
            return;
        };
        let why = match node.stop().await {
            Ok(()) => "stopped in good order".to_owned(),
            Err(error) => format!("stopped, {error}"),
        };
        self.witness.note(&self.lane, Kind::Stopped { why });
    }

    /// Tells the oracles of every move of the state.
    async fn watch(&self, state: &StateStore) {
        let mut positions = state.subscribe();
        let mut installs = 0;
        loop {
            let position = positions.borrow_watched().clone();
            self.moved(state, &position, &mut installs);
            if positions.changed().await.is_err() {
                return;
            }
        }
    }

    fn moved(&self, state: &StateStore, position: &Position, installs: &mut u64) {
        let entries = position.entries;
        if std::mem::replace(installs, position.installs) != position.installs {
            self.witness.note(&self.lane, Kind::Installed { entries });
        }
        let chain = short(&position.chain);
        self.witness
            .note(&self.lane, Kind::Applied { entries, chain });
        let lane = &self.lane;
        self.witness.see(&Seen::Position { lane, position });
        let known = self.witness.entries_known();
        if entries > known {
            show_entries(&self.witness, (lane, madsim::plugin::node()), state, known);
        }
    }
}

/// Shows the oracles what a node's audit log holds from an entry on.
pub(super) fn show_entries(
    witness: &Witness,
    (lane, node): (&str, NodeId),
    state: &StateStore,
    from: u64,
) {
    let read = || state.view().and_then(|view| view.entries(from, READ_BYTES));
    match contain(node, read).unwrap_or_else(|panic| Err(StateError::Damaged(panic.to_string()))) {
        Ok(entries) => witness.see(&Seen::Entries {
            lane,
            entries: &entries,
        }),
        // The disk failed under it; the node will notice, and is not to be believed.
        Err(error) => witness.note(
            lane,
            Kind::Failed {
                op: 0,
                unknown: false,
                why: format!("its audit log cannot be read: {error}"),
            },
        ),
    }
}

fn short(hash: &[u8; 32]) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn config(spec: &StoreSpec, world: &WorldSpec, founders: &[StoreSpec]) -> NodeConfig {
    let heartbeat = Duration::from_millis(world.heartbeat_ms);
    let peers = founders.iter().filter(|peer| peer.id != spec.id);
    let peer = |peer: &StoreSpec| Peer {
        node_id: peer.id,
        member: member(peer),
    };
    NodeConfig {
        node_id: spec.id,
        origin: Fleet::ORIGIN.to_owned(),
        region: spec.region.clone(),
        listen: address(spec.id),
        advertise: address(spec.id).to_string(),
        data_dir: "simulated".into(),
        peers: peers.map(peer).collect(),
        found_cluster: founders.first().is_some_and(|first| first.id == spec.id),
        raft: RaftTimers {
            snapshot_every: world.snapshot_every,
            segment_bytes: SEGMENT_BYTES,
            ..RaftTimers::of_heartbeat(heartbeat)
        },
        limits: NodeLimits {
            watch_entries_max: usize::try_from(world.watch_backlog).unwrap_or(usize::MAX),
            ..NodeLimits::default()
        },
        tick_every: Duration::from_secs(1),
        keys: KeyFiles::default(),
    }
}

/// Keys that follow from the node's number.
fn keys(id: u64) -> NodeKeys {
    let ring = Keyring::default();
    let number = u8::try_from(id % 3).unwrap_or(0);
    let checkpoint = checkpoint_key(id);
    NodeKeys {
        node: Some(ring.key(Role::Node, number).clone()),
        log: Some(ring.key(Role::Checkpoint, Keyring::PER_ROLE - 1).clone()),
        checkpoint: Some(ring.key(Role::Checkpoint, checkpoint).clone()),
    }
}
