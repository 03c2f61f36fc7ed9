//! A running store node: opens its storage, joins its group, serves, and stops.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use tidegate_domain::signature::SigningKey;
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::WireError;
use tidegate_runtime::{Clock, Host};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::api::store::Serving;
use crate::api::{PacedStreams, ReadIndexes, Watches, Writes, admin, audit};
use crate::config::NodeConfig;
use crate::group::Group;
use crate::heads::{self, Heads};
use crate::listen::Listener;
use crate::network::clocks::PeerClocks;
use crate::network::link::Link;
use crate::network::peer::PeerFactory;
use crate::room::Room;
use crate::storage::{
    self, Identity, LogOptions, LogStore, StateError, StateOptions, StateStore, StorageError,
};
use crate::types::Raft;
use crate::{handover, log_time, members, serve, tick};

/// The first life of a cluster; a restore begins the next one.
const FIRST_INCARNATION: u64 = 1;
/// How long a stopping node waits for calls under way.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Between two read rounds of an idle node, so that it knows how old its state is.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

const STATE_OPTIONS: StateOptions = StateOptions {
    page_cache_bytes: 64 << 20,
    unsynced_bytes_max: 64 << 20,
    feed_bytes_max: 32 << 20,
};

/// The keys that a node holds. All of them are optional: a node without them replicates and serves
/// all the same.
#[derive(Clone, Debug, Default)]
pub struct NodeKeys {
    /// Role `node`: signs `Tick`. Rollouts stand still while a node without it leads.
    pub node: Option<SigningKey>,
    /// Signs checkpoints in the origin's name.
    pub log: Option<SigningKey>,
    /// Role `checkpoint`: cosigns checkpoints as this voter.
    pub checkpoint: Option<SigningKey>,
}

/// A running node.
pub struct Node {
    serving: Arc<Serving>,
    tasks: Vec<JoinHandle<()>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    stop: oneshot::Sender<()>,
    address: std::net::SocketAddr,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be started on.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// openraft refused its settings.
    #[error("the `raft` settings do not fit together: {0}")]
    Timers(#[from] openraft::ConfigError),
    /// openraft did not start on this storage.
    #[error("raft does not start: {0}")]
    Raft(String),
    /// The cluster could not be founded.
    #[error("the cluster cannot be founded: {0}")]
    Found(WireError),
    /// The origin makes no checkpoint key name.
    #[error("no checkpoint can be signed for origin {0:?}")]
    Origin(String),
}

impl Node {
    /// Starts a node on its storage and serves on `listener`.
    ///
    /// The node answers its peers at once; clients' reads are let in when it has caught up with
    /// what it knew before.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the storage or the settings. Nothing was served then.
    pub async fn start(
        config: NodeConfig,
        keys: NodeKeys,
        listener: Listener,
        host: Host,
    ) -> Result<Self, StartError> {
        let (log, state) = open_storage(&config, &host).await?;
        let storage = (log.clone(), state.clone());
        let started = Self::start_on(storage, &config, keys, listener, host).await;
        let node = match started {
            Ok(node) => node,
            Err(error) => {
                storage::abandon(log, state).await;
                return Err(error);
            }
        };
        // Peers must be able to answer by now, so this comes last.
        match node.found(&config).await {
            Ok(()) => Ok(node),
            Err(error) => {
                node.kill().await;
                Err(StartError::Found(error))
            }
        }
    }

