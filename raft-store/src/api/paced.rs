//! Streams of many parts: few at once, and only as long as their client reads.
//!
//! A snapshot is read from a view of the state, and while a view is open the database reuses no page
//! that it shows: one reader who takes his time would let the file grow without bound. So a snapshot
//! has to be taken at a least rate, over all and not only part by part. A view is then held for at
//! most [`STALL_MAX`] and what its rows take at [`SNAPSHOT_RATE_MIN`]: 35 minutes for 2 GiB. Entries
//! of the audit log never change; an export holds no view between two parts, and may be as slow as
//! its line is.
//!
//! A task of its own keeps the time: the transport asks for the next part only when the client has
//! taken the last one, which may be never.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tidegate_proto::{Refusal, WireError};
use tidegate_runtime::{BootInstant, Clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

/// Most streams of one kind that are open on a node.
const STREAMS_MAX: usize = 256;
/// How long a client may take to accept one part: 256 KiB of a snapshot, 512 KiB of an export. By as
/// much a snapshot may be late all told.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Least rate, in bytes of rows a second, at which a snapshot is taken.
const SNAPSHOT_RATE_MIN: u64 = 1 << 20;

/// Lets streams of one kind begin, and ends those that are too slow. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PacedStreams {
    slots: Arc<Semaphore>,
    streams_max: usize,
    pace: Pace,
    clock: Arc<dyn Clock>,
}

/// How slow a reader may be.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Over one part.
    stall_max: Duration,
    /// Over all, in bytes a second, once `stall_max` is used up.
    rate_min: Option<u64>,
}

/// The right to a stream.
pub(super) struct StreamSlot {
    _slot: OwnedSemaphorePermit,
    pace: Pace,
    clock: Arc<dyn Clock>,
    began: BootInstant,
}

impl PacedStreams {
    /// Streams that hold a view.
    pub(crate) fn of_snapshots(clock: Arc<dyn Clock>) -> Self {
        let pace = Pace {
            stall_max: STALL_MAX,
            rate_min: Some(SNAPSHOT_RATE_MIN),
        };
        Self::new(STREAMS_MAX, pace, clock)
    }

    /// Streams that hold nothing but their slot.
    pub(crate) fn of_exports(clock: Arc<dyn Clock>) -> Self {
        let pace = Pace {
            stall_max: STALL_MAX,
            rate_min: None,
        };
        Self::new(STREAMS_MAX, pace, clock)
    }

    fn new(streams_max: usize, pace: Pace, clock: Arc<dyn Clock>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(streams_max)),
            streams_max,
            pace,
            clock,
        }
    }

    /// To be taken before a view is opened: its time runs from here.
    pub(super) fn slot(&self) -> Result<StreamSlot, Status> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| {
            let message = format!(
                "{} snapshots or exports are read from this node already; try again, or at \
                 another node",
                self.streams_max
            );
            WireError::refused(Refusal::Overloaded, message)
        })?;
        Ok(StreamSlot {
            _slot: slot,
            pace: self.pace,
            clock: Arc::clone(&self.clock),
            began: self.clock.boot(),
        })
    }
}

impl Pace {
    /// How much longer a stream that has run for so long may take over its next part, after parts of
    /// `taken` bytes; zero when it is too slow already.
    fn patience(&self, ran: Duration, taken: u64) -> Duration {
        let Some(rate) = self.rate_min else {
            return self.stall_max;
        };
        let earned = Duration::from_millis(taken.saturating_mul(1_000) / rate);
        let allowed = self.stall_max.saturating_add(earned);
        allowed.saturating_sub(ran).min(self.stall_max)
    }

    /// What somebody hears who did not keep it.
    fn too_slow(&self) -> Status {
        let Self {
            stall_max,
            rate_min,
        } = self;
        let mut message = format!("read too slowly: a part within {stall_max:?}");
        if let Some(rate) = rate_min {
            message += &format!(", all of it at {} KiB/s", rate / 1_024);
        }
        message += "; begin again, or at another node";
        WireError::refused(Refusal::TimedOut, message).into()
    }
}

impl StreamSlot {
    /// Hands on `parts` and whatever they hold, and lets go of it at their end, when the client is
    /// gone, or when it is too slow; the stream then ends with an error. `bytes` measures a part.
    pub(super) fn pace<T: Send + 'static>(
        self,
        parts: impl Stream<Item = Result<T, Status>> + Send + 'static,
        bytes: impl Fn(&T) -> usize + Send + 'static,
    ) -> impl Stream<Item = Result<T, Status>> + Send {
        let (queue, taken) = mpsc::channel(1);
        let ended = Arc::new(OnceLock::new());
        let why = Arc::clone(&ended);
        tokio::spawn(async move {
            if let Err(too_slow) = self.hand_on(parts, queue, bytes).await {
                // Nobody else sets it.
                let _ = why.set(too_slow);
            }
        });
        stream::unfold(Some(taken), move |taken| {
            let ended = Arc::clone(&ended);
            async move {
                let mut taken = taken?;
                if let Some(part) = taken.recv().await {
                    return Some((part, Some(taken)));
                }
                ended.get().map(|why: &Status| (Err(why.clone()), None))
            }
        })
    }

    async fn hand_on<T>(
        self,
        parts: impl Stream<Item = Result<T, Status>> + Send,
        queue: mpsc::Sender<Result<T, Status>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Result<(), Status> {
        let mut parts = pin!(parts);
        let mut sent = 0_u64;
        loop {
            let ran = self.clock.boot().since(self.began);
            let patience = self.pace.patience(ran, sent);
            let room = tokio::time::timeout(patience, queue.reserve()).await;
            let (false, Ok(room)) = (patience.is_zero(), room) else {
                return Err(self.pace.too_slow());
            };
            // Without room for ever the client is gone; without a part this was the last.
            let (Ok(room), Some(part)) = (room, parts.next().await) else {
                return Ok(());
            };
            sent += part.as_ref().map_or(0, |part| bytes(part) as u64);
            room.send(part);
        }
    }
}

#[cfg(test)]
mod tests;
