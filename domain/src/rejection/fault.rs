//! What does not fit to what there is: codes with their numbers, and the words for them.
use crate::{
    command::Command,
    id::{Component, NodeId, PublicKey, WaveIndex},
    rollout::LifeStage,
    variant::VariantTraits,
};
use minicbor::{Decode, Encode};

/// What is wrong with a signature on a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum SignatureFault {
    /// The key signs no more.
    #[n(0)]
    #[error("the key is retired")]
    Retired,
    /// The key lost all trust.
    #[n(1)]
    #[error("the key is revoked")]
    Revoked,
    /// The key is in another role, or in none.
    #[n(2)]
    #[error("it is no release key")]
    NoReleaseKey,
    /// The key has signed before.
    #[n(3)]
    #[error("the key signs twice")]
    Twice,
    /// It is over other bytes, or garbage.
    #[n(4)]
    #[error("it does not verify over the manifest")]
    DoesNotVerify,
}

/// Why devices cannot go back to a release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum TargetFault {
    /// It updates something else.
    #[n(0)]
    #[error("it is of component {component}")]
    OtherComponent {
        /// What it updates.
        #[n(0)]
        component: Component,
    },
    /// It is the release of the rollout.
    #[n(1)]
    #[error("it is the release of the rollout itself")]
    SameRelease,
    /// The baseline is the release of the rollout.
    #[n(2)]
    #[error("the baseline is the release of the rollout itself: name a target")]
    SameAsBaseline,
    /// Part of the audience cannot install it.
    #[n(3)]
    #[error("it has no payload for variant {traits}")]
    NoPayload {
        /// Which part.
        #[n(0)]
        traits: VariantTraits,
    },
    /// It is not there.
    #[n(4)]
    #[error("there is no such release")]
    Unknown,
    /// It was withdrawn.
    #[n(5)]
    #[error("it was withdrawn")]
    Withdrawn,
    /// Keys that signed it are not trusted any more.
    #[n(6)]
    #[error("it needs {needed} signature(s) by distinct release keys, has {found}")]
    UnderSigned {
        /// How many it takes.
        #[n(0)]
        needed: u16,
        /// How many distinct trusted keys signed.
        #[n(1)]
        found: u16,
    },
}

/// What may not be amended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum AmendmentFault {
    /// The release.
    #[n(0)]
    #[error("another release takes another rollout")]
    OtherRelease,
    /// The way back.
    #[n(1)]
    #[error("the rollback target was frozen when the rollout was created")]
    OtherTarget,
    /// What it takes the place of.
    #[n(2)]
    #[error("what it supersedes was decided when it was created")]
    OtherSupersedes,
    /// The share that is kept as control.
    #[n(3)]
    #[error("the control arm is fixed once the first wave is open")]
    ControlFixed,
    /// A wave that was opened.
    #[n(4)]
    #[error("wave {wave} was opened and cannot be taken away")]
    WaveGone {
        /// Which.
        #[n(0)]
        wave: WaveIndex,
    },
    /// A cap below what was let in.
    #[n(5)]
    #[error(
        "{admitted} devices were admitted up to wave {wave}, more than the new cap of {cap} allows"
    )]
    CapBelowAdmitted {
        /// Of which wave.
        #[n(0)]
        wave: WaveIndex,
        /// Let in up to it.
        #[n(1)]
        admitted: u64,
        /// Asked for.
        #[n(2)]
        cap: u64,
    },
    /// Whom an open wave lets in.
    #[n(6)]
    #[error(
        "wave {wave} is open: its name, target and ring are history; exclude variants, lower the \
         cap, or pause instead"
    )]
    OpenWave {
        /// Which.
        #[n(0)]
        wave: WaveIndex,
    },
    /// The soak of a wave that is through.
    #[n(7)]
    #[error("wave {wave} has passed: its soak is history")]
    PassedWave {
        /// Which.
        #[n(0)]
        wave: WaveIndex,
    },
}

/// Why one rollout cannot take the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum SupersessionFault {
    /// It is not there.
    #[n(0)]
    #[error("there is no such rollout")]
    Unknown,
    /// It updates something else.
    #[n(1)]
    #[error("it is of another component")]
    OtherComponent,
    /// It is for other devices.
    #[n(2)]
    #[error("its audience does not overlap")]
    OtherAudience,
    /// It reached nobody yet.
    #[n(3)]
    #[error("it has not started; amend it instead")]
    NotStarted,
    /// Its devices are on their way back.
    #[n(4)]
    #[error("it is rolling back; halt it first, or let it finish")]
    RollingBack,
}

