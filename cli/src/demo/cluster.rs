//! The demo's servers: three store nodes in three regions, two decision nodes, all in this process
//! and on real loopback connections.
use super::{
    decisions::Decisions,
    keyring::{Keyring, public},
    setup::ORIGIN,
    story::Story,
};
use anyhow::{Context, ensure};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_client::{ClientConfig, HighWater, StoreClient};
use tidegate_domain::{
    command::ChangeMembership,
    config::Member,
    id::{NodeId, Region},
    key::Role,
};
use tidegate_raft_store::{
    Host, Listener, Node, NodeKeys,
    config::{NodeConfig, Peer},
};
use tidegate_runtime::{
    Clock, SystemEntropy,
    disk::{DirDisk, OpenDirError},
};
use tokio::runtime::Runtime;

/// Where the store nodes stand.
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
/// How long the last calls of a killed node may take to end.
const RESTART_PATIENCE: Duration = Duration::from_secs(10);
/// How long the cluster may take to elect a leader.
const ELECTION_PATIENCE: Duration = Duration::from_secs(10);

/// The servers of the demo.
pub(super) struct Cluster {
    dir: PathBuf,
    keys: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    stores: Vec<Store>,
    decisions: Option<Decisions>,
}

struct Store {
    id: u64,
    region: &'static str,
    address: SocketAddr,
    running: Option<Running>,
}

