//! Commits signed commands, wherever in the cluster they arrive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft_rt::watch::WatchReceiver;
use tidegate_domain::command::ENVELOPE_BYTES_MAX;
use tidegate_domain::id::Index;
use tidegate_domain::{Outcome, Rejection, canonical};
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::Effect;
use tidegate_runtime::{Clock, blocking};
use tokio::sync::mpsc;

use super::door::{Admission, Ask, examine, is_for_good};
use super::in_flight::{InFlight, Place, Ticket, Written};
use super::proposed::Attempts;
use super::proposer::{Job, Proposer};
use super::slots::{Slot, Slots};
use super::{ProposeError, Proposed, ReadIndexes};
use crate::config::NodeLimits;
use crate::group::{Group, Leader};
use crate::network::clocks::PeerClocks;
use crate::network::forward::Lines;
use crate::network::peer::Peer;
use crate::room::Room;
use crate::storage::{StateError, StateStore, reach};
use crate::types::Envelope;

/// First pause before a proposal is tried again, in the time of an election.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Commits commands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writes(Arc<Inner>);

struct Inner {
    group: Arc<Group>,
    state: StateStore,
    reads: ReadIndexes,
    clock: Arc<dyn Clock>,
    clocks: Arc<PeerClocks>,
    slots: Slots,
    in_flight: InFlight,
    lines: Lines,
    jobs: mpsc::UnboundedSender<Job>,
    limits: NodeLimits,
}

/// What the door says of a command that it does not refuse.
enum Passed {
    /// It was applied before.
    Known(Proposed),
    /// It is to be proposed.
    In(Ask),
}

/// Whose command it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Client,
    /// This node's own ticker.
    Ticker,
}

