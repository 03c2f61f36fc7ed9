//! A machine with a store node: what is wired up here is what the binary wires up.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle};
use openraft_rt::watch::WatchReceiver as _;
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, Keyring};
use tidegate_raft_store::config::{KeyFiles, NodeConfig, NodeLimits, Peer, RaftTimers};
use tidegate_raft_store::storage::{Position, StateStore};
use tidegate_raft_store::{Listener, Member, Node, NodeKeys};
use tidegate_runtime::Host;
use tidegate_runtime::disk::{Disk, SimDisk};
use tokio::sync::oneshot;

use super::witness::{Witness, now_us};
use crate::dice::Dice;
use crate::oracle::Seen;
use crate::record::Kind;
use crate::schedule::{StoreSpec, WorldSpec};

/// The port of every store node.
const PORT: u16 = 7_000;
/// Bytes of entries that are read at once for the oracles.
const READ_BYTES: usize = 64 << 20;
/// How long whatever starts processes on a machine waits after one died by itself.
const RESPAWN_US: u64 = 1_000_000;

/// A machine, what survives its crashes, and the process that runs on it now.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) spec: StoreSpec,
    pub(crate) lane: String,
    pub(crate) machine: Arc<NodeHandle>,
    pub(crate) disk: SimDisk,
    process: Process,
    /// When it is started again if it is down, in µs; never if there is none.
    back_at_us: Arc<Mutex<Option<u64>>>,
}

/// What runs on a machine now. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
struct Process(Arc<Mutex<Running>>);

impl Process {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Running {
    node: Option<Node>,
    /// The disk as this process sees it; dead once the power failed.
    mount: Option<Arc<dyn Disk>>,
    stop: Option<oneshot::Sender<()>>,
    /// It was started and refused.
    refused: bool,
    /// It led when it was last looked at.
    led: bool,
}

/// What a node is started with, every time.
struct Boot {
    lane: String,
    config: NodeConfig,
    keys: NodeKeys,
    disk: SimDisk,
    process: Process,
    witness: Witness,
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
        witness: &Witness,
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
        });
        let machine = Handle::current()
            .create_node()
            .name(&lane)
            .ip(address(spec.id).ip())
            .init(move || Arc::clone(&boot).run())
            .build();
        Self {
            spec,
            lane,
            machine: Arc::new(machine),
            disk,
            process,
            back_at_us: Arc::default(),
        }
    }

    /// Looks at the running process, if there is one.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Node) -> T) -> Option<T> {
        self.process.running().node.as_ref().map(look)
    }

    pub(crate) fn leads(&self) -> bool {
        self.with(Node::is_leader).unwrap_or(false)
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.with(|node| node.state().position())
    }

    /// Whether the process was started and found its disk unusable.
    pub(crate) fn refused(&self) -> bool {
        self.process.running().refused
    }

    /// The machine loses power, and with it what was not synced.
    pub(crate) fn cut_power(&self, dice: &mut Dice) {
        // The disk first: killing the node drops its databases, which would close in good order.
        self.disk.lose_power(&mut || dice.number());
        self.down();
    }

    /// The process dies and the machine lives.
    pub(crate) fn kill(&self) {
        self.disk.kill();
        self.down();
    }

    fn down(&self) {
        Handle::current().kill(self.machine.id());
        let gone = std::mem::take(&mut *self.process.running());
        drop(gone);
        *self.back_at() = None;
    }

    /// Starts the machine again after a while.
    pub(crate) fn back_after(&self, length_ms: u64) {
        *self.back_at() = Some(now_us() + length_ms * 1_000);
    }

    /// Tells the process to stop in good order; answers whether there was one.
    pub(crate) fn ask_to_stop(&self) -> bool {
        let stop = self.process.running().stop.take();
        stop.is_some_and(|stop| stop.send(()).is_ok())
    }

    /// What whoever starts processes on this machine does every now and then, and what an observer
    /// sees from outside.
    pub(crate) fn look_after(&self, witness: &Witness) {
        let back_at = *self.back_at();
        if back_at.is_some_and(|at| at <= now_us()) {
            *self.back_at() = None;
            Handle::current().restart(self.machine.id());
            return;
        }
        if let Some(why) = self.died() {
            witness.note(&self.lane, Kind::Stopped { why });
            self.kill();
            *self.back_at() = Some(now_us() + RESPAWN_US);
            return;
        }
        let (leads, term) = self
            .with(|node| (node.is_leader(), term(node)))
            .unwrap_or_default();
        let led = std::mem::replace(&mut self.process.running().led, leads);
        match (led, leads) {
            (false, true) => witness.note(&self.lane, Kind::Leader { term }),
            (true, false) => witness.note(&self.lane, Kind::Deposed),
            _ => {}
        }
    }

    /// Why the process is no use any more, if it is so.
    fn died(&self) -> Option<String> {
        self.with(|node| {
            let metrics = node.raft().metrics();
            let metrics = metrics.borrow_watched();
            metrics
                .running_state
                .as_ref()
                .err()
                .map(ToString::to_string)
        })?
    }

    /// Whether the power failed under the process.
    pub(crate) fn lost_power(&self) -> bool {
        let mount = self.process.running().mount.clone();
        mount.is_some_and(|mount| mount.free_bytes().is_err())
    }

    fn back_at(&self) -> MutexGuard<'_, Option<u64>> {
        self.back_at_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn term(node: &Node) -> u64 {
    node.raft().metrics().borrow_watched().current_term
}

