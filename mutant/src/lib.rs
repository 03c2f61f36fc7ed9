//! Known bugs, built in to test the simulator: each must be found by it.
//!
//! Production code asks [`is_on`] at the place of each bug. In a real build the answer is the
//! constant `false`, and the bug is not there. In a simulator build a run switches one on for its
//! own thread.

#[cfg(madsim)]
use std::cell::Cell;

/// A bug that some system really had, or that a design like this one invites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// A crashed leader resumes in its term (openraft's default), and reuses term and index for
    /// what its disk lost.
    LeaderRestore,
    /// Reads trust the leader's clock instead of asking a quorum.
    LeaseRead,
    /// A follower answers a read at the leader's word, before it applied what that covers.
    ReadBeforeApply,
    /// The log is acknowledged before it is synced.
    UnsyncedLog,
    /// A vote is granted before it is synced.
    UnsyncedVote,
    /// A snapshot is handed out, and the log dropped behind it, before the state is synced.
    UnsyncedSnapshot,
    /// A lease counts from when its answer came, not from when the question left.
    LeaseFromReceipt,
    /// A decision node sends offers after its lease ran out.
    LeaseIgnored,
    /// A decision node offers what was halted.
    HaltIgnored,
    /// A floor is raised above what is being rolled out.
    FloorAboveRollout,
    /// An admission is drawn from a budget without being taken off it.
    BudgetNotDrawn,
    /// A grant does not count what was granted before.
    DoubleGrant,
    /// A command id is not remembered: a retry is applied again.
    IdForgotten,
    /// Signatures are counted, but not verified.
    SignatureUnverified,
    /// A command may set a floor to less than it was.
    FloorFalls,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::LeaderRestore,
        Self::LeaseRead,
        Self::ReadBeforeApply,
        Self::UnsyncedLog,
        Self::UnsyncedVote,
        Self::UnsyncedSnapshot,
        Self::LeaseFromReceipt,
        Self::LeaseIgnored,
        Self::HaltIgnored,
        Self::FloorAboveRollout,
        Self::BudgetNotDrawn,
        Self::DoubleGrant,
        Self::IdForgotten,
        Self::SignatureUnverified,
        Self::FloorFalls,
    ];
}

/// Whether a bug is switched on: never, outside the simulator.
#[cfg(not(madsim))]
#[inline]
#[must_use]
pub const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(madsim)]
thread_local! {
    // One simulation owns one thread.
    static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether a bug is switched on in the simulation of this thread.
#[cfg(madsim)]
#[must_use]
pub fn is_on(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

/// Switches one bug on in the simulation of this thread, or all off.
#[cfg(madsim)]
pub fn switch(mutant: Option<Mutant>) {
    ON.set(mutant);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_on_by_itself_and_never_in_a_real_build() {
        assert!(Mutant::ALL.iter().all(|mutant| !is_on(*mutant)));
    }

    #[cfg(not(madsim))]
    #[test]
    fn the_switch_is_a_constant_in_a_real_build() {
        const OFF: bool = is_on(Mutant::LeaderRestore);
        assert_eq!(OFF, is_on(Mutant::LeaseRead));
    }

    #[cfg(madsim)]
    #[test]
    fn one_is_on_at_a_time() {
        switch(Some(Mutant::LeaseRead));
        let on = Mutant::ALL.iter().filter(|mutant| is_on(**mutant));
        assert!(on.eq([&Mutant::LeaseRead]));
        switch(None);
    }
}
