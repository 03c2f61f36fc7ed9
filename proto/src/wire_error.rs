//! How a refused call looks on the wire, for both sides of it.
//!
//! A gRPC code alone can't tell a client the two things it must know: which refusal this is, and
//! whether the call may have had its effect all the same. Both travel in the status's metadata.

use std::fmt;

use tonic::{Code, Status, metadata::AsciiMetadataValue};

const REFUSAL: &str = "tidegate-refusal";
const EFFECT: &str = "tidegate-effect";
const LEADER: &str = "tidegate-leader";

/// A refused or failed call: everything that its gRPC status says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Which refusal.
    pub refusal: Refusal,
    /// Whether the call may have had its effect.
    pub effect: Effect,
    /// `host:port` of the node that leads, if the answering node knows it.
    pub leader: Option<String>,
    /// What happened and what to do about it, for a person.
    pub message: String,
}

/// Whether a refused call may have had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It had none and never will.
    None,
    /// It may have had it, or may still get it; only repeating the same command tells.
    Unknown,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $code:ident, $retry:literal;)*) => {
        /// Why a call was refused. The texts are stable: clients match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// The stable name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub const fn grpc_code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// Whether the same call may succeed later or at another node.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The refusal with this name on the wire.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

refusals! {
    /// Only the leader answers this, and this node neither leads nor may forward.
    NotLeader = "not_leader", Unavailable, true;
    /// No leader is known at the moment.
    NoLeader = "no_leader", Unavailable, true;
    /// The leader could not reach a majority in time.
    NoQuorum = "no_quorum", Unavailable, true;
    /// The node has started and has not caught up with what it knew before.
    Recovering = "recovering", Unavailable, true;
    /// The node could not be reached, or the connection broke.
    Unreachable = "unreachable", Unavailable, true;
    /// The node has shut down, or stopped itself because its disk failed.
    Stopped = "stopped", Unavailable, true;
    /// The answer did not come in time.
    TimedOut = "timed_out", DeadlineExceeded, true;
    /// A limit on work in flight is reached.
    Overloaded = "overloaded", ResourceExhausted, true;
    /// The node's disk is full; it goes on reading.
    DiskFull = "disk_full", ResourceExhausted, true;
    /// The request is larger than the limit that the message names.
    TooLarge = "too_large", ResourceExhausted, false;
    /// The request does not parse.
    Malformed = "malformed", InvalidArgument, false;
    /// The command is not signed by whom its kind demands; it burned no id.
    Unauthorized = "unauthorized", PermissionDenied, false;
    /// The command, checkpoint or peer belongs to another cluster.
    OtherCluster = "other_cluster", FailedPrecondition, false;
    /// The node belongs to no cluster yet.
    NotInitialized = "not_initialized", FailedPrecondition, false;
    /// The node belongs to another cluster, or to this one with other members.
    AlreadyInitialized = "already_initialized", FailedPrecondition, false;
    /// The cluster's state does not allow it now; the message says why.
    NotAllowed = "not_allowed", FailedPrecondition, false;
    /// The range reaches past what the node has, or before what it kept.
    OutOfRange = "out_of_range", OutOfRange, false;
    /// What the caller claims differs from what this node computed.
    Mismatch = "mismatch", FailedPrecondition, false;
    /// A fault of the node itself.
    Internal = "internal", Internal, false;
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl WireError {
    /// A refusal that certainly had no effect.
    #[must_use]
    pub fn refused(refusal: Refusal, message: impl Into<String>) -> Self {
        Self {
            refusal,
            effect: Effect::None,
            leader: None,
            message: message.into(),
        }
    }

    /// A failure after which only repeating the same command tells whether it had its effect.
    #[must_use]
    pub fn unknown(refusal: Refusal, message: impl Into<String>) -> Self {
        Self {
            effect: Effect::Unknown,
            ..Self::refused(refusal, message)
        }
    }

    /// The same with a hint where the leader is.
    #[must_use]
    pub fn with_leader(self, leader: Option<String>) -> Self {
        Self { leader, ..self }
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        let WireError {
            refusal,
            effect,
            leader,
            message,
        } = error;
        let mut status = Self::new(refusal.grpc_code(), message);
        let effect = match effect {
            Effect::None => "none",
            Effect::Unknown => "unknown",
        };
        let metadata = status.metadata_mut();
        metadata.insert(REFUSAL, AsciiMetadataValue::from_static(refusal.as_str()));
        metadata.insert(EFFECT, AsciiMetadataValue::from_static(effect));
        if let Some(leader) = leader.and_then(|at| AsciiMetadataValue::try_from(at).ok()) {
            metadata.insert(LEADER, leader);
        }
        status
    }
}

impl From<&Status> for WireError {
    /// Reads a status; one that our nodes did not write (a broken connection, a proxy) counts as
    /// of unknown effect, whatever its code.
    fn from(status: &Status) -> Self {
        let text = |key| status.metadata().get(key).and_then(|v| v.to_str().ok());
        let refusal = text(REFUSAL).and_then(Refusal::parse);
        let effect = match (refusal, text(EFFECT)) {
            (Some(_), Some("none")) => Effect::None,
            _ => Effect::Unknown,
        };
        Self {
            refusal: refusal.unwrap_or(match status.code() {
                Code::DeadlineExceeded | Code::Cancelled => Refusal::TimedOut,
                Code::ResourceExhausted | Code::OutOfRange => Refusal::TooLarge,
                Code::InvalidArgument | Code::Unimplemented => Refusal::Malformed,
                // `Internal` too: so tonic reports a connection that broke under a call.
                _ => Refusal::Unreachable,
            }),
            effect,
            leader: text(LEADER).map(str::to_owned),
            message: status.message().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_wire() {
        for &refusal in Refusal::ALL {
            for effect in [Effect::None, Effect::Unknown] {
                let sent = WireError {
                    refusal,
                    effect,
                    leader: Some("127.0.0.1:7101".into()),
                    message: format!("{refusal} happened"),
                };
                let status = Status::from(sent.clone());
                assert_eq!(status.code(), refusal.grpc_code());
                assert_eq!(WireError::from(&status), sent);
            }
        }
    }

    #[test]
    fn a_foreign_status_is_of_unknown_effect() {
        for code in [Code::Unavailable, Code::Cancelled, Code::InvalidArgument] {
            let error = WireError::from(&Status::new(code, "from a proxy"));
            assert_eq!(error.effect, Effect::Unknown, "{code}");
        }
    }

    #[test]
    fn a_refusal_without_its_effect_is_of_unknown_effect() {
        let mut status = Status::from(WireError::refused(Refusal::NotLeader, "ask node 2"));
        status.metadata_mut().remove(EFFECT);
        assert_eq!(WireError::from(&status).effect, Effect::Unknown);
    }
}
