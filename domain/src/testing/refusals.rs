//! One refusal of every kind, for tests that must leave none out.
mod values;

use super::{component, scope, traits};
use crate::{
    id::{
        Epoch, Index, Instance, LogTime, Millis, NodeId, PublicKey, ReleaseName, Revision,
        RolloutId, SecurityVersion, Sequence, SessionId, StateVersion, StopId, VariantId,
        WaveIndex,
    },
    key::Role,
    rejection::{
        AdmissionLimit, AmendmentFault, Field, MalformedFault, MembershipFault, OutOfTurn,
        Rejection, SignatureFault, SupersessionFault, TallyFault, TargetFault, Unauthorized,
        ValueFault,
    },
    rollout::LifeStage,
    signature::KeyFault,
};

const KEY: PublicKey = PublicKey([7; 32]);
const ROLLOUT: RolloutId = RolloutId(1);
const WAVE: WaveIndex = WaveIndex(2);
const SESSION: SessionId = SessionId(5);
const NODE: NodeId = NodeId(4);

fn named() -> ReleaseName {
    "named-os-1".parse().expect("a release name")
}

/// One refusal of every kind, and of every fault that one of them may name. Each name in them
/// begins with `named-`: whatever else is text in one was not given to us by anybody.
pub fn every_refusal() -> Vec<Rejection> {
    let mut all = plain();
    all.extend(about_releases());
    all.extend(about_targets());
    all.extend(about_rollouts());
    all.extend(about_sessions());
    all.extend(about_nodes());
    all.extend(unauthorized().into_iter().map(Rejection::from));
    all.extend(
        values::faults()
            .into_iter()
            .map(|fault| Rejection::InvalidValue {
                field: Field::Key,
                at: None,
                fault,
            }),
    );
    all.extend(Field::ALL.iter().map(|field| Rejection::InvalidValue {
        field: *field,
        at: Some(3),
        fault: ValueFault::Twice,
    }));
    let max = 3;
    let limits = values::limits().into_iter();
    all.extend(limits.map(|what| Rejection::LimitReached { what, max }));
    all
}

fn unauthorized() -> Vec<Unauthorized> {
    let (bytes, max, count) = (9, 8, 9);
    let malformed = [
        MalformedFault::TooLong { bytes, max },
        MalformedFault::Envelope,
        MalformedFault::Body,
        MalformedFault::Arguments,
        MalformedFault::UnknownKind { kind: 0x00f0 },
        MalformedFault::OtherArguments,
        MalformedFault::NoArguments,
        MalformedFault::ArgumentsTwice,
        MalformedFault::ArgumentsTooLong { bytes, max },
        MalformedFault::PaeTooLong { bytes, max },
        MalformedFault::TooManySignatures { count, max },
        MalformedFault::SignaturesUnsorted,
    ];
    let mut all: Vec<Unauthorized> = malformed
        .into_iter()
        .map(|fault| Unauthorized::Malformed { fault })
        .collect();
    all.extend([
        Unauthorized::OtherOrigin {
            existing: "named-here".to_owned(),
            requested: "named-there".to_owned(),
        },
        Unauthorized::OtherEpoch {
            existing: Epoch(2),
            requested: Epoch(1),
        },
        Unauthorized::OtherBase {
            requested: Index(9),
        },
        Unauthorized::TooFewSignatures {
            role: Role::Operator,
            needed: 2,
            found: 1,
        },
        Unauthorized::BadSignature { key: KEY },
        Unauthorized::OtherSession { session: SESSION },
        Unauthorized::NoKeys,
    ]);
    all
}

