//! How many commands may be under way on a node at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ProposeError;

/// Slots that only what stops harm may take, so that no load keeps a halt out.
const RESERVE: usize = 256;

/// One command under way.
pub(super) type Slot = OwnedSemaphorePermit;

/// The slots of a node.
#[derive(Debug)]
pub(super) struct Slots {
    ordinary: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    max: usize,
}

impl Slots {
    /// Slots for `max` commands, and some more for what stops harm.
    pub(super) fn new(max: usize) -> Self {
        Self {
            ordinary: Arc::new(Semaphore::new(max)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
            max,
        }
    }

    /// Takes a slot. Whether a command is `urgent` is known once its signatures were verified.
    pub(super) fn take(&self, urgent: bool) -> Result<Slot, ProposeError> {
        let slot = Arc::clone(&self.ordinary).try_acquire_owned();
        let slot = match slot {
            Err(_) if urgent => Arc::clone(&self.reserve).try_acquire_owned(),
            slot => slot,
        };
        slot.map_err(|_| ProposeError::Overloaded { max: self.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_harm_finds_a_slot_when_all_others_are_taken() {
        let slots = Slots::new(2);
        let held = [slots.take(false).unwrap(), slots.take(true).unwrap()];
        assert!(matches!(
            slots.take(false),
            Err(ProposeError::Overloaded { max: 2 })
        ));
        let urgent: Vec<Slot> = (0..RESERVE).map(|_| slots.take(true).unwrap()).collect();
        assert!(slots.take(true).is_err(), "the reserve is bounded, too");
        drop(held);
        assert!(slots.take(false).is_ok());
        drop(urgent);
    }
}
