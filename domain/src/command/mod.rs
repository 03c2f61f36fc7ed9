//! Commands: what can be asked of the cluster, and the signed envelope in which it is asked.
#[macro_use]
mod declare;
mod envelope;
#[cfg(feature = "bench")]
mod filler;
mod fleet;
mod operation;

pub use envelope::{
    Arguments, Base, COMMAND_PAYLOAD_TYPE, CommandBody, DETACHED_BYTES_MAX, ENVELOPE_BYTES_MAX,
    EnvelopeError, PAE_BYTES_MAX, Proposal, SIGNATURES_MAX, Signature, SignedCommand, VALIDITY_MAX,
    pae, seal,
};
#[cfg(feature = "bench")]
pub use filler::BenchFiller;
pub use fleet::{DeclareRecoveryImage, RaiseFloor, RegisterChannel, RegisterVariant};
pub use operation::{OPERATIONS_MAX, Operation, Tally};

use crate::{
    config::{ClusterConfig, Member},
    guard::{HoldKey, HoldKind, RegionPolicy, StopCovers, StopScope},
    id::{
        Epoch, Instance, LogTime, PublicKey, Reason, Region, ReleaseName, RolloutId, Sequence,
        SessionId, StateVersion, StopId, VariantId, WaveIndex,
    },
    key::ProposedRole,
    rollout::RolloutSpec,
};
use minicbor::{Decode, Encode};

/// Why arguments do not decode.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentsError {
    /// This build knows no such kind.
    #[error("unknown command kind {0:#06x}")]
    UnknownKind(u16),
    /// Not canonical.
    #[error(transparent)]
    Canonical(#[from] crate::canonical::CanonicalError),
}

commands! {
    /// Begins the next key epoch.
    RotateKeys = 0x0012,
    /// Takes all trust from one key.
    RevokeKey = 0x0011,
    /// Registers a signed release.
    RegisterRelease = 0x0020,
    /// Adds signatures to a release.
    AddReleaseSignatures = 0x0021,
    /// Withdraws a release for good.
    RevokeRelease = 0x0022,
    /// Registers a hardware variant.
    RegisterVariant = 0x0030,
    /// Declares what devices fall back to.
    DeclareRecoveryImage = 0x0031,
    /// Raises a floor.
    RaiseFloor = 0x0032,
    /// Registers a release channel.
    RegisterChannel = 0x0033,
    /// Writes a rollout down.
    CreateRollout = 0x0040,
    /// Approves a rollout.
    ApproveRollout = 0x0041,
    /// Starts an approved rollout.
    StartRollout = 0x0042,
    /// Overrides the gate of the current wave.
    AdvanceWave = 0x0043,
    /// Pauses a rollout.
    PauseRollout = 0x0044,
    /// Resumes a paused rollout, or lifts the halt of a halted one.
    ResumeRollout = 0x0045,
    /// Halts a rollout.
    HaltRollout = 0x0046,
    /// Sends devices back.
    RollBack = 0x0047,
    /// Completes a rollout.
    CompleteRollout = 0x0048,
    /// Changes a rollout.
    AmendRollout = 0x0049,
    /// Takes a variant out of a rollout.
    ExcludeVariant = 0x004a,
    /// Shortens soak for an emergency.
    ExpediteRollout = 0x004b,
    /// Stops everything in a scope.
    EmergencyStop = 0x0050,
    /// Lifts an emergency stop.
    LiftStop = 0x0051,
    /// Says what a region allows.
    SetRegionPolicy = 0x0052,
    /// Holds one device, or lets it go.
    SetHold = 0x0053,
    /// Opens a decision node's session.
    OpenSession = 0x0060,
    /// Gives a dead session up.
    WriteOffBudget = 0x0064,
    /// What a session asks for and reports: all of it under one signature.
    AdvanceSession = 0x0066,
    /// Moves log time on.
    Tick = 0x0070,
    /// Changes which store nodes there are.
    ChangeMembership = 0x0080,
    /// Changes the replicated configuration.
    SetClusterConfig = 0x0081,
    /// Activates newer rules of `apply`.
    RaiseStateVersion = 0x0082,
    /// Takes room in the log and changes nothing, for benches: nobody has to sign it.
    #[cfg(feature = "bench")]
    BenchFiller = 0x00f0,
}

