//! A store of one, in memory, with the real `apply` and the real wire around it, that can be cut
//! off; and a decision node on it over real connections.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its own part, and tests may panic"
)]
pub mod http;
mod store;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tidegate_decision::{
    config::{NodeConfig, NodeLimits},
    engine::{Mode, PseudonymKey},
    node::{Node, Secrets},
};
use tidegate_domain::{
    command::SetClusterConfig,
    id::Millis,
    key::Role,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{self, decision_client::DecisionClient};
use tidegate_runtime::{
    BootInstant, Clock, Host, SystemClock, WallMs,
    disk::{DirDisk, OpenDirError},
};
use tonic::transport::Channel;

pub use store::Store;

/// The store's lease in these tests: the shortest that the domain takes.
pub const LEASE: Duration = Duration::from_millis(1_000);

/// Wall time stands where a test puts it; boot time is the machine's.
#[derive(Debug)]
pub struct Clocks(AtomicU64);

impl Clock for Clocks {
    fn wall(&self) -> WallMs {
        WallMs(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }
}

/// A store with a fleet of one variant: release `os-1` is the baseline, `os-2` is rolled out to all.
pub struct Cluster {
    pub store: Store,
    pub clocks: Arc<Clocks>,
    directory: tempfile::TempDir,
}

impl Cluster {
    pub async fn start(prepare: impl FnOnce(&mut Fleet)) -> Self {
        let mut fleet = Fleet::new();
        let mut config = fleet.state.config().clone();
        config.lease = Millis(1_000);
        config.drift_margin = Millis(100);
        config.report_interval = Millis(200);
        fleet.accept(SetClusterConfig { config });
        fleet.accept(tidegate_domain::command::RegisterVariant {
            traits: testing::traits("cam/r1/eu/none"),
        });
        fleet.register(testing::release("os-1").version("1.0.0"));
        fleet.register(testing::release("os-2").version("2.0.0"));
        prepare(&mut fleet);
        let clocks = Arc::new(Clocks(AtomicU64::new(fleet.now.0)));
        Self {
            store: Store::start(fleet).await,
            clocks,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.store.fleet()
    }

    /// Moves the nodes' wall clock, and leaves the store's where it is.
    pub fn run_ahead(&self, hours: u64) {
        self.clocks.0.fetch_add(hours * 3_600_000, Ordering::SeqCst);
    }

    /// Moves both the store's and the nodes' wall clock, and nothing happens meanwhile.
    pub fn wait_in_silence(&self, hours: u64) {
        self.fleet().wait(Millis(hours * 3_600_000));
        self.run_ahead(hours);
    }

    /// Moves both the store's and the nodes' wall clock.
    pub fn wait_hours(&self, hours: u64) {
        let mut fleet = self.fleet();
        fleet.wait_hours(hours);
        self.clocks.0.store(fleet.now.0, Ordering::SeqCst);
    }

    /// Starts a node with the decision key of a number; its disk is kept for its next life.
    pub async fn node(&self, number: u8) -> Node {
        self.node_within(number, NodeLimits::default()).await
    }

    /// Starts a node with other limits.
    pub async fn node_within(&self, number: u8, limits: NodeLimits) -> Node {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let store = vec![self.store.address().to_string()];
        let config = NodeConfig {
            http: Some(any),
            renew_every: LEASE / 5,
            limits: NodeLimits {
                shutdown_max: Duration::from_secs(3),
                ..limits
            },
            ..NodeConfig::new(Fleet::ORIGIN, store, testing::region("eu"), any)
        };
        let secrets = Secrets {
            signing: self.fleet().keys.key(Role::Decision, number).clone(),
            pseudonyms: PseudonymKey::new([4; 32]),
        };
        let path = self.directory.path().join(format!("node-{number}"));
        let host = Host {
            clock: Arc::clone(&self.clocks) as Arc<dyn Clock>,
            ..Host::system(reopened(&path).await)
        };
        Node::start(config, secrets, host).await.unwrap()
    }

    /// Starts a node and waits until it may offer.
    pub async fn ready(&self, number: u8) -> Node {
        let node = self.node(number).await;
        until_ready(&node).await;
        node
    }
}

/// Waits until a node may offer.
pub async fn until_ready(node: &Node) {
    wait_for("a session", || node.status().session.is_some()).await;
    wait_for("a lease", || node.status().mode == Mode::Fresh).await;
}

/// A disk as soon as its last owner lets go: a write that was under way holds on a little longer.
async fn reopened(path: &std::path::Path) -> DirDisk {
    for _ in 0..500 {
        match DirDisk::open(path) {
            Ok(disk) => return disk,
            Err(OpenDirError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{} is still in use", path.display());
}

/// Waits for something that is about to happen.
#[track_caller]
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        for _ in 0..6_000 {
            if happened() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not come, waited for at {at}");
    }
}

/// A client of a node.
pub async fn device(node: &Node) -> DecisionClient<Channel> {
    let address = format!("http://{}", node.address());
    DecisionClient::connect(address).await.unwrap()
}

/// A check-in of a device that runs `os` in some version.
pub fn check_in(device: &str, version: &str) -> v1::CheckInRequest {
    v1::CheckInRequest {
        device_id: device.to_owned(),
        variant: "cam/r1/eu/none".to_owned(),
        components: vec![v1::RunningComponent {
            component: "os".to_owned(),
            version: version.to_owned(),
            security_version: 1,
            floor: None,
        }],
        ..v1::CheckInRequest::default()
    }
}

pub fn outcome(device: &str, token: &[u8], kind: v1::OutcomeKind) -> v1::OutcomeReport {
    v1::OutcomeReport {
        device_id: device.to_owned(),
        exposure_token: token.to_vec(),
        kind: kind.into(),
        ..v1::OutcomeReport::default()
    }
}

pub fn codes(response: &v1::CheckInResponse) -> Vec<&str> {
    response
        .reasons
        .iter()
        .map(|reason| reason.code.as_str())
        .collect()
}

/// Checks in once.
pub async fn ask(
    client: &mut DecisionClient<Channel>,
    request: v1::CheckInRequest,
) -> v1::CheckInResponse {
    client.check_in(request).await.unwrap().into_inner()
}

/// Checks in again and again, as agents do, until the answer is what is hoped for.
pub async fn until_told(
    client: &mut DecisionClient<Channel>,
    request: &v1::CheckInRequest,
    hoped: v1::Verdict,
) -> v1::CheckInResponse {
    let mut last = None;
    for _ in 0..3_000 {
        let response = ask(client, request.clone()).await;
        if response.verdict() == hoped {
            return response;
        }
        last = Some(response);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never told {hoped:?}; last: {last:?}");
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