/// A node and the threads that are all its own, so that a kill takes everything of it: tasks,
/// connections and files, as the end of a process would.
struct Running {
    node: Option<Node>,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Store {
    fn leads(&self) -> bool {
        let node = self
            .running
            .as_ref()
            .and_then(|running| running.node.as_ref());
        node.is_some_and(Node::is_leader)
    }
}

impl Cluster {
    /// Starts three store nodes with their data below `dir`.
    pub(super) async fn start(
        dir: &Path,
        keys: Arc<Keyring>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let stores = REGIONS
            .iter()
            .zip(1..)
            .map(|(region, id)| {
                Ok(Store {
                    id,
                    region,
                    address: free_address()?,
                    running: None,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut cluster = Self {
            dir: dir.to_owned(),
            keys,
            clock,
            stores,
            decisions: None,
        };
        // The first node founds the cluster, so the others have to answer by then.
        for id in [2, 3, 1] {
            cluster.restart(id).await?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// A client of all store nodes.
    pub(super) fn client(&self) -> anyhow::Result<StoreClient> {
        Ok(StoreClient::new(ClientConfig::new(self.endpoints()))?)
    }

    fn endpoints(&self) -> Vec<String> {
        self.stores
            .iter()
            .map(|store| store.address.to_string())
            .collect()
    }

    /// The command that names the store nodes and the keys with which they cosign.
    pub(super) fn membership(&self) -> anyhow::Result<ChangeMembership> {
        let keys = self.keys.voter_checkpoint_keys();
        let member = |(store, key): (&Store, &ed25519_dalek::SigningKey)| {
            Ok(Member {
                id: NodeId(store.id),
                address: store.address.to_string(),
                region: Region::new(store.region)?,
                voter: true,
                checkpoint_key: Some(public(key)),
            })
        };
        let members = self.stores.iter().zip(keys).map(member);
        Ok(ChangeMembership {
            members: members.collect::<anyhow::Result<Vec<_>>>()?,
        })
    }

    /// Starts the decision nodes.
    pub(super) async fn start_decisions(&mut self, story: &Story) -> anyhow::Result<()> {
        let dir = self.dir.with_file_name("decisions");
        let keys = self.keys.of(Role::Decision);
        let clock = Arc::clone(&self.clock);
        let decisions = Decisions::start(&dir, &self.endpoints(), keys, &clock).await?;
        self.decisions = Some(decisions);
        story.tell("two decision nodes are open for check-ins, in regions eu and us");
        Ok(())
    }

    /// The decision nodes as `http://host:port`.
    pub(super) fn decision_urls(&self) -> Vec<String> {
        self.decisions
            .as_ref()
            .map_or_else(Vec::new, Decisions::urls)
    }

    /// Stops the decision nodes in order: their last reports are in the log when this returns.
    pub(super) async fn stop_decisions(&mut self) -> anyhow::Result<()> {
        match self.decisions.take() {
            Some(decisions) => decisions.stop().await,
            None => Ok(()),
        }
    }

    /// The highest position that a follower called `name` has seen.
    pub(super) async fn high_water(&self, name: &str) -> anyhow::Result<HighWater> {
        let disk = DirDisk::open(self.dir.join(name))?;
        Ok(HighWater::open(Arc::new(disk)).await?)
    }

    /// Kills the leader without warning. Returns its number and region.
    pub(super) async fn kill_leader(&mut self) -> anyhow::Result<(u64, &'static str)> {
        let leader = self.leader().await?;
        let store = self.stores.iter_mut().find(|store| store.id == leader);
        let store = store.context("the leader is no node of this demo")?;
        drop(store.running.take());
        Ok((leader, store.region))
    }

    /// Starts a node that does not run, on the disk that it left.
    #[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
    pub(super) async fn restart(&mut self, id: u64) -> anyhow::Result<()> {
        let config = self.config(id)?;
        let keys = self.node_keys(id)?;
        // A killed node's last calls may still be under way in this process.
        let asked = Instant::now();
        let disk = loop {
            match DirDisk::open(&config.data_dir) {
                Ok(disk) => break disk,
                Err(OpenDirError::InUse { .. }) if asked.elapsed() < RESTART_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let host = Host {
            disk: Arc::new(disk),
            clock: Arc::clone(&self.clock),
            entropy: Arc::new(SystemEntropy),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("store-{id}"))
            .enable_all()
            .build()?;
        let started = runtime.spawn(async move {
            // The listener belongs to the runtime in which it is made.
            let listener = Listener::bind(config.listen)?;
            anyhow::Ok(Node::start(config, keys, listener, host).await?)
        });
        let mut running = Running {
            node: None,
            runtime: Some(runtime),
        };
        running.node = Some(started.await??);
        let store = self.stores.iter_mut().find(|store| store.id == id);
        store.context("no such node")?.running = Some(running);
        Ok(())
    }

    /// The number of the leader, once there is one.
    #[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
    async fn leader(&self) -> anyhow::Result<u64> {
        let asked = Instant::now();
        loop {
            if let Some(store) = self.stores.iter().find(|store| store.leads()) {
                return Ok(store.id);
            }
            ensure!(
                asked.elapsed() < ELECTION_PATIENCE,
                "the store nodes elect no leader"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn config(&self, id: u64) -> anyhow::Result<NodeConfig> {
        let this = self
            .stores
            .iter()
            .find(|store| store.id == id)
            .context("no such node")?;
        let peers = self.stores.iter().map(|store| Peer {
            node_id: store.id,
            member: tidegate_raft_store::Member {
                addr: store.address.to_string(),
                region: store.region.to_owned(),
            },
        });
        Ok(NodeConfig {
            data_dir: self.dir.join(format!("store-{id}")),
            peers: peers.collect(),
            found_cluster: id == 1,
            tick_every: Duration::from_millis(100),
            ..NodeConfig::single(id, ORIGIN, this.region, this.address)
        })
    }

    fn node_keys(&self, id: u64) -> anyhow::Result<NodeKeys> {
        let at = usize::try_from(id.saturating_sub(1))?;
        Ok(NodeKeys {
            node: self.keys.of(Role::Node).get(at).cloned(),
            log: self.keys.log_key().cloned(),
            checkpoint: self.keys.voter_checkpoint_keys().get(at).cloned(),
        })
    }
}

/// A loopback address with a port that is free now.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    Ok(probe.context("no free loopback port")?.local_addr()?)
}
