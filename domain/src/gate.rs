//! Gates: whether a wave's tallies are good enough to go on, bad enough to stop, or too few to say.
//!
//! Integers only. Shares are compared by cross multiplication in 128 bits, so that no division
//! rounds a breach away. Bad news counts at once, over young and mature cohorts together; good
//! news counts from cohorts past the silence horizon only, since before it nobody knows who is
//! still to fail. What is missing is not passed: the gate waits.
use crate::{
    id::Ppm,
    tally::{COUNT_MAX, Counts, LATENCY_BOUNDS_MS, Sum},
    wave::{Breach, Criteria},
};
use std::fmt;

/// Largest share of failed installs where the criteria name none: 2 %. Installs on healthy
/// fleets fail well below one percent; a release that fails more often is worth a person's look.
pub const FAILURE_RATE_DEFAULT: Ppm = match Ppm::new(20_000) {
    Some(rate) => rate,
    None => Ppm::ZERO,
};

/// What a gate demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The wave's criteria, inherited where it has none of its own.
    pub criteria: Criteria,
    /// Largest share of resolved exposures that may be silent.
    pub silent_max: Ppm,
    /// Fewest samples that a gate judges on. At least 1.
    pub sample_min: u64,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It fails.
    Fails(Breach),
    /// It cannot say yet: all that is missing.
    Waits(Vec<Missing>),
    /// It passes.
    Passes,
}

