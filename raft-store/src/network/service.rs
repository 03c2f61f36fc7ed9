//! The answering side of the traffic between nodes.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures::{Stream, StreamExt, stream};
use minicbor::decode;
use openraft::raft::AppendEntriesRequest;
use tidegate_proto::v1::{Frame, raft_server};
use tidegate_proto::{Refusal, WireError};
use tonic::{Request, Response, Status, Streaming};

use super::link::{Link, LinkError};
use super::message::{self, Call, Reply};
use super::{counted, forward, snapshot};
use crate::api::{ReadIndexes, Writes};
use crate::heads::Heads;
use crate::room::Level;
use crate::storage::{LogStore, StateStore};
use crate::types::{NodeId, Raft, TypeConfig};

/// Answers the other nodes of the group.
pub(crate) struct RaftService {
    pub(crate) raft: Raft,
    pub(crate) link: Link,
    pub(crate) writes: Writes,
    pub(crate) reads: ReadIndexes,
    pub(crate) log: LogStore,
    pub(crate) state: StateStore,
    pub(crate) heads: Arc<Heads>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn call(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let (from, body) = self.link.open(request.into_inner()).map_err(refuse_link)?;
        let call = Call::decode(&body).map_err(|error| malformed(&error))?;
        let reply = self.answer(from, call).await?;
        Ok(Response::new(self.link.seal(from, |out| reply.encode(out))))
    }

    type AppendStream = Frames;

    async fn append(&self, request: Request<Streaming<Frame>>) -> Result<Response<Frames>, Status> {
        // All frames of one stream are one peer's, and a result follows a request: the sender of
        // the last request is whom the result is for.
        let sender = Arc::new(AtomicU64::new(0));
        let refusal = Arc::new(OnceLock::new());
        let requests = {
            let (link, sender) = (self.link.clone(), Arc::clone(&sender));
            let refusal = Arc::clone(&refusal);
            // Ends at the first frame that cannot be taken; the peer then opens another stream.
            request.into_inner().scan((), move |(), frame| {
                let lost = |status: &Status| tracing::debug!(%status, "append stream");
                let request = frame.inspect_err(lost).ok().and_then(|frame| {
                    let refuse = |refused| drop(refusal.set(refused));
                    open_append(&link, &sender, frame).map_err(refuse).ok()
                });
                std::future::ready(request)
            })
        };
        let link = self.link.clone();
        let results = self.raft.stream_append(Box::pin(requests));
        let replies = results.map(move |result| {
            let to = sender.load(Ordering::Relaxed);
            result
                .map(|result| link.seal(to, |out| message::encode_append_result(&result, out)))
                .map_err(|fatal| stopped(&fatal))
        });
        // An error makes the leader wait before it tries again; a mere end would not.
        let refusal = stream::once(async move { refusal.get().cloned() })
            .filter_map(|refused| std::future::ready(refused.map(Err)));
        Ok(Response::new(Box::pin(replies.chain(refusal))))
    }

    type ForwardStream = Frames;

    async fn forward(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Frames>, Status> {
        let (writes, link) = (self.writes.clone(), self.link.clone());
        let answers = forward::answer(writes, link, request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Frame>, Status> {
        let storage = (&self.log, &self.state);
        snapshot::receive(&self.raft, storage, &self.link, request.into_inner())
            .await
            .map(Response::new)
    }
}

impl RaftService {
    async fn answer(&self, from: NodeId, call: Call) -> Result<Reply, Status> {
        let reply = match call {
            Call::Vote(request) => {
                Reply::Vote(self.raft.vote(request).await.map_err(|e| stopped(&e))?)
            }
            Call::PreVote(request) => {
                Reply::Vote(self.raft.pre_vote(request).await.map_err(|e| stopped(&e))?)
            }
            Call::Append(request) if !takes(&self.link, &request) => return Err(no_room()),
            Call::Append(request) => Reply::Append(
                self.raft
                    .append_entries(request)
                    .await
                    .map_err(|e| stopped(&e))?,
            ),
            Call::TransferLeader(request) => Reply::TransferLeader(
                self.raft
                    .handle_transfer_leader(request)
                    .await
                    .map_err(|e| stopped(&e))?,
            ),
            Call::SnapshotStart if self.link.level() < Level::Ample => return Err(no_room()),
            Call::SnapshotStart => Reply::SnapshotStart(self.state.position().entries),
            Call::Hello => Reply::Hello,
            Call::Lost(vote, entry) => {
                counted::answer_for((&self.log, &self.state), from, &vote, entry).await;
                Reply::Hello
            }
            Call::Head(said) => {
                self.heads.hear(from, &said);
                Reply::Hello
            }
            Call::ReadIndex => Reply::ReadIndex(self.reads.as_leader().await?),
        };
        Ok(reply)
    }
}

/// Whether there is room for what a leader sends. Heartbeats carry nothing, and are always taken.
fn takes(link: &Link, request: &AppendEntriesRequest<TypeConfig>) -> bool {
    request.entries.is_empty() || link.level() > Level::Last
}

fn no_room() -> Status {
    let message = "this node's disk is full; it goes on once there is room";
    WireError::refused(Refusal::DiskFull, message).into()
}

/// The append in a frame of a stream, if it can be taken; notes who sent it.
fn open_append(
    link: &Link,
    sender: &AtomicU64,
    frame: Frame,
) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    let (from, body) = link.open(frame).map_err(refuse_link)?;
    sender.store(from, Ordering::Relaxed);
    match Call::decode(&body).map_err(|error| malformed(&error))? {
        Call::Append(request) if takes(link, &request) => Ok(request),
        Call::Append(_) => Err(no_room()),
        _ => Err(malformed(&decode::Error::message(
            "a call that is no append",
        ))),
    }
}

pub(super) fn refuse_link(error: LinkError) -> Status {
    let refusal = match error {
        LinkError::Short(_) | LinkError::Version(_) => Refusal::Malformed,
        LinkError::OtherCluster | LinkError::OtherNode(..) => Refusal::OtherCluster,
    };
    WireError::refused(refusal, error.to_string()).into()
}

pub(super) fn malformed(error: &decode::Error) -> Status {
    WireError::refused(
        Refusal::Malformed,
        format!("frame does not decode: {error}"),
    )
    .into()
}

/// Raft has stopped, or its storage failed.
pub(super) fn stopped(error: &impl std::fmt::Display) -> Status {
    WireError::refused(Refusal::Stopped, format!("this node has stopped: {error}")).into()
}
