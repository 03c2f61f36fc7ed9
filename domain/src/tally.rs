//! Tallies: what became of exposures, counted in cumulative integers.
use crate::id::{Channel, Cohort, Revision, RolloutId, SessionId, VariantId, WaveIndex};
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

/// One session's last word on a tally.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct SessionTallyKey {
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

/// Counts of exposures and of what devices report. Cumulative; each only rises in one session.
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

impl Counts {
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

/// A tally row: what a session last said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionTally {
    /// Its counts.
    #[n(0)]
    pub counts: Counts,
    /// The entry that last changed it.
    #[n(1)]
    pub revision: Revision,
}