impl Boot {
    /// One life of the process.
    async fn run(self: Arc<Self>) {
        let host = Host::system(self.disk.mount());
        let mount = Arc::clone(&host.disk);
        let listener = match Listener::bind(self.config.listen) {
            Ok(listener) => listener,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let started = Node::start(self.config.clone(), self.keys.clone(), listener, host).await;
        let node = match started {
            Ok(node) => node,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let state = node.state().clone();
        let (stop, stopped) = oneshot::channel();
        *self.process.running() = Running {
            node: Some(node),
            mount: Some(mount),
            stop: Some(stop),
            refused: false,
            led: false,
        };
        let entries = state.position().entries;
        self.witness.note(&self.lane, Kind::Started { entries });
        tokio::select! {
            biased;
            _ = stopped => self.stop().await,
            () = self.watch(&state) => {}
        }
    }

    fn refuse(&self, why: &str) {
        self.process.running().refused = true;
        let why = why.to_owned();
        self.witness.note(&self.lane, Kind::Refused { why });
    }

    async fn stop(&self) {
        let node = self.process.running().node.take();
        let why = match node {
            Some(node) => match node.stop().await {
                Ok(()) => "stopped in good order".to_owned(),
                Err(error) => format!("stopped, {error}"),
            },
            None => return,
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
            show_entries(&self.witness, lane, state, known);
        }
    }
}

/// Shows the oracles what a node's audit log holds from an entry on.
pub(super) fn show_entries(witness: &Witness, lane: &str, state: &StateStore, from: u64) {
    let read = state.view().and_then(|view| view.entries(from, READ_BYTES));
    match read {
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
            ..RaftTimers::default()
        },
        limits: NodeLimits::default(),
        tick_every: Duration::from_secs(1),
        keys: KeyFiles::default(),
    }
}

/// Keys that follow from the node's number.
fn keys(id: u64) -> NodeKeys {
    let ring = Keyring::default();
    let number = u8::try_from(id % 3).unwrap_or(0);
    NodeKeys {
        node: Some(ring.key(Role::Node, number).clone()),
        log: Some(ring.key(Role::Checkpoint, Keyring::PER_ROLE - 1).clone()),
        checkpoint: Some(ring.key(Role::Checkpoint, number).clone()),
    }
}
