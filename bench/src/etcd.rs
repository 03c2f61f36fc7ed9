//! etcd: three members with its default settings.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream};
use tonic::transport::Channel;

use crate::server::{NODES, Program, Server, Servers, free_ports};
use crate::system::{Client, PAYLOAD_BYTES, System, Told, Work, channel};

#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code"
)]
mod api {
    tonic::include_proto!("etcdserverpb");
}

use api::watch_request::RequestUnion;
use api::{kv_client::KvClient, maintenance_client::MaintenanceClient, watch_client::WatchClient};

/// Every key begins with it, and no key that etcd might know otherwise.
const PREFIX: &[u8] = b"bench/";
/// The first key behind those.
const PREFIX_END: &[u8] = b"bench0";
const FIRST_KEY: u64 = 0;

/// A cluster of etcd.
pub(crate) struct Etcd {
    servers: Servers,
    ports: Vec<u16>,
    next_key: Arc<AtomicU64>,
}

#[derive(Clone)]
pub(crate) struct EtcdClient {
    channel: Channel,
    next_key: Arc<AtomicU64>,
}

impl Etcd {
    /// Starts three members in `folder`.
    pub(crate) async fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let nodes = u16::try_from(NODES)?;
        let first = free_ports(2 * nodes)?;
        let ports: Vec<u16> = (first..).take(NODES).collect();
        let peer = |node: usize| format!("http://127.0.0.1:{}", usize::from(first) + NODES + node);
        let members: Vec<String> = (0..NODES).map(|n| format!("m{n}={}", peer(n))).collect();
        let start = |node: usize| {
            let client = format!("http://127.0.0.1:{}", ports[node]);
            let args = [
                ("--name", format!("m{node}")),
                ("--data-dir", format!("etcd-{node}")),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer(node)),
                ("--initial-advertise-peer-urls", peer(node)),
                ("--initial-cluster", members.join(",")),
                ("--initial-cluster-state", "new".to_owned()),
                ("--log-level", "error".to_owned()),
            ];
            let args = args
                .into_iter()
                .flat_map(|(flag, value)| [flag.to_owned(), value]);
            Server::start(Program {
                path: binary.to_owned(),
                args: args.collect(),
                folder: folder.to_owned(),
                name: format!("etcd-{node}"),
            })
        };
        let mut etcd = Self {
            servers: Servers((0..NODES).map(start).collect::<Result<_>>()?),
            ports,
            next_key: Arc::default(),
        };
        etcd.settle().await.context("etcd does not start")?;
        Ok(etcd)
    }

    async fn status(&self, node: usize) -> Result<api::StatusResponse> {
        let mut client = MaintenanceClient::new(channel(self.ports[node])?);
        Ok(client.status(api::StatusRequest {}).await?.into_inner())
    }
}

fn member(status: &api::StatusResponse) -> u64 {
    status.header.as_ref().map_or(0, |header| header.member_id)
}

impl System for Etcd {
    type Client = EtcdClient;

    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn connect(&self, node: usize) -> Result<EtcdClient> {
        Ok(EtcdClient {
            channel: channel(self.ports[node])?,
            next_key: Arc::clone(&self.next_key),
        })
    }

    async fn leader(&self) -> Result<usize> {
        for node in 0..NODES {
            let status = self.status(node).await;
            if status.is_ok_and(|status| status.leader != 0 && status.leader == member(&status)) {
                return Ok(node);
            }
        }
        bail!("no member leads");
    }

    async fn term(&self) -> Result<u64> {
        let mut term = 0;
        for node in 0..NODES {
            term = term.max(self.status(node).await?.raft_term);
        }
        Ok(term)
    }

    async fn transfer(&self, from: usize, to: usize) -> Result<()> {
        let target_id = member(&self.status(to).await?);
        let mut client = MaintenanceClient::new(channel(self.ports[from])?);
        client
            .move_leader(api::MoveLeaderRequest { target_id })
            .await?;
        Ok(())
    }

    fn verification_us(&self) -> Option<f64> {
        None
    }
}

fn key(number: u64) -> Vec<u8> {
    [PREFIX, format!("{number:016}").as_bytes()].concat()
}

impl Client for EtcdClient {
    type Op = api::PutRequest;

    fn make(&self, _: Work) -> api::PutRequest {
        let number = self.next_key.fetch_add(1, Ordering::Relaxed);
        api::PutRequest {
            key: key(number),
            value: vec![0x5a; PAYLOAD_BYTES],
        }
    }

    async fn write(&self, op: api::PutRequest) -> Result<u64> {
        let put = KvClient::new(self.channel.clone()).put(op).await?;
        let header = put.into_inner().header.context("a put without a header")?;
        Ok(u64::try_from(header.revision)?)
    }

    async fn read(&self) -> Result<()> {
        let request = api::RangeRequest {
            key: key(FIRST_KEY),
            serializable: false,
        };
        let range = KvClient::new(self.channel.clone()).range(request).await?;
        let found = range.into_inner().kvs.len();
        anyhow::ensure!(found == 1, "{found} values of one key");
        Ok(())
    }

    async fn watch(&self) -> Result<Told> {
        let create = api::WatchCreateRequest {
            key: PREFIX.to_vec(),
            range_end: PREFIX_END.to_vec(),
        };
        let create = api::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // The watch lasts as long as its questions do.
        let questions = stream::iter([create]).chain(stream::pending());
        let watch = WatchClient::new(self.channel.clone())
            .watch(questions)
            .await?;
        let mut answers = watch.into_inner();
        let first = answers.message().await?.context("the watch has ended")?;
        anyhow::ensure!(first.created, "the watch was not created");
        let told = answers.flat_map(|answer| stream::iter(positions(answer)));
        Ok(told.boxed())
    }

    async fn applied(&self) -> Result<u64> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        let status = client.status(api::StatusRequest {}).await?.into_inner();
        anyhow::ensure!(status.leader != 0, "the member knows no leader");
        Ok(status.raft_applied_index)
    }
}

fn positions(
    answer: Result<api::WatchResponse, tonic::Status>,
) -> Vec<Result<std::ops::Range<u64>>> {
    let answer = match answer {
        Ok(answer) if answer.canceled => return vec![Err(anyhow::anyhow!("the watch ended"))],
        Ok(answer) => answer,
        Err(status) => return vec![Err(status.into())],
    };
    let position = |event: api::Event| {
        let kv = event.kv.context("an event without a key")?;
        let at = u64::try_from(kv.mod_revision)?;
        Ok(at..at + 1)
    };
    answer.events.into_iter().map(position).collect()
}
