//! What of a connection's answers has not left this process yet (HALT-1).
//!
//! An offer is decided under a lease, and then lies in buffers: of its stream, while the peer's flow
//! window is closed; of its connection, while the socket takes nothing. A peer that does not read
//! can keep it there for as long as it likes. So every offer is followed through those buffers by a
//! [`Ticket`] that names the end of its lease, and a connection that still holds one then writes
//! nothing more: it is closed, and what it held never leaves.
//!
//! What the operating system has taken counts as sent.
use futures::task::AtomicWaker;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};
use tidegate_runtime::{BootInstant, Clock};

/// One connection's offers that may still be in this process.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    /// In a stream's buffer, by the end of their leases.
    held: BTreeSet<(BootInstant, u64)>,
    /// On their way to the socket.
    leaving: Vec<BootInstant>,
    /// The socket took less than it was given.
    blocked: bool,
}

/// Goes with an offer's bytes and is dropped with them: when they are on their way to the socket,
/// or thrown away.
#[derive(Debug)]
pub(crate) struct Ticket {
    outbox: Outbox,
    end: BootInstant,
    number: u64,
}

impl Outbox {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            clock,
            state: Mutex::default(),
            connection: AtomicWaker::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an offer; `None` if the lease has ended already.
    pub(crate) fn take(&self, end: BootInstant) -> Option<Ticket> {
        if self.0.clock.boot() >= end {
            return None;
        }
        let mut state = self.state();
        state.tickets = state.tickets.wrapping_add(1);
        let number = state.tickets;
        state.held.insert((end, number));
        let outbox = self.clone();
        Some(Ticket {
            outbox,
            end,
            number,
        })
    }

    /// Whether an offer is still here although its lease has ended: then nothing may leave.
    pub(crate) fn is_late(&self) -> bool {
        let state = self.state();
        let held = state.held.first().map(|(end, _)| *end);
        let first = held.into_iter().chain(state.leaving.iter().copied()).min();
        drop(state);
        first.is_some_and(|end| self.0.clock.boot() >= end)
    }

    /// The socket took everything, or it did not.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.state().blocked = blocked;
    }

    /// The connection is about to write what it can. Says how many offers are on their way.
    pub(crate) fn begin(&self, connection: &Waker) -> usize {
        self.0.connection.register(connection);
        let mut state = self.state();
        state.blocked = false;
        state.leaving.len()
    }

    /// The connection has written what it could: if the socket took everything, those that were on
    /// their way when it began are out.
    pub(crate) fn end(&self, began: usize) {
        let mut state = self.state();
        if !state.blocked {
            state.leaving.drain(..began);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.outbox.state();
        state.held.remove(&(self.end, self.number));
        state.leaving.push(self.end);
        drop(state);
        // It has to write once more before the offer counts as out.
        self.outbox.0.connection.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };
    use tidegate_runtime::WallMs;

    #[derive(Debug, Default)]
    struct Seconds(AtomicU64);

    impl Clock for Seconds {
        fn wall(&self) -> WallMs {
            WallMs(0)
        }

        fn boot(&self) -> BootInstant {
            at(self.0.load(Ordering::SeqCst))
        }
    }

    fn at(seconds: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_secs(seconds))
    }

    /// Writes once; the socket takes everything or nothing.
    fn write(outbox: &Outbox, blocked: bool) {
        let began = outbox.begin(noop_waker_ref());
        outbox.set_blocked(blocked);
        outbox.end(began);
    }

    #[test]
    fn an_offer_is_here_until_the_socket_has_taken_it() {
        let clock = Arc::new(Seconds::default());
        let outbox = Outbox::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let waits = outbox.take(at(10)).unwrap();
        let leaves = outbox.take(at(5)).unwrap();
        clock.0.store(4, Ordering::SeqCst);
        drop(leaves);
        write(&outbox, true);
        clock.0.store(5, Ordering::SeqCst);
        assert!(outbox.is_late(), "the socket did not take it");
        write(&outbox, false);
        assert!(!outbox.is_late());
        clock.0.store(10, Ordering::SeqCst);
        write(&outbox, false);
        assert!(outbox.is_late(), "its stream holds it");
        drop(waits);
        assert!(outbox.is_late(), "it is on its way");
        write(&outbox, false);
        assert!(!outbox.is_late());
        assert!(outbox.take(at(10)).is_none(), "it would be late at once");
    }
}
