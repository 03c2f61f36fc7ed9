//! Settings that must be the same everywhere: replicated, changed only by command.
use crate::{
    id::{Millis, NodeId, Ppm, Region, Revision, StateVersion},
    release::SilenceHorizons,
};
use minicbor::{Decode, Encode};

/// The replicated configuration of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClusterConfig {
    /// How long a decision node may call its snapshot fresh, drift margin included.
    /// 1,000 to 60,000. Whoever controls it controls how long a halted release is still offered.
    #[n(0)]
    pub lease: Millis,
    /// What is taken off a lease for clock drift; less than the lease.
    #[n(1)]
    pub drift_margin: Millis,
    /// How long a decision node may go on with critical security releases that continue while it is
    /// stale, from the last renewal of its lease on; the drift margin is the same share of it.
    /// `lease` to 30 days: a halt binds nodes that are cut off after as long (HALT-1).
    #[n(2)]
    pub stale_max: Millis,
    /// When silence counts against a release, per kind.
    #[n(3)]
    pub silence: SilenceHorizons,
    /// How often decision nodes report.
    #[n(4)]
    pub report_interval: Millis,
    /// How long an offer stands when its rollout doesn't say.
    #[n(5)]
    pub offer_ttl: Millis,
    /// Most unresolved exposures of a stratum when its rollout doesn't say.
    #[n(6)]
    pub credit: u64,
    /// Share of the fleet that is in no rollout at all.
    #[n(7)]
    pub holdout: Ppm,
    /// How often devices should check in, on average.
    #[n(8)]
    pub poll_interval: Millis,
    /// How many entries at most lie between two entries that carry the state root.
    #[n(9)]
    pub root_interval: u64,
    /// Limits on what the state holds.
    #[n(10)]
    pub limits: Limits,
    /// The entry that last changed it.
    #[n(11)]
    pub revision: Revision,
}

/// Limits on what the state holds; over a limit is a refusal that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Limits {
    /// Most releases, revoked ones included.
    #[n(0)]
    pub releases_max: u32,
    /// Most rollouts that are not final.
    #[n(1)]
    pub rollouts_max: u32,
    /// Most waves of one rollout.
    #[n(2)]
    pub waves_max: u16,
    /// Most variants.
    #[n(3)]
    pub variants_max: u32,
    /// Most open sessions.
    #[n(4)]
    pub sessions_max: u32,
    /// Most holds.
    #[n(5)]
    pub holds_max: u32,
    /// Most emergency stops at once.
    #[n(6)]
    pub stops_max: u32,
    /// Most live command ids: bounds commands per seven days.
    #[n(7)]
    pub commands_max: u32,
    /// Most floors, baselines and recovery images, each.
    #[n(8)]
    pub scopes_max: u32,
    /// Most tallies in one report.
    #[n(9)]
    pub report_tallies_max: u32,
}

impl ClusterConfig {
    /// The configuration that a new cluster starts with (design, "Defaults").
    pub const fn initial() -> Self {
        const HOUR: u64 = 3_600_000;
        Self {
            lease: Millis(10_000),
            drift_margin: Millis(100),
            stale_max: Millis(24 * HOUR),
            silence: SilenceHorizons {
                firmware: Millis(72 * HOUR),
                model: Millis(24 * HOUR),
                config: Millis(24 * HOUR),
            },
            report_interval: Millis(5_000),
            offer_ttl: Millis(24 * HOUR),
            credit: 200,
            holdout: Ppm::ZERO,
            poll_interval: Millis(HOUR),
            root_interval: 1_024,
            limits: Limits {
                releases_max: 20_000,
                rollouts_max: 1_000,
                waves_max: 32,
                variants_max: 10_000,
                sessions_max: 1_024,
                holds_max: 1_000_000,
                stops_max: 256,
                commands_max: 50_000_000,
                scopes_max: 20_000,
                report_tallies_max: 10_000,
            },
            revision: Revision(0),
        }
    }
}

/// What a cluster is, and where its log stands: one row.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Meta {
    /// The fleet's name, in every signature and checkpoint.
    #[n(0)]
    pub origin: String,
    /// Which life of the cluster this is.
    #[n(1)]
    pub incarnation: crate::id::Incarnation,
    /// Log time of the last entry.
    #[n(2)]
    pub time: crate::id::LogTime,
    /// Index of the next entry.
    #[n(3)]
    pub next: crate::id::Index,
    /// The rules that `apply` follows.
    #[n(4)]
    pub version: StateVersion,
    /// Number of the last rollout.
    #[n(5)]
    pub last_rollout: crate::id::RolloutId,
    /// Number of the last session.
    #[n(6)]
    pub last_session: crate::id::SessionId,
    /// Number of the last stop.
    #[n(7)]
    pub last_stop: crate::id::StopId,
    /// Number of the last variant.
    #[n(8)]
    pub last_variant: crate::id::VariantId,
    /// Index of the last entry that carried the state root.
    #[n(9)]
    pub last_root: Option<crate::id::Index>,
}

/// A store node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Member {
    /// Its number, never used again after it is gone.
    #[n(0)]
    pub id: NodeId,
    /// Where its peers reach it; `host:port`.
    #[n(1)]
    pub address: String,
    /// Where it stands.
    #[n(2)]
    pub region: Region,
    /// Whether it votes.
    #[n(3)]
    pub voter: bool,
    /// The key with which it cosigns checkpoints, role `checkpoint`.
    #[n(4)]
    pub checkpoint_key: Option<crate::id::PublicKey>,
}

/// The members that operators approved: what the membership of the Raft group is driven to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Membership {
    /// The members, sorted by number.
    #[n(0)]
    pub members: Vec<Member>,
    /// The entry that last changed it.
    #[n(1)]
    pub revision: Revision,
    /// The greatest number that a node ever had: numbers are never used again.
    #[n(2)]
    pub last_node: NodeId,
}
