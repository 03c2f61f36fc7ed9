//! Commits signed commands, wherever in the cluster they arrive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use tidegate_domain::command::ENVELOPE_BYTES_MAX;
use tidegate_domain::id::{Incarnation, Index};
use tidegate_domain::{Outcome, Rejection, canonical};
use tidegate_proto::{Effect, Refusal, WireError};
use tidegate_runtime::{Clock, blocking};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::ReadIndexes;
use super::door::{Admission, examine};
use crate::config::NodeLimits;
use crate::group::{Group, Leader};
use crate::network::clocks::PeerClocks;
use crate::network::message::{Call, Reply};
use crate::network::peer::{Peer, PeerError};
use crate::room::{NoRoom, Room};
use crate::storage::{StateError, StateStore};
use crate::types::{Applied, Proposal};

/// First pause before a proposal is tried again, in the time of an election.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What became of a command, the same whenever it is proposed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its audit leaf index.
    pub index: Index,
    /// Canonical CBOR of the domain's outcome.
    pub outcome: Bytes,
    /// It had been applied before; `index` and `outcome` are those of that time.
    pub duplicate: bool,
    /// The cluster's life that applied it.
    pub incarnation: Incarnation,
}

/// Why a command was not seen to be applied.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// The command is too long.
    #[error("the command has {len} bytes, at most {ENVELOPE_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its length.
        len: usize,
    },
    /// Too many proposals wait on this node.
    #[error("{max} proposals are in flight on this node already; try again, or at another node")]
    Overloaded {
        /// The limit.
        max: usize,
    },
    /// There is no room for it, here or on most voters.
    #[error("{0}")]
    NoRoom(NoRoom),
    /// Not signed by whom its kind demands, no command at all, or of rules that this build does not
    /// know. It was not proposed and burned no id.
    #[error("refused at the door: {0}")]
    AtTheDoor(Box<Rejection>),
    /// It was applied as this entry, and what came of it cannot be read any more.
    #[error("applied as entry {index}, whose outcome cannot be read: {reason}")]
    OutcomeLost {
        /// The entry.
        index: Index,
        /// Why.
        reason: String,
    },
    /// This node does not lead, and the proposal had been forwarded to it.
    #[error("this node does not lead")]
    NotLeader {
        /// `host:port` of the leader, if known.
        leader: Option<String>,
    },
    /// No leader was found in time.
    #[error("no leader within {waited:?}; a majority of the voters may be down")]
    NoLeader {
        /// How long.
        waited: Duration,
    },
    /// It may have been committed or may yet be; only proposing the same command again tells.
    #[error("outcome unknown: {reason}; propose the same command again to learn it")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The node has stopped. The command may have been committed before.
    #[error("this node has stopped: {0}")]
    Stopped(String),
    /// The leader answered with a refusal of its own.
    #[error(transparent)]
    ByLeader(WireError),
}

/// Commits commands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writes(Arc<Inner>);

struct Inner {
    group: Arc<Group>,
    state: StateStore,
    reads: ReadIndexes,
    clock: Arc<dyn Clock>,
    clocks: Arc<PeerClocks>,
    room: Arc<Room>,
    in_flight: Semaphore,
    limits: NodeLimits,
}

/// What the door says of a command that it does not refuse.
enum Passed {
    /// It was applied before.
    Known(Proposed),
    /// It is to be proposed.
    In { urgent: bool },
}

/// What the attempts so far leave open.
#[derive(Default)]
struct Attempts {
    /// Some attempt may have committed the command.
    unknown: bool,
    last: Option<ProposeError>,
}

impl Writes {
    pub(crate) fn new(
        group: Arc<Group>,
        state: StateStore,
        reads: ReadIndexes,
        clock: Arc<dyn Clock>,
        clocks: Arc<PeerClocks>,
        room: Arc<Room>,
        limits: NodeLimits,
    ) -> Self {
        Self(Arc::new(Inner {
            group,
            state,
            reads,
            clock,
            clocks,
            room,
            in_flight: Semaphore::new(limits.proposals_in_flight_max),
            limits,
        }))
    }

    /// Proposals on this node that wait for their outcome.
    pub(crate) fn in_flight(&self) -> usize {
        let free = self.0.in_flight.available_permits();
        self.0.limits.proposals_in_flight_max.saturating_sub(free)
    }

