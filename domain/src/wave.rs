//! Waves and their gates.
use crate::{
    id::{Index, LogTime, Millis, Ppm, VariantId, WaveName},
    variant::Selector,
};
use minicbor::{Decode, Encode};
use std::fmt;

/// The success criteria of a wave. What is absent is not looked at; silence and failed installs
/// always are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Criteria {
    /// Largest drop of accuracy against control, or the rollback target, in the same stratum.
    #[n(0)]
    pub accuracy_drop_max: Option<Ppm>,
    /// Largest share of errors among operations that devices report.
    #[n(1)]
    pub error_rate_max: Option<Ppm>,
    /// Largest 99th percentile of latency, in milliseconds.
    #[n(2)]
    pub latency_p99_max_ms: Option<u32>,
    /// Largest share of resolved exposures that failed or were reverted.
    #[n(3)]
    pub failure_rate_max: Option<Ppm>,
}

/// How fast devices are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pacing {
    /// Most admissions in one hour of log time, over all decision nodes. At least 1.
    #[n(0)]
    pub admissions_per_hour: u64,
}

/// One stage of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WaveSpec {
    /// Its name, unique in the rollout.
    #[n(0)]
    pub name: WaveName,
    /// Share of the audience's hash space, cumulative: never less than the wave before.
    #[n(1)]
    pub target: Ppm,
    /// Most admissions in this wave and those before it; cumulative.
    #[n(2)]
    pub cap: Option<u64>,
    /// Least duration between opening and passing.
    #[n(3)]
    pub soak: Millis,
    /// What must hold to pass; absent: as in the wave before.
    #[n(4)]
    pub criteria: Option<Criteria>,
    /// How fast devices are let in; absent: as fast as they come.
    #[n(5)]
    pub pacing: Option<Pacing>,
    /// A ring: devices of these variants are in whatever their bucket.
    #[n(6)]
    pub ring: Option<Selector>,
}

/// How a wave came to open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OpenedBy {
    /// It is the first, and the rollout was started.
    #[n(0)]
    Start,
    /// The gate of the wave before it passed.
    #[n(1)]
    Gate,
    /// A quorum overrode the gate; marked as such for ever.
    #[n(2)]
    Override,
}

/// The opening of a wave.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Opening {
    /// When.
    #[n(0)]
    pub at: LogTime,
    /// How.
    #[n(1)]
    pub by: OpenedBy,
    /// The entry that opened it.
    #[n(2)]
    pub index: Index,
}

/// The progress of a wave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WaveState {
    /// Its opening, if it is open.
    #[n(0)]
    pub opened: Option<Opening>,
    /// Time spent paused since it opened; soak does not count it.
    #[n(1)]
    pub paused: Millis,
    /// The evidence on which its gate passed.
    #[n(2)]
    pub passed: Option<Evidence>,
    /// Admissions granted to decision nodes and not returned, over all strata of this wave.
    #[n(3)]
    pub admitted: u64,
    /// The hour (cohort number) that pacing counts in, and the admissions granted in it.
    #[n(4)]
    pub paced: Option<Paced>,
    /// Whether a quorum overrode its gate; marked as such for ever.
    #[n(5)]
    pub overridden: bool,
}

/// What pacing has let in during an hour of log time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Paced {
    /// The hour.
    #[n(0)]
    pub hour: crate::id::Cohort,
    /// Admissions granted in it.
    #[n(1)]
    pub granted: u64,
}

/// What a gate saw: over the whole pool, or over one variant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evidence {
    /// The variant, or absent for the pool.
    #[n(0)]
    pub variant: Option<VariantId>,
    /// When it was judged.
    #[n(1)]
    pub at: LogTime,
    /// The entry whose application judged.
    #[n(2)]
    pub index: Index,
    /// The counts that were judged.
    #[n(3)]
    pub counts: crate::tally::Counts,
    /// Control's (or the baseline's) counts, where a criterion compares.
    #[n(4)]
    pub control: Option<crate::tally::Counts>,
    /// What failed, if it failed.
    #[n(5)]
    pub breach: Option<Breach>,
}

/// The criterion that a gate failed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Breach {
    /// Too many installs failed or were reverted.
    #[n(0)]
    Failures {
        /// Seen.
        #[n(0)]
        rate: Ppm,
        /// Allowed.
        #[n(1)]
        max: Ppm,
    },
    /// Too many exposures are silent.
    #[n(1)]
    Silence {
        /// Seen.
        #[n(0)]
        rate: Ppm,
        /// Allowed.
        #[n(1)]
        max: Ppm,
    },
    /// Too many operations failed.
    #[n(2)]
    Errors {
        /// Seen.
        #[n(0)]
        rate: Ppm,
        /// Allowed.
        #[n(1)]
        max: Ppm,
    },
    /// Accuracy fell too far.
    #[n(3)]
    Accuracy {
        /// Seen.
        #[n(0)]
        drop: Ppm,
        /// Allowed.
        #[n(1)]
        max: Ppm,
    },
    /// The 99th percentile of latency is too high.
    #[n(4)]
    Latency {
        /// Upper bound of the histogram bucket in which it lies, in milliseconds.
        #[n(0)]
        p99_ms: u32,
        /// Allowed, in milliseconds.
        #[n(1)]
        max_ms: u32,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures { rate, max } => {
                write!(f, "{rate} of installs failed, at most {max} may")
            }
            Self::Silence { rate, max } => {
                write!(f, "{rate} of devices fell silent, at most {max} may")
            }
            Self::Errors { rate, max } => {
                write!(f, "{rate} of operations failed, at most {max} may")
            }
            Self::Accuracy { drop, max } => {
                write!(f, "accuracy fell by {drop}, at most {max} may")
            }
            Self::Latency {
                p99_ms: u32::MAX,
                max_ms,
            } => {
                let last = crate::tally::LATENCY_BOUNDS_MS.last().copied();
                let last = last.unwrap_or_default();
                write!(
                    f,
                    "latency p99 is above {last} ms, at most {max_ms} ms may be"
                )
            }
            Self::Latency { p99_ms, max_ms } => {
                write!(
                    f,
                    "latency p99 is up to {p99_ms} ms, at most {max_ms} ms may be"
                )
            }
        }
    }
}
