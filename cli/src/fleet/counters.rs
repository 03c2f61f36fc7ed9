//! What a fleet counts while it runs.
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tidegate_proto::v1::{CheckInResponse, DecisionMode, Verdict};

/// Counts of a whole fleet. Shared by all of its connections.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    check_ins: AtomicU64,
    offers: AtomicU64,
    returns: AtomicU64,
    verified: AtomicU64,
    failed: AtomicU64,
    returned: AtomicU64,
    not_fresh: AtomicU64,
    reconnects: AtomicU64,
    latency: Latency,
    /// When each release was offered, by the receiver's clock.
    offered: Mutex<BTreeMap<String, Vec<Instant>>>,
    reasons: Mutex<BTreeMap<String, u64>>,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) check_ins: u64,
    pub(crate) offers: u64,
    pub(crate) returns: u64,
    pub(crate) verified: u64,
    pub(crate) failed: u64,
    pub(crate) returned: u64,
    pub(crate) not_fresh: u64,
    pub(crate) reconnects: u64,
}

impl Counters {
    /// The counts now.
    pub(crate) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            check_ins: read(&self.check_ins),
            offers: read(&self.offers),
            returns: read(&self.returns),
            verified: read(&self.verified),
            failed: read(&self.failed),
            returned: read(&self.returned),
            not_fresh: read(&self.not_fresh),
            reconnects: read(&self.reconnects),
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, answer: &CheckInResponse, took: Duration, now: Instant) {
        bump(&self.check_ins);
        self.latency.record(took);
        if answer.mode() != DecisionMode::Fresh {
            bump(&self.not_fresh);
        }
        if let Some(reason) = answer.reasons.first() {
            *lock(&self.reasons).entry(reason.code.clone()).or_default() += 1;
        }
        let Some(offer) = answer.offer.as_ref() else {
            return;
        };
        match answer.verdict() {
            Verdict::Offer => {
                bump(&self.offers);
                lock(&self.offered)
                    .entry(offer.release.clone())
                    .or_default()
                    .push(now);
            }
            Verdict::Return => bump(&self.returns),
            Verdict::Wait | Verdict::None | Verdict::Unspecified => {}
        }
    }

    /// Counts the end of an install.
    pub(crate) fn finished(&self, failed: bool, going_back: bool) {
        match (failed, going_back) {
            (true, _) => bump(&self.failed),
            (false, true) => bump(&self.returned),
            (false, false) => bump(&self.verified),
        }
    }

    /// Counts a connection that had to be made again.
    pub(crate) fn reconnected(&self) {
        bump(&self.reconnects);
    }

    /// When a release was last offered to any device.
    pub(crate) fn last_offer(&self, release: &str) -> Option<Instant> {
        lock(&self.offered)
            .get(release)
            .and_then(|times| times.iter().max().copied())
    }

    /// How often a release was offered after a moment.
    pub(crate) fn offers_since(&self, release: &str, moment: Instant) -> u64 {
        let offered = lock(&self.offered);
        let times = offered.get(release).map_or(&[][..], Vec::as_slice);
        times.iter().filter(|time| **time > moment).count() as u64
    }

    /// How often each first reason was given.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        lock(&self.reasons).clone()
    }

    /// Upper bound of the bucket in which a share (0 to 1,000,000 ppm) of all answers lies.
    pub(crate) fn latency(&self, share_ppm: u64) -> Duration {
        self.latency.percentile(share_ppm)
    }
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A histogram of answer times with eight steps to each doubling, from 1 µs on.
#[derive(Debug)]
struct Latency {
    buckets: Vec<AtomicU64>,
}

const STEPS: usize = 8;
const DOUBLINGS: usize = 27;

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: (0..STEPS * DOUBLINGS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Latency {
    fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let doubling = micros.ilog2() as usize;
        let within = ((micros - (1 << doubling)) * STEPS as u64) >> doubling;
        let bucket = doubling * STEPS + usize::try_from(within).unwrap_or(0);
        if let Some(counter) = self.buckets.get(bucket.min(self.buckets.len() - 1)) {
            bump(counter);
        }
    }

    fn percentile(&self, share_ppm: u64) -> Duration {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|b| b.load(Ordering::Relaxed))
            .collect();
        let rank = (counts.iter().sum::<u64>() * share_ppm).div_ceil(1_000_000);
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                let base = 1_u64 << (bucket / STEPS);
                let upper = base + base * (bucket % STEPS + 1) as u64 / STEPS as u64;
                return Duration::from_micros(upper);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_an_eighth_above_the_true_value() {
        let latency = Latency::default();
        for micros in 1..=1_000 {
            latency.record(Duration::from_micros(micros));
        }
        for (share, exact) in [(500_000, 500), (990_000, 990), (1_000_000, 1_000)] {
            let found = u64::try_from(latency.percentile(share).as_micros()).unwrap();
            assert!(
                found >= exact && found <= exact + exact / 8 + 1,
                "{share}: {found}"
            );
        }
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Latency::default().percentile(990_000), Duration::ZERO);
    }
}
