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
    /// One entry in fifty is acknowledged before it is synced.
    OneInFiftyUnsynced,
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
    /// Another command under a spent id is taken for the one that it was spent on.
    IdUnbound,
    /// A session's last envelope is applied again when it comes again.
    EnvelopeTwice,
    /// What devices measured counts, whether or not anybody was exposed.
    MetricsUnbounded,
    /// A session's envelopes are applied in whatever order they come.
    SequenceUnchecked,
    /// The door lets in what is over: it is refused, spends no id, and comes again.
    ExpiredChained,
    /// A command has its slot before anybody has looked at it.
    SlotFirst,
    /// Signatures are counted, but not verified.
    SignatureUnverified,
    /// A replica takes the leader's word that it has verified a command.
    ReplicaTrusts,
    /// A command may set a floor to less than it was.
    FloorFalls,
    /// A node that installs a snapshot loses the floors in it.
    FloorsLostAtInstall,
    /// A snapshot says that it covers less than it does: its last entry is applied again.
    SnapshotSaysLess,
    /// A snapshot claims what was applied by 2 ms after its state was looked at.
    SnapshotClaimsLate,
    /// A node that installs a snapshot keeps the membership that it had.
    MembershipKeptAtInstall,
    /// The directory is not synced after the file that says what a node has promised was replaced.
    NamesUnsynced,
    /// A log that is empty is begun anew by a node that had one.
    EmptiedLogAccepted,
    /// A log whose sync failed goes on as if it had not.
    FailedSyncIgnored,
    /// A watcher that joins in the middle of a batch gets all of it.
    WatchTwice,
    /// A watcher is moved over a snapshot install without a word.
    WatchSkipsInstall,
    /// A watcher hears that it is up to date before it got the events.
    WatchProgressAhead,
    /// A node hands out its state without asking whether it is behind.
    SnapshotUnconfirmed,
    /// A node answers with rows without asking whether it is behind.
    RowsUnconfirmed,
    /// A read is answered by a round that began before it was asked.
    ReadJoinsRound,
    /// A voter cosigns a root that its own log does not have.
    CosignedUnseen,
    /// A node whose chain a majority of the voters contradicts goes on.
    HeadMismatchIgnored,
    /// Nodes with an odd number record refusals otherwise, as builds with another wording would.
    ProseInChain,
    /// A refused vote is counted as granted.
    RefusalCountsAsVote,
    /// A renewal counts before the view has reached what it confirms.
    LeaseBeforeView,
    /// A view that is taken anew is not shown to whoever answers devices.
    HaltLostAtResync,
    /// A decision node that is cut off goes on with everything, not only with what may.
    StaleGoesOn,
    /// A decision node that is cut off goes on with what may for as long as it is cut off.
    StaleForEver,
    /// A decision node that is cut off lets devices wait until it is not.
    StaleWaits,
    /// A follower keeps to a node that says there is nothing new, whatever a quorum confirms.
    NeverBehind,
    /// A decision node offers through an emergency stop.
    StopIgnored,
    /// An offer does not say the floor that the device must keep from then on.
    FloorNotTold,
    /// A release below the security version that a device runs is offered to it.
    DowngradeOffered,
    /// Who is in a wave is drawn anew when the next one opens.
    WavesShuffled,
    /// A revoked key still counts for the releases that it signed.
    RevokedKeyCounts,
    /// A halted release is let in again under a new rollout.
    BarEvaded,
    /// The key epoch may skip a number.
    EpochSkipped,
    /// A wave opens without the gate of the one before it.
    WaveWithoutGate,
    /// Admissions of a session are taken back after a while, whoever may be using them.
    BudgetTimedOut,
    /// Admissions of a session that was written off are granted to others.
    WriteOffReturns,
    /// A state that is read back from rows lacks a look-up: replicas drift apart after restarts.
    LookUpsLost,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 57] = [
        Self::LeaderRestore,
        Self::LeaseRead,
        Self::ReadBeforeApply,
        Self::UnsyncedLog,
        Self::OneInFiftyUnsynced,
        Self::UnsyncedVote,
        Self::UnsyncedSnapshot,
        Self::LeaseFromReceipt,
        Self::LeaseIgnored,
        Self::HaltIgnored,
        Self::FloorAboveRollout,
        Self::BudgetNotDrawn,
        Self::DoubleGrant,
        Self::IdForgotten,
        Self::EnvelopeTwice,
        Self::MetricsUnbounded,
        Self::SequenceUnchecked,
        Self::SignatureUnverified,
        Self::ReplicaTrusts,
        Self::FloorFalls,
        Self::FloorsLostAtInstall,
        Self::SnapshotSaysLess,
        Self::SnapshotClaimsLate,
        Self::MembershipKeptAtInstall,
        Self::NamesUnsynced,
        Self::EmptiedLogAccepted,
        Self::FailedSyncIgnored,
        Self::WatchTwice,
        Self::WatchSkipsInstall,
        Self::WatchProgressAhead,
        Self::SnapshotUnconfirmed,
        Self::RowsUnconfirmed,
        Self::ReadJoinsRound,
        Self::CosignedUnseen,
        Self::HeadMismatchIgnored,
        Self::ProseInChain,
        Self::RefusalCountsAsVote,
        Self::LeaseBeforeView,
        Self::HaltLostAtResync,
        Self::StaleGoesOn,
        Self::StaleForEver,
        Self::StaleWaits,
        Self::NeverBehind,
        Self::StopIgnored,
        Self::FloorNotTold,
        Self::DowngradeOffered,
        Self::WavesShuffled,
        Self::RevokedKeyCounts,
        Self::BarEvaded,
        Self::EpochSkipped,
        Self::WaveWithoutGate,
        Self::BudgetTimedOut,
        Self::WriteOffReturns,
        Self::LookUpsLost,
        Self::IdUnbound,
        Self::ExpiredChained,
        Self::SlotFirst,
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
