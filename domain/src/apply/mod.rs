//! `apply`: the only mutator. It authorizes a command, decides its events, folds them, and lets
//! gates and timers react.
use crate::{
    command::SignedCommand,
    event::Event,
    id::{Hash, Index, LogTime},
    rejection::Rejection,
    state::State,
};
use minicbor::{Decode, Encode};

/// What a log entry carries besides the command. The same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The leader's clock when it proposed the entry. Log time is the greatest stamp so far.
    pub time: LogTime,
    /// The index of the entry that is being built.
    pub index: Index,
    /// The chain head before the entry.
    pub chain: Hash,
}

/// What came of a command. Recorded either way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It was applied; what it changed stands in the events.
    #[n(0)]
    Accepted(#[n(0)] Vec<Event>),
    /// It was refused.
    #[n(1)]
    Rejected(#[n(0)] Rejection),
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What every entry does: log time, the next index, the spent command id.
    pub recorded: Event,
    /// What came of the command.
    pub outcome: Outcome,
    /// The state root after the entry, if the entry carries it.
    pub state_root: Option<Hash>,
}

impl Applied {
    /// All events in order: their fold over the state before is the state after.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let accepted = match &self.outcome {
            Outcome::Accepted(events) => events.as_slice(),
            Outcome::Rejected(_) => &[],
        };
        std::iter::once(&self.recorded).chain(accepted)
    }
}
