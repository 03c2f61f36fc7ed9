//! Rejections: why the domain said no. Data, recorded like events, with both sides of the matter.
//!
//! In the hash chain every build must write the same bytes: codes, numbers, and what somebody named
//! or signed. Sentences stand in `Display` alone, where they may be reworded at any time.
mod fault;
mod field;
mod limit;
mod out_of_turn;
mod unauthorized;
mod value;

pub use {
    fault::*, field::Field, limit::*, out_of_turn::OutOfTurn, unauthorized::*, value::ValueFault,
};

use crate::{guard::Scope, id::*, key::Role, rollout::LifeStage, signature::KeyFault};
use minicbor::{Decode, Encode};

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Rejection {
    /// Nobody was allowed to ask for it.
    #[n(0)]
    #[error("unauthorized: {0}")]
    Unauthorized(#[n(0)] Unauthorized),
    /// The command was applied before; see there for what came of it.
    #[n(1)]
    #[error("applied before, as entry {index}")]
    AlreadyApplied {
        /// The entry.
        #[n(0)]
        index: Index,
    },
    /// Outside its validity.
    #[n(2)]
    #[error("valid from {not_before} to {not_after} ms, log time is {now} ms")]
    OutsideValidity {
        /// First valid log time.
        #[n(0)]
        not_before: LogTime,
        /// Last valid log time.
        #[n(1)]
        not_after: LogTime,
        /// Log time.
        #[n(2)]
        now: LogTime,
    },
    /// Valid for longer than ids are kept.
    #[n(3)]
    #[error("valid for {requested} ms, at most {max} ms are accepted")]
    ValidityTooLong {
        /// Asked for.
        #[n(0)]
        requested: Millis,
        /// Accepted.
        #[n(1)]
        max: Millis,
    },
    /// The target changed since the signers looked.
    #[n(4)]
    #[error("expected revision {requested}, it is {existing}")]
    RevisionMismatch {
        /// Its revision.
        #[n(0)]
        existing: Revision,
        /// The expected one.
        #[n(1)]
        requested: Revision,
    },
    /// A limit is reached.
    #[n(5)]
    #[error("limit reached: {what}, at most {max}")]
    LimitReached {
        /// Of what.
        #[n(0)]
        what: Limit,
        /// The limit.
        #[n(1)]
        max: u64,
    },
    /// A value is outside its range.
    #[n(6)]
    #[error("{}: {fault}", .field.place(*.at))]
    InvalidValue {
        /// Which field.
        #[n(0)]
        field: Field,
        /// Of which member of the list that it is in, counted from 0.
        #[n(1)]
        at: Option<u32>,
        /// What is wrong, with the accepted range.
        #[n(2)]
        fault: ValueFault,
    },
    /// The id was spent on another command. Whoever sees this and did not sign that one should look
    /// at it: the id was drawn twice, or overheard.
    #[n(7)]
    #[error("its id was spent on another command, entry {index}; sign it again under a new id")]
    IdOfAnother {
        /// The entry of the other command.
        #[n(0)]
        index: Index,
    },

    /// The epoch is not the next one.
    #[n(10)]
    #[error("the next key epoch is {expected}, not {requested}")]
    EpochNotNext {
        /// The next epoch.
        #[n(0)]
        expected: Epoch,
        /// Asked for.
        #[n(1)]
        requested: Epoch,
    },
    /// A key is weak, not canonical, not torsion-free, or no curve point.
    #[n(11)]
    #[error("key {key} is not acceptable: {fault}")]
    UnacceptableKey {
        /// The key.
        #[n(0)]
        key: PublicKey,
        /// What is wrong.
        #[n(1)]
        fault: KeyFault,
    },
    /// A key stands twice, or in two roles.
    #[n(12)]
    #[error("key {key} stands twice")]
    DuplicateKey {
        /// The key.
        #[n(0)]
        key: PublicKey,
    },
    /// A revoked key may not come back.
    #[n(13)]
    #[error("key {key} was revoked and may not return")]
    RevokedKeyReturns {
        /// The key.
        #[n(0)]
        key: PublicKey,
    },
    /// A threshold is zero or more than there are keys.
    #[n(14)]
    #[error("role {role} has {keys} key(s), a threshold of {threshold} does not fit")]
    ThresholdOutOfRange {
        /// The role.
        #[n(0)]
        role: Role,
        /// Asked for.
        #[n(1)]
        threshold: u16,
        /// How many keys there would be.
        #[n(2)]
        keys: u16,
    },
    /// Releases would be left without enough signatures.
    #[n(15)]
    #[error("would strand {} release(s), the first is {}; say so to go on", .releases.len(), .releases.first().map_or_else(String::new, ToString::to_string))]
    WouldStrand {
        /// The releases, at most 100 of them.
        #[n(0)]
        releases: Vec<ReleaseName>,
    },
    /// No such key.
    #[n(16)]
    #[error("no key {key}")]
    UnknownKey {
        /// The key.
        #[n(0)]
        key: PublicKey,
    },

    /// A release of this name exists.
    #[n(20)]
    #[error("a release named {name} exists")]
    ReleaseExists {
        /// Its name.
        #[n(0)]
        name: ReleaseName,
    },
    /// No such release.
    #[n(21)]
    #[error("no release {name}")]
    UnknownRelease {
        /// Asked for.
        #[n(0)]
        name: ReleaseName,
    },
    /// The release may not be offered any more.
    #[n(22)]
    #[error("release {name} was withdrawn")]
    ReleaseWithdrawn {
        /// Its name.
        #[n(0)]
        name: ReleaseName,
    },
    /// A release has too few valid signatures by distinct trusted release keys.
    #[n(23)]
    #[error("release {name} needs {needed} signature(s) by distinct release keys, has {found}")]
    ReleaseUnderSigned {
        /// Its name.
        #[n(0)]
        name: ReleaseName,
        /// How many it takes.
        #[n(1)]
        needed: u16,
        /// How many distinct trusted keys signed.
        #[n(2)]
        found: u16,
    },
    /// A signature on a release is by no trusted release key, or by the same key twice, or wrong.
    #[n(24)]
    #[error("release signature of key {key} refused: {fault}")]
    ReleaseSignatureRefused {
        /// The key.
        #[n(0)]
        key: PublicKey,
        /// What is wrong.
        #[n(1)]
        fault: SignatureFault,
    },

    /// A variant with these traits exists.
    #[n(30)]
    #[error("the variant is registered as number {variant}")]
    VariantExists {
        /// Its number.
        #[n(0)]
        variant: VariantId,
    },
    /// No such variant.
    #[n(31)]
    #[error("no variant {variant}")]
    UnknownVariant {
        /// Asked for.
        #[n(0)]
        variant: VariantId,
    },
    /// A floor never falls, and is not raised to where it stands.
    #[n(32)]
    #[error("the floor stands at {existing}; {requested} does not raise it")]
    FloorNotRaised {
        /// Where it stands.
        #[n(0)]
        existing: SecurityVersion,
        /// Asked for.
        #[n(1)]
        requested: SecurityVersion,
    },
    /// Devices would have nowhere to fall back to.
    #[n(33)]
    #[error("floor {requested} is above recovery image {image} at {existing}")]
    FloorAboveRecoveryImage {
        /// The image.
        #[n(0)]
        image: ReleaseName,
        /// Its security version.
        #[n(1)]
        existing: SecurityVersion,
        /// Asked for.
        #[n(2)]
        requested: SecurityVersion,
    },
    /// A rollout could not go back.
    #[n(34)]
    #[error(
        "floor {requested} is above rollback target {release} ({existing}) of rollout {rollout}"
    )]
    FloorAboveRollbackTarget {
        /// The rollout.
        #[n(0)]
        rollout: RolloutId,
        /// The target.
        #[n(1)]
        release: ReleaseName,
        /// Its security version.
        #[n(2)]
        existing: SecurityVersion,
        /// Asked for.
        #[n(3)]
        requested: SecurityVersion,
    },
    /// A rollout that has begun or waits would fall below.
    #[n(35)]
    #[error("floor {requested} is above release {release} ({existing}) of rollout {rollout}")]
    FloorAboveRollout {
        /// The rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Its release.
        #[n(1)]
        release: ReleaseName,
        /// Its security version.
        #[n(2)]
        existing: SecurityVersion,
        /// Asked for.
        #[n(3)]
        requested: SecurityVersion,
    },
    /// A release, image or target lies below a floor.
    #[n(36)]
    #[error("{release} has security version {requested}, below the floor of {existing} for {}/{}", .scope.component, .scope.selector)]
    BelowFloor {
        /// What lies below.
        #[n(0)]
        release: ReleaseName,
        /// Whose floor.
        #[n(1)]
        scope: Box<Scope>,
        /// The floor.
        #[n(2)]
        existing: SecurityVersion,
        /// Its security version.
        #[n(3)]
        requested: SecurityVersion,
    },

    /// No such rollout.
    #[n(40)]
    #[error("no rollout {rollout}")]
    UnknownRollout {
        /// Asked for.
        #[n(0)]
        rollout: RolloutId,
    },
    /// The rollout is not where it would have to be.
    #[n(41)]
    #[error("rollout {rollout} is {existing}; {}", fault::needs(*.requested, .needed))]
    WrongLife {
        /// The rollout.
        #[n(0)]
        rollout: RolloutId,
        /// Where it stands.
        #[n(1)]
        existing: LifeStage,
        /// The kind of the command that was asked for.
        #[n(2)]
        requested: u16,
        /// Where it would have to be: one of these.
        #[n(3)]
        needed: Vec<LifeStage>,
    },
    /// Another rollout of the component is under way in an overlapping audience.
    #[n(42)]
    #[error("overlaps rollout {existing}: name it in `supersedes`, or give both a `priority`")]
    Overlaps {
        /// The other rollout.
        #[n(0)]
        existing: RolloutId,
    },
    /// A halt bars the release from this audience.
    #[n(43)]
    #[error("release {release} is barred by the halt of rollout {halted} until a quorum lifts it")]
    BarredByHalt {
        /// The release.
        #[n(0)]
        release: ReleaseName,
        /// The halted rollout.
        #[n(1)]
        halted: RolloutId,
    },
    /// There is nowhere to go back to.
    #[n(44)]
    #[error(
        "no rollback target for part of the audience: set a baseline, name one, or say fix_forward_only"
    )]
    NoRollbackTarget,
    /// The named rollback target does not fit.
    #[n(45)]
    #[error("{release} is no rollback target: {fault}")]
    BadRollbackTarget {
        /// The release.
        #[n(0)]
        release: ReleaseName,
        /// What is wrong.
        #[n(1)]
        fault: TargetFault,
    },
    /// The wave is not the current one.
    #[n(46)]
    #[error("the current wave is {}, not {requested}", .existing.map_or_else(|| "none".to_owned(), |wave| wave.to_string()))]
    WrongWave {
        /// The current wave.
        #[n(0)]
        existing: Option<WaveIndex>,
        /// Asked for.
        #[n(1)]
        requested: WaveIndex,
    },
    /// The change would reach devices that nobody approved, or changes what is history.
    #[n(47)]
    #[error("amendment refused: {fault}")]
    AmendmentRefused {
        /// What is wrong.
        #[n(0)]
        fault: AmendmentFault,
    },
    /// A superseded rollout does not fit.
    #[n(48)]
    #[error("rollout {existing} cannot be superseded: {fault}")]
    CannotSupersede {
        /// The other rollout.
        #[n(0)]
        existing: RolloutId,
        /// What is wrong.
        #[n(1)]
        fault: SupersessionFault,
    },
    /// The gates are not through.
    #[n(49)]
    #[error("wave {wave} has not passed its gate")]
    GateNotPassed {
        /// The wave.
        #[n(0)]
        wave: WaveIndex,
    },

    /// No such stop.
    #[n(60)]
    #[error("no emergency stop {stop}")]
    UnknownStop {
        /// Asked for.
        #[n(0)]
        stop: StopId,
    },
    /// No such hold.
    #[n(61)]
    #[error("the device is not held")]
    UnknownHold,

    /// No such session.
    #[n(70)]
    #[error("no session {session}")]
    UnknownSession {
        /// Asked for.
        #[n(0)]
        session: SessionId,
    },
    /// The session is over.
    #[n(71)]
    #[error("session {session} is over")]
    SessionOver {
        /// The session.
        #[n(0)]
        session: SessionId,
    },
    /// A report counts more exposures than were granted.
    #[n(73)]
    #[error("reports {requested} exposures where {existing} admissions are granted")]
    ReportExceedsGrants {
        /// Granted and not returned.
        #[n(0)]
        existing: u64,
        /// Reported.
        #[n(1)]
        requested: u64,
    },
    /// A tally does not add up.
    #[n(74)]
    #[error("a tally of rollout {rollout} does not add up: {fault}")]
    TallyInconsistent {
        /// The rollout.
        #[n(0)]
        rollout: RolloutId,
        /// What is wrong.
        #[n(1)]
        fault: TallyFault,
    },
    /// Nothing can be granted now.
    #[n(75)]
    #[error("no admissions: {limit}")]
    NoAdmissions {
        /// What binds.
        #[n(0)]
        limit: AdmissionLimit,
    },
    /// More comes back than is held.
    #[n(76)]
    #[error("{requested} admissions come back where {existing} are held")]
    ReturnExceedsHeld {
        /// Held.
        #[n(0)]
        existing: u64,
        /// Asked for.
        #[n(1)]
        requested: u64,
    },
    /// An anchor goes back.
    #[n(77)]
    #[error("the anchor has {requested} records, the last one had {existing}")]
    AnchorGoesBack {
        /// The last one.
        #[n(0)]
        existing: u64,
        /// This one.
        #[n(1)]
        requested: u64,
    },
    /// A session is not closed by an envelope of which an operation was refused.
    #[n(78)]
    #[error("another operation of the envelope was refused: what it was to tell is not told")]
    CloseAfterRefusal,
    /// The envelope is not what the session does next.
    #[n(79)]
    #[error(transparent)]
    OutOfTurn(#[n(0)] OutOfTurn),

    /// The membership does not fit.
    #[n(80)]
    #[error("membership refused: {fault}")]
    BadMembership {
        /// What is wrong.
        #[n(0)]
        fault: MembershipFault,
    },
    /// The state version does not rise, or this build does not know it.
    #[n(81)]
    #[error("state version is {existing}, cannot become {requested}")]
    BadStateVersion {
        /// The current one.
        #[n(0)]
        existing: StateVersion,
        /// Asked for.
        #[n(1)]
        requested: StateVersion,
    },
}
