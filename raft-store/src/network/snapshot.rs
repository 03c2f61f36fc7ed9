//! A whole snapshot on a stream: the leader's vote, the snapshot's pieces, one reply.
//!
//! Pieces carry their own hashes and end with a digest over all of them; nothing is installed
//! before that fits.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::RPCTypes;
use openraft::raft::SnapshotResponse;
use tidegate_proto::v1::Frame;
use tidegate_proto::{Refusal, WireError};
use tidegate_runtime::{Leg, blocking};
use tonic::{Status, Streaming};

use super::link::Link;
use super::message::{self, Call, Reply};
use super::peer::{Peer, PeerError};
use super::service::{malformed, refuse_link, stopped};
use crate::storage::{LogStore, Pieces, StateError, StateStore};
use crate::types::{Raft, Snapshot, TypeConfig, Vote};

/// How long a peer may take to verify and install what it received.
const INSTALL_MAX: Duration = Duration::from_secs(120);
/// How often a transfer is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks in a row without a sign of life after which it is given up: the peer is gone, and openraft
/// begins anew once it is back. (LIVE-1)
const SILENT_LOOKS_MAX: u32 = 4;

/// Sends a snapshot and waits until it is installed.
pub(super) async fn send(
    peer: &Peer,
    vote: Vote,
    snapshot: Snapshot,
    cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
    ttl: Duration,
) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
    let sending = std::pin::pin!(transfer(peer, vote, snapshot, ttl));
    match select(sending, std::pin::pin!(cancel)).await {
        Either::Left((Ok(response), _)) => Ok(response),
        Either::Left((Err(error), _)) => {
            Err(peer.raft_error(error, RPCTypes::InstallSnapshot).into())
        }
        Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
    }
}

async fn transfer(
    peer: &Peer,
    vote: Vote,
    snapshot: Snapshot,
    ttl: Duration,
) -> Result<SnapshotResponse<TypeConfig>, PeerError> {
    let first_entry = match peer.call(&Call::SnapshotStart, ttl).await? {
        Reply::SnapshotStart(entries) => entries,
        other => return Err(PeerError::Garbled(format!("unexpected {other:?}"))),
    };
    let first = peer
        .link
        .seal(peer.id(), |out| message::encode_snapshot_vote(&vote, out));
    let taken = Taken::default();
    let frames = {
        let (taken, last) = (taken.clone(), taken.clone());
        let pieces = snapshot.snapshot.into_pieces(first_entry);
        let pieces = piece_frames(pieces, peer.log.clone());
        let frames = stream::iter([first]).chain(pieces);
        let frames = frames.inspect(move |_| {
            taken.pieces.fetch_add(1, Ordering::Relaxed);
        });
        frames.chain(stream::poll_fn(move |_| {
            last.all.store(true, Ordering::Relaxed);
            Poll::Ready(None)
        }))
    };
    let mut client = peer.client()?;
    let mut answer =
        std::pin::pin!(client.snapshot(peer.way().stream(Leg::There, Box::pin(frames))));
    let (mut seen, mut silent_looks, mut installing) = (0, 0, Duration::ZERO);
    let answer = loop {
        if let Ok(answer) = tokio::time::timeout(LOOK_EVERY, &mut answer).await {
            break answer.map_err(|status| PeerError::Refused(Box::new(status)))?;
        }
        // As long as pieces are taken the peer lives; after the last it installs in silence, and
        // has to be asked.
        let before = std::mem::replace(&mut seen, taken.pieces.load(Ordering::Relaxed));
        let lives = if taken.all.load(Ordering::Relaxed) {
            installing += LOOK_EVERY;
            peer.call(&Call::SnapshotStart, LOOK_EVERY).await.is_ok()
        } else {
            seen != before
        };
        silent_looks = if lives { 0 } else { silent_looks + 1 };
        if silent_looks >= SILENT_LOOKS_MAX || installing >= INSTALL_MAX {
            return Err(PeerError::TimedOut(LOOK_EVERY * silent_looks + installing));
        }
    };
    let garbled = |error: &dyn std::fmt::Display| PeerError::Garbled(error.to_string());
    let (_, body) = peer
        .link
        .open(answer.into_inner())
        .map_err(|error| garbled(&error))?;
    message::decode_snapshot_response(&body).map_err(|error| garbled(&error))
}

