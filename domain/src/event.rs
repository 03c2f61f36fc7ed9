//! Events: what changed. The state is the fold of all of them; none needs anything else.
mod session;

pub use crate::state::SpentId;
pub use session::{Advance, AnchoredJournal, RefusedOperation, refused_operations};

use crate::{
    config::{ClusterConfig, Member},
    guard::*,
    id::*,
    key::KeySet,
    node::{PoolKey, Session},
    release::{Release, ReleaseStatus},
    rollout::{ExclusionCause, HaltCause, RollbackPlan, Rollout, RolloutSpec},
    tally::{Counts, TallyKey},
    variant::Variant,
    wave::{Evidence, Opening},
};
use minicbor::{Decode, Encode};

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// An entry was applied, whatever came of it. Always the first event of an entry.
    #[n(0)]
    EntryRecorded {
        /// The entry's index.
        #[n(0)]
        index: Index,
        /// Log time from now on.
        #[n(1)]
        time: LogTime,
        /// The command id that is spent, and when it may be forgotten.
        #[n(2)]
        spent: Option<SpentId>,
        /// Whether the entry carries the state root.
        #[n(3)]
        carries_root: bool,
    },
    /// A key epoch began.
    #[n(1)]
    KeysRotated(#[n(0)] KeySet),
    /// A key lost all trust.
    #[n(2)]
    KeyRevoked {
        /// The key.
        #[n(0)]
        key: PublicKey,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// A release was registered.
    #[n(3)]
    ReleaseRegistered(#[n(0)] Box<Release>),
    /// A release has more signatures.
    #[n(4)]
    ReleaseSigned {
        /// The release.
        #[n(0)]
        release: ReleaseName,
        /// What was added.
        #[cbor(n(1), with = "crate::canonical::pairs")]
        signatures: std::collections::BTreeMap<PublicKey, SignatureBytes>,
    },
    /// A release may not be offered any more.
    #[n(5)]
    ReleaseWithdrawn {
        /// The release.
        #[n(0)]
        release: ReleaseName,
        /// `Retired` or `Revoked`.
        #[n(1)]
        status: ReleaseStatus,
        /// Why; absent where a floor that was raised in the same entry says it.
        #[n(2)]
        reason: Option<Reason>,
    },
    /// A variant was registered.
    #[n(6)]
    VariantRegistered(#[n(0)] Variant),
    /// A recovery image was declared.
    #[n(7)]
    RecoveryImageDeclared {
        /// For which component and variants.
        #[n(0)]
        scope: Scope,
        /// The image.
        #[n(1)]
        image: RecoveryImage,
    },
    /// A floor rose.
    #[n(8)]
    FloorRaised {
        /// Whose.
        #[n(0)]
        scope: Scope,
        /// To what.
        #[n(1)]
        floor: Floor,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// A baseline was set.
    #[n(9)]
    BaselineSet {
        /// Whose.
        #[n(0)]
        key: BaselineKey,
        /// To what.
        #[n(1)]
        baseline: Baseline,
    },
    /// A rollout was written down.
    #[n(10)]
    RolloutCreated(#[n(0)] Box<Rollout>),
    /// A rollout was approved.
    #[n(11)]
    RolloutApproved {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
    },
    /// A rollout was started; its first wave opens with an event of its own.
    #[n(12)]
    RolloutStarted {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
    },
    /// A wave opened.
    #[n(13)]
    WaveOpened {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Which wave.
        #[n(1)]
        wave: WaveIndex,
        /// When and how.
        #[n(2)]
        opening: Opening,
    },
    /// A wave passed its gate.
    #[n(14)]
    WavePassed {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Which wave.
        #[n(1)]
        wave: WaveIndex,
        /// On what evidence.
        #[n(2)]
        evidence: Box<Evidence>,
    },
    /// Gates were judged on time, and nothing came of it.
    #[n(15)]
    GateJudged {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
    },
    /// A rollout was paused.
    #[n(16)]
    RolloutPaused {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// A paused rollout goes on.
    #[n(17)]
    RolloutResumed {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
        /// How long it was paused: added to the current wave's paused time.
        #[n(1)]
        paused: Millis,
    },
    /// A rollout was halted, and its release barred from its audience.
    #[n(18)]
    RolloutHalted {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
        /// Why.
        #[n(1)]
        cause: Box<HaltCause>,
    },
    /// A halt was lifted: the bar is gone and the rollout goes on, soak not counting the halt.
    #[n(19)]
    HaltLifted {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
        /// How long it was halted.
        #[n(1)]
        halted: Millis,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// Devices of a halted rollout are sent back.
    #[n(20)]
    RollbackStarted {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
    },
    /// Devices have returned.
    #[n(21)]
    RolledBack {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
    },
    /// A rollout completed; the baseline is set by an event of its own.
    #[n(22)]
    RolloutCompleted {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
    },
    /// Another rollout took the place of one.
    #[n(23)]
    RolloutSuperseded {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
        /// The other.
        #[n(1)]
        by: RolloutId,
    },
    /// A rollout was changed.
    #[n(24)]
    RolloutAmended {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
        /// As it is from now on.
        #[n(1)]
        spec: Box<RolloutSpec>,
        /// The way back from now on: rules for parts of the audience that are new come last.
        #[n(2)]
        rollback: RollbackPlan,
    },
    /// A variant was taken out of a rollout.
    #[n(25)]
    VariantExcluded {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Which variant.
        #[n(1)]
        variant: VariantId,
        /// Why.
        #[n(2)]
        cause: Box<ExclusionCause>,
    },
    /// Soak is shortened.
    #[n(26)]
    RolloutExpedited {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// An emergency stop was raised.
    #[n(27)]
    StopRaised(#[n(0)] Stop),
    /// An emergency stop was lifted.
    #[n(28)]
    StopLifted {
        /// Which.
        #[n(0)]
        stop: StopId,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// A region has a policy.
    #[n(29)]
    RegionPolicySet {
        /// Which region.
        #[n(0)]
        region: Region,
        /// The policy.
        #[n(1)]
        policy: RegionPolicy,
    },
    /// A device is held.
    #[n(30)]
    HoldSet {
        /// Which.
        #[n(0)]
        key: HoldKey,
        /// How.
        #[n(1)]
        hold: Hold,
    },
    /// A device is held no more.
    #[n(31)]
    HoldReleased {
        /// Which.
        #[n(0)]
        key: HoldKey,
    },
    /// A session was opened.
    #[n(32)]
    SessionOpened(#[n(0)] Session),
    /// A session was closed.
    #[n(33)]
    SessionClosed {
        /// Which.
        #[n(0)]
        session: SessionId,
    },
    /// A session was given up, with everything that it held.
    #[n(34)]
    SessionWrittenOff {
        /// Which.
        #[n(0)]
        session: SessionId,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// Admissions were granted.
    #[n(35)]
    BudgetGranted {
        /// To which session.
        #[n(0)]
        session: SessionId,
        /// Where.
        #[n(1)]
        pool: PoolKey,
        /// How many.
        #[n(2)]
        count: u64,
    },
    /// Admissions came back unused.
    #[n(36)]
    BudgetReturned {
        /// From which session.
        #[n(0)]
        session: SessionId,
        /// Where.
        #[n(1)]
        pool: PoolKey,
        /// How many.
        #[n(2)]
        count: u64,
    },
    /// A session committed to its journal as far as an anchor goes.
    #[n(37)]
    JournalAnchored(#[n(0)] AnchoredJournal),
    /// A tally rose.
    #[n(38)]
    Tallied {
        /// By which session's word.
        #[n(0)]
        session: SessionId,
        /// What is counted.
        #[n(1)]
        key: TallyKey,
        /// By what.
        #[n(2)]
        counts: Box<Counts>,
    },
    /// A cohort of one stratum is past the horizon: what is unresolved counts as silent, and its
    /// sessions' rows are folded away.
    #[n(39)]
    CohortMatured {
        /// What is counted.
        #[n(0)]
        key: TallyKey,
    },
    /// The credit of a pool grew.
    #[n(40)]
    CreditGrown {
        /// Which pool.
        #[n(0)]
        pool: PoolKey,
        /// To what.
        #[n(1)]
        credit: u64,
    },
    /// The store nodes changed.
    #[n(41)]
    MembershipChanged {
        /// As they shall be, sorted by number.
        #[n(0)]
        members: Vec<Member>,
    },
    /// The replicated configuration changed.
    #[n(42)]
    ClusterConfigSet(#[n(0)] Box<ClusterConfig>),
    /// Newer rules hold from the next entry on.
    #[n(43)]
    StateVersionRaised {
        /// Their version.
        #[n(0)]
        version: StateVersion,
    },
    /// Rows of a rollout that ended long ago were folded away: its budgets, pools, open cohorts, and
    /// sums per stratum, at most [`crate::evolve::FOLD_MAX`] of them.
    #[n(44)]
    RolloutFolded {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
    },
    /// A recovery image counts no more: a quorum raised a floor over it.
    #[n(45)]
    RecoveryImageRetired {
        /// For which component and variants.
        #[n(0)]
        scope: Scope,
    },
    /// A quorum overrode a gate.
    #[n(46)]
    GateOverridden {
        /// Of which rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Whose gate.
        #[n(1)]
        wave: WaveIndex,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// Admissions of a session that was given up: nobody will ever know what became of them. They
    /// stay within the cap, occupy no credit any more, and no gate counts them.
    #[n(47)]
    BudgetLost {
        /// The session.
        #[n(0)]
        session: SessionId,
        /// Where.
        #[n(1)]
        pool: PoolKey,
        /// How many.
        #[n(2)]
        count: u64,
    },
    /// The oldest of too many rollouts that are over left the state; the log keeps it.
    #[n(48)]
    RolloutForgotten {
        /// Which.
        #[n(0)]
        rollout: RolloutId,
    },
    /// An envelope of a session's operations was accepted. What each did follows, in their order.
    #[n(49)]
    SessionAdvanced(#[n(0)] Advance),
    /// An operation of a session's envelope was refused, and changed nothing.
    #[n(50)]
    OperationRefused(#[n(0)] RefusedOperation),
    /// A release channel was registered.
    #[n(51)]
    ChannelRegistered(#[n(0)] Channel),
}
