//! What there may be only so much of.
use crate::{id::StopId, key::Role, rollout::LifeStage};
use minicbor::{Decode, Encode};

/// What there may be only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Limit {
    /// `commands_max`.
    #[n(0)]
    #[error("command ids of the last seven days")]
    CommandIds,
    /// Keys that a role ever had.
    #[n(1)]
    #[error("keys of role {role}, retired and revoked ones included")]
    Keys {
        /// The role.
        #[n(0)]
        role: Role,
    },
    /// `releases_max`.
    #[n(2)]
    #[error("releases")]
    Releases,
    /// `variants_max`.
    #[n(3)]
    #[error("variants")]
    Variants,
    /// `rollouts_max`.
    #[n(4)]
    #[error("rollouts that are not over")]
    Rollouts,
    /// `scopes_max`, for halts that nobody lifted.
    #[n(5)]
    #[error("bars of halted rollouts")]
    Bars,
    /// Parts of an audience with another way back each.
    #[n(6)]
    #[error("rules of a rollback plan: name one target, or a narrower audience")]
    RollbackRules,
    /// `scopes_max`, for floors.
    #[n(7)]
    #[error("floors")]
    Floors,
    /// `scopes_max`, for recovery images.
    #[n(8)]
    #[error("recovery images")]
    RecoveryImages,
    /// `stops_max`.
    #[n(9)]
    #[error("emergency stops")]
    Stops,
    /// `scopes_max`, for policies of regions.
    #[n(10)]
    #[error("region policies")]
    RegionPolicies,
    /// `holds_max`.
    #[n(11)]
    #[error("holds")]
    Holds,
    /// `sessions_max`.
    #[n(12)]
    #[error("open sessions")]
    Sessions,
    /// `report_tallies_max`.
    #[n(13)]
    #[error("tallies in one report")]
    ReportTallies,
    /// `scopes_max`, for baselines.
    #[n(14)]
    #[error("baselines")]
    Baselines,
    /// Release channels besides the default one.
    #[n(15)]
    #[error("release channels")]
    Channels,
    /// Releases and recovery images that a floor takes away at once.
    #[n(16)]
    #[error("releases and recovery images that one floor retires: raise it part by part")]
    Retired,
    /// Exceptions of the baselines that a completion sets: excluded variants, once for each.
    #[n(17)]
    #[error("variants that new baselines leave out: complete with fewer selectors or channels")]
    Exceptions,
}

/// What keeps a pool from more admissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum AdmissionLimit {
    /// The cap of a wave is reached.
    #[n(0)]
    #[error("cap")]
    Cap,
    /// As many exposures as the credit are unresolved.
    #[n(1)]
    #[error("credit")]
    Credit,
    /// As many as an hour may see were let in.
    #[n(2)]
    #[error("pacing")]
    Pacing,
    /// The stratum is in no audience of the rollout.
    #[n(3)]
    #[error("audience: the stratum is not in it")]
    NotInAudience,
    /// The wave is not open.
    #[n(4)]
    #[error("wave: it is not open")]
    WaveClosed,
    /// An emergency stop covers the variant.
    #[n(5)]
    #[error("stop: emergency stop {stop} is in force")]
    Stopped {
        /// Which.
        #[n(0)]
        stop: StopId,
    },
    /// The rollout does not run.
    #[n(6)]
    #[error("wave: the rollout is {life}")]
    NotRunning {
        /// Where it stands.
        #[n(0)]
        life: LifeStage,
    },
    /// The variant is not sent back.
    #[n(7)]
    #[error("wave: nobody goes back, the rollout is {life}")]
    NotReturning {
        /// Where it stands.
        #[n(0)]
        life: LifeStage,
    },
    /// The variant is excluded.
    #[n(8)]
    #[error("wave: the variant is excluded")]
    Excluded,
}
