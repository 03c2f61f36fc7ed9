//! Tidegate: three processes of `tidegate serve`, after their key ceremony.

mod command;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tidegate_domain::state::row;
use tidegate_domain::{Command, Event, Outcome, canonical};
use tidegate_proto::v1::admin_client::AdminClient;
use tidegate_proto::v1::store_client::StoreClient;
use tidegate_proto::v1::watch_update::Update;
use tidegate_proto::v1::{self, NodeRole};
use tonic::transport::Channel;

use crate::server::{NODES, Program, Server, Servers, free_ports};
use crate::system::{Client, System, Told, Work, channel};
pub(crate) use command::Key;

/// Name of the cluster under test.
pub(crate) const ORIGIN: &str = "bench.example";
/// How long the key ceremony may take, the first election included.
const CEREMONY_MAX: Duration = Duration::from_secs(60);

/// A cluster of ours.
pub(crate) struct Ours {
    servers: Servers,
    ports: Vec<u16>,
    operator: Arc<Key>,
    /// Of the next write: each is about another device.
    next: Arc<AtomicU64>,
    tool: Tool,
}

#[derive(Clone)]
pub(crate) struct OurClient {
    channel: Channel,
    operator: Arc<Key>,
    next: Arc<AtomicU64>,
}

/// The command line of the cluster under test, for what is done before anything is measured.
#[derive(Debug)]
pub(crate) struct Tool {
    binary: std::path::PathBuf,
    folder: std::path::PathBuf,
}

impl Tool {
    /// Runs the command line with the profile that `init` made.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        let settings = ["--settings", "fleet/tidegate.toml"];
        let args = args.iter().chain(&settings);
        self.bare(args.map(ToString::to_string).collect())
    }

    fn key_file(&self, name: &str) -> std::path::PathBuf {
        self.folder.join(format!("fleet/keys/{name}.key"))
    }

    /// Where it runs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn bare(&self, args: Vec<String>) -> Result<String> {
        let program = Program {
            path: self.binary.clone(),
            args,
            folder: self.folder.clone(),
            name: "tidegate".to_owned(),
        };
        program.run()
    }
}

impl Ours {
    /// Makes a cluster in `folder`, with `settings` at the head of each node's configuration, and
    /// starts it.
    pub(crate) async fn start(binary: &Path, folder: &Path, settings: &[String]) -> Result<Self> {
        let tool = Tool {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
        };
        // `init` also writes the configuration of a decision node, which has two ports.
        let first = free_ports(u16::try_from(NODES)? + 2)?;
        let init = ["init", "fleet", "--origin", ORIGIN, "--port"].map(str::to_owned);
        tool.bare([&init[..], &[first.to_string()]].concat())?;
        let ports: Vec<u16> = (first..).take(NODES).collect();
        let mut servers = Servers(Vec::new());
        for node in 1..=NODES {
            let config = format!("fleet/node-{node}.toml");
            set(&folder.join(&config), settings)?;
            servers.0.push(Server::start(Program {
                path: binary.to_owned(),
                args: ["serve", "--config", &config].map(str::to_owned).to_vec(),
                folder: folder.to_owned(),
                name: format!("node-{node}"),
            })?);
        }
        let operator = Arc::new(Key::read(&tool.key_file("operator-1"))?);
        let mut ours = Self {
            servers,
            ports,
            operator,
            next: Arc::default(),
            tool,
        };
        let ceremony = tokio::time::timeout(CEREMONY_MAX, ours.ceremony()).await;
        ceremony.context("the key ceremony took too long")??;
        ours.settle().await.context("the cluster does not start")?;
        Ok(ours)
    }

    async fn ceremony(&mut self) -> Result<()> {
        while self.leader().await.is_err() {
            self.servers.check()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for file in ["fleet/epoch-1.command", "fleet/members.command"] {
            self.tool.run(&["approval", "submit", file])?;
        }
        Ok(())
    }

    /// `host:port` of every node.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let endpoint = |port| format!("127.0.0.1:{port}");
        self.ports.iter().map(endpoint).collect()
    }

    /// A key that `init` made.
    pub(crate) fn key(&self, name: &str) -> Result<Key> {
        Key::read(&self.tool.key_file(name))
    }

    pub(crate) const fn tool(&self) -> &Tool {
        &self.tool
    }
}

