//! What a node counts of itself.
use crate::engine::{Decision, Mode, Reason, Verdict};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
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

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    answers: [[AtomicU64; VERDICTS.len()]; MODES.len()],
    /// Answers by the code of their first reason. As many as there are codes.
    reasons: Mutex<BTreeMap<&'static str, u64>>,
    in_flight: AtomicUsize,
}

/// One check-in or outcome in the making.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Meters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
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

    /// Begins one piece of work; `None` when there are too many.
    pub(crate) fn begin(&self, max: usize) -> Option<InFlight<'_>> {
        let guard = InFlight(self);
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (before < max).then_some(guard)
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
