//! The calls of the `Store` service, with domain types in and out.

use bytes::Bytes;
use tidegate_domain::id::{Hash, Incarnation, Index, LogTime};
use tidegate_domain::{Outcome, canonical};
use tidegate_proto::v1;
use tidegate_proto::v1::snapshot_part::Part;
use tidegate_proto::v1::store_client::StoreClient as Grpc;
use tidegate_proto::{Refusal, WireError};
use tidegate_runtime::{AsyncRuntime as _, Rt};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::connect::{Node, Nodes};
use crate::{ClientConfig, ClientError, Position, ReadPoint, WatchStream};

/// Largest answer that is accepted, in bytes: a watch batch or snapshot chunk with one large row.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A client of one cluster. Cheap to clone; clones share connections and what was learnt of nodes.
#[derive(Clone, Debug)]
pub struct StoreClient {
    nodes: Nodes,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its audit leaf index.
    pub index: Index,
    /// Accepted with events, or rejected with the reason.
    pub outcome: Outcome,
    /// It had been applied before; `index` and `outcome` are those of that time.
    pub duplicate: bool,
    /// The cluster's life that applied it.
    pub incarnation: Incarnation,
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster's name.
    pub origin: String,
    /// Where the state stands.
    pub position: Position,
    /// Hash over all rows.
    pub state_root: Hash,
    /// Chain value of the last covered entry.
    pub chain_head: Hash,
    /// Log time of the last covered entry.
    pub log_time: LogTime,
    /// How many rows follow.
    pub rows: u64,
    /// Stale reads only: ms since a leader last confirmed to the node that it was not behind.
    pub age_ms: Option<u64>,
}

/// Rows of the state, all of them as of one read point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// What they cover.
    pub point: ReadPoint,
    /// Their canonical values in the order of the keys; `None` where there is no row.
    pub values: Vec<Option<Bytes>>,
}

/// State rows as `(key, value)` bytes.
pub type SnapshotRows = Vec<(Bytes, Bytes)>;

