//! The stages of a rollout's life, as refusals name them.
use minicbor::{Decode, Encode};
use std::fmt;

/// A stage of a rollout's [`Life`](super::Life).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LifeStage {
    /// Written down; nobody has approved it.
    #[n(0)]
    Draft,
    /// Approved; waits for its start.
    #[n(1)]
    Approved,
    /// Under way.
    #[n(2)]
    Running,
    /// Under way, but nothing new is offered.
    #[n(3)]
    Paused,
    /// Stopped.
    #[n(4)]
    Halted,
    /// Stopped, and devices return.
    #[n(5)]
    RollingBack,
    /// Devices have returned.
    #[n(6)]
    RolledBack,
    /// Another rollout took its place.
    #[n(7)]
    Superseded,
    /// All waves passed.
    #[n(8)]
    Completed,
}

impl LifeStage {
    /// Its name, as people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::RollingBack => "rolling back",
            Self::RolledBack => "rolled back",
            Self::Superseded => "superseded",
            Self::Completed => "completed",
        }
    }
}

impl fmt::Display for LifeStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
