//! Who sees everything: writes the trace, and tells the oracles.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_domain::{Command, SignedCommand};
use tidegate_raft_store::storage::Asked;

use crate::coverage::{Counter, Coverage};
use crate::meter::Meter;
use crate::oracle::{Panel, Seen, Violation};
use crate::record::{Kind, Record, Trace};

/// Of so many entries somebody overhears what decision nodes sent.
const OVERHEARD_FROM: u64 = 32;

/// The one observer of a run. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Witness(Arc<Mutex<Memory>>);

#[derive(Debug)]
struct Memory {
    trace: Trace,
    panel: Panel,
    counter: Counter,
    meter: Meter,
    last_op: u64,
    /// Check-ins that were answered.
    answers: u64,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Told {
    /// Everything that was written down.
    pub(crate) trace: Trace,
    /// What was broken.
    pub(crate) violations: Vec<Violation>,
    /// Audit entries that were committed.
    pub(crate) entries: u64,
    /// Check-ins that were answered.
    pub(crate) answers: u64,
}

impl Witness {
    pub(crate) fn new(origin: &str, incarnation: u64) -> Self {
        Self(Arc::new(Mutex::new(Memory {
            trace: Trace::default(),
            panel: Panel::new(origin, incarnation),
            counter: Counter::default(),
            meter: Meter::default(),
            last_op: 0,
            answers: 0,
        })))
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, lane: &str, kind: Kind) {
        self.memory().note(lane, kind);
    }

    /// Tells the oracles what was seen, and writes down what they find broken.
    pub(crate) fn see(&self, seen: &Seen<'_>) {
        let at_us = now_us();
        let mut memory = self.memory();
        memory.answers += u64::from(matches!(seen, Seen::Told { .. }));
        let found = memory.panel.see(at_us, seen);
        let Memory {
            counter,
            panel,
            meter,
            ..
        } = &mut *memory;
        counter.see(seen, panel.chain());
        for kind in meter.see(at_us, seen, panel.chain()) {
            memory.note("world", kind);
        }
        memory.blame(found);
    }

    /// The run is over: oracles look at it as a whole.
    pub(crate) fn end(&self) {
        let at_us = now_us();
        let mut memory = self.memory();
        let found = memory.panel.end(at_us);
        memory.blame(found);
    }

    /// The number of an operation that begins now.
    pub(crate) fn begin(&self, lane: &str, what: String, command: Option<&[u8]>) -> u64 {
        let op = {
            let mut memory = self.memory();
            memory.last_op += 1;
            let op = memory.last_op;
            memory.note(lane, Kind::Asked { op, what });
            op
        };
        self.see(&Seen::Began { op, command });
        op
    }

    /// How many entries the oracles know.
    pub(crate) fn entries_known(&self) -> u64 {
        self.memory().panel.chain().len()
    }

    /// The envelopes of decision nodes among the last entries that any node applied, the newest
    /// first.
    pub(crate) fn last_envelopes(&self) -> Vec<Vec<u8>> {
        let memory = self.memory();
        let chain = memory.panel.chain();
        let last = (chain.len().saturating_sub(OVERHEARD_FROM)..chain.len()).rev();
        let commands = last.filter_map(|index| match &chain.link(index)?.body.asked {
            Asked::Command(command) => Some(command),
            Asked::Membership(_) | Asked::Oversized { .. } => None,
        });
        let envelopes = commands.filter(|command| {
            let signed = SignedCommand::from_bytes(command);
            let parsed = signed.ok().and_then(|signed| signed.parse().ok());
            matches!(parsed, Some((_, Command::AdvanceSession(_))))
        });
        envelopes.map(|command| command.to_vec()).collect()
    }

    /// Whether an invariant broke: the rest of the run would tell nothing new.
    pub(crate) fn is_broken(&self) -> bool {
        !self.memory().panel.violations().is_empty()
    }

    /// Everything that was written down, and what was broken.
    pub(crate) fn told(&self) -> Told {
        let memory = self.memory();
        let panel = &memory.panel;
        Told {
            trace: memory.trace.clone(),
            violations: panel.violations().to_vec(),
            entries: panel.chain().len(),
            answers: memory.answers,
        }
    }

    /// What the run hit.
    pub(crate) fn coverage(&self) -> Coverage {
        let memory = self.memory();
        memory.counter.counts(memory.panel.chain())
    }

    // Readable after a panic, too: that is when it is needed most.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn note(&mut self, lane: &str, kind: Kind) {
        let record = Record {
            at_us: now_us(),
            lane: lane.to_owned(),
            kind,
        };
        self.counter.note(&record, self.panel.chain());
        self.trace.push(record);
    }

    fn blame(&mut self, found: Vec<Violation>) {
        for Violation { id, detail } in found {
            let id = id.to_owned();
            self.note("world", Kind::Violation { id, detail });
        }
    }
}

/// Simulated time since the start, in µs.
pub(crate) fn now_us() -> u64 {
    let elapsed = madsim::time::TimeHandle::current().elapsed();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
