//! Everything that happened in one simulation.
use super::now;
use std::sync::{Arc, Mutex};

/// Events in the order in which they happened, with their times, as one hash.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<(blake3::Hasher, u64)>>);

impl Trace {
    pub(crate) fn note(&self, event: &str) {
        let mut trace = self.0.lock().unwrap();
        let at = now().as_nanos();
        trace.0.update(format!("{at} {event}\n").as_bytes());
        trace.1 += 1;
    }

    /// The hash, and how many events it is of.
    pub(crate) fn end(&self) -> (String, u64) {
        let trace = self.0.lock().unwrap();
        (trace.0.finalize().to_hex().to_string(), trace.1)
    }
}
