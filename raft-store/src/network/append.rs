//! Pipelined replication: many appends under way on one stream, answered in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::errors::RPCError;
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tidegate_proto::v1::Frame;
use tidegate_runtime::Passing;
use tonic::Streaming;

use super::message::{self, Call};
use super::peer::{AppendReplies, Peer, PeerError};
use crate::types::TypeConfig;

/// How often, within the time a stream may be silent, its silence is looked at.
const LOOKS_PER_TTL: u32 = 4;

/// Opens a replication stream to `peer` for the requests of `input`.
///
/// `ttl` is how long opening may take, and how long requests may then stay without any reply: a
/// partition resets nothing, so a stream that has gone dead must be noticed here.
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
    let unanswered = Arc::new(AtomicU64::new(0));
    let frames = {
        let (peer, unanswered) = (peer.clone(), Arc::clone(&unanswered));
        stream::iter([first]).chain(input).map(move |request| {
            unanswered.fetch_add(1, Ordering::Relaxed);
            let call = Call::Append(request);
            peer.link.seal(peer.id, |out| call.encode(out))
        })
    };
    let fail = |error| peer.raft_error(error, RPCTypes::AppendEntries);
    let mut client = peer.client().map_err(fail)?;
    let frames = tokio::time::timeout(ttl, client.append(peer.way().stream(frames)))
        .await
        .map_err(|_| fail(PeerError::TimedOut(ttl)))?
        .map_err(|status| fail(PeerError::Refused(Box::new(status))))?
        .into_inner();
    let replies = Replies {
        frames: peer.way().stream(frames),
        peer: peer.clone(),
        unanswered,
        ttl,
    };
    Ok(Box::pin(stream::unfold(Some(replies), Replies::advance)))
}

/// The replies that still come.
struct Replies {
    peer: Peer,
    frames: Passing<Streaming<Frame>>,
    /// Requests sent and not answered.
    unanswered: Arc<AtomicU64>,
    ttl: Duration,
}

type Item = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

impl Replies {
    /// The next reply and the rest; the first error ends the stream.
    async fn advance(this: Option<Self>) -> Option<(Item, Option<Self>)> {
        let mut this = this?;
        match this.next().await {
            Ok(Some(result)) => Some((Ok(result), Some(this))),
            Ok(None) => None,
            Err(error) => {
                let error = this.peer.raft_error(error, RPCTypes::AppendEntries);
                Some((Err(error), None))
            }
        }
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
                Err(_) if self.unanswered.load(Ordering::Relaxed) == 0 => silent = Duration::ZERO,
                Err(_) => silent += look,
            }
            if silent >= self.ttl {
                return Err(PeerError::TimedOut(self.ttl));
            }
        }
    }
}
