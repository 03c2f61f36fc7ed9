//! Pipelined replication: many appends under way on one stream, answered in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError};
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use tidegate_proto::v1::Frame;
use tidegate_runtime::{Leg, Passing};
use tonic::Streaming;

use super::message::{self, Call};
use super::peer::{AppendReplies, Peer, PeerError};
use crate::storage::LogStore;
use crate::types::{TypeConfig, Vote};

/// How often, within the time a stream may be silent, its silence is looked at.
const LOOKS_PER_TTL: u32 = 4;

/// Opens a replication stream to `peer` for the requests of `input`.
///
/// `ttl` is how long opening may take, and how long requests may then stay without any reply: a
/// partition resets nothing, so a stream that has gone dead must be noticed here.
///
/// A stream that goes on although its next entries were purged from this node's log ends with an
/// error: openraft would look for them for ever, with nothing to send, and the peer would never get
/// the snapshot that it needs. (LIVE-1)
///
/// The first request is awaited before a connection is: openraft holds it back for a while after a
/// failure, and a peer that cannot be reached would otherwise be tried without a pause.
pub(super) async fn open<S>(
    peer: &Peer,
    mut input: S,
    ttl: Duration,
) -> Result<AppendReplies<'static>, RPCError<TypeConfig>>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    let Some(first) = input.next().await else {
        return Ok(Box::pin(stream::empty()));
    };
    let vote = first.vote;
    let fail = |error| peer.raft_error(error, RPCTypes::AppendEntries);
    let (unanswered, ended) = (Arc::<AtomicU64>::default(), Arc::<OnceLock<u64>>::default());
    // The first may well have no entries for a peer that lags: a heartbeat, or news of a commit.
    let requests = until_purged(peer.log.clone(), input, Arc::clone(&ended));
    let frames = {
        let (peer, unanswered) = (peer.clone(), Arc::clone(&unanswered));
        stream::iter([first]).chain(requests).map(move |request| {
            unanswered.fetch_add(1, Ordering::Relaxed);
            let call = Call::Append(request);
            peer.link.seal(peer.id, |out| call.encode(out))
        })
    };
    let mut client = peer.client().map_err(fail)?;
    let frames = tokio::time::timeout(ttl, client.append(peer.way().stream(Leg::There, frames)))
        .await
        .map_err(|_| fail(PeerError::TimedOut(ttl)))?
        .map_err(|status| fail(PeerError::Refused(Box::new(status))))?
        .into_inner();
    let replies = Replies {
        frames: peer.way().stream(Leg::Back, frames),
        peer: peer.clone(),
        vote,
        unanswered,
        ended,
        ttl,
    };
    Ok(Box::pin(stream::unfold(
        Some(Box::new(replies)),
        Replies::advance,
    )))
}