impl StoreClient {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// No endpoint is given, or one is no `host:port`.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Ok(Self {
            nodes: Nodes::new(config)?,
        })
    }

    /// Commits a signed command: `command` is the canonical form of a
    /// [`SignedCommand`](tidegate_domain::SignedCommand). A rejection by the domain is an outcome,
    /// not an error.
    ///
    /// # Errors
    /// It was refused at the door, or no node answered in time; then
    /// [`ClientError::is_effect_unknown`] says whether it may have been applied.
    pub async fn propose(&self, command: impl Into<Bytes>) -> Result<Proposed, ClientError> {
        const WHAT: &str = "propose";
        let command: Bytes = command.into();
        let (answer, node) = self
            .nodes
            .ask(WHAT, |node| {
                let request = v1::ProposeRequest {
                    command: command.to_vec(),
                };
                async move {
                    grpc(&node)
                        .propose(request)
                        .await
                        .map(tonic::Response::into_inner)
                }
            })
            .await?;
        let v1::ProposeResponse {
            index,
            outcome,
            duplicate,
            incarnation,
        } = answer;
        let outcome = canonical::decode(&outcome).map_err(|error| {
            let problem = format!("entry {index} has an outcome that does not decode: {error}");
            ClientError::garbled(WHAT, &node.endpoint, problem)
        })?;
        Ok(Proposed {
            index: Index(index),
            outcome,
            duplicate,
            incarnation: Incarnation(incarnation),
        })
    }

    /// A quorum's confirmation of how far the log goes.
    ///
    /// # Errors
    /// No node could reach a quorum in time.
    pub async fn read_index(&self) -> Result<ReadPoint, ClientError> {
        let ask = |node: Node| async move {
            let answer = grpc(&node).read_index(v1::ReadIndexRequest {}).await?;
            Ok(answer.into_inner())
        };
        let (answer, _) = self.nodes.ask("read_index", ask).await?;
        Ok(read_point(answer))
    }

    /// The rows with these keys ([`row`](tidegate_domain::state::row) makes them), linearizable: they
    /// cover every command acknowledged before the call.
    ///
    /// # Errors
    /// No node could reach a quorum in time, a key is none, or it is too much for one answer.
    pub async fn rows(&self, keys: &[Vec<u8>]) -> Result<Rows, ClientError> {
        const WHAT: &str = "rows";
        let ask = |node: Node| async move {
            let request = v1::GetRowsRequest {
                keys: keys.to_vec(),
            };
            Ok(grpc(&node).get_rows(request).await?.into_inner())
        };
        let (v1::GetRowsResponse { point, values }, node) = self.nodes.ask(WHAT, ask).await?;
        let garbled = |problem: &str| ClientError::garbled(WHAT, &node.endpoint, problem);
        if values.len() != keys.len() {
            return Err(garbled("not as many values as keys"));
        }
        Ok(Rows {
            point: read_point(point.ok_or_else(|| garbled("values without a read point"))?),
            values: values
                .into_iter()
                .map(|row| row.value.map(Bytes::from))
                .collect(),
        })
    }

    /// The whole state, linearizable: it covers every command acknowledged before the call, and
    /// stands at `least` or higher.
    ///
    /// # Errors
    /// No node answered in time, or the snapshot broke off. Nothing is checked against its root
    /// here; [`View`](crate::View) does that.
    pub async fn snapshot(&self, least: Position) -> Result<(Manifest, SnapshotRows), ClientError> {
        let ask = |node: Node| async move {
            let request = v1::GetSnapshotRequest {
                min_entries: least.entries,
                incarnation: least.incarnation.0,
            };
            let mut parts = grpc(&node).get_snapshot(request).await?.into_inner();
            Ok((manifest(&mut parts).await?, parts))
        };
        let ((manifest, parts), node) = self.nodes.ask("snapshot", ask).await?;
        let rows = self
            .snapshot_rows("snapshot", &node, &manifest, parts)
            .await?;
        Ok((manifest, rows))
    }

    /// The state as the nearest node has it, however old. It is never fresh, whatever its age.
    ///
    /// # Errors
    /// As [`Self::snapshot`], but no quorum is needed.
    pub async fn stale_read(&self) -> Result<(Manifest, SnapshotRows), ClientError> {
        let ask = |node: Node| async move {
            let request = v1::StaleReadRequest {};
            let mut parts = grpc(&node).stale_read(request).await?.into_inner();
            Ok((manifest(&mut parts).await?, parts))
        };
        let ((manifest, parts), node) = self.nodes.ask("stale_read", ask).await?;
        let rows = self
            .snapshot_rows("stale_read", &node, &manifest, parts)
            .await?;
        Ok((manifest, rows))
    }

    /// The events after `position`, from one node. When the stream ends or falls silent, watch
    /// again from where the view then stands.
    ///
    /// # Errors
    /// No node answered in time.
    pub async fn watch(&self, position: Position) -> Result<WatchStream, ClientError> {
        let ask = |node: Node| async move {
            let request = v1::WatchRequest {
                after_entries: position.entries,
                incarnation: position.incarnation.0,
            };
            let updates = grpc(&node).watch(request).await?.into_inner();
            Ok(updates)
        };
        let (updates, node) = self.nodes.ask("watch", ask).await?;
        Ok(WatchStream::new(node.endpoint, updates))
    }

    /// What each node says of itself, in the order of the endpoints.
    pub async fn statuses(&self) -> Vec<(String, Result<v1::StatusResponse, ClientError>)> {
        let one = |node: Node| async move {
            let wait = self.nodes.config().attempt_timeout;
            let mut client = grpc(&node);
            let asked = Rt::timeout(wait, client.status(v1::StatusRequest {}));
            let error = match asked.await {
                Ok(Ok(status)) => return (node.endpoint, Ok(status.into_inner())),
                Ok(Err(status)) => WireError::from(&status),
                Err(_) => WireError::unknown(Refusal::TimedOut, format!("no answer in {wait:?}")),
            };
            let error = ClientError {
                operation: "status",
                endpoint: node.endpoint.clone(),
                error,
            };
            (node.endpoint, Err(error))
        };
        futures::future::join_all(self.nodes.all().iter().cloned().map(one)).await
    }

    /// A connection to the node that is asked first at the moment, for services that this client
    /// does not wrap.
    #[must_use]
    pub fn channel(&self) -> (String, Channel) {
        let node = self.nodes.first();
        (node.endpoint, node.channel)
    }

    /// A connection to each node, for what every one of them must be asked.
    pub fn channels(&self) -> impl Iterator<Item = Channel> {
        self.nodes.all().iter().map(|node| node.channel.clone())
    }

    pub(crate) const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    async fn snapshot_rows(
        &self,
        what: &'static str,
        node: &Node,
        manifest: &Manifest,
        mut parts: Streaming<v1::SnapshotPart>,
    ) -> Result<SnapshotRows, ClientError> {
        let failed = |error| ClientError {
            operation: what,
            endpoint: node.endpoint.clone(),
            error,
        };
        let wait = self.nodes.config().attempt_timeout;
        let mut rows = SnapshotRows::new();
        loop {
            let part = match Rt::timeout(wait, parts.message()).await {
                Ok(part) => part.map_err(|status| failed(WireError::from(&status)))?,
                Err(_) => {
                    let message = format!("the snapshot stood still for {wait:?}");
                    return Err(failed(WireError::refused(Refusal::TimedOut, message)));
                }
            };
            match part.map(|part| part.part) {
                Some(Some(Part::Chunk(chunk))) => rows.extend(
                    chunk
                        .rows
                        .into_iter()
                        .map(|row| (row.key.into(), row.value.into())),
                ),
                Some(_) => {
                    let problem = "a snapshot part that is no chunk";
                    return Err(ClientError::garbled(what, &node.endpoint, problem));
                }
                None if rows.len() as u64 == manifest.rows => return Ok(rows),
                None => {
                    let (found, all) = (rows.len(), manifest.rows);
                    let message = format!("the snapshot broke off after {found} of {all} rows");
                    return Err(failed(WireError::refused(Refusal::Unreachable, message)));
                }
            }
        }
    }
}