/// Puts settings before everything else in a configuration, where no table has begun.
fn set(config: &Path, settings: &[String]) -> Result<()> {
    let text = fs::read_to_string(config).context("init made no configuration")?;
    let head: String = settings.iter().map(|line| format!("{line}\n")).collect();
    fs::write(config, head + &text).context("cannot change a configuration")
}

impl System for Ours {
    type Client = OurClient;

    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn connect(&self, node: usize) -> Result<OurClient> {
        Ok(OurClient {
            channel: channel(self.ports[node])?,
            operator: Arc::clone(&self.operator),
            next: Arc::clone(&self.next),
        })
    }

    async fn leader(&self) -> Result<usize> {
        for node in 0..NODES {
            let status = self.connect(node)?.status().await;
            if status.is_ok_and(|status| status.role() == NodeRole::Leader) {
                return Ok(node);
            }
        }
        bail!("no node leads");
    }

    async fn term(&self) -> Result<u64> {
        let mut term = 0;
        for node in 0..NODES {
            term = term.max(self.connect(node)?.status().await?.term);
        }
        Ok(term)
    }

    async fn transfer(&self, from: usize, to: usize) -> Result<()> {
        let mut admin = AdminClient::new(channel(self.ports[from])?);
        let to = u64::try_from(to)? + 1;
        admin
            .transfer_leader(v1::TransferLeaderRequest { to })
            .await?;
        Ok(())
    }

    fn verification_us(&self) -> Option<f64> {
        self.operator.verification_us()
    }
}

impl OurClient {
    fn grpc(&self) -> StoreClient<Channel> {
        StoreClient::new(self.channel.clone())
    }

    async fn status(&self) -> Result<v1::StatusResponse> {
        Ok(self.grpc().status(v1::StatusRequest {}).await?.into_inner())
    }

    /// Where a command was applied, and what came of it.
    async fn propose(&self, command: Bytes) -> Result<(u64, Vec<Event>)> {
        let request = v1::ProposeRequest {
            command: command.to_vec(),
        };
        let answer = self.grpc().propose(request).await?.into_inner();
        match canonical::decode(&answer.outcome)? {
            Outcome::Accepted(events) => Ok((answer.index, events)),
            Outcome::Rejected(why) => bail!("rejected: {why}"),
        }
    }

    /// What came of a command that was accepted.
    pub(crate) async fn accepted(&self, command: Bytes) -> Result<Vec<Event>> {
        Ok(self.propose(command).await?.1)
    }

    /// A command that the operator signs, ready to be sent.
    pub(crate) fn signed(&self, command: Command) -> Bytes {
        self.operator.signed(command)
    }
}

impl Client for OurClient {
    type Op = Bytes;

    fn make(&self, work: Work) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match work {
            Work::Plain => self.operator.filler(),
            Work::Signed => self.operator.signed(command::hold(number)),
        }
    }

    async fn write(&self, op: Bytes) -> Result<u64> {
        Ok(self.propose(op).await?.0)
    }

    /// The set of trusted keys: some hundred bytes, as the values of the other system.
    async fn read(&self) -> Result<()> {
        let keys = vec![row::keys()];
        let answer = self.grpc().get_rows(v1::GetRowsRequest { keys }).await?;
        let values = answer.into_inner().values;
        let found = values.iter().filter_map(|row| row.value.as_ref());
        ensure!(found.count() == 1, "not one value of one key");
        Ok(())
    }

    async fn watch(&self) -> Result<Told> {
        let status = self.status().await?;
        let request = v1::WatchRequest {
            after_entries: status.entries,
            incarnation: status.incarnation,
        };
        let updates = self.grpc().watch(request).await?.into_inner();
        let told = updates.flat_map(|update| {
            let update = update.map(|update| update.update);
            stream::iter(match update {
                Ok(Some(Update::Batch(batch))) => Some(
                    v1::WatchBatch::from_bytes(batch)
                        .map(|batch| batch.from..batch.to)
                        .map_err(Into::into),
                ),
                Ok(Some(Update::Idle(_))) => None,
                Ok(Some(Update::Resync(why))) => {
                    let why = why.reason().as_str_name();
                    Some(Err(anyhow::anyhow!("the watch must resync: {why}")))
                }
                Ok(None) => Some(Err(anyhow::anyhow!("an empty update"))),
                Err(status) => Some(Err(status.into())),
            })
        });
        Ok(told.boxed())
    }

    async fn applied(&self) -> Result<u64> {
        let status = self.status().await?;
        ensure!(status.ready && status.leader.is_some(), "not ready");
        Ok(status.entries)
    }
}
