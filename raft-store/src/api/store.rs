//! The `Store` service: what clients ask, turned into calls of this crate and back.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::v1::snapshot_part::Part;
use tidegate_proto::v1::{self, store_server};
use tidegate_proto::{Refusal, WireError};
use tidegate_runtime::{Clock, blocking};
use tonic::{Request, Response, Status};

use super::rows::rows;
use super::status::status;
use super::{PacedStreams, Proposed, ReadError, ReadIndexes, Watches, Writes};
use crate::config::NodeLimits;
use crate::group::Group;
use crate::heads::Heads;
use crate::network::clocks::PeerClocks;
use crate::room::Room;
use crate::storage::{LogStore, StateError, StateStore, StateView, reach};

/// Bytes of rows in one part of a snapshot; a single larger row stands alone.
const CHUNK_BYTES: usize = 256 << 10;

/// Everything that the services of a node share.
pub(crate) struct Serving {
    pub(crate) group: Arc<Group>,
    pub(crate) state: StateStore,
    pub(crate) log: LogStore,
    pub(crate) writes: Writes,
    pub(crate) reads: ReadIndexes,
    pub(crate) watches: Watches,
    pub(crate) snapshots: PacedStreams,
    pub(crate) exports: PacedStreams,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) clocks: Arc<PeerClocks>,
    pub(crate) room: Arc<Room>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) limits: NodeLimits,
}

/// Answers the `Store` service.
pub(crate) struct StoreService(pub(crate) Arc<Serving>);

type Parts = Pin<Box<dyn Stream<Item = Result<v1::SnapshotPart, Status>> + Send>>;
type Updates = Pin<Box<dyn Stream<Item = Result<v1::WatchUpdate, Status>> + Send>>;

#[tonic::async_trait]
impl store_server::Store for StoreService {
    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        let v1::ProposeRequest { command } = request.into_inner();
        let Proposed {
            index,
            outcome,
            duplicate,
            incarnation,
        } = self.0.writes.propose(command.into()).await?;
        Ok(Response::new(v1::ProposeResponse {
            index: index.0,
            outcome: outcome.to_vec(),
            duplicate,
            incarnation: incarnation.0,
        }))
    }

    async fn read_index(
        &self,
        _: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        self.0.reads.confirm().await?;
        let position = self.0.state.position();
        Ok(Response::new(v1::ReadIndexResponse {
            incarnation: self.incarnation(),
            entries: position.entries,
            log_time_ms: position.log_time_ms,
            origin: self.0.origin(),
        }))
    }

    async fn get_rows(
        &self,
        request: Request<v1::GetRowsRequest>,
    ) -> Result<Response<v1::GetRowsResponse>, Status> {
        let v1::GetRowsRequest { keys } = request.into_inner();
        Ok(Response::new(rows(&self.0, &keys).await?))
    }

    type GetSnapshotStream = Parts;

    async fn get_snapshot(
        &self,
        request: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<Parts>, Status> {
        let v1::GetSnapshotRequest {
            min_entries,
            incarnation,
        } = request.into_inner();
        if !is_on(Mutant::SnapshotUnconfirmed) {
            self.0.reads.confirm().await?;
        }
        if incarnation == self.incarnation() {
            self.reach(min_entries).await?;
        }
        Ok(Response::new(self.parts(None).await?))
    }

    type WatchStream = Updates;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Updates>, Status> {
        let v1::WatchRequest {
            after_entries,
            incarnation,
        } = request.into_inner();
        let Serving { watches, reads, .. } = &*self.0;
        let updates = watches.open(reads, after_entries, incarnation).await?;
        Ok(Response::new(Box::pin(updates.map(|update| Ok(update?)))))
    }

    type StaleReadStream = Parts;

    async fn stale_read(
        &self,
        _: Request<v1::StaleReadRequest>,
    ) -> Result<Response<Parts>, Status> {
        let now = self.0.clock.boot();
        let age = self
            .0
            .reads
            .last_confirmed()
            .map(|confirmed| now.since(confirmed));
        let age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Ok(Response::new(self.parts(Some(age_ms)).await?))
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(status(&self.0)))
    }
}