fn plain() -> Vec<Rejection> {
    let (existing, requested) = (Revision(3), Revision(2));
    let mut all = vec![
        Rejection::AlreadyApplied { index: Index(3) },
        Rejection::OutsideValidity {
            not_before: LogTime(1),
            not_after: LogTime(2),
            now: LogTime(3),
        },
        Rejection::ValidityTooLong {
            requested: Millis(2),
            max: Millis(1),
        },
        Rejection::RevisionMismatch {
            existing,
            requested,
        },
        Rejection::IdOfAnother { index: Index(3) },
        Rejection::EpochNotNext {
            expected: Epoch(2),
            requested: Epoch(3),
        },
        Rejection::DuplicateKey { key: KEY },
        Rejection::RevokedKeyReturns { key: KEY },
        Rejection::ThresholdOutOfRange {
            role: Role::Root,
            threshold: 3,
            keys: 2,
        },
        Rejection::WouldStrand {
            releases: vec![named()],
        },
        Rejection::UnknownKey { key: KEY },
    ];
    let faults = [
        KeyFault::NotAPoint,
        KeyFault::NotCanonical,
        KeyFault::Weak,
        KeyFault::Torsion,
    ];
    all.extend(faults.map(|fault| Rejection::UnacceptableKey { key: KEY, fault }));
    all
}

fn about_releases() -> Vec<Rejection> {
    let (existing, requested) = (SecurityVersion(2), SecurityVersion(3));
    let (needed, found) = (2, 1);
    let (name, release, rollout) = (named(), named(), ROLLOUT);
    let mut all = vec![
        Rejection::ReleaseExists { name: named() },
        Rejection::UnknownRelease { name: named() },
        Rejection::ReleaseWithdrawn { name: named() },
        Rejection::ReleaseUnderSigned {
            name,
            needed,
            found,
        },
        Rejection::VariantExists {
            variant: VariantId(1),
        },
        Rejection::UnknownVariant {
            variant: VariantId(1),
        },
        Rejection::FloorNotRaised {
            existing,
            requested: existing,
        },
        Rejection::FloorAboveRecoveryImage {
            image: named(),
            existing,
            requested,
        },
        Rejection::FloorAboveRollbackTarget {
            rollout,
            release: named(),
            existing,
            requested,
        },
        Rejection::FloorAboveRollout {
            rollout,
            release: named(),
            existing,
            requested,
        },
        Rejection::BelowFloor {
            release,
            scope: Box::new(scope("named-os", "named-m1/*/*/*")),
            existing: requested,
            requested: existing,
        },
    ];
    let faults = [
        SignatureFault::Retired,
        SignatureFault::Revoked,
        SignatureFault::NoReleaseKey,
        SignatureFault::Twice,
        SignatureFault::DoesNotVerify,
    ];
    all.extend(faults.map(|fault| Rejection::ReleaseSignatureRefused { key: KEY, fault }));
    all
}

fn about_targets() -> Vec<Rejection> {
    let (needed, found) = (2, 1);
    let faults = [
        TargetFault::OtherComponent {
            component: component("named-os"),
        },
        TargetFault::SameRelease,
        TargetFault::SameAsBaseline,
        TargetFault::NoPayload {
            traits: traits("named-m1/named-r1/named-eu/named-none"),
        },
        TargetFault::Unknown,
        TargetFault::Withdrawn,
        TargetFault::UnderSigned { needed, found },
    ];
    let refused = faults.map(|fault| Rejection::BadRollbackTarget {
        release: named(),
        fault,
    });
    refused.to_vec()
}

fn about_rollouts() -> Vec<Rejection> {
    let (rollout, wave, existing) = (ROLLOUT, WAVE, ROLLOUT);
    let mut all = vec![
        Rejection::UnknownRollout { rollout },
        Rejection::WrongLife {
            rollout,
            existing: LifeStage::Draft,
            requested: 0x0042,
            needed: stages().to_vec(),
        },
        Rejection::Overlaps { existing },
        Rejection::BarredByHalt {
            release: named(),
            halted: rollout,
        },
        Rejection::NoRollbackTarget,
        Rejection::WrongWave {
            existing: None,
            requested: wave,
        },
        Rejection::WrongWave {
            existing: Some(WaveIndex(1)),
            requested: wave,
        },
        Rejection::GateNotPassed { wave },
        Rejection::UnknownStop { stop: StopId(1) },
        Rejection::UnknownHold,
    ];
    let (admitted, cap) = (9, 8);
    let faults = [
        AmendmentFault::OtherRelease,
        AmendmentFault::OtherTarget,
        AmendmentFault::OtherSupersedes,
        AmendmentFault::ControlFixed,
        AmendmentFault::WaveGone { wave },
        AmendmentFault::CapBelowAdmitted {
            wave,
            admitted,
            cap,
        },
        AmendmentFault::OpenWave { wave },
        AmendmentFault::PassedWave { wave },
    ];
    all.extend(faults.map(|fault| Rejection::AmendmentRefused { fault }));
    let faults = [
        SupersessionFault::Unknown,
        SupersessionFault::OtherComponent,
        SupersessionFault::OtherAudience,
        SupersessionFault::NotStarted,
        SupersessionFault::RollingBack,
    ];
    all.extend(faults.map(|fault| Rejection::CannotSupersede { existing, fault }));
    all
}