    async fn start_on(
        (log, state): (LogStore, StateStore),
        config: &NodeConfig,
        keys: NodeKeys,
        listener: Listener,
        host: Host,
    ) -> Result<Self, StartError> {
        let Host {
            disk,
            clock,
            entropy,
        } = host;
        let checkpoints = audit::CheckpointKeys::new(config, &keys)
            .ok_or_else(|| StartError::Origin(config.origin.clone()))?;
        let clocks = Arc::new(PeerClocks::default());
        let room = Room::new(disk, config.limits.disk_reserve_bytes).await;
        let room = Arc::new(room.map_err(|error| StorageError::State(error.into()))?);
        let link = Link::new(
            config.node_id,
            &config.origin,
            Arc::clone(&clock),
            Arc::clone(&clocks),
            Arc::clone(&room),
        );
        let factory = PeerFactory::new(link.clone(), log.clone());
        let raft = Raft::new(
            config.node_id,
            Arc::new(raft_config(config)?),
            factory.clone(),
            log.clone(),
            state.clone(),
        )
        .await
        .map_err(|fatal| StartError::Raft(fatal.to_string()))?;
        let group = Group::new(config.node_id, raft, factory);
        let timeout = config.limits.request_timeout;
        let heads = Heads::new(config.node_id, state.clone(), keys.checkpoint);
        let storage = (state, log, room);
        let serving = Arc::new(serving(group, storage, heads, clock, clocks, config));
        let mut tasks = vec![
            tokio::spawn(recover(Arc::clone(&serving))),
            tokio::spawn(members::drive(Arc::clone(&serving), timeout)),
            tokio::spawn(Arc::clone(&serving.room).watch()),
            tokio::spawn(handover::drive(Arc::clone(&serving))),
            tokio::spawn(log_time::watch(Arc::clone(&serving))),
            tokio::spawn(heads::watch(Arc::clone(&serving))),
        ];
        if let Some(key) = keys.node {
            let ticker = tick::Ticker::new(Arc::clone(&serving), key, entropy, config.tick_every);
            tasks.push(tokio::spawn(ticker.run()));
        }
        let address = listener.address();
        let (stop, stopped) = oneshot::channel();
        let server = serve::serve(listener, Arc::clone(&serving), link, checkpoints, stopped);
        let server = tokio::spawn(server);
        Ok(Self {
            serving,
            tasks,
            server,
            stop,
            address,
        })
    }

    /// Where the node listens.
    #[must_use]
    pub const fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// The node's state, for reads inside its process.
    #[must_use]
    pub fn state(&self) -> &StateStore {
        &self.serving.state
    }

    /// Whether this node leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.serving.group.raft.is_leader()
    }

    /// openraft's handle, for tests and rehearsals.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.serving.group.raft
    }

    /// Waits until the node can't go on, and says why: a write or sync failed, or Raft stopped by
    /// itself. Nothing that was acknowledged is lost, nothing is retried; whoever runs the node
    /// must [`kill`](Self::kill) it and end, so that it is noticed.
    pub async fn failed(&self) -> String {
        tokio::select! {
            biased;
            why = self.serving.log.failed() => why,
            why = self.serving.group.stopped() => why,
        }
    }

    /// Stops in order: hands leadership over, lets calls under way end, makes everything durable.
    ///
    /// # Errors
    /// The last writes did not become durable. What was acknowledged is safe in the log.
    pub async fn stop(self) -> Result<(), StateError> {
        handover::give_away(&self.serving).await;
        self.serving.watches.close();
        // The server may be gone already; then there is nobody to tell.
        let _ = self.stop.send(());
        self.tasks.iter().for_each(JoinHandle::abort);
        let mut server = self.server;
        if tokio::time::timeout(STOP_PATIENCE, &mut server)
            .await
            .is_err()
        {
            // Somebody keeps a call open; it has had its time.
            server.abort();
        }
        // openraft answers a task that has ended already.
        let _ = self.serving.group.raft.shutdown().await;
        // Here, and not where the last of those who hold them goes: both are closed, whatever becomes
        // of the other.
        let state = self.serving.state.clone().close().await;
        let log = self.serving.log.clone().close().await;
        state.and(log.map_err(StateError::from))
    }

    /// Stops at once, as a crash of the process would: nothing more is written or answered.
    pub async fn kill(self) {
        self.serving.watches.close();
        self.tasks.iter().for_each(JoinHandle::abort);
        self.server.abort();
        // Address and storage must be free when this returns. That the server was cancelled is no
        // news; an error of Raft's says that it was free before.
        let _ = self.server.await;
        let _ = self.serving.group.raft.shutdown().await;
        storage::abandon(self.serving.log.clone(), self.serving.state.clone()).await;
    }

    async fn found(&self, config: &NodeConfig) -> Result<(), WireError> {
        let raft = &self.serving.group.raft;
        let stopped = |fatal: &dyn std::fmt::Display| {
            WireError::refused(tidegate_proto::Refusal::Stopped, fatal.to_string())
        };
        if !config.found_cluster || raft.is_initialized().await.map_err(|e| stopped(&e))? {
            return Ok(());
        }
        admin::initialize(raft, config.first_members())
            .await
            .map(drop)
    }
}

