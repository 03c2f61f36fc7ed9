//! A batch of a watch, as it stands in an update.

use bytes::Bytes;
use prost::{DecodeError, Message as _};

use crate::v1::WatchBatch;

impl WatchBatch {
    /// The bytes that go into any number of updates.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The batch in an update. Its events share the update's memory.
    ///
    /// # Errors
    /// The bytes are no batch.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::watch_update::Update;
    use crate::v1::{WatchEntry, WatchUpdate};

    /// The same update for those who declare the field as a message.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Declared {
        #[prost(message, optional, tag = "1")]
        batch: Option<WatchBatch>,
    }

    #[test]
    fn the_bytes_of_a_batch_are_the_message_on_the_wire() {
        let entry = |text: &'static str| WatchEntry {
            events: Bytes::from_static(text.as_bytes()),
        };
        let batch = WatchBatch {
            from: 7,
            to: 9,
            entries: vec![entry("one"), entry("")],
            state_root: Some(vec![3; 32]),
            log_time_ms: 5,
        };
        let update = WatchUpdate {
            update: Some(Update::Batch(batch.to_bytes())),
        };
        let wire = update.encode_to_vec();
        let declared = Declared {
            batch: Some(batch.clone()),
        };
        assert_eq!(wire, declared.encode_to_vec());
        assert_eq!(Declared::decode(wire.as_slice()).unwrap(), declared);
        let Some(Update::Batch(bytes)) = WatchUpdate::decode(wire.as_slice()).unwrap().update
        else {
            panic!("expected a batch");
        };
        assert_eq!(WatchBatch::from_bytes(bytes).unwrap(), batch);
        assert!(WatchBatch::from_bytes(Bytes::from_static(b"\xff")).is_err());
    }
}