/// What a gate waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// Exposures that are resolved.
    Resolved {
        /// So many are there.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// Operations that devices report.
    Operations {
        /// So many are there.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// Predictions that devices report.
    Predictions {
        /// So many are there.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// Predictions of control, or of devices that run the rollback target.
    ControlPredictions {
        /// So many are there.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// Latencies that devices report.
    Latencies {
        /// So many are there.
        have: u64,
        /// So many it takes.
        need: u64,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, have, need) = match self {
            Self::Resolved { have, need } => ("resolved devices", have, need),
            Self::Operations { have, need } => ("reported operations", have, need),
            Self::Predictions { have, need } => ("reported predictions", have, need),
            Self::ControlPredictions { have, need } => {
                ("predictions of devices without the release", have, need)
            }
            Self::Latencies { have, need } => ("reported latencies", have, need),
        };
        if *have == 0 {
            return write!(f, "no {what} yet, {need} needed");
        }
        write!(f, "{have} of {need} {what}")
    }
}

/// The counts that a gate judges on the good side: mature cohorts, or everything that was said
/// when the rollout is expedited.
pub fn judged(sum: &Sum, expedited: bool) -> Counts {
    if expedited {
        sum.all()
    } else {
        sum.mature.clone()
    }
}

impl Gate {
    /// Judges a sum against the sum of the control arm.
    pub fn judge(&self, treatment: &Sum, control: &Sum, expedited: bool) -> Judgement {
        if let Some(breach) = self.breach(treatment, control) {
            return Judgement::Fails(breach);
        }
        let missing = self.missing(&judged(treatment, expedited), &control.all());
        if missing.is_empty() {
            Judgement::Passes
        } else {
            Judgement::Waits(missing)
        }
    }

    /// What the gate fails on, if it fails: over young and mature cohorts together, or over the
    /// mature ones alone, which fresh successes must not outshine.
    pub fn breach(&self, treatment: &Sum, control: &Sum) -> Option<Breach> {
        let control = control.all();
        self.broken(&treatment.all(), &control)
            .or_else(|| self.silence(&treatment.mature))
            .or_else(|| self.broken(&treatment.mature, &control))
    }

    fn broken(&self, treatment: &Counts, control: &Counts) -> Option<Breach> {
        self.failures(treatment)
            .or_else(|| self.errors(treatment))
            .or_else(|| self.latency(treatment))
            .or_else(|| self.accuracy(treatment, control))
    }

    /// What installs alone fail on: failures, or silence where it is known.
    pub fn installs_breach(&self, counts: &Counts) -> Option<Breach> {
        self.failures(counts).or_else(|| self.silence(counts))
    }

    /// What is not there yet in sufficient number.
    fn missing(&self, treatment: &Counts, control: &Counts) -> Vec<Missing> {
        let Criteria {
            accuracy_drop_max,
            error_rate_max,
            latency_p99_max_ms,
            failure_rate_max: _,
        } = &self.criteria;
        let need = self.sample_min;
        let short = |have: u64| (have < need).then_some(have);
        let mut missing = Vec::new();
        missing.extend(short(treatment.resolved()).map(|have| Missing::Resolved { have, need }));
        if error_rate_max.is_some() {
            let have = short(treatment.operations);
            missing.extend(have.map(|have| Missing::Operations { have, need }));
        }
        if accuracy_drop_max.is_some() {
            let have = short(treatment.predictions);
            missing.extend(have.map(|have| Missing::Predictions { have, need }));
            let have = short(control.predictions);
            missing.extend(have.map(|have| Missing::ControlPredictions { have, need }));
        }
        if latency_p99_max_ms.is_some() {
            let have = short(total(&treatment.latency));
            missing.extend(have.map(|have| Missing::Latencies { have, need }));
        }
        missing
    }

    /// Failed installs. Below the least sample they count as if all that is missing had gone
    /// well: what can't become good any more is a breach at once.
    fn failures(&self, all: &Counts) -> Option<Breach> {
        let max = self.criteria.failure_rate_max;
        let max = max.unwrap_or(FAILURE_RATE_DEFAULT);
        let failed = all.failed.saturating_add(all.reverted);
        let rate = exceeds(failed, all.resolved().max(self.sample_min), max)?;
        Some(Breach::Failures { rate, max })
    }

    fn silence(&self, mature: &Counts) -> Option<Breach> {
        let max = self.silent_max;
        let rate = exceeds(mature.silent, mature.resolved().max(self.sample_min), max)?;
        Some(Breach::Silence { rate, max })
    }

    fn errors(&self, all: &Counts) -> Option<Breach> {
        let max = self.criteria.error_rate_max?;
        if all.operations < self.sample_min {
            return None;
        }
        let rate = exceeds(all.errors, all.operations, max)?;
        Some(Breach::Errors { rate, max })
    }

    fn latency(&self, all: &Counts) -> Option<Breach> {
        let max_ms = self.criteria.latency_p99_max_ms?;
        if total(&all.latency) < self.sample_min {
            return None;
        }
        let p99_ms = p99_bound(&all.latency)?;
        (p99_ms > max_ms).then_some(Breach::Latency { p99_ms, max_ms })
    }

    fn accuracy(&self, treatment: &Counts, control: &Counts) -> Option<Breach> {
        let max = self.criteria.accuracy_drop_max?;
        if treatment.predictions.min(control.predictions) < self.sample_min {
            return None;
        }
        let drop = drop_exceeds(treatment, control, max)?;
        Some(Breach::Accuracy { drop, max })
    }
}

/// The share `part / whole` if it is greater than `max`. A share of nothing is zero.
fn exceeds(part: u64, whole: u64, max: Ppm) -> Option<Ppm> {
    let scaled = u128::from(part).saturating_mul(MILLION);
    let allowed = u128::from(whole).saturating_mul(u128::from(max.get()));
    (scaled > allowed).then(|| share(scaled, u128::from(whole)))
}

/// How far treatment's accuracy lies below control's, if that is more than `max`.
/// `correct_c/n_c − correct_t/n_t > max` as `(correct_c·n_t − correct_t·n_c)·10⁶ > max·n_c·n_t`;
/// counters are at most 2^52, so that each side is below 2^125.
fn drop_exceeds(treatment: &Counts, control: &Counts, max: Ppm) -> Option<Ppm> {
    let count = |n: u64| u128::from(n.min(COUNT_MAX));
    let (n_t, n_c) = (count(treatment.predictions), count(control.predictions));
    let control_side = count(control.correct).saturating_mul(n_t);
    let treatment_side = count(treatment.correct).saturating_mul(n_c);
    let scaled = control_side
        .checked_sub(treatment_side)?
        .saturating_mul(MILLION);
    let both = n_c.saturating_mul(n_t);
    let allowed = both.saturating_mul(u128::from(max.get()));
    (scaled > allowed).then(|| share(scaled, both))
}

const MILLION: u128 = 1_000_000;

/// A share for people to read, rounded up, so that what exceeds a limit is never shown at it.
fn share(scaled: u128, whole: u128) -> Ppm {
    let parts = scaled.div_ceil(whole.max(1));
    u32::try_from(parts)
        .ok()
        .and_then(Ppm::new)
        .unwrap_or(Ppm::ALL)
}

fn total(histogram: &[u64]) -> u64 {
    histogram
        .iter()
        .fold(0, |sum, count| sum.saturating_add(*count))
}

/// Upper bound in milliseconds of the bucket in which the 99th percentile lies: the first with
/// which at least 99 % of the samples are counted. `u32::MAX` for the last bucket, which has none.
fn p99_bound(histogram: &[u64]) -> Option<u32> {
    let wanted = u128::from(total(histogram)).saturating_mul(99);
    let mut counted = 0_u128;
    for (at, count) in histogram.iter().enumerate() {
        counted = counted.saturating_add(u128::from(*count));
        if counted > 0 && counted.saturating_mul(100) >= wanted {
            return Some(LATENCY_BOUNDS_MS.get(at).copied().unwrap_or(u32::MAX));
        }
    }
    None
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
