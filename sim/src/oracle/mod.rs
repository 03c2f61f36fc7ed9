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
mod live_1;
mod log_1;
mod log_2;
mod log_3;
mod log_4;
mod members;
mod read_1;
mod read_2;
#[cfg(test)]
mod tests;
mod vote_1;
mod watch;
mod wave_2;
mod wave_3;

use std::collections::{BTreeMap, BTreeSet};

use tidegate_decision::engine::Mode;
use tidegate_domain::{Event, Outcome};
use tidegate_proto::v1;
use tidegate_raft_store::storage::{AuditEntry, Position};

pub use chain::{Chain, Link};

/// One observation, by whoever saw it.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// A store node stands here now.
    Position {
        /// The node.
        lane: &'a str,
        /// Where.
        position: &'a Position,
    },
    /// A store node's audit log has these entries.
    Entries {
        /// The node.
        lane: &'a str,
        /// Consecutive entries.
        entries: &'a [AuditEntry],
    },
    /// A client begins an operation.
    Began {
        /// Its number, unique in a run.
        op: u64,
        /// What it proposes, if it does.
        command: Option<&'a [u8]>,
    },
    /// A client gave a command up.
    Failed {
        /// What it had proposed.
        command: &'a [u8],
        /// Whether the store said that it has no effect.
        without_effect: bool,
    },
    /// The store acknowledged a command.
    Acknowledged {
        /// The operation.
        op: u64,
        /// The bytes that were proposed.
        command: &'a [u8],
        /// The entry that the store named.
        index: u64,
        /// What the store said that came of it.
        outcome: &'a Outcome,
    },
    /// A linearizable read was answered.
    Read {
        /// The operation.
        op: u64,
        /// Audit entries that the answer covers.
        entries: u64,
        /// The state root, if the answer has the whole state.
        root: Option<[u8; 32]>,
    },
    /// A client's view does not follow from its last one.
    Replaced {
        /// The client.
        lane: &'a str,
        /// Audit entries that it covers.
        entries: u64,
    },
    /// A client's view moved on.
    Advanced {
        /// The client.
        lane: &'a str,
        /// Audit entries that it covers now.
        entries: u64,
        /// The events that moved it.
        events: &'a [Event],
    },
    /// A client got a state that is not what it is said to be.
    Damaged {
        /// The client.
        lane: &'a str,
        /// What is wrong with it.
        what: &'a str,
    },
    /// A device was told something.
    Told {
        /// The decision node.
        lane: &'a str,
        /// The device.
        device: &'a str,
        /// The region of the device's variant.
        place: &'a str,
        /// When it asked, in µs of simulated time.
        asked_us: u64,
        /// What it was told.
        answer: &'a Answer,
    },
    /// A device was told something, whole: with what it had asked.
    Decided {
        /// The decision node.
        lane: &'a str,
        /// The wall clock of the world when it heard, in ms since 1970.
        wall_ms: u64,
        /// What it had asked.
        request: &'a v1::CheckInRequest,
        /// What it was told.
        response: &'a v1::CheckInResponse,
    },
    /// A decision node that runs left a check-in of its own machine without an answer.
    Unanswered {
        /// The decision node.
        lane: &'a str,
        /// How long, in ms during which the machine ran.
        waited_ms: u64,
    },
    /// Somebody signed for the log.
    Checkpoint {
        /// The store node.
        lane: &'a str,
        /// How many entries.
        size: u64,
        /// The root of the tree over them.
        root: [u8; 32],
    },
    /// A raw watch was opened by a client that has so many entries.
    WatchBegan {
        /// The client.
        lane: &'a str,
        /// Audit entries that it has.
        entries: u64,
    },
    /// A raw watch delivered entries.
    WatchBatch {
        /// The client.
        lane: &'a str,
        /// Index of the first.
        from: u64,
        /// Entries after the batch.
        to: u64,
        /// The events of each, as they came.
        events: &'a [Vec<u8>],
    },
    /// A raw watch said that there is nothing new.
    WatchIdle {
        /// The client.
        lane: &'a str,
        /// Audit entries that it is said to have.
        entries: u64,
    },
    /// What a store node believes of the membership.
    Membership {
        /// The node.
        lane: &'a str,
        /// The last Raft entry that it has applied.
        applied: u64,
        /// The Raft entry of the membership that it believes in.
        believed: u64,
    },
    /// A store node believes that it has won an election.
    Elected {
        /// The node.
        lane: &'a str,
        /// The term that it leads.
        term: u64,
        /// Who may vote; of each of these sets a majority must.
        voters: &'a [BTreeSet<u64>],
        /// Voters whose disks, if the power failed now, would not remember a vote for it or one in a
        /// later term.
        forgetful: &'a BTreeSet<u64>,
    },
    /// What a leader counts of the others' copies.
    Counted {
        /// By node, term and index of the last committed entry of which it has a copy.
        copies: &'a BTreeMap<u64, (u64, u64)>,
    },
    /// A store node has started on a sound disk.
    Restarted {
        /// The node.
        node: u64,
        /// The same, by its lane.
        lane: &'a str,
        /// Term and index of the last entry that it has for good, in its log or applied.
        left: Option<(u64, u64)>,
    },
    /// All faults are over.
    Healed {
        /// By when, in µs of simulated time, everything must have made progress.
        deadline_us: u64,
        /// What must happen again.
        awaited: &'a [String],
    },
    /// Something that must happen again after healing did.
    Progress {
        /// What.
        what: &'a str,
    },
}

/// What a device was told, as far as oracles care.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// It was offered something; otherwise sent back to something, or given nothing.
    pub is_offer: bool,
    /// Number of the rollout; absent for a baseline.
    pub rollout: Option<u64>,
    /// Its wave, from 0.
    pub wave: Option<u32>,
    /// The release that was given.
    pub release: Option<String>,
    /// Public keys of those who signed it.
    pub signers: Vec<[u8; 32]>,
    /// Rollouts whose wave is said not to be open for the device.
    pub wave_not_open: Vec<u64>,
    /// How much the node knew.
    pub mode: Option<Mode>,
    /// Security version of what it was given.
    pub security_version: Option<u64>,
    /// The floor as the node sees it.
    pub floor: Option<u64>,
    /// Security version that the device runs.
    pub running: u64,
    /// Audit entries that the cited snapshot covers.
    pub entries: Option<u64>,
}

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
