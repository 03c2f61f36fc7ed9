//! What a node counts of itself.
use crate::engine::{Decision, Mode, Reason, Verdict};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

const VERDICTS: [Verdict; 4] = [
    Verdict::Offer,
    Verdict::Wait,
    Verdict::None,
    Verdict::Return,
];
const MODES: [Mode; 3] = [Mode::Fresh, Mode::Stale, Mode::Blind];

/// Counters since the start, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    answers: [[AtomicU64; VERDICTS.len()]; MODES.len()],
    /// Answers by the code of their first reason. As many as there are codes.
    reasons: Mutex<BTreeMap<&'static str, u64>>,
    in_flight: AtomicUsize,
}

/// A check-in or outcome that has arrived: in flight until it and its clones are dropped. Begun
/// before the request waits for a free thread, since that is where work piles up.
#[derive(Clone, Debug)]
pub(crate) struct Arrival(Arc<InFlight>);

#[derive(Debug)]
struct InFlight {
    meters: Arc<Meters>,
    before: usize,
}

impl Arrival {
    /// Whether there were fewer than `max` in flight when this one came.
    pub(crate) fn is_within(&self, max: usize) -> bool {
        self.0.before < max
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.meters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meters {
    pub(crate) fn count(&self, decision: &Decision) {
        if let Some(counter) = self.answers.get(decision.mode as usize) {
            counter[decision.verdict as usize].fetch_add(1, Ordering::Relaxed);
        }
        if let Some(because) = decision.reasons.as_slice().first() {
            self.count_reason(&because.reason);
        }
    }

    fn count_reason(&self, reason: &Reason) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let count = reasons.entry(reason.code()).or_default();
        *count = count.saturating_add(1);
    }

    /// Notes that a request came.
    pub(crate) fn arrived(self: &Arc<Self>) -> Arrival {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let meters = Arc::clone(self);
        Arrival(Arc::new(InFlight { meters, before }))
    }

    /// Answers so far by verdict and mode, those that there were.
    pub(crate) fn answers(&self) -> Vec<(Verdict, Mode, u64)> {
        let mut all = Vec::new();
        for (mode, counters) in MODES.into_iter().zip(&self.answers) {
            for (verdict, counter) in VERDICTS.into_iter().zip(counters) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    all.push((verdict, mode, count));
                }
            }
        }
        all
    }

    /// Answers so far by the code of their first reason.
    pub(crate) fn reasons(&self) -> BTreeMap<&'static str, u64> {
        self.reasons
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