/// The requests up to one that should have had entries which are not in the log any more; then
/// `ended` says after which index.
fn until_purged(
    log: LogStore,
    requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>>,
    ended: Arc<OnceLock<u64>>,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> {
    requests.take_while(move |request| {
        let before = request.prev_log_id.as_ref();
        let is_over = request.entries.is_empty() && log.has_purged(before);
        if is_over {
            // Whoever reads the replies says so when they are all there.
            let _ = ended.set(before.map_or(0, |id| id.index));
        }
        std::future::ready(!is_over)
    })
}

fn needs_snapshot(after: u64) -> RPCError<TypeConfig> {
    let why = format!("the entries after {after} were purged: the peer needs a snapshot");
    RPCError::Network(NetworkError::from_string(why))
}

/// The replies that still come. Two kilobytes that move with each of them, so keep them boxed.
struct Replies {
    peer: Peer,
    /// With which this node leads.
    vote: Vote,
    frames: Passing<Streaming<Frame>>,
    /// Requests sent and not answered.
    unanswered: Arc<AtomicU64>,
    /// Set when no more requests come since the entries after this index were purged.
    ended: Arc<OnceLock<u64>>,
    ttl: Duration,
}

type Item = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

impl Replies {
    /// The next reply and the rest; the first error ends the stream.
    async fn advance(this: Option<Box<Self>>) -> Option<(Item, Option<Box<Self>>)> {
        let mut this = this?;
        let next = match this.next().await {
            Ok(Some(result)) => this.counted(result).await.map(Some),
            other => other,
        };
        match next {
            Ok(Some(result)) => Some((Ok(result), Some(this))),
            Ok(None) => {
                let after = this.ended.get()?;
                Some((Err(needs_snapshot(*after)), None))
            }
            Err(error) => {
                let error = this.peer.raft_error(error, RPCTypes::AppendEntries);
                Some((Err(error), None))
            }
        }
    }

    /// The result, unless it takes back what was counted on.
    async fn counted(
        &mut self,
        result: StreamAppendResult<TypeConfig>,
    ) -> Result<StreamAppendResult<TypeConfig>, PeerError> {
        match &result {
            Ok(last) => self.peer.acknowledged(&self.vote, last.as_ref()),
            Err(StreamAppendError::Conflict(missing)) => {
                self.peer.may_miss(&self.vote, missing, self.ttl).await?;
            }
            Err(StreamAppendError::HigherVote(_)) => {}
        }
        Ok(result)
    }

    async fn next(&mut self) -> Result<Option<StreamAppendResult<TypeConfig>>, PeerError> {
        let look = self.ttl / LOOKS_PER_TTL;
        let mut silent = Duration::ZERO;
        loop {
            match tokio::time::timeout(look, self.frames.next()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Err(status))) => return Err(PeerError::Refused(Box::new(status))),
                Ok(Some(Ok(frame))) => {
                    self.unanswered.fetch_sub(1, Ordering::Relaxed);
                    let garbled =
                        |error: &dyn std::fmt::Display| PeerError::Garbled(error.to_string());
                    let (_, body) = self
                        .peer
                        .link
                        .open(frame)
                        .map_err(|error| garbled(&error))?;
                    let result = message::decode_append_result(&body);
                    return result.map(Some).map_err(|error| garbled(&error));
                }
                Err(_) if self.unanswered.load(Ordering::Relaxed) == 0 => {
                    if self.ended.get().is_some() {
                        return Ok(None);
                    }
                    silent = Duration::ZERO;
                }
                Err(_) => silent += look,
            }
            if silent >= self.ttl {
                return Err(PeerError::TimedOut(self.ttl));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::impls::leader_id_std::LeaderId;
    use openraft::storage::{IOFlushed, RaftLogStorage as _};
    use openraft::type_config::TypeConfigExt as _;
    use tidegate_runtime::disk::SimDisk;
    use tidegate_runtime::{AsyncRuntime as _, Rt};

    use super::*;
    use crate::storage::LogOptions;
    use crate::storage::rig::claim;
    use crate::types::{CommittedLeader, Entry, EntryPayload, LogId, Proposal};

    fn log_id(index: u64) -> LogId {
        LogId {
            leader_id: CommittedLeader { term: 1 },
            index,
        }
    }

    /// What openraft sends when the log has nothing after this entry to read.
    fn empty_after(index: u64) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: Vote {
                leader_id: LeaderId {
                    term: 1,
                    voted_for: 1,
                },
                committed: true,
            },
            prev_log_id: Some(log_id(index)),
            entries: Vec::new(),
            leader_commit: None,
        }
    }

    /// A log of entries 0 to 19 of which those up to 9 were purged.
    async fn log() -> LogStore {
        let disk = Arc::new(SimDisk::new().mount());
        let mut log = LogStore::open(disk, &claim(), LogOptions::default())
            .await
            .unwrap();
        let entry = |index| Entry {
            log_id: log_id(index),
            payload: EntryPayload::Normal(Proposal {
                stamp_ms: index,
                command: Bytes::new().into(),
            }),
        };
        let entries: Vec<Entry> = (0..20).map(entry).collect();
        let (done, flushed) = TypeConfig::oneshot();
        log.append(entries, IOFlushed::signal(done)).await.unwrap();
        flushed.await.unwrap().unwrap();
        log.purge(log_id(9)).await.unwrap();
        log
    }

    /// Found by the simulator (seed 30127): a follower whose next entries were purged while a stream
    /// was open got empty requests for ever, and no snapshot.
    #[test]
    fn a_stream_that_has_nothing_left_to_send_ends() {
        Rt::new(1).block_on(async {
            // After 9 and 19 there is nothing amiss: entry 10 is there, and 20 will be.
            let requests = stream::iter([9, 19, 8, 19].map(empty_after));
            let ended = Arc::<OnceLock<u64>>::default();
            let sent = until_purged(log().await, requests, Arc::clone(&ended));
            let sent: Vec<_> = sent.map(|request| request.prev_log_id).collect().await;
            assert_eq!(sent, [Some(log_id(9)), Some(log_id(19))]);
            assert_eq!(ended.get(), Some(&8));
        });
    }
}
