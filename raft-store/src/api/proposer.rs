//! The one task that proposes as leader, so that what was begun is seen to its end whether or not
//! whoever asked still waits.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::errors::{ClientWriteError, RaftError};
use tidegate_domain::id::{Incarnation, Index};
use tidegate_runtime::Clock;
use tokio::sync::mpsc;

use super::in_flight::{Ticket, Written};
use super::slots::Slot;
use super::{ProposeError, Proposed};
use crate::group::Group;
use crate::network::clocks::PeerClocks;
use crate::room::Room;
use crate::types::{Applied, Envelope, Proposal};

/// One command that passed the door.
pub(super) struct Job {
    pub(super) command: Envelope,
    pub(super) urgent: bool,
    pub(super) ticket: Ticket,
    pub(super) slot: Slot,
}

pub(super) struct Proposer {
    pub(super) group: Arc<Group>,
    pub(super) incarnation: Incarnation,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) clocks: Arc<PeerClocks>,
    pub(super) room: Arc<Room>,
}

impl Proposer {
    /// Runs until nobody can ask any more.
    pub(super) async fn run(self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut writing = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = writing.next(), if !writing.is_empty() => {}
                job = queue.recv() => match job {
                    Some(job) => writing.push(self.see_through(job)),
                    None => break,
                },
            }
        }
        writing.collect::<()>().await;
    }

    async fn see_through(&self, job: Job) {
        let Job {
            command,
            urgent,
            ticket,
            slot,
        } = job;
        let written = self.write(command, urgent).await;
        drop(slot);
        ticket.settle(&written);
    }

    async fn write(&self, command: Envelope, urgent: bool) -> Written {
        let Self {
            group,
            incarnation,
            clock,
            clocks,
            room,
        } = self;
        let voters = group.voters();
        let len = command.bytes().len();
        let _kept = match room.promise(len, urgent, (group.me, &voters)) {
            Ok(kept) => kept,
            Err(full) => return Written::NotAppended(ProposeError::NoRoom(full)),
        };
        let proposal = Proposal {
            stamp_ms: clocks.stamp(group.me, &voters, clock.as_ref()),
            command,
        };
        match group.raft.client_write(proposal).await {
            Ok(response) => match response.data {
                Applied::Chained { index, outcome, .. } => Written::Applied(Proposed {
                    index: Index(index),
                    outcome,
                    duplicate: false,
                    incarnation: *incarnation,
                }),
                Applied::Blank => unreachable!("a command was applied as a blank"),
            },
            // Refused before it was appended.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Written::NotAppended(ProposeError::NotLeader {
                    leader: group.leader_address(),
                })
            }
            Err(RaftError::APIError(error)) => Written::Unknown(ProposeError::Unknown {
                reason: error.to_string(),
            }),
            Err(RaftError::Fatal(fatal)) => {
                Written::Unknown(ProposeError::Stopped(fatal.to_string()))
            }
        }
    }
}
