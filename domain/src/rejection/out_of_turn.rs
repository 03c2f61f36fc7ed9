//! Why an envelope is not what its session does next.
use super::Rejection;
use crate::id::{Index, Instance, Sequence};
use minicbor::{Decode, Encode};

/// Why a session's envelope is refused as a whole. The session stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum OutOfTurn {
    /// The session is worked under by another life of its node.
    #[n(0)]
    #[error("instance {existing} of its node works under the session, not {requested}")]
    OtherInstance {
        /// The one that does.
        #[n(0)]
        existing: Instance,
        /// The envelope's.
        #[n(1)]
        requested: Instance,
    },
    /// The envelope is older than the session's last one, or comes too early.
    #[n(1)]
    #[error("the session's next envelope is {expected}, not {requested}")]
    SequenceOutOfOrder {
        /// The next one.
        #[n(0)]
        expected: Sequence,
        /// This one.
        #[n(1)]
        requested: Sequence,
    },
    /// The session's last envelope had the same number and was another one: two nodes work under
    /// one session.
    #[n(2)]
    #[error("another envelope had its number, entry {index}")]
    SequenceOfAnother {
        /// The entry of the other one.
        #[n(0)]
        index: Index,
    },
    /// There are too many operations in it.
    #[n(3)]
    #[error("{requested} operations in one envelope, at most {max}")]
    TooManyOperations {
        /// Accepted.
        #[n(0)]
        max: u64,
        /// Asked for.
        #[n(1)]
        requested: u64,
    },
}

impl OutOfTurn {
    /// Whether it stays so whatever the session does.
    pub const fn is_for_good(&self) -> bool {
        match self {
            // Instances and sequences only rise.
            Self::OtherInstance {
                existing,
                requested,
            } => requested.0 < existing.0,
            Self::SequenceOutOfOrder {
                expected,
                requested,
            } => requested.0 < expected.0,
            Self::SequenceOfAnother { .. } | Self::TooManyOperations { .. } => true,
        }
    }
}

impl From<OutOfTurn> for Rejection {
    fn from(reason: OutOfTurn) -> Self {
        Self::OutOfTurn(reason)
    }
}
