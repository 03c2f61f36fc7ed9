//! The real store under madsim: three nodes elect, commit, lose a leader and a tail of unsynced
//! disk, and agree. The same seed gives the same history.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[path = "loopback/support.rs"]
#[allow(dead_code, reason = "the rest is for real connections")]
mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use support::{Shape, accepted, ceremony, client, configs, host, node_keys, random, variant};
use tidegate_domain::testing::Fleet;
use tidegate_raft_store::config::NodeConfig;
use tidegate_raft_store::storage::Position;
use tidegate_raft_store::{Listener, Node};
use tidegate_runtime::disk::SimDisk;

/// A machine of the simulation and what survives its crashes.
struct Machine {
    machine: NodeHandle,
    disk: SimDisk,
    /// The process that runs on it now.
    process: Arc<Mutex<Option<Node>>>,
}

impl Machine {
    fn boot(handle: &Handle, at: usize, config: NodeConfig) -> Self {
        let disk = SimDisk::new();
        let process: Arc<Mutex<Option<Node>>> = Arc::default();
        let run = {
            let (disk, process) = (disk.clone(), Arc::clone(&process));
            move || {
                let (disk, process, config) = (disk.clone(), Arc::clone(&process), config.clone());
                async move {
                    let listener = Listener::bind(config.listen).unwrap();
                    let keys = node_keys(&Fleet::unborn(), at);
                    let node = Node::start(config, keys, listener, host(&disk))
                        .await
                        .unwrap();
                    *process.lock().unwrap() = Some(node);
                    std::future::pending::<()>().await;
                }
            }
        };
        let machine = handle
            .create_node()
            .name(format!("node-{}", at + 1))
            .ip([10, 0, 0, u8::try_from(at + 1).unwrap()].into())
            .init(run)
            .build();
        Self {
            machine,
            disk,
            process,
        }
    }

    /// Cuts the power: the disk stops before the process, so that nothing is tidied up.
    fn cut_power(&self, handle: &Handle, seed: u64) {
        self.disk.kill();
        handle.kill(self.machine.id());
        self.process.lock().unwrap().take();
        self.disk.lose_power(&mut random(seed));
    }

    fn leads(&self) -> bool {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(Node::is_leader)
    }

    fn position(&self) -> Option<Position> {
        Some(self.process.lock().unwrap().as_ref()?.state().position())
    }
}

/// One run: its history as every node tells it in the end.
#[expect(
    clippy::disallowed_methods,
    reason = "outside the simulator: a fresh thread per run"
)]
fn history(seed: u64) -> Vec<Position> {
    std::thread::spawn(move || {
        let mut runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.set_allow_system_thread(false);
        runtime.block_on(run(seed))
    })
    .join()
    .unwrap()
}

async fn run(seed: u64) -> Vec<Position> {
    let handle = Handle::current();
    let addresses: Vec<SocketAddr> = (1..=3)
        .map(|last| SocketAddr::from(([10, 0, 0, last], 7101)))
        .collect();
    let configs = configs(&addresses, Shape::default());
    let boot = |(at, config): (usize, &NodeConfig)| Machine::boot(&handle, at, config.clone());
    let machines: Vec<Machine> = configs.iter().enumerate().map(boot).collect();
    let clients = handle
        .create_node()
        .name("client")
        .ip([10, 0, 1, 1].into())
        .build();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writing = {
        let acknowledged = Arc::clone(&acknowledged);
        clients.spawn(async move {
            let mut fleet = Fleet::unborn();
            let client = client(&configs);
            let command = ceremony(&mut fleet);
            accepted(&client.propose(command).await.unwrap());
            for number in 0..60 {
                let proposed = client.propose(variant(&mut fleet, number).to_bytes()).await;
                let proposed = proposed.unwrap();
                accepted(&proposed);
                acknowledged.lock().unwrap().push(proposed.index.0);
            }
        })
    };
    for round in 0..3 {
        let enough = 15 * (round + 1);
        until(|| acknowledged.lock().unwrap().len() >= enough).await;
        until(|| machines.iter().any(Machine::leads)).await;
        let leader = machines.iter().find(|machine| machine.leads()).unwrap();
        leader.cut_power(&handle, seed ^ enough as u64);
        tokio::time::sleep(Duration::from_secs(3)).await;
        handle.restart(leader.machine.id());
    }
    writing.await.unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    // LOG-2: one entry each, in order.
    assert!(
        acknowledged.windows(2).all(|pair| pair[0] < pair[1]),
        "{acknowledged:?}"
    );
    let last = *acknowledged.last().unwrap();
    let covered = |machine: &Machine| machine.position().is_some_and(|at| at.entries > last);
    until(|| machines.iter().all(covered)).await;
    for machine in &machines {
        let process = machine.process.lock().unwrap();
        let node = process.as_ref().unwrap();
        assert_eq!(node.state().read(|state| state.variants().len()), 60);
    }
    let positions: Vec<Position> = machines.iter().filter_map(Machine::position).collect();
    for pair in positions.windows(2) {
        // LOG-1, APPLY-1: equal lengths are equal histories and states.
        if pair[0].entries == pair[1].entries {
            assert_eq!((pair[0].chain, pair[0].root), (pair[1].chain, pair[1].root));
        }
    }
    positions
}

async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // LIVE-1, generously: virtual time costs nothing.
    tokio::time::timeout(Duration::from_secs(120), waiting)
        .await
        .expect("the cluster stands still");
}

#[test]
fn three_nodes_lose_leaders_and_unsynced_disk_and_agree() {
    for seed in 1..=5 {
        let positions = history(seed);
        assert_eq!(positions.len(), 3, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert_eq!(history(7), history(7));
}
