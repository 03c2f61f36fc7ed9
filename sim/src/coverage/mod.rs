//! What a run hit: each class of faults in each state that the protocols can be in, and things that
//! must happen sometimes. Derived from the trace and the log alone, so that a replay counts, too.

mod moment;
mod sometimes;

use std::collections::BTreeMap;
use std::fmt;

use crate::oracle::{Chain, Seen};
use crate::record::{Kind, Record};
use crate::schedule::Fault;

pub use moment::STATES;
pub use sometimes::SOMETIMES;

use self::moment::Moment;
use self::sometimes::Sometimes;

/// Cells that cannot be hit, each with the reason. `*` is every state.
const IMPOSSIBLE: [(&str, &str, &str); 1] = [(
    "transfer",
    "nobody leads",
    "nobody has anything to hand over",
)];

/// Counts over any number of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Blows by class of fault and state.
    cells: BTreeMap<(&'static str, &'static str), u64>,
    /// Blows by class of fault.
    classes: BTreeMap<&'static str, u64>,
    /// Runs in which each thing happened.
    happened: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        let Self {
            cells,
            classes,
            happened,
        } = other;
        for (cell, count) in cells {
            *self.cells.entry(*cell).or_insert(0) += count;
        }
        for (class, count) in classes {
            *self.classes.entry(class).or_insert(0) += count;
        }
        for (what, count) in happened {
            *self.happened.entry(what).or_insert(0) += count;
        }
    }

    /// What was never hit and could have been: cells of the matrix, then things that must happen
    /// sometimes.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for class in Fault::CLASSES {
            for state in STATES {
                let impossible = IMPOSSIBLE
                    .iter()
                    .any(|(c, s, _)| *c == class && (*s == state || *s == "*"));
                if !impossible && !self.cells.contains_key(&(class, state)) {
                    missing.push(format!("{class} while {state}"));
                }
            }
        }
        let never = SOMETIMES
            .iter()
            .filter(|what| !self.happened.contains_key(*what));
        missing.extend(never.map(|what| (*what).to_owned()));
        missing
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, state) in STATES.iter().enumerate() {
            writeln!(f, "{:>2} {state}", number + 1)?;
        }
        write!(f, "{:<18}", "")?;
        for number in 1..=STATES.len() {
            write!(f, "{number:>6}")?;
        }
        writeln!(f, "{:>8}", "blows")?;
        for class in Fault::CLASSES {
            write!(f, "{class:<18}")?;
            for state in STATES {
                match self.cells.get(&(class, state)) {
                    Some(count) => write!(f, "{count:>6}")?,
                    None => write!(f, "{:>6}", ".")?,
                }
            }
            let blows = self.classes.get(class).copied().unwrap_or(0);
            writeln!(f, "{blows:>8}")?;
        }
        for what in SOMETIMES {
            let runs = self.happened.get(what).copied().unwrap_or(0);
            writeln!(f, "{runs:>6} runs: {what}")?;
        }
        Ok(())
    }
}

/// Watches one run.
#[derive(Debug, Default)]
pub struct Counter {
    coverage: Coverage,
    moment: Moment,
    sometimes: Sometimes,
}

impl Counter {
    /// Something was written down.
    pub fn note(&mut self, record: &Record, chain: &Chain) {
        if let Kind::Fault { fault } = &record.kind
            && self.moment.has_whom(fault)
        {
            let class = fault.class();
            *self.coverage.classes.entry(class).or_insert(0) += 1;
            for state in self.moment.states(record.at_us, chain) {
                *self.coverage.cells.entry((class, state)).or_insert(0) += 1;
            }
        }
        self.sometimes.note(record, &self.moment, chain);
        self.moment.note(record);
    }

    /// Something was seen.
    pub fn see(&mut self, seen: &Seen<'_>, chain: &Chain) {
        self.sometimes.see(seen, &self.moment, chain);
    }

    /// What this run hit.
    #[must_use]
    pub fn counts(&self, chain: &Chain) -> Coverage {
        let mut coverage = self.coverage.clone();
        coverage.happened = self.sometimes.happened(chain);
        coverage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Spot;

    fn record(at_us: u64, lane: &str, kind: Kind) -> Record {
        Record {
            at_us,
            lane: lane.to_owned(),
            kind,
        }
    }

    #[test]
    fn a_blow_is_counted_in_every_state_that_holds_and_empty_cells_are_named() {
        let chain = Chain::new("fleet.example", 1);
        let mut counter = Counter::default();
        let blow = Kind::Fault {
            fault: Fault::Snapshot { at: Spot::store(1) },
        };
        counter.note(&record(1, "world", blow.clone()), &chain);
        counter.note(&record(2, "s1", Kind::Leader { term: 1 }), &chain);
        counter.note(&record(3, "world", blow), &chain);
        let nobody = Kind::Fault {
            fault: Fault::Snapshot {
                at: Spot(Spot::LEADER.to_owned()),
            },
        };
        counter.note(&record(4, "world", nobody), &chain);
        let counts = counter.counts(&chain);
        assert_eq!(counts.classes["snapshot"], 2);
        assert_eq!(counts.cells[&("snapshot", "nobody leads")], 1);
        assert_eq!(counts.cells[&("snapshot", "a leader is new")], 1);
        let missing = counts.missing();
        assert!(missing.contains(&"snapshot while a leader leads".to_owned()));
        assert!(!missing.contains(&"snapshot while nobody leads".to_owned()));
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!(twice.classes["snapshot"], 4);
    }
}
