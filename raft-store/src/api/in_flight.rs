//! Commands that this node proposed as leader and that are not applied yet.
//!
//! Each stands here once, by its id, or by its session: who proposes it again meanwhile waits for the
//! same outcome, so that a command enters the log once however often it is sent, and who proposes
//! another command under its id (or another envelope of its session) waits until it is known which
//! of them was applied.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_domain::id::{CommandId, Hash, SessionId};
use tokio::sync::oneshot;

use super::{ProposeError, Proposed};

/// What became of a proposal.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// It was applied.
    Applied(Proposed),
    /// It was not appended to the log.
    NotAppended(ProposeError),
    /// It may have been appended.
    Unknown(ProposeError),
}

/// What is applied once at most: commands of the same turn wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// A command, by its id.
    Id(CommandId),
    /// The next envelope of a session.
    Session(SessionId),
}

/// Where a command stands that is to be proposed.
pub(super) enum Place {
    /// Nobody has proposed it: whoever holds the ticket does.
    First(Ticket, oneshot::Receiver<Written>),
    /// Somebody has, and this is what will come of it.
    Same(oneshot::Receiver<Written>),
    /// Another command has its turn.
    Other(oneshot::Receiver<Written>),
}

/// The commands in flight. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Mutex<BTreeMap<Turn, Waiting>>>);

#[derive(Debug)]
struct Waiting {
    digest: Hash,
    answers: Vec<oneshot::Sender<Written>>,
}

/// The right to propose a command. Dropped without an outcome, it leaves those who wait without one.
#[derive(Debug)]
pub(super) struct Ticket {
    in_flight: InFlight,
    turn: Turn,
    settled: bool,
}

impl InFlight {
    /// Takes a place for a command, whose signed body has `digest`.
    pub(super) fn take_place(&self, turn: Turn, digest: Hash) -> Place {
        let (answer, written) = oneshot::channel();
        match self.commands().entry(turn) {
            Entry::Vacant(free) => {
                free.insert(Waiting {
                    digest,
                    answers: vec![answer],
                });
                let ticket = Ticket {
                    in_flight: self.clone(),
                    turn,
                    settled: false,
                };
                Place::First(ticket, written)
            }
            Entry::Occupied(mut taken) => {
                taken.get_mut().answers.push(answer);
                if taken.get().digest == digest {
                    Place::Same(written)
                } else {
                    Place::Other(written)
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.commands().len()
    }

    fn commands(&self) -> MutexGuard<'_, BTreeMap<Turn, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Tells all who wait.
    pub(super) fn settle(mut self, written: &Written) {
        self.settled = true;
        let waiting = self.in_flight.commands().remove(&self.turn);
        for answer in waiting.into_iter().flat_map(|waiting| waiting.answers) {
            // Whoever no longer waits needs no answer.
            drop(answer.send(written.clone()));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The place may be another command's by now.
        if !self.settled {
            self.in_flight.commands().remove(&self.turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Turn = Turn::Id(CommandId([7; 16]));

    fn nobody_leads() -> Written {
        Written::NotAppended(ProposeError::NotLeader { leader: None })
    }

    #[test]
    fn one_proposes_and_all_hear_what_came_of_it() {
        let in_flight = InFlight::default();
        let Place::First(ticket, mut first) = in_flight.take_place(ID, Hash([1; 32])) else {
            panic!("the place is free");
        };
        let Place::Same(mut second) = in_flight.take_place(ID, Hash([1; 32])) else {
            panic!("the same command");
        };
        let Place::Other(mut third) = in_flight.take_place(ID, Hash([2; 32])) else {
            panic!("another command");
        };
        assert_eq!(in_flight.len(), 1);
        ticket.settle(&nobody_leads());
        for told in [&mut first, &mut second, &mut third] {
            assert!(matches!(told.try_recv(), Ok(Written::NotAppended(_))));
        }
        assert_eq!(in_flight.len(), 0);
        let place = in_flight.take_place(ID, Hash([2; 32]));
        assert!(matches!(place, Place::First(..)), "the place is free again");
    }

    #[test]
    fn a_ticket_that_is_lost_frees_its_place_and_tells_nothing() {
        let in_flight = InFlight::default();
        let Place::First(ticket, mut first) = in_flight.take_place(ID, Hash([1; 32])) else {
            panic!("the place is free");
        };
        drop(ticket);
        assert_eq!(
            first.try_recv().unwrap_err(),
            oneshot::error::TryRecvError::Closed
        );
        assert_eq!(in_flight.len(), 0);
    }
}