arguments! {
    /// Arguments of [`Command::RotateKeys`]: signed by thresholds of the old and the new root keys.
    RotateKeys {
        /// The epoch that begins: the current one plus one.
        #[n(0)] epoch: Epoch,
        /// The trusted keys from then on, sorted by role.
        #[n(1)] roles: Vec<ProposedRole>,
        /// Goes on although registered releases would be left without enough signatures.
        #[n(2)] strand: bool,
    }
}
arguments! {
    /// Arguments of [`Command::RevokeKey`].
    RevokeKey {
        /// The key.
        #[n(0)] key: PublicKey,
        /// Why.
        #[n(1)] reason: Reason,
        /// Goes on although registered releases would be left without enough signatures.
        #[n(2)] strand: bool,
    }
}
arguments! {
    /// Arguments of [`Command::RegisterRelease`].
    RegisterRelease {
        /// Canonical bytes of a [`crate::release::Manifest`], as signed.
        #[cbor(n(0), with = "minicbor::bytes")] manifest: Vec<u8>,
        /// Signatures over the PAE of the manifest.
        #[n(1)] signatures: Vec<Signature>,
    }
}
arguments! {
    /// Arguments of [`Command::AddReleaseSignatures`].
    AddReleaseSignatures {
        /// The release.
        #[n(0)] release: ReleaseName,
        /// More signatures over the PAE of its manifest.
        #[n(1)] signatures: Vec<Signature>,
    }
}
arguments! {
    /// Arguments of [`Command::RevokeRelease`].
    RevokeRelease {
        /// The release.
        #[n(0)] release: ReleaseName,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::CreateRollout`].
    CreateRollout {
        /// What is asked for.
        #[n(0)] spec: RolloutSpec,
    }
}
arguments! {
    /// Arguments of [`Command::ApproveRollout`].
    ApproveRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
    }
}
arguments! {
    /// Arguments of [`Command::StartRollout`].
    StartRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
    }
}
arguments! {
    /// Arguments of [`Command::AdvanceWave`].
    AdvanceWave {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// The wave whose gate is overridden: the current one, so that two overrides in flight
        /// don't skip two gates.
        #[n(1)] wave: WaveIndex,
        /// Why.
        #[n(2)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::PauseRollout`].
    PauseRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::ResumeRollout`].
    ResumeRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::HaltRollout`].
    HaltRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::RollBack`].
    RollBack {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::CompleteRollout`].
    CompleteRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
    }
}
arguments! {
    /// Arguments of [`Command::AmendRollout`].
    AmendRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// The whole spec as it shall be.
        #[n(1)] spec: RolloutSpec,
    }
}
arguments! {
    /// Arguments of [`Command::ExcludeVariant`].
    ExcludeVariant {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// The variant.
        #[n(1)] variant: VariantId,
        /// Why.
        #[n(2)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::ExpediteRollout`].
    ExpediteRollout {
        /// The rollout.
        #[n(0)] rollout: RolloutId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::EmergencyStop`].
    EmergencyStop {
        /// Whom it covers.
        #[n(0)] scope: StopScope,
        /// What it bars.
        #[n(1)] covers: StopCovers,
        /// Why.
        #[n(2)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::LiftStop`].
    LiftStop {
        /// The stop.
        #[n(0)] stop: StopId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::SetRegionPolicy`].
    SetRegionPolicy {
        /// The region.
        #[n(0)] region: Region,
        /// What it allows; its revision is set when it is applied.
        #[n(1)] policy: RegionPolicy,
    }
}
arguments! {
    /// Arguments of [`Command::SetHold`].
    SetHold {
        /// The device, and the component if not all.
        #[n(0)] key: HoldKey,
        /// What is held; absent lets go.
        #[n(1)] kind: Option<HoldKind>,
        /// Why.
        #[n(2)] reason: Reason,
        /// The first instant at which it holds no more.
        #[n(3)] expires: LogTime,
    }
}
arguments! {
    /// Arguments of [`Command::OpenSession`]: the signer's key is the session's.
    OpenSession {
        /// Where the node stands.
        #[n(0)] region: Region,
        /// Where other nodes forward outcomes to; `host:port`, at most 256 bytes.
        #[n(1)] address: String,
    }
}
arguments! {
    /// Arguments of [`Command::WriteOffBudget`]: all budgets of a session that will not come back.
    WriteOffBudget {
        /// The session.
        #[n(0)] session: SessionId,
        /// Why.
        #[n(1)] reason: Reason,
    }
}
arguments! {
    /// Arguments of [`Command::AdvanceSession`]: an envelope of a session's operations. It spends
    /// no command id: that it is the session's next one is what makes it apply once.
    AdvanceSession {
        /// The session.
        #[n(0)] session: SessionId,
        /// Which life of the node works under the session: 1 since it was opened.
        #[n(1)] instance: Instance,
        /// The number of the envelope: exactly the session's last plus one, from 1.
        #[n(2)] sequence: Sequence,
        /// What is to be done, in this order, at most [`OPERATIONS_MAX`]. Each sees the effects of
        /// those before it; one that is refused keeps none of the others from being done, but for
        /// [`Operation::Close`].
        #[n(3)] operations: Vec<Operation>,
    }
}

arguments! {
    /// Arguments of [`Command::Tick`]: none; the stamp is what it brings.
    Tick {}
}
arguments! {
    /// Arguments of [`Command::ChangeMembership`].
    ChangeMembership {
        /// All members as they shall be, sorted by number.
        #[n(0)] members: Vec<Member>,
    }
}
arguments! {
    /// Arguments of [`Command::SetClusterConfig`].
    SetClusterConfig {
        /// The whole configuration; its revision is set when it is applied.
        #[n(0)] config: ClusterConfig,
    }
}
arguments! {
    /// Arguments of [`Command::RaiseStateVersion`].
    RaiseStateVersion {
        /// The new version: greater than the current, known to this build.
        #[n(0)] version: StateVersion,
    }
}