impl Writes {
    /// Starts the task that proposes; it ends when the last clone is dropped.
    pub(crate) fn new(
        group: Arc<Group>,
        state: StateStore,
        reads: ReadIndexes,
        clock: Arc<dyn Clock>,
        clocks: Arc<PeerClocks>,
        room: Arc<Room>,
        limits: NodeLimits,
    ) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let proposer = Proposer {
            group: Arc::clone(&group),
            incarnation: state.incarnation(),
            clock: Arc::clone(&clock),
            clocks: Arc::clone(&clocks),
            room,
        };
        tokio::spawn(proposer.run(queue));
        Self(Arc::new(Inner {
            group,
            state,
            reads,
            clock,
            clocks,
            slots: Slots::new(limits.proposals_in_flight_max),
            in_flight: InFlight::default(),
            lines: Lines::default(),
            jobs,
            limits,
        }))
    }

    /// Commands that this node proposed as leader and that wait to be applied.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.len()
    }

    /// Commits a command: here if this node leads, else at the leader. Elections are waited for,
    /// and the command is tried again, which is safe since it is applied at most once.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        let command = sized(command)?;
        let waited = self.0.limits.request_timeout;
        let mut attempts = Attempts::default();
        let result = tokio::time::timeout(waited, self.attempt(&command, &mut attempts)).await;
        let error = match result {
            Ok(Ok(proposed)) => return Ok(proposed),
            Ok(Err(error)) => error,
            Err(_) => match attempts.last.take() {
                Some(error @ ProposeError::ByLeader(_)) => error,
                _ => ProposeError::NoLeader { waited },
            },
        };
        Err(attempts.settle(error))
    }

    /// Commits a command that another node forwarded to this one as leader.
    pub(crate) async fn as_leader(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        self.commit_in_time(command, Asker::Client).await
    }

    /// Commits a tick of this node's own.
    pub(crate) async fn tick(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        self.commit_in_time(command, Asker::Ticker).await
    }

    async fn commit_in_time(&self, command: Bytes, asker: Asker) -> Result<Proposed, ProposeError> {
        let command = sized(command)?;
        let waited = self.0.limits.request_timeout;
        let mut attempts = Attempts::default();
        tokio::time::timeout(waited, self.commit(&command, asker, &mut attempts))
            .await
            .unwrap_or(Err(ProposeError::NoLeader { waited }))
            .map_err(|error| attempts.settle(error))
    }

    async fn attempt(
        &self,
        command: &Envelope,
        attempts: &mut Attempts,
    ) -> Result<Proposed, ProposeError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let result = match self.0.group.leader() {
                Leader::Me => self.commit(command, Asker::Client, attempts).await,
                Leader::Other(peer, _) => self.forward(&peer, command, attempts).await,
                Leader::Unknown => Err(ProposeError::NotLeader { leader: None }),
            };
            match result {
                Err(error) if error.passes() => attempts.last = Some(error),
                settled => return settled,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt on this node, if it leads.
    async fn commit(
        &self,
        command: &Envelope,
        asker: Asker,
        attempts: &mut Attempts,
    ) -> Result<Proposed, ProposeError> {
        let before = attempts.unknown;
        if is_on(Mutant::SlotFirst) {
            drop(self.slot(command, false)?);
        }
        loop {
            let ask = match self.pass_door(command).await? {
                Passed::Known(known) => return Ok(known),
                Passed::In(ask) => ask,
            };
            // A tick is in a hurry when the leader's own ticker says so: from anybody else it is
            // one more command.
            let urgent = ask.urgent && (!ask.tick || asker == Asker::Ticker);
            let written = match self.0.in_flight.take_place(ask.turn, ask.digest) {
                Place::First(ticket, written) => {
                    self.start(command, ticket, urgent)?;
                    written
                }
                Place::Same(written) => written,
                Place::Other(written) => {
                    // Once the other one is settled, the door knows which of them was applied.
                    drop(written.await);
                    continue;
                }
            };
            attempts.unknown = true;
            return match written.await {
                Ok(Written::Applied(proposed)) => self.first_time(proposed).await,
                Ok(Written::NotAppended(error)) => {
                    attempts.unknown = before;
                    Err(error)
                }
                Ok(Written::Unknown(error)) => Err(error),
                Err(_) => Err(ProposeError::Stopped("shutting down".to_owned())),
            };
        }
    }

    fn start(&self, command: &Envelope, ticket: Ticket, urgent: bool) -> Result<(), ProposeError> {
        let slot = self.slot(command, urgent)?;
        let job = Job {
            command: command.clone(),
            urgent,
            ticket,
            slot,
        };
        let stopped = |_| ProposeError::Stopped("shutting down".to_owned());
        self.0.jobs.send(job).map_err(stopped)
    }

    /// A slot of the leader's, which nobody's garbage can take from those who may ask.
    fn slot(&self, command: &Envelope, urgent: bool) -> Result<Slot, ProposeError> {
        assert!(
            command.was_examined(),
            "a slot is given to a command whose signatures were verified"
        );
        self.0.slots.take(urgent)
    }

    /// Refuses what is not to be proposed, and answers what was applied before.
    async fn pass_door(&self, command: &Envelope) -> Result<Passed, ProposeError> {
        let mut confirmed = false;
        if !self.has_applied_what_it_found() {
            // Until then the same command may stand in the log, and not be known yet.
            self.confirm().await?;
            confirmed = true;
        }
        let mut admission = self.examine(command).await?;
        if let Admission::Refused(rejection) = &admission
            && !confirmed
            && !is_for_good(rejection)
        {
            // Another node may lead by now, and know what makes the command good.
            self.confirm().await?;
            admission = self.examine(command).await?;
        }
        match admission {
            Admission::Propose(ask) => Ok(Passed::In(ask)),
            Admission::Applied(index) => self.recall(index).await.map(Passed::Known),
            Admission::Refused(rejection) => Err(ProposeError::AtTheDoor(rejection)),
        }
    }

    /// Whether this leader has applied an entry of its own term, and so all that it found in its
    /// log when it began to lead.
    fn has_applied_what_it_found(&self) -> bool {
        let applied = self.0.state.position().applied;
        let metrics = self.0.group.raft.metrics();
        let term = metrics.borrow_watched().current_term;
        applied.is_some_and(|applied| applied.leader_id.term == term)
    }

    async fn confirm(&self) -> Result<(), ProposeError> {
        let confirmed = self.0.reads.confirm().await;
        confirmed.map_err(|_| ProposeError::NotLeader {
            leader: self.0.group.leader_address(),
        })
    }

    async fn examine(&self, command: &Envelope) -> Result<Admission, ProposeError> {
        let Inner {
            group,
            clock,
            clocks,
            state,
            ..
        } = &*self.0;
        let now = clocks.stamp(group.me, &group.voters(), clock.as_ref());
        let examined = examine(state, command, now).await;
        examined.map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// The outcome of the entry that was applied first: after a change of leaders two attempts with
    /// one command may both stand in the log.
    async fn first_time(&self, proposed: Proposed) -> Result<Proposed, ProposeError> {
        match canonical::decode(&proposed.outcome) {
            Ok(Outcome::Rejected(Rejection::AlreadyApplied { index })) => self.recall(index).await,
            _ => Ok(proposed),
        }
    }

    /// What came of a command that was applied as entry `index`.
    async fn recall(&self, index: Index) -> Result<Proposed, ProposeError> {
        // The door may have seen it in a batch that is being applied.
        if !reach(self.0.state.subscribe(), index.0 + 1).await {
            return Err(ProposeError::Stopped("shutting down".to_owned()));
        }
        let store = self.0.state.clone();
        let entry = blocking(move || -> Result<_, StateError> {
            let entry = store.view()?.entries(index.0, 1)?.into_iter().next();
            entry.map(|entry| entry.body()).transpose()
        });
        let unreadable = |reason: String| ProposeError::OutcomeLost { index, reason };
        let body = entry
            .await
            .map_err(|error| unreadable(error.to_string()))?
            .map_err(|error| unreadable(error.to_string()))?
            .ok_or_else(|| unreadable("there is no such entry".to_owned()))?;
        Ok(Proposed {
            index,
            outcome: canonical::encode(&body.applied.outcome).into(),
            duplicate: true,
            incarnation: self.0.state.incarnation(),
        })
    }

    /// One attempt at the leader.
    async fn forward(
        &self,
        peer: &Peer,
        command: &Envelope,
        attempts: &mut Attempts,
    ) -> Result<Proposed, ProposeError> {
        let _slot = self.slot_to_forward(command).await?;
        let before = std::mem::replace(&mut attempts.unknown, true);
        let forwarded = self.0.lines.forward(peer, command.bytes().clone());
        forwarded.await.map_err(|error| {
            if error.effect == Effect::None {
                attempts.unknown = before;
            }
            ProposeError::ByLeader(error)
        })
    }

    /// A slot of this node's own while the leader is asked. Those that are kept for what stops harm
    /// are given to nothing that only claims to.
    async fn slot_to_forward(&self, command: &Envelope) -> Result<Slot, ProposeError> {
        let full = match self.0.slots.take(false) {
            Ok(slot) => return Ok(slot),
            Err(full) => full,
        };
        match self.examine(command).await? {
            Admission::Propose(Ask {
                urgent: true,
                tick: false,
                ..
            }) => self.0.slots.take(true),
            Admission::Propose(_) | Admission::Applied(_) | Admission::Refused(_) => Err(full),
        }
    }
}

fn sized(command: Bytes) -> Result<Envelope, ProposeError> {
    if command.len() > ENVELOPE_BYTES_MAX {
        return Err(ProposeError::TooLarge { len: command.len() });
    }
    Ok(command.into())
}
