//! Why a call to the store failed, for callers that must decide what to do next.

use tidegate_proto::{Effect, Refusal, WireError};

/// A call that did not succeed at any node in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} at {endpoint}: {} ({})", .error.message, .error.refusal)]
pub struct ClientError {
    /// What was asked, such as `propose`.
    pub operation: &'static str,
    /// The node that answered last, or should have.
    pub endpoint: String,
    /// What it said.
    pub error: WireError,
}

impl ClientError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.error.refusal.is_retryable()
    }

    /// Whether the call may have had its effect all the same. Then only repeating the same command
    /// tells; any other command is another one.
    #[must_use]
    pub fn is_effect_unknown(&self) -> bool {
        self.error.effect == Effect::Unknown
    }

    /// Why, as the node put it.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        self.error.refusal
    }

    /// What a node sent is not what it may send.
    pub(crate) fn garbled(
        operation: &'static str,
        endpoint: &str,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            endpoint: endpoint.to_owned(),
            error: WireError::unknown(Refusal::Internal, problem),
        }
    }
}