    /// Commits a command: here if this node leads, else at the leader. Elections are waited for,
    /// and the command is tried again, which is safe since its id is applied at most once.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        let _slot = self.admit(&command)?;
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
        let _slot = self.admit(&command)?;
        let waited = self.0.limits.request_timeout;
        let mut attempts = Attempts::default();
        tokio::time::timeout(waited, self.commit(&command, &mut attempts))
            .await
            .unwrap_or(Err(ProposeError::NoLeader { waited }))
            .map_err(|error| attempts.settle(error))
    }

    fn admit(&self, command: &Bytes) -> Result<SemaphorePermit<'_>, ProposeError> {
        if command.len() > ENVELOPE_BYTES_MAX {
            return Err(ProposeError::TooLarge { len: command.len() });
        }
        let max = self.0.limits.proposals_in_flight_max;
        let slot = self.0.in_flight.try_acquire();
        slot.map_err(|_| ProposeError::Overloaded { max })
    }

    async fn attempt(
        &self,
        command: &Bytes,
        attempts: &mut Attempts,
    ) -> Result<Proposed, ProposeError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let result = match self.0.group.leader() {
                Leader::Me => self.commit(command, attempts).await,
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
        command: &Bytes,
        attempts: &mut Attempts,
    ) -> Result<Proposed, ProposeError> {
        let Inner {
            group,
            clock,
            clocks,
            room,
            ..
        } = &*self.0;
        let voters = group.voters();
        let stamp_ms = clocks.stamp(group.me, &voters, clock.as_ref());
        let urgent = match self.pass_door(command, stamp_ms).await? {
            Passed::Known(known) => return Ok(known),
            Passed::In { urgent } => urgent,
        };
        let _kept = room
            .promise(command.len(), urgent, (group.me, &voters))
            .map_err(ProposeError::NoRoom)?;
        let proposal = Proposal {
            stamp_ms,
            command: command.clone(),
        };
        let before = std::mem::replace(&mut attempts.unknown, true);
        match group.raft.client_write(proposal).await {
            Ok(response) => self.proposed(response.data).await,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                // Refused before it was appended.
                attempts.unknown = before;
                Err(ProposeError::NotLeader {
                    leader: group.leader_address(),
                })
            }
            Err(RaftError::APIError(error)) => Err(ProposeError::Unknown {
                reason: error.to_string(),
            }),
            Err(RaftError::Fatal(fatal)) => Err(ProposeError::Stopped(fatal.to_string())),
        }
    }

    /// Refuses what is not to be proposed, and answers what was applied before.
    async fn pass_door(&self, command: &Bytes, stamp_ms: u64) -> Result<Passed, ProposeError> {
        let mut admission = self.examine(command, stamp_ms).await?;
        if matches!(admission, Admission::Refused(_)) {
            // A new leader may not have applied yet what makes the command good.
            self.0
                .reads
                .confirm()
                .await
                .map_err(|_| ProposeError::NotLeader {
                    leader: self.0.group.leader_address(),
                })?;
            admission = self.examine(command, stamp_ms).await?;
        }
        match admission {
            Admission::Propose { urgent } => Ok(Passed::In { urgent }),
            Admission::Applied(index) => self.recall(index).await.map(Passed::Known),
            Admission::Refused(rejection) => Err(ProposeError::AtTheDoor(rejection)),
        }
    }

    async fn examine(&self, command: &Bytes, stamp_ms: u64) -> Result<Admission, ProposeError> {
        let (store, command) = (self.0.state.clone(), command.clone());
        // Signatures take their time: not on the executor's threads.
        blocking(move || examine(&store, &command, stamp_ms))
            .await
            .map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    async fn proposed(&self, applied: Applied) -> Result<Proposed, ProposeError> {
        let Applied::Chained { index, outcome, .. } = applied else {
            return Err(ProposeError::Stopped(
                "a command was applied as a blank".to_owned(),
            ));
        };
        let index = Index(index);
        // Two attempts with one command may both stand in the log; only the first was applied.
        if let Ok(Outcome::Rejected(Rejection::AlreadyApplied { index })) =
            canonical::decode(&outcome)
        {
            return self.recall(index).await;
        }
        Ok(Proposed {
            index,
            outcome,
            duplicate: false,
            incarnation: self.incarnation(),
        })
    }

    /// What came of a command that was applied as entry `index`.
    async fn recall(&self, index: Index) -> Result<Proposed, ProposeError> {
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
            incarnation: self.incarnation(),
        })
    }

    fn incarnation(&self) -> Incarnation {
        self.0.state.incarnation()
    }

    /// One attempt at the leader.
    async fn forward(
        &self,
        peer: &Peer,
        command: &Bytes,
        attempts: &mut Attempts,
    ) -> Result<Proposed, ProposeError> {
        let before = std::mem::replace(&mut attempts.unknown, true);
        let call = Call::Propose(command.clone());
        let error = match peer.call(&call, self.0.limits.request_timeout).await {
            Ok(Reply::Proposed(proposed)) => return Ok(proposed),
            Ok(other) => WireError::unknown(Refusal::Internal, format!("unexpected {other:?}")),
            Err(PeerError::Refused(status)) => WireError::from(&*status),
            Err(error @ (PeerError::Unreachable(_) | PeerError::Garbled(_))) => {
                WireError::unknown(Refusal::Unreachable, error.to_string())
            }
            Err(error @ PeerError::TimedOut(_)) => {
                WireError::unknown(Refusal::TimedOut, error.to_string())
            }
        };
        if error.effect == Effect::None {
            attempts.unknown = before;
        }
        Err(ProposeError::ByLeader(error))
    }
}

impl Attempts {
    /// The error, or that the outcome is unknown if any attempt left it open.
    fn settle(&self, error: ProposeError) -> ProposeError {
        match error {
            error if !self.unknown => error,
            error @ (ProposeError::Unknown { .. }
            | ProposeError::Stopped(_)
            | ProposeError::OutcomeLost { .. }) => error,
            other => ProposeError::Unknown {
                reason: other.to_string(),
            },
        }
    }
}

impl ProposeError {
    /// Whether another attempt with the same command may succeed shortly.
    fn passes(&self) -> bool {
        match self {
            Self::NotLeader { .. } | Self::NoLeader { .. } | Self::Unknown { .. } => true,
            // Room does not come back within the time of a call; whoever asked may wait for it.
            Self::ByLeader(error) => {
                error.refusal.is_retryable() && error.refusal != Refusal::DiskFull
            }
            Self::TooLarge { .. }
            | Self::Overloaded { .. }
            | Self::NoRoom(_)
            | Self::AtTheDoor(_)
            | Self::OutcomeLost { .. }
            | Self::Stopped(_) => false,
        }
    }
}
