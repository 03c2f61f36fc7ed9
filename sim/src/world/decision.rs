//! A machine with a decision node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_decision::config::NodeConfig;
use tidegate_decision::engine::{Mode, PseudonymKey};
use tidegate_decision::node::{Node, Secrets};
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, Keyring, region};
use tidegate_runtime::Host;
use tidegate_runtime::disk::SimDisk;

use super::machine::{Breakable as _, Machine, Process};
use super::probe;
use super::witness::Witness;
use crate::record::Kind;

/// The port of every decision node.
const PORT: u16 = 7_200;
/// What a sync of its disk takes.
const SYNC: Duration = Duration::from_millis(1);

/// A decision node of the world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Decision {
    pub(crate) machine: Machine<Node>,
    /// Whether its lease ran when it was last looked at.
    fresh: Arc<std::sync::atomic::AtomicBool>,
}

struct Boot {
    lane: String,
    config: NodeConfig,
    secrets: Secrets,
    disk: SimDisk,
    process: Process<Node>,
    witness: Witness,
}

pub(crate) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 2, number], PORT))
}

impl Decision {
    /// Builds the machine and switches it on; `store` are addresses of store nodes, nearest first.
    pub(crate) fn build(number: u8, place: &str, store: Vec<String>, witness: &Witness) -> Self {
        let disk = SimDisk::new();
        disk.set_sync_delay(SYNC);
        let (process, lane) = (Process::default(), format!("d{number}"));
        let key = Keyring::default().key(Role::Decision, number % 3).clone();
        let boot = Arc::new(Boot {
            lane: lane.clone(),
            config: NodeConfig::new(Fleet::ORIGIN, store, region(place), address(number)),
            secrets: Secrets {
                signing: key,
                pseudonyms: PseudonymKey::new(crate::PSEUDONYMS),
            },
            disk: disk.clone(),
            process: process.clone(),
            witness: witness.clone(),
        });
        let life = move || Arc::clone(&boot).run();
        Self {
            machine: Machine::build(&lane, (address(number), place), disk, process, life),
            fresh: Arc::default(),
        }
    }

    /// Starts it if its time has come, and notes when its lease begins and ends.
    pub(crate) fn look_after(&self, witness: &Witness) {
        use std::sync::atomic::Ordering;
        if self.machine.start_if_due() {
            return;
        }
        let mode = self.machine.with(|node| node.status().mode);
        let fresh = mode == Some(Mode::Fresh);
        if self.fresh.swap(fresh, Ordering::Relaxed) != fresh {
            witness.note(self.machine.lane(), Kind::Lease { fresh });
        }
    }
}

impl Boot {
    /// One life of the process.
    async fn run(self: Arc<Self>) {
        let host = Host::system(self.disk.mount());
        let (config, secrets) = (self.config.clone(), self.secrets.clone());
        let node = match Node::start(config, secrets, host.clone()).await {
            Ok(node) => node,
            Err(error) => {
                let why = error.to_string();
                return self.process.refuse(&self.witness, &self.lane, &why);
            }
        };
        let stopped = self.process.serves(node, &host);
        self.witness.note(&self.lane, Kind::Started { entries: 0 });
        let neighbour = probe::ask(self.config.listen, &self.lane, &self.witness);
        tokio::select! {
            biased;
            told = stopped => if told.is_err() {
                return;
            },
            () = neighbour => {}
        }
        let Some(node) = self.process.take() else {
            return;
        };
        let why = match node.shutdown().await {
            Ok(()) => "stopped in good order".to_owned(),
            Err(error) => format!("stopped, {error}"),
        };
        self.witness.note(&self.lane, Kind::Stopped { why });
    }
}
