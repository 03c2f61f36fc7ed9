//! Tallies: what became of exposures, counted in integers that only rise.
use crate::id::{Channel, Cohort, RolloutId, SessionId, VariantId, WaveIndex};
use minicbor::{Decode, Encode};

/// Upper bounds of the latency histogram's buckets, in milliseconds; the last bucket has none.
pub const LATENCY_BOUNDS_MS: [u32; 15] = [
    1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 250, 500, 1_000, 5_000,
];
/// Number of buckets of the latency histogram.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

/// The unit of candidate lists, budgets, credits and tallies: variant × release channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Stratum {
    /// The variant.
    #[n(0)]
    pub variant: VariantId,
    /// The channel.
    #[n(1)]
    pub channel: Channel,
}

impl Stratum {
    /// The least stratum.
    pub(crate) fn first() -> Self {
        Self {
            variant: VariantId(0),
            channel: Channel::first(),
        }
    }
}

/// Which side of a comparison devices are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Arm {
    /// Offered the release.
    #[n(0)]
    Treatment,
    /// In the wave by hash, tallied, never offered.
    #[n(1)]
    Control,
    /// Told to return to the rollback target.
    #[n(2)]
    Return,
}

impl Arm {
    /// Every side.
    pub const ALL: [Self; 3] = [Self::Treatment, Self::Control, Self::Return];
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct TallyKey {
    /// The rollout.
    #[n(0)]
    pub rollout: RolloutId,
    /// The wave that the exposures count for.
    #[n(1)]
    pub wave: WaveIndex,
    /// The stratum.
    #[n(2)]
    pub stratum: Stratum,
    /// The hour of the exposure.
    #[n(3)]
    pub cohort: Cohort,
    /// The side.
    #[n(4)]
    pub arm: Arm,
}

impl TallyKey {
    /// The least key of a rollout.
    pub(crate) fn first(rollout: RolloutId) -> Self {
        Self {
            rollout,
            wave: WaveIndex(0),
            stratum: Stratum::first(),
            cohort: Cohort(0),
            arm: Arm::Treatment,
        }
    }

    /// The pool that the exposures draw on; `None` for control, which is not offered anything.
    pub fn pool(&self) -> Option<crate::node::PoolKey> {
        (self.arm != Arm::Control).then(|| crate::node::PoolKey {
            rollout: self.rollout,
            wave: self.wave,
            stratum: self.stratum.clone(),
            arm: self.arm,
        })
    }
}

/// One session's exposures of one cohort.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct ExposuresKey {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// What is counted.
    #[n(1)]
    pub tally: TallyKey,
}

/// What gates judge: a rollout's wave in one stratum, whatever session or cohort it came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct SumKey {
    /// The rollout.
    #[n(0)]
    pub rollout: RolloutId,
    /// The wave.
    #[n(1)]
    pub wave: WaveIndex,
    /// The side.
    #[n(2)]
    pub arm: Arm,
    /// The stratum; absent for the sum over all strata.
    #[n(3)]
    pub stratum: Option<Stratum>,
}

/// Counts of exposures and of what devices report: what a report adds, or the sum of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Counts {
    /// Exposures made.
    #[n(0)]
    pub exposed: u64,
    /// Of these: fetched (not final).
    #[n(1)]
    pub downloaded: u64,
    /// Of these: written (not final).
    #[n(2)]
    pub installed: u64,
    /// Of these: running after a boot. The only success.
    #[n(3)]
    pub verified: u64,
    /// Of these: failed at some stage.
    #[n(4)]
    pub failed: u64,
    /// Of these: went back by themselves.
    #[n(5)]
    pub reverted: u64,
    /// Of these: no word within the horizon. Derived in `apply`, zero in reports.
    #[n(6)]
    pub silent: u64,
    /// Operations that devices report: failed …
    #[n(7)]
    pub errors: u64,
    /// … of so many.
    #[n(8)]
    pub operations: u64,
    /// Predictions that devices report: correct …
    #[n(9)]
    pub correct: u64,
    /// … of so many.
    #[n(10)]
    pub predictions: u64,
    /// Latencies that devices report, per bucket of [`LATENCY_BOUNDS_MS`]; empty or
    /// [`LATENCY_BUCKETS`] long.
    #[n(11)]
    pub latency: Vec<u64>,
}

/// The greatest value of a counter. Reports beyond it are refused and sums stop at it, so that the
/// cross products of gates fit 128 bits with room to spare.
pub const COUNT_MAX: u64 = 1 << 52;

/// The most operations, predictions or latencies of a bucket that are believed of one device between
/// two check-ins, and in all for each exposure.
pub const MEASURED_MAX: u64 = 1 << 20;

impl Counts {
    /// Each counter of both together; sums stop at [`COUNT_MAX`].
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a.saturating_add(b).min(COUNT_MAX))
    }

    /// Each counter less the other's; differences stop at zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// Whether no counter is less than the other's.
    pub fn is_at_least(&self, other: &Self) -> bool {
        other.minus(self) == Self::default()
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let buckets = self.latency.len().max(other.latency.len());
        let at = |histogram: &[u64], i: usize| histogram.get(i).copied().unwrap_or(0);
        let latency: Vec<u64> = (0..buckets)
            .map(|i| f(at(&self.latency, i), at(&other.latency, i)))
            .collect();
        let empty = latency.iter().all(|count| *count == 0);
        Self {
            exposed: f(self.exposed, other.exposed),
            downloaded: f(self.downloaded, other.downloaded),
            installed: f(self.installed, other.installed),
            verified: f(self.verified, other.verified),
            failed: f(self.failed, other.failed),
            reverted: f(self.reverted, other.reverted),
            silent: f(self.silent, other.silent),
            errors: f(self.errors, other.errors),
            operations: f(self.operations, other.operations),
            correct: f(self.correct, other.correct),
            predictions: f(self.predictions, other.predictions),
            latency: if empty { Vec::new() } else { latency },
        }
    }

    /// Exposures whose fate is known, silence included.
    pub fn resolved(&self) -> u64 {
        self.spoken().saturating_add(self.silent)
    }

    /// Exposures whose fate the device told.
    pub fn spoken(&self) -> u64 {
        self.verified
            .saturating_add(self.failed)
            .saturating_add(self.reverted)
    }

    /// Exposures whose fate is not known yet.
    pub fn unresolved(&self) -> u64 {
        self.exposed.saturating_sub(self.resolved())
    }
}

/// A sum that a gate judges, split by whether its cohorts are past the silence horizon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sum {
    /// Cohorts past the horizon; silence is counted.
    #[n(0)]
    pub mature: Counts,
    /// Cohorts within the horizon; only failures are judged.
    #[n(1)]
    pub young: Counts,
    /// Cohorts that matured and were resolved in this stratum: each doubles the credit once.
    #[n(2)]
    pub cohorts_resolved: u32,
}

impl Sum {
    /// Young and mature cohorts together.
    pub fn all(&self) -> Counts {
        self.mature.plus(&self.young)
    }

    /// Both sums together; cohorts are counted of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            mature: self.mature.plus(&other.mature),
            young: self.young.plus(&other.young),
            cohorts_resolved: self.cohorts_resolved.saturating_add(other.cohorts_resolved),
        }
    }

    /// What is left of this sum without the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            mature: self.mature.minus(&other.mature),
            young: self.young.minus(&other.young),
            cohorts_resolved: self.cohorts_resolved.saturating_sub(other.cohorts_resolved),
        }
    }
}