fn serving(
    group: Group,
    (state, log, room): (StateStore, LogStore, Arc<Room>),
    heads: Heads,
    clock: Arc<dyn Clock>,
    clocks: Arc<PeerClocks>,
    config: &NodeConfig,
) -> Serving {
    let limits = config.limits;
    let group = Arc::new(group);
    let reads = ReadIndexes::start(
        Arc::clone(&group),
        Arc::clone(&clock),
        limits.request_timeout,
    );
    let writes = Writes::new(
        Arc::clone(&group),
        state.clone(),
        reads.clone(),
        Arc::clone(&clock),
        Arc::clone(&clocks),
        Arc::clone(&room),
        limits,
    );
    Serving {
        watches: Watches::new(state.clone(), limits),
        snapshots: PacedStreams::of_snapshots(Arc::clone(&clock)),
        exports: PacedStreams::of_exports(Arc::clone(&clock)),
        group,
        state,
        log,
        writes,
        reads,
        clock,
        clocks,
        room,
        heads: Arc::new(heads),
        limits,
    }
}

async fn open_storage(
    config: &NodeConfig,
    host: &Host,
) -> Result<(LogStore, StateStore), StorageError> {
    let identity = Identity {
        origin: config.origin.clone(),
        incarnation: FIRST_INCARNATION,
        node: config.node_id,
    };
    let log = LogOptions {
        segment_bytes: config.raft.segment_bytes,
        ..LogOptions::default()
    };
    storage::open(&identity, host, (log, STATE_OPTIONS)).await
}

/// openraft's settings. Those that safety depends on are not the operator's to choose.
fn raft_config(config: &NodeConfig) -> Result<Config, openraft::ConfigError> {
    let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let timers = &config.raft;
    Config {
        cluster_name: config.origin.clone(),
        heartbeat_interval: ms(timers.heartbeat),
        election_timeout_min: ms(timers.election_min),
        election_timeout_max: ms(timers.election_max),
        install_snapshot_timeout: 5_000,
        max_payload_entries: 1_024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timers.snapshot_every),
        max_in_snapshot_log_to_keep: timers.snapshot_every / 2,
        replication_lag_threshold: timers.snapshot_every.saturating_mul(2),
        // A leader that crashed and lost its unsynced tail must not resume in the same term: it
        // would use one (term, index) twice.
        enable_leader_restore: Some(is_on(Mutant::LeaderRestore)),
        // A node that was cut off must not depose a healthy leader when it comes back.
        enable_pre_vote: Some(true),
        ..Config::default()
    }
    .validate()
}

/// Lets reads in once the node has caught up, and then keeps its age known.
async fn recover(serving: Arc<Serving>) {
    let raft = &serving.group.raft;
    if let Err(error) = raft.wait_for_recovery(None).await {
        tracing::info!(%error, "stopped before recovery was complete");
        return;
    }
    serving.reads.recovered();
    loop {
        // Nobody waits for this read; it only dates the state for stale reads.
        let _ = serving.reads.confirm().await;
        tokio::time::sleep(CONFIRM_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Profile, RaftTimers};

    #[test]
    fn openraft_takes_the_timers_of_every_profile() {
        for profile in [Profile::Loopback, Profile::Region, Profile::Wan] {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], 7_101));
            let config = NodeConfig {
                raft: RaftTimers::of_heartbeat(profile.heartbeat()),
                ..NodeConfig::single(1, "a.example", "eu", address)
            };
            assert!(raft_config(&config).is_ok(), "{profile:?}");
        }
    }
}