const fn stages() -> [LifeStage; 9] {
    [
        LifeStage::Draft,
        LifeStage::Approved,
        LifeStage::Running,
        LifeStage::Paused,
        LifeStage::Halted,
        LifeStage::RollingBack,
        LifeStage::RolledBack,
        LifeStage::Superseded,
        LifeStage::Completed,
    ]
}

fn about_sessions() -> Vec<Rejection> {
    let (session, rollout) = (SESSION, ROLLOUT);
    let (existing, requested) = (3, 4);
    let mut all = vec![
        Rejection::UnknownSession { session },
        Rejection::SessionOver { session },
        Rejection::CloseAfterRefusal,
        Rejection::ReportExceedsGrants {
            existing,
            requested,
        },
        Rejection::ReturnExceedsHeld {
            existing,
            requested,
        },
        Rejection::AnchorGoesBack {
            existing,
            requested,
        },
    ];
    let out_of_turn = [
        OutOfTurn::OtherInstance {
            existing: Instance(2),
            requested: Instance(1),
        },
        OutOfTurn::SequenceOutOfOrder {
            expected: Sequence(3),
            requested: Sequence(4),
        },
        OutOfTurn::SequenceOfAnother { index: Index(9) },
        OutOfTurn::TooManyOperations {
            max: existing,
            requested,
        },
    ];
    all.extend(out_of_turn.map(Rejection::from));
    let wave = WAVE;
    let tallies = [
        TallyFault::TooGreat { value: 9, max: 8 },
        TallyFault::Silence,
        TallyFault::PartBeyondWhole,
        TallyFault::Buckets {
            found: 3,
            needed: 4,
        },
        TallyFault::UnknownWave { wave },
        TallyFault::WaveClosed { wave },
        TallyFault::UnknownVariant,
        TallyFault::FutureCohort,
        TallyFault::UnknownChannel,
    ];
    all.extend(tallies.map(|fault| Rejection::TallyInconsistent { rollout, fault }));
    let life = LifeStage::Halted;
    let admissions = [
        AdmissionLimit::Cap,
        AdmissionLimit::Credit,
        AdmissionLimit::Pacing,
        AdmissionLimit::NotInAudience,
        AdmissionLimit::WaveClosed,
        AdmissionLimit::Stopped { stop: StopId(1) },
        AdmissionLimit::NotRunning { life },
        AdmissionLimit::NotReturning { life },
        AdmissionLimit::Excluded,
    ];
    all.extend(admissions.map(|limit| Rejection::NoAdmissions { limit }));
    all
}

fn about_nodes() -> Vec<Rejection> {
    let (node, key, count, bytes, max) = (NODE, KEY, 65, 300, 256);
    let mut all = vec![Rejection::BadStateVersion {
        existing: StateVersion(1),
        requested: StateVersion(3),
    }];
    let members = [
        MembershipFault::TooMany { count, max },
        MembershipFault::Unsorted,
        MembershipFault::NoVoter,
        MembershipFault::NumberUsed { node },
        MembershipFault::AddressLength { node, bytes, max },
        MembershipFault::AddressTwice { node },
        MembershipFault::NoCheckpointKey { node, key },
        MembershipFault::KeyTwice { node, key },
    ];
    all.extend(members.map(|fault| Rejection::BadMembership { fault }));
    all
}
