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
    #[error("malformed command: {detail}")]
    Malformed {
        /// What is wrong, in words.
        #[n(0)]
        detail: String,
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
