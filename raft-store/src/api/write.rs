//! Commits signed commands, wherever in the cluster they arrive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use tidegate_domain::id::{Incarnation, Index};
use tidegate_domain::rejection::Unauthorized;
use tidegate_proto::{Effect, Refusal, WireError};
use tidegate_runtime::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::NodeLimits;
use crate::group::{Group, Leader};
use crate::network::clocks::PeerClocks;
use crate::network::message::{Call, Reply};
use crate::network::peer::{Peer, PeerError};
use crate::types::{Applied, Proposal};

/// Longest signed command, in bytes: detached arguments of 4 MiB, a body and 64 signatures.
pub const COMMAND_BYTES_MAX: usize = (4 << 20) + (64 << 10);

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
    #[error("the command has {len} bytes, at most {COMMAND_BYTES_MAX} are accepted")]
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
    /// Not signed by whom its kind demands, or no command at all. It burned no id.
    #[error("refused at the door: {0}")]
    Unauthorized(Box<Unauthorized>),
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
    clock: Arc<dyn Clock>,
    clocks: Arc<PeerClocks>,
    in_flight: Semaphore,
    limits: NodeLimits,
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
        clock: Arc<dyn Clock>,
        clocks: Arc<PeerClocks>,
        limits: NodeLimits,
    ) -> Self {
        Self(Arc::new(Inner {
            group,
            clock,
            clocks,
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
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge {
                len: command.len(),
            });
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
            ..
        } = &*self.0;
        let proposal = Proposal {
            stamp_ms: clocks.stamp(group.me, &group.voters(), clock.wall()),
            envelope: command.clone(),
            attachments: Vec::new(),
        };
        let before = std::mem::replace(&mut attempts.unknown, true);
        match group.raft.client_write(proposal).await {
            Ok(response) => self.proposed(response.data),
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
            error @ (ProposeError::Unknown { .. } | ProposeError::Stopped(_)) => error,
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
            Self::ByLeader(error) => error.refusal.is_retryable(),
            Self::TooLarge { .. }
            | Self::Overloaded { .. }
            | Self::Unauthorized(_)
            | Self::Stopped(_) => false,
        }
    }
}
