//! What happened, as data: one record a line, for people, for machines, and for the trace's hash.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schedule::Fault;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in µs of simulated time.
    pub at_us: u64,
    /// Where: a machine's name, or `world` for what has no place.
    pub lane: String,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A process serves.
    Started {
        /// Audit entries that it has.
        entries: u64,
    },
    /// A process ended.
    Stopped {
        /// Why.
        why: String,
    },
    /// A process refused to start.
    Refused {
        /// Why.
        why: String,
    },
    /// A fault was injected.
    Fault {
        /// Which, with its target resolved.
        fault: Fault,
    },
    /// What a fault broke is whole again.
    Mended {
        /// What.
        what: String,
    },
    /// All faults are over: from here on everything must make progress.
    Healed,
    /// Load runs: times of a schedule count from here.
    Loaded,
    /// A node leads.
    Leader {
        /// Its term.
        term: u64,
    },
    /// A node leads no more.
    Deposed,
    /// A node's state moved on.
    Applied {
        /// Audit entries that it covers.
        entries: u64,
        /// First eight bytes of the chain, in hex.
        chain: String,
    },
    /// A node replaced its state by a snapshot.
    Installed {
        /// Audit entries that it covers.
        entries: u64,
    },
    /// A client asked something.
    Asked {
        /// Number of the operation, unique in a run.
        op: u64,
        /// What.
        what: String,
    },
    /// A client got an answer.
    Answered {
        /// Number of the operation.
        op: u64,
        /// Audit entries that the answer covers or the entry that it names.
        entries: u64,
        /// What, in short.
        what: String,
    },
    /// A client got no answer, or an error.
    Failed {
        /// Number of the operation.
        op: u64,
        /// Whether it may have had an effect.
        unknown: bool,
        /// Why.
        why: String,
    },
    /// A client was told that what it asked is not taken in: an answer, too.
    TurnedAway {
        /// Number of the operation.
        op: u64,
        /// Why.
        why: String,
    },
    /// A client's view moved.
    View {
        /// Audit entries that it covers.
        entries: u64,
        /// It did not follow from the last one.
        replaced: bool,
    },
    /// A lease began or ran out.
    Lease {
        /// Whether it runs.
        fresh: bool,
    },
    /// A device was told something.
    Told {
        /// The device.
        device: String,
        /// What.
        verdict: String,
        /// Of which release; empty if of none.
        release: String,
    },
    /// What became of the check-ins that a gateway's devices made in one second.
    CheckIns {
        /// When the second began, in µs.
        from_us: u64,
        /// How many there were.
        asked: u64,
        /// How many were answered in time.
        answered: u64,
    },
    /// A halt or a stop committed.
    Barred {
        /// Of what.
        what: String,
    },
    /// A halt or a stop was lifted.
    Allowed {
        /// Of what.
        what: String,
    },
    /// Something barred was still offered, and later than the last time that this was noted.
    LateOffer {
        /// What.
        what: String,
        /// The device asked so long after it was barred, in µs.
        late_us: u64,
    },
    /// An invariant broke.
    Violation {
        /// Its ID, as in `docs/INVARIANTS.md`.
        id: String,
        /// What was seen.
        detail: String,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_us, lane, kind } = self;
        let (seconds, micros) = (at_us / 1_000_000, at_us % 1_000_000);
        write!(f, "{seconds:>5}.{micros:06} {lane:<6} {kind}")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { entries } => write!(f, "up, {entries} entries"),
            Self::Stopped { why } => write!(f, "down: {why}"),
            Self::Refused { why } => write!(f, "does not start: {why}"),
            Self::Fault { fault } => write!(f, "FAULT {fault}"),
            Self::Mended { what } => write!(f, "mended: {what}"),
            Self::Healed => f.write_str("HEALED"),
            Self::Loaded => f.write_str("load runs"),
            Self::Leader { term } => write!(f, "leads, term {term}"),
            Self::Deposed => f.write_str("leads no more"),
            Self::Applied { entries, chain } => write!(f, "applied {entries} {chain}"),
            Self::Installed { entries } => write!(f, "installed a snapshot of {entries}"),
            Self::Asked { op, what } => write!(f, "#{op} {what}"),
            Self::Answered { op, entries, what } => write!(f, "#{op} = {what} at {entries}"),
            Self::Failed { op, unknown, why } => {
                let effect = if *unknown { "unknown" } else { "none" };
                write!(f, "#{op} failed, effect {effect}: {why}")
            }
            Self::TurnedAway { op, why } => write!(f, "#{op} turned away: {why}"),
            Self::View { entries, replaced } => {
                let how = if *replaced { "taken anew" } else { "followed" };
                write!(f, "view {how} to {entries}")
            }
            Self::Lease { fresh: true } => f.write_str("lease runs"),
            Self::Lease { fresh: false } => f.write_str("lease ran out"),
            Self::Told {
                device,
                verdict,
                release,
            } => write!(f, "told {device} {verdict} {release}"),
            Self::CheckIns {
                from_us,
                asked,
                answered,
            } => {
                let second = from_us / 1_000_000;
                write!(
                    f,
                    "{answered} of {asked} check-ins of second {second} answered"
                )
            }
            Self::Barred { what } => write!(f, "barred: {what}"),
            Self::Allowed { what } => write!(f, "allowed again: {what}"),
            Self::LateOffer { what, late_us } => {
                let late_ms = late_us / 1_000;
                write!(f, "offered {late_ms} ms after it was barred: {what}")
            }
            Self::Violation { id, detail } => write!(f, "VIOLATION {id}: {detail}"),
        }
    }
}

/// All records of a run and their hash: two runs of one schedule must have the same.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    records: Vec<Record>,
    hasher: blake3::Hasher,
}

impl Trace {
    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.hasher.update(line(&record).as_bytes());
        self.hasher.update(b"\n");
        self.records.push(record);
    }

    /// All records, in the order in which they happened.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// BLAKE3 over all lines.
    #[must_use]
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// All records as JSON lines.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let lines = self.records.iter().map(|record| line(record) + "\n");
        lines.collect()
    }
}

/// One record as a line of JSON.
///
/// # Panics
/// Never: a record is made of numbers and text.
#[must_use]
pub fn line(record: &Record) -> String {
    match serde_json::to_string(record) {
        Ok(line) => line,
        Err(error) => unreachable!("a record is plain data: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at_us: u64, entries: u64) -> Record {
        Record {
            at_us,
            lane: "s1".to_owned(),
            kind: Kind::Started { entries },
        }
    }

    #[test]
    fn a_record_is_a_line_for_machines_and_one_for_people() {
        let record = record(1_000_042, 7);
        assert_eq!(record.to_string(), "    1.000042 s1     up, 7 entries");
        let line = line(&record);
        assert_eq!(
            line,
            r#"{"at_us":1000042,"lane":"s1","kind":"started","entries":7}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn any_difference_shows_in_the_hash() {
        let hash = |records: &[Record]| {
            let mut trace = Trace::default();
            records
                .iter()
                .cloned()
                .for_each(|record| trace.push(record));
            trace.hash()
        };
        let story = [record(1, 1), record(2, 2)];
        assert_eq!(hash(&story), hash(&story));
        assert_ne!(hash(&story), hash(&story[..1]));
        assert_ne!(hash(&story), hash(&[record(1, 1), record(3, 2)]));
    }
}
