//! The way to another machine. In a real build the network takes its time by itself, and nothing
//! here does anything.

use crate::Leg;

/// The way from this machine to another.
#[derive(Clone, Copy, Debug)]
pub struct Way;

/// A stream on its way; in a real build the stream itself.
pub type Passing<S> = S;

impl Way {
    /// The way to `host:port`.
    #[must_use]
    #[inline]
    pub const fn to(_address: &str) -> Self {
        Self
    }

    /// One message passes.
    #[inline]
    #[allow(clippy::unused_async, reason = "the simulated one takes its time")]
    pub async fn pass(&self, _: Leg) {}

    /// Messages pass in order, many under way at once.
    #[inline]
    pub fn stream<S>(&self, _: Leg, stream: S) -> Passing<S> {
        stream
    }
}