/// Why a tally cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum TallyFault {
    /// A counter that sums could overflow with.
    #[n(0)]
    #[error("a counter is {value}, at most {max} is accepted")]
    TooGreat {
        /// The greatest.
        #[n(0)]
        value: u64,
        /// Accepted.
        #[n(1)]
        max: u64,
    },
    /// Silence is counted here, not there.
    #[n(1)]
    #[error("silence is derived, never reported")]
    Silence,
    /// A part is greater than its whole.
    #[n(2)]
    #[error("a part is greater than its whole")]
    PartBeyondWhole,
    /// The latency histogram has another number of buckets.
    #[n(3)]
    #[error("the latency histogram has {found} buckets, not {needed}")]
    Buckets {
        /// There are.
        #[n(0)]
        found: u64,
        /// There must be, unless there are none.
        #[n(1)]
        needed: u64,
    },
    /// The rollout has no such wave.
    #[n(4)]
    #[error("there is no wave {wave}")]
    UnknownWave {
        /// Which.
        #[n(0)]
        wave: WaveIndex,
    },
    /// Nobody can have been let in.
    #[n(5)]
    #[error("wave {wave} is not open")]
    WaveClosed {
        /// Which.
        #[n(0)]
        wave: WaveIndex,
    },
    /// The variant is not registered.
    #[n(6)]
    #[error("there is no such variant")]
    UnknownVariant,
    /// Nobody can have been let in yet.
    #[n(7)]
    #[error("the cohort lies in the future")]
    FutureCohort,
    /// The channel is not registered.
    #[n(8)]
    #[error("there is no such channel")]
    UnknownChannel,
}

/// What is wrong with a list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum MembershipFault {
    /// There are too many.
    #[n(0)]
    #[error("{count} members, at most {max}")]
    TooMany {
        /// How many there would be.
        #[n(0)]
        count: u64,
        /// Accepted.
        #[n(1)]
        max: u64,
    },
    /// They are in another order, or a number stands twice.
    #[n(1)]
    #[error("members stand sorted by number, each number once")]
    Unsorted,
    /// There would be no voter.
    #[n(2)]
    #[error("nobody would vote")]
    NoVoter,
    /// Numbers are never used again.
    #[n(3)]
    #[error("number {node} was a node's that is gone")]
    NumberUsed {
        /// The number.
        #[n(0)]
        node: NodeId,
    },
    /// The address is empty, or too long.
    #[n(4)]
    #[error("the address of node {node} has {bytes} bytes, 1 to {max} are accepted")]
    AddressLength {
        /// Whose.
        #[n(0)]
        node: NodeId,
        /// Its length.
        #[n(1)]
        bytes: u64,
        /// Accepted.
        #[n(2)]
        max: u64,
    },
    /// Another node has the address.
    #[n(5)]
    #[error("the address of node {node} stands twice")]
    AddressTwice {
        /// The second of the two.
        #[n(0)]
        node: NodeId,
    },
    /// The key is not trusted with checkpoints.
    #[n(6)]
    #[error("{key} of node {node} is no trusted checkpoint key")]
    NoCheckpointKey {
        /// Whose.
        #[n(0)]
        node: NodeId,
        /// The key.
        #[n(1)]
        key: PublicKey,
    },
    /// Another node has the key.
    #[n(7)]
    #[error("checkpoint key {key} of node {node} stands twice")]
    KeyTwice {
        /// The second of the two.
        #[n(0)]
        node: NodeId,
        /// The key.
        #[n(1)]
        key: PublicKey,
    },
}

/// The name of a command's kind.
pub(super) fn kind_name(number: u16) -> String {
    Command::kind_name(number).map_or_else(|| format!("kind {number:#06x}"), str::to_owned)
}

/// Where a command needs a rollout to be.
pub(super) fn needs(command: u16, stages: &[LifeStage]) -> String {
    let mut words = String::new();
    for (at, stage) in stages.iter().enumerate() {
        words.push_str(match stages.len().saturating_sub(at) {
            _ if at == 0 => "",
            1 => " or ",
            _ => ", ",
        });
        words.push_str(stage.name());
    }
    format!("{} needs it to be {words}", kind_name(command))
}
