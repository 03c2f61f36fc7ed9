//! What must never happen, watched while it could: one file per invariant of the design. Those that
//! one entry can break have theirs in the domain (`tidegate_domain::invariant`), and `domain` asks
//! them of every entry.
//!
//! Oracles are pure: the world tells them what was [`Seen`], in the order of true time, and they
//! answer with what is broken. They share one [`Chain`]: the log as the first node to apply an entry
//! told it, replayed here by a domain state of their own.

mod apply_1;
mod chain;
mod copy_1;
mod dec_1;
mod degr_1;
mod domain;
mod epoch_2;
mod floor_2;
mod halt_1;
mod head_1;
mod live_1;
mod log_1;
mod log_2;
mod log_3;
mod log_4;
mod members;
mod read_1;
mod read_2;
mod seen;
#[cfg(test)]
mod tests;
mod vote_1;
mod watch;
mod wave_2;
mod wave_3;

use std::collections::BTreeSet;

pub use chain::{Chain, Link};
#[cfg(madsim)]
pub(crate) use live_1::NEWS;
pub use seen::{Answer, Seen};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its ID.
    pub id: &'static str,
    /// What was seen.
    pub detail: String,
}

/// What an oracle says to one observation.
type Verdict = Result<(), String>;

/// One invariant's watch.
trait Oracle: Send {
    /// The invariant's ID.
    fn id(&self) -> &'static str;

    /// Looks at an observation.
    fn see(&mut self, at_us: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict;

    /// Looks at the run as a whole, when it is over.
    fn end(&mut self, _at_us: u64, _chain: &Chain) -> Verdict {
        Ok(())
    }
}

/// All oracles of a run.
pub struct Panel {
    chain: Chain,
    oracles: Vec<Box<dyn Oracle>>,
    /// What is broken, the first time it was seen broken.
    violations: Vec<Violation>,
    broken: BTreeSet<&'static str>,
}

impl Panel {
    /// Oracles for a cluster of this name, in this life.
    #[must_use]
    pub fn new(origin: &str, incarnation: u64) -> Self {
        let oracles: Vec<Box<dyn Oracle>> = vec![
            Box::new(log_1::Log1::default()),
            Box::new(log_2::Log2::default()),
            Box::new(log_4::Log4::default()),
            Box::new(apply_1::Apply1::default()),
            Box::new(read_1::Read1::default()),
            Box::new(read_2::Read2::default()),
            Box::new(halt_1::Halt1::default()),
            Box::new(wave_3::Wave3::default()),
            Box::new(floor_2::Floor2::default()),
            Box::new(live_1::Live1::default()),
            Box::new(members::Members::default()),
            Box::new(watch::Watches::default()),
            Box::new(log_3::Log3::default()),
            Box::new(epoch_2::Epoch2::default()),
            Box::new(wave_2::Wave2::default()),
            Box::new(degr_1::Degr1),
            Box::new(dec_1::Dec1::default()),
            Box::new(vote_1::Vote1::default()),
            Box::new(copy_1::Copy1::default()),
            Box::new(head_1::Head1::default()),
        ];
        Self {
            chain: Chain::new(origin, incarnation),
            oracles,
            violations: Vec::new(),
            broken: BTreeSet::new(),
        }
    }

    /// Tells every oracle; answers what is newly broken.
    pub fn see(&mut self, at_us: u64, seen: &Seen<'_>) -> Vec<Violation> {
        let Seen::Entries { lane, entries } = seen else {
            let found = self.ask(at_us, seen);
            return self.keep(found);
        };
        // One by one, so that oracles see every state on the way.
        let mut found = Vec::new();
        for entries in entries.chunks(1) {
            found.extend(self.chain.extend(entries));
            found.extend(self.ask(at_us, &Seen::Entries { lane, entries }));
        }
        self.keep(found)
    }

    fn ask(&mut self, at_us: u64, seen: &Seen<'_>) -> Vec<Violation> {
        let mut found = Vec::new();
        for oracle in &mut self.oracles {
            if let Err(detail) = oracle.see(at_us, seen, &self.chain) {
                let id = oracle.id();
                found.push(Violation { id, detail });
            }
        }
        found
    }

    /// Ends the run; answers what is newly broken.
    pub fn end(&mut self, at_us: u64) -> Vec<Violation> {
        let mut found = Vec::new();
        for oracle in &mut self.oracles {
            if let Err(detail) = oracle.end(at_us, &self.chain) {
                let id = oracle.id();
                found.push(Violation { id, detail });
            }
        }
        self.keep(found)
    }

    /// The log as the oracles know it.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Everything that was broken.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    // One breach of an invariant tends to be seen at every step after it.
    fn keep(&mut self, found: Vec<Violation>) -> Vec<Violation> {
        let mut new = found;
        new.retain(|violation| self.broken.insert(violation.id));
        self.violations.extend(new.iter().cloned());
        new
    }
}

impl std::fmt::Debug for Panel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Panel")
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}
