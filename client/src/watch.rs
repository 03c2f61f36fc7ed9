//! The events of the store as one node sends them.

use futures::StreamExt as _;
use tidegate_domain::id::Hash;
use tidegate_domain::{Event, canonical};
use tidegate_proto::WireError;
use tidegate_proto::v1::watch_update::Update;
use tidegate_proto::v1::{self, ResyncReason};
use tidegate_runtime::{Leg, Passing, Way};
use tonic::Streaming;

use crate::ClientError;
use crate::store::hash;

/// One update of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchUpdate {
    Batch(Batch),
    /// The node has applied as many entries, and the client has all of them.
    Idle,
    Resync(ResyncReason),
}

/// The next entries of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The complete events of each entry.
    pub(crate) entries: Vec<Vec<Event>>,
    /// Of the events, as they came.
    pub(crate) bytes: usize,
    pub(crate) state_root: Option<Hash>,
}

/// Events as one node sends them.
#[derive(Debug)]
pub struct WatchStream {
    updates: Passing<Streaming<v1::WatchUpdate>>,
    endpoint: String,
}

impl WatchStream {
    pub(crate) fn new(endpoint: String, updates: Streaming<v1::WatchUpdate>) -> Self {
        Self {
            updates: Way::to(&endpoint).stream(Leg::Back, updates),
            endpoint,
        }
    }

    /// The node that speaks.
    pub(crate) fn node(&self) -> String {
        self.endpoint.clone()
    }

    /// The next update; `None` when the node ended the stream. Nothing is lost if the future is
    /// dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchUpdate>, ClientError> {
        let message = self.updates.next().await.transpose();
        let message = message.map_err(|status| ClientError {
            operation: "watch",
            endpoint: self.endpoint.clone(),
            error: WireError::from(&status),
        })?;
        let Some(message) = message else {
            return Ok(None);
        };
        let garbled = |problem: String| ClientError::garbled("watch", &self.endpoint, problem);
        let update = match message.update {
            Some(Update::Batch(batch)) => {
                let batch = v1::WatchBatch::from_bytes(batch)
                    .map_err(|error| garbled(format!("a batch does not decode: {error}")))?;
                WatchUpdate::Batch(read_batch(batch).map_err(garbled)?)
            }
            Some(Update::Idle(v1::WatchIdle { entries: _ })) => WatchUpdate::Idle,
            Some(Update::Resync(resync)) => WatchUpdate::Resync(resync.reason()),
            None => return Err(garbled("an empty update".to_owned())),
        };
        Ok(Some(update))
    }
}

fn read_batch(batch: v1::WatchBatch) -> Result<Batch, String> {
    let v1::WatchBatch {
        from,
        to,
        entries,
        state_root,
        log_time_ms: _,
    } = batch;
    let events = |entry: v1::WatchEntry| {
        canonical::decode::<Vec<Event>>(&entry.events)
            .map_err(|error| format!("events after entry {from} do not decode: {error}"))
    };
    let bytes = entries.iter().map(|entry| entry.events.len()).sum();
    Ok(Batch {
        from,
        to,
        bytes,
        entries: entries.into_iter().map(events).collect::<Result<_, _>>()?,
        state_root: state_root
            .map(|root| hash("state root", root))
            .transpose()?,
    })
}
