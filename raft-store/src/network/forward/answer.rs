//! The answering side: every command is committed by itself, and answered when it is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tidegate_proto::v1::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Status, Streaming};

use super::batch::{Answered, Asked, decode_asked, encode_answered};
use super::next_batch;
use crate::api::Writes;
use crate::network::link::Link;
use crate::network::service::{malformed, refuse_link};

/// Bytes of commands of one stream that may be under way; the next ones wait in the connection.
const UNDER_WAY_BYTES_MAX: usize = 32 << 20;
/// What they are counted in: also the least that a command counts for.
const UNIT_BYTES: usize = 1 << 10;

type Answer = Result<Answered, Status>;

/// Commits what comes on a stream, and answers it. The first frame that cannot be taken ends it.
pub(in crate::network) fn answer(
    writes: Writes,
    link: Link,
    requests: Streaming<Frame>,
) -> impl Stream<Item = Result<Frame, Status>> {
    let (answers, answered) = mpsc::unbounded_channel();
    // All frames of one stream are one peer's.
    let from = Arc::new(AtomicU64::new(0));
    let taker = Taker {
        writes,
        link: link.clone(),
        from: Arc::clone(&from),
        answers,
        room: Arc::new(Semaphore::new(UNDER_WAY_BYTES_MAX / UNIT_BYTES)),
    };
    tokio::spawn(taker.run(requests));
    stream::unfold(answered, move |mut answered| {
        let (link, from) = (link.clone(), Arc::clone(&from));
        async move {
            let bytes = |answer: &Answer| answer.as_ref().map_or(0, Answered::bytes);
            let batch = next_batch(&mut answered, bytes).await?;
            // An error is the last that comes, and closes the stream whatever came before it.
            let batch: Result<Vec<_>, _> = batch.into_iter().collect();
            let to = from.load(Ordering::Relaxed);
            let frame = batch.map(|batch| link.seal(to, |out| encode_answered(&batch, out)));
            Some((frame, answered))
        }
    })
}

/// Takes what comes on one stream.
struct Taker {
    writes: Writes,
    link: Link,
    from: Arc<AtomicU64>,
    answers: mpsc::UnboundedSender<Answer>,
    room: Arc<Semaphore>,
}

impl Taker {
    /// Runs until the peer, or whoever sends it the answers, has gone.
    async fn run(self, mut requests: Streaming<Frame>) {
        loop {
            let frame = tokio::select! {
                biased;
                frame = requests.next() => frame,
                () = self.answers.closed() => None,
            };
            let taken = match frame {
                None => return,
                Some(Ok(frame)) => self.take(frame).await,
                Some(Err(lost)) => Err(lost),
            };
            if let Err(status) = taken {
                tracing::debug!(%status, "a line of forwarded commands ended");
                let _ = self.answers.send(Err(status));
                return;
            }
        }
    }

    async fn take(&self, frame: Frame) -> Result<(), Status> {
        let (from, body) = self.link.open(frame).map_err(refuse_link)?;
        self.from.store(from, Ordering::Relaxed);
        for Asked { number, command } in decode_asked(&body).map_err(|error| malformed(&error))? {
            let room = self.set_aside(command.len()).await;
            self.commit(number, command, room);
        }
        Ok(())
    }

    async fn set_aside(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = bytes
            .div_ceil(UNIT_BYTES)
            .clamp(1, UNDER_WAY_BYTES_MAX / UNIT_BYTES);
        let units = u32::try_from(units).expect("a stream has fewer units of room than that");
        let room = Arc::clone(&self.room).acquire_many_owned(units).await;
        room.expect("nobody closes a stream's room")
    }

    /// In a task of its own, so that signatures are verified on all cores.
    fn commit(&self, number: u64, command: Bytes, room: OwnedSemaphorePermit) {
        let (writes, answers) = (self.writes.clone(), self.answers.clone());
        tokio::spawn(async move {
            let result = writes.as_leader(command).await.map_err(Into::into);
            // Whoever no longer listens needs no answer.
            let _ = answers.send(Ok(Answered { number, result }));
            drop(room);
        });
    }
}
