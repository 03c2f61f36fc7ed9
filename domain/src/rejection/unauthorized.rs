//! Why nobody was allowed to ask.
use crate::{
    id::{Epoch, Index, PublicKey, SessionId},
    key::Role,
};
use minicbor::{Decode, Encode};

/// Why nobody was allowed to ask for it. Changes nothing, spends no id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Unauthorized {
    /// The bytes are not a command.
    #[n(0)]
    #[error("malformed command: {fault}")]
    Malformed {
        /// What is wrong.
        #[n(0)]
        fault: MalformedFault,
    },
    /// It was signed for another cluster.
    #[n(1)]
    #[error("signed for cluster {requested:?}, this is {existing:?}")]
    OtherOrigin {
        /// This cluster.
        #[n(0)]
        existing: String,
        /// The one that was signed for.
        #[n(1)]
        requested: String,
    },
    /// It was signed under another key epoch.
    #[n(2)]
    #[error("signed under key epoch {requested}, the current one is {existing}")]
    OtherEpoch {
        /// The current epoch.
        #[n(0)]
        existing: Epoch,
        /// The one that was signed under.
        #[n(1)]
        requested: Epoch,
    },
    /// The signers had seen another log, or more of this one than there is.
    #[n(3)]
    #[error("signed on top of entry {requested}, which this log does not have")]
    OtherBase {
        /// The entry that the signers had seen.
        #[n(0)]
        requested: Index,
    },
    /// Not enough valid signatures by distinct trusted keys of the role.
    #[n(4)]
    #[error("needs {needed} signature(s) of role {role}, has {found}")]
    TooFewSignatures {
        /// The role that has to sign.
        #[n(0)]
        role: Role,
        /// How many distinct keys it takes.
        #[n(1)]
        needed: u16,
        /// How many distinct trusted keys signed.
        #[n(2)]
        found: u16,
    },
    /// A signature does not verify.
    #[n(5)]
    #[error("the signature of key {key} does not verify")]
    BadSignature {
        /// By this key.
        #[n(0)]
        key: PublicKey,
    },
    /// The session belongs to another key.
    #[n(6)]
    #[error("session {session} belongs to another key")]
    OtherSession {
        /// The session.
        #[n(0)]
        session: SessionId,
    },
    /// The key ceremony has not been held.
    #[n(7)]
    #[error("no key ceremony has been held: only the first RotateKeys is accepted")]
    NoKeys,
}

impl From<Unauthorized> for super::Rejection {
    fn from(reason: Unauthorized) -> Self {
        Self::Unauthorized(reason)
    }
}

/// Why bytes are not a signed command. Which part, and never what a decoder said of it: that would
/// differ from one build to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum MalformedFault {
    /// It is too long.
    #[n(0)]
    #[error("{bytes} bytes, at most {max}")]
    TooLong {
        /// Its length.
        #[n(0)]
        bytes: u64,
        /// Accepted.
        #[n(1)]
        max: u64,
    },
    /// The whole is not in canonical form.
    #[n(1)]
    #[error("it is not a signed command in canonical form")]
    Envelope,
    /// The body is not in canonical form.
    #[n(2)]
    #[error("its body is not in canonical form")]
    Body,
    /// The arguments are not those of the kind, in canonical form.
    #[n(3)]
    #[error("its arguments are not those of its kind in canonical form")]
    Arguments,
    /// No build that decided this knows the kind.
    #[n(4)]
    #[error("unknown command kind {kind:#06x}")]
    UnknownKind {
        /// The kind.
        #[n(0)]
        kind: u16,
    },
    /// The detached arguments are not those that the body names.
    #[n(5)]
    #[error("the detached arguments have another digest than the body names")]
    OtherArguments,
    /// The body names arguments that are not there.
    #[n(6)]
    #[error("the arguments are detached, and missing")]
    NoArguments,
    /// Arguments stand in the body and beside it.
    #[n(7)]
    #[error("the arguments stand in the body and beside it")]
    ArgumentsTwice,
    /// The detached arguments are too long.
    #[n(8)]
    #[error("{bytes} bytes of arguments, at most {max}")]
    ArgumentsTooLong {
        /// Their length.
        #[n(0)]
        bytes: u64,
        /// Accepted.
        #[n(1)]
        max: u64,
    },
    /// What is signed is too long.
    #[n(9)]
    #[error("{bytes} bytes to sign, at most {max}")]
    PaeTooLong {
        /// Its length.
        #[n(0)]
        bytes: u64,
        /// Accepted.
        #[n(1)]
        max: u64,
    },
    /// There are too many signatures.
    #[n(10)]
    #[error("{count} signatures, at most {max}")]
    TooManySignatures {
        /// How many there are.
        #[n(0)]
        count: u64,
        /// Accepted.
        #[n(1)]
        max: u64,
    },
    /// The signatures are in another order, or a key stands twice.
    #[n(11)]
    #[error("signatures stand sorted by key, each key once")]
    SignaturesUnsorted,
}