impl StoreService {
    fn incarnation(&self) -> u64 {
        self.0.state.incarnation().0
    }

    /// Waits until this node covers `entries`.
    async fn reach(&self, entries: u64) -> Result<(), Status> {
        let wait = self.0.limits.request_timeout;
        let reached = reach(self.0.state.subscribe(), entries);
        match tokio::time::timeout(wait, reached).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ReadError::Stopped("shutting down".to_owned()).into()),
            Err(_) => Err(ReadError::TimedOut(wait).into()),
        }
    }

    /// A manifest and all rows, as of now; `age_ms` is for stale reads.
    async fn parts(&self, age_ms: Option<Option<u64>>) -> Result<Parts, Status> {
        let slot = self.0.snapshots.slot()?;
        let (state, origin) = (self.0.state.clone(), self.0.origin());
        let incarnation = self.incarnation();
        let (view, rows) = on_disk(move || {
            let view = state.view()?;
            let rows = view.row_count()?;
            Ok((view, rows))
        })
        .await?;
        let position = view.position().clone();
        let manifest = v1::SnapshotManifest {
            origin,
            incarnation,
            entries: position.entries,
            state_root: position.root.to_vec(),
            chain_head: position.chain.to_vec(),
            log_time_ms: position.log_time_ms,
            rows,
            age_ms: age_ms.flatten(),
        };
        let first = stream::iter([Ok(part(Part::Manifest(manifest)))]);
        let chunks = stream::unfold(Some((view, None)), next_chunk);
        Ok(Box::pin(slot.pace(first.chain(chunks), row_bytes)))
    }
}

impl Serving {
    /// How far log time `time_ms` is ahead of the voters' clocks, in ms, if it is too far.
    pub(crate) fn too_far_ahead_ms(&self, time_ms: u64) -> Option<u64> {
        let Self { group, clocks, .. } = self;
        let voters = group.voters();
        clocks.too_far_ahead_ms((group.me, &voters), self.clock.as_ref(), time_ms)
    }

    /// The stamp, in ms, that this node gives an entry which it proposes now.
    pub(crate) fn stamp(&self) -> u64 {
        let voters = self.group.voters();
        self.clocks
            .stamp(self.group.me, &voters, self.clock.as_ref())
    }

    pub(crate) fn origin(&self) -> String {
        self.state.origin().to_owned()
    }
}

type Rest = Option<(StateView, Option<Bytes>)>;

/// The rows after the last key, and where to go on.
async fn next_chunk(rest: Rest) -> Option<(Result<v1::SnapshotPart, Status>, Rest)> {
    let (view, after) = rest?;
    let read = on_disk(move || {
        let rows = view.rows(after.as_deref(), CHUNK_BYTES)?;
        Ok((view, rows))
    });
    let (view, rows) = match read.await {
        Ok(read) => read,
        Err(status) => return Some((Err(status), None)),
    };
    let last = rows.last().map(|(key, _)| key.clone())?;
    let rows = rows.into_iter().map(|(key, value)| v1::StateRow {
        key: key.to_vec(),
        value: value.to_vec(),
    });
    let chunk = v1::SnapshotChunk {
        rows: rows.collect(),
    };
    Some((Ok(part(Part::Chunk(chunk))), Some((view, Some(last)))))
}

pub(super) fn row_bytes(part: &v1::SnapshotPart) -> usize {
    match &part.part {
        Some(Part::Chunk(chunk)) => {
            let rows = chunk.rows.iter();
            rows.map(|row| row.key.len() + row.value.len()).sum()
        }
        Some(Part::Manifest(_)) | None => 0,
    }
}

const fn part(part: Part) -> v1::SnapshotPart {
    v1::SnapshotPart { part: Some(part) }
}

/// Reads the node's storage off the executor.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, Status> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("the node's state cannot be read: {error}");
        Status::from(WireError::refused(Refusal::Internal, message))
    };
    let done = blocking(work).await.map_err(|error| failed(&error))?;
    done.map_err(|error| failed(&error))
}