/// What the connection has taken of a snapshot.
#[derive(Clone, Debug, Default)]
struct Taken {
    pieces: Arc<AtomicU64>,
    /// Whether that is all there is.
    all: Arc<AtomicBool>,
}

/// The pieces as frames. When the disk fails the stream ends early, and the peer refuses it; then
/// this node ends, too. Nobody else sends the peer anything as long as this node leads, and it would
/// lead on: what it cannot read is no part of what it writes. (LIVE-1)
fn piece_frames(pieces: Pieces, log: LogStore) -> impl Stream<Item = Frame> + Send + 'static {
    stream::unfold(pieces, move |mut pieces| {
        let log = log.clone();
        async move {
            let read = blocking(move || (pieces.next_piece(), pieces)).await;
            let failed = match read {
                Ok((Ok(piece), pieces)) => {
                    let body = piece?.into();
                    return Some((Frame { body }, pieces));
                }
                Ok((Err(error), _)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let why = format!("a snapshot for a peer cannot be read: {failed}");
            tracing::error!("{why}: this node stops");
            log.give_up(why);
            None
        }
    })
}

/// Receives a snapshot and installs it.
pub(super) async fn receive(
    raft: &Raft,
    (log, state): (&LogStore, &StateStore),
    link: &Link,
    mut frames: Streaming<Frame>,
) -> Result<Frame, Status> {
    let broken = |problem: &str| Status::from(WireError::refused(Refusal::Malformed, problem));
    let Some(first) = frames.message().await? else {
        return Err(broken("a snapshot without a vote"));
    };
    let (from, body) = link.open(first).map_err(refuse_link)?;
    let vote = message::decode_snapshot_vote(&body).map_err(|error| malformed(&error))?;
    let receiving = {
        let state = state.clone();
        on_disk(move || state.receive_snapshot()).await?
    };
    let mut receiving = receiving;
    while let Some(frame) = frames.message().await? {
        receiving = on_disk(move || {
            receiving.push(&frame.body)?;
            Ok(receiving)
        })
        .await?;
    }
    let (meta, snapshot) = on_disk(move || receiving.finish()).await?;
    let snapshot = Snapshot { meta, snapshot };
    let response = install(raft, log, vote, snapshot).await?;
    Ok(link.seal(from, |out| {
        message::encode_snapshot_response(&response, out);
    }))
}

/// Installs a snapshot, and answers when everything up to its last entry is durable.
///
/// openraft answers at once if this node has committed all that is in the snapshot, although the
/// entries may still be on their way to its disk. The leader would count copies that a loss of power
/// takes away, and then send what the node cannot append, until another one leads. (COPY-1)
async fn install(
    raft: &Raft,
    log: &LogStore,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<TypeConfig>, Status> {
    let installed = raft.install_full_snapshot(vote, snapshot).await;
    let response = installed.map_err(|fatal| stopped(&fatal))?;
    log.synced().await.map_err(|error| stopped(&error))?;
    Ok(response)
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, Status> {
    let done = blocking(work).await.map_err(|error| stopped(&error))?;
    done.map_err(|error| {
        let refusal = match error {
            StateError::Refused(_) => Refusal::Malformed,
            _ => Refusal::Internal,
        };
        WireError::refused(refusal, error.to_string()).into()
    })
}

#[cfg(test)]
mod tests {
    use openraft::Config;
    use openraft::impls::leader_id_std::LeaderId;
    use openraft::raft::AppendEntriesRequest;
    use openraft::storage::RaftSnapshotBuilder as _;
    use tidegate_runtime::disk::{Disk, SimDisk};

    use super::*;
    use crate::network::link::tests::link;
    use crate::network::peer::PeerFactory;
    use crate::storage::rig::{claim, entry, log_id, open_state_on, run};
    use crate::storage::{LogOptions, is_log_file};
    use crate::types::EntryPayload;

    async fn open_log(disk: &Arc<dyn Disk>) -> LogStore {
        let opened = LogStore::open(Arc::clone(disk), &claim(), LogOptions::default()).await;
        opened.unwrap()
    }

    /// Found by the simulator (seed 202611280347): a leader on a damaged disk led on, and the peer that
    /// needed its snapshot never caught up.
    #[test]
    fn a_node_that_cannot_read_what_a_peer_needs_ends() {
        run(async {
            let disk = SimDisk::new();
            let mounted: Arc<dyn Disk> = Arc::new(disk.mount());
            let log = open_log(&mounted).await;
            let mut state = open_state_on(mounted).await.unwrap();
            let mut receiving = state.receive_snapshot().unwrap();
            let own = state.build_snapshot().await.unwrap().snapshot;
            let mut pieces = own.into_pieces(0);
            while let Some(piece) = pieces.next_piece().unwrap() {
                receiving.push(&piece).unwrap();
            }
            // Of this one no piece is in memory.
            let (_, snapshot) = receiving.finish().unwrap();
            disk.fail_read_after(1);
            let frames = piece_frames(snapshot.into_pieces(0), log.clone());
            let sent = frames.count().await;
            assert!(sent < 2, "{sent} pieces of a disk that fails");
            let why = log.failed().await;
            assert!(
                why.starts_with("a snapshot for a peer cannot be read: "),
                "{why}"
            );
            assert!(
                log.synced().await.is_err(),
                "nothing is acknowledged any more"
            );
        });
    }

    /// Found by the simulator (seed 175295178000944): entries that are committed elsewhere are
    /// applied before this node has synced them, and a snapshot of no more than these is answered
    /// without being installed.
    #[test]
    fn a_snapshot_is_answered_when_what_it_covers_is_durable() {
        let link = link(1, "a/b");
        run(async {
            let disk = SimDisk::new();
            let mounted: Arc<dyn Disk> = Arc::new(disk.mount());
            let log = open_log(&mounted).await;
            let state = open_state_on(mounted).await.unwrap();
            let factory = PeerFactory::new(link, log.clone());
            let config = Arc::new(Config::default());
            let raft = Raft::new(1, config, factory, log.clone(), state.clone());
            let raft = raft.await.unwrap();
            let vote = Vote {
                leader_id: LeaderId {
                    term: 1,
                    voted_for: 2,
                },
                committed: true,
            };
            disk.set_sync_delay(Duration::from_millis(300));
            let append = AppendEntriesRequest {
                vote,
                prev_log_id: None,
                entries: (0..3).map(|n| entry(n, EntryPayload::Blank)).collect(),
                leader_commit: Some(log_id(2)),
            };
            let appended = {
                let raft = raft.clone();
                tokio::spawn(async move { raft.append_entries(append).await })
            };
            while state.position().applied != Some(log_id(2)) {
                assert!(!appended.is_finished(), "the entries are applied before");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let snapshot = state.clone().build_snapshot().await.unwrap();
            assert_eq!(snapshot.meta.last_log_id, Some(log_id(2)));
            install(&raft, &log, vote, snapshot).await.unwrap();
            let left: Arc<dyn Disk> = Arc::new(disk.after_power_loss(is_log_file).mount());
            let left = open_log(&left).await;
            assert_eq!(left.last(), Some(log_id(2)));
            appended.await.unwrap().unwrap();
            raft.shutdown().await.unwrap();
        });
    }
}