fn read_point(answer: v1::ReadIndexResponse) -> ReadPoint {
    let v1::ReadIndexResponse {
        incarnation,
        entries,
        log_time_ms,
        origin,
    } = answer;
    ReadPoint {
        origin,
        position: Position {
            incarnation: Incarnation(incarnation),
            entries,
        },
        log_time: LogTime(log_time_ms),
    }
}

async fn manifest(parts: &mut Streaming<v1::SnapshotPart>) -> Result<Manifest, Status> {
    let first = parts.message().await?.and_then(|part| part.part);
    let garbled = |problem: String| Status::from(WireError::refused(Refusal::Internal, problem));
    let Some(Part::Manifest(manifest)) = first else {
        return Err(garbled("the snapshot has no manifest".to_owned()));
    };
    let v1::SnapshotManifest {
        origin,
        incarnation,
        entries,
        state_root,
        chain_head,
        log_time_ms,
        rows,
        age_ms,
    } = manifest;
    Ok(Manifest {
        origin,
        position: Position {
            incarnation: Incarnation(incarnation),
            entries,
        },
        state_root: hash("state root", state_root).map_err(garbled)?,
        chain_head: hash("chain head", chain_head).map_err(garbled)?,
        log_time: LogTime(log_time_ms),
        rows,
        age_ms,
    })
}

pub(crate) fn hash(what: &str, bytes: Vec<u8>) -> Result<Hash, String> {
    let len = bytes.len();
    let bytes = bytes
        .try_into()
        .map_err(|_| format!("a {what} of {len} bytes, expected 32"))?;
    Ok(Hash(bytes))
}

fn grpc(node: &Node) -> Grpc<Channel> {
    Grpc::new(node.channel.clone())
        .max_decoding_message_size(ANSWER_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX)
}
