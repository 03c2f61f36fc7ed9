//! What became of a command, or why that is not known.

use std::time::Duration;

use bytes::Bytes;
use tidegate_domain::Rejection;
use tidegate_domain::command::ENVELOPE_BYTES_MAX;
use tidegate_domain::id::{Incarnation, Index};
use tidegate_proto::{Refusal, WireError};

use crate::room::NoRoom;

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
    #[error("refused at the door: {0}{next}", next = after(.0))]
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

/// What whoever asked can do about a refusal that does not say so itself.
fn after(refusal: &Rejection) -> &'static str {
    match refusal {
        Rejection::OutsideValidity { .. } | Rejection::ValidityTooLong { .. } => {
            "; look at the clock of the machine that made it, then make and sign it anew"
        }
        _ => "",
    }
}

impl ProposeError {
    /// Whether another attempt with the same command may succeed shortly.
    pub(super) fn passes(&self) -> bool {
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

/// What the attempts so far leave open.
#[derive(Default)]
pub(super) struct Attempts {
    /// Some attempt may have committed the command.
    pub(super) unknown: bool,
    pub(super) last: Option<ProposeError>,
}

impl Attempts {
    /// The error, or that the outcome is unknown if any attempt left it open.
    pub(super) fn settle(&self, error: ProposeError) -> ProposeError {
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
