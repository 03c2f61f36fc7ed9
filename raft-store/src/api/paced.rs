//! Streams that read a view of the state: few at once, and only as long as their client reads.
//!
//! While a view is open the database reuses no page that it shows, so one forgotten stream would
//! let the file grow without bound. A task of its own keeps the time: the transport asks for the
//! next part only when the client has taken the last one, which may be never.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tidegate_proto::{Refusal, WireError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

/// Most streams with a view that are open on a node.
const VIEWS_MAX: usize = 256;
/// How long a client may take to accept one part: 256 KiB of a snapshot, 512 KiB of an export.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Lets streams with a view begin, and ends those that stand still. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PacedViews {
    slots: Arc<Semaphore>,
    views_max: usize,
    stall_max: Duration,
}

/// The right to hold a view open.
pub(super) struct ViewSlot {
    _slot: OwnedSemaphorePermit,
    stall_max: Duration,
}

impl Default for PacedViews {
    fn default() -> Self {
        Self::new(VIEWS_MAX, STALL_MAX)
    }
}

impl PacedViews {
    fn new(views_max: usize, stall_max: Duration) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(views_max)),
            views_max,
            stall_max,
        }
    }

    /// To be taken before the view is opened.
    pub(super) fn slot(&self) -> Result<ViewSlot, Status> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| {
            let message = format!(
                "{} snapshots and exports are read from this node already; try again, or at \
                 another node",
                self.views_max
            );
            WireError::refused(Refusal::Overloaded, message)
        })?;
        Ok(ViewSlot {
            _slot: slot,
            stall_max: self.stall_max,
        })
    }
}

impl ViewSlot {
    /// Hands on `parts`, which hold the view, and lets go of them at their end, when the client is
    /// gone, or when it takes too long over one part; the stream then ends with an error.
    pub(super) fn pace<T: Send + 'static>(
        self,
        parts: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> impl Stream<Item = Result<T, Status>> + Send {
        let (queue, taken) = mpsc::channel(1);
        let stalled = Arc::new(AtomicBool::new(false));
        let (stall_max, is_stalled) = (self.stall_max, Arc::clone(&stalled));
        tokio::spawn(async move {
            let _slot = self;
            let mut parts = pin!(parts);
            loop {
                let Ok(room) = tokio::time::timeout(stall_max, queue.reserve()).await else {
                    is_stalled.store(true, Ordering::SeqCst);
                    return;
                };
                // Without room for ever the client is gone; without a part this was the last.
                let (Ok(room), Some(part)) = (room, parts.next().await) else {
                    return;
                };
                room.send(part);
            }
        });
        stream::unfold(Some(taken), move |taken| {
            let stalled = Arc::clone(&stalled);
            async move {
                let mut taken = taken?;
                if let Some(part) = taken.recv().await {
                    return Some((part, Some(taken)));
                }
                let message = format!("nothing was read for {stall_max:?}; begin again");
                let stood_still = WireError::refused(Refusal::TimedOut, message);
                let is_stalled = stalled.load(Ordering::SeqCst);
                is_stalled.then(|| (Err(stood_still.into()), None))
            }
        })
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    /// Endless parts that hold something, as a view is held.
    fn parts(view: &Arc<()>) -> impl Stream<Item = Result<u64, Status>> + Send + 'static {
        let view = Arc::clone(view);
        stream::iter(0..).map(move |part| {
            let _held = &view;
            Ok(part)
        })
    }

    async fn let_go_of(view: &Arc<()>) {
        let waited = async {
            while Arc::strong_count(view) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waited)
            .await
            .expect("the view is still held");
    }

    #[tokio::test]
    async fn who_stops_reading_loses_the_view_and_is_told() {
        let views = PacedViews::new(1, Duration::from_millis(300));
        let view = Arc::new(());
        let mut reading = Box::pin(views.slot().unwrap().pace(parts(&view)));
        for expected in 0..100 {
            assert_eq!(reading.next().await.unwrap().unwrap(), expected);
        }
        let refused = views.slot().map(drop).unwrap_err();
        let refused = WireError::from(&refused);
        assert_eq!(refused.refusal, Refusal::Overloaded);
        let_go_of(&view).await;
        let_another_in(&views).await;
        assert_eq!(
            reading.next().await.unwrap().unwrap(),
            100,
            "it was on its way"
        );
        let ended = reading.next().await.unwrap().unwrap_err();
        assert_eq!(WireError::from(&ended).refusal, Refusal::TimedOut);
        assert!(reading.next().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_was_dropped_or_is_over_holds_nothing() {
        let views = PacedViews::new(1, Duration::from_secs(3_600));
        let view = Arc::new(());
        drop(views.slot().unwrap().pace(parts(&view)));
        let_go_of(&view).await;
        let_another_in(&views).await;
        let few = views.slot().unwrap().pace(parts(&view).take(3));
        assert_eq!(few.collect::<Vec<_>>().await.len(), 3);
        let_go_of(&view).await;
        let_another_in(&views).await;
    }

    async fn let_another_in(views: &PacedViews) {
        while views.slot().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
