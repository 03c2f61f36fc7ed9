//! The log as the first node to apply each entry told it, replayed by a state of the oracles' own.

use std::collections::BTreeMap;

use tidegate_audit_log::Entry;
use tidegate_domain::id::{Hash, Incarnation, Index, LogTime};
use tidegate_domain::invariant::Fold;
use tidegate_domain::{Applied, Examined, Stamp, State, apply, canonical, record_membership};
use tidegate_raft_store::storage::{Asked, AuditBody, AuditEntry};

use super::{Violation, domain};

/// One entry and what the oracles make of it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its bytes as the first node had them.
    pub bytes: Vec<u8>,
    /// What it records.
    pub body: AuditBody,
    /// The chain after it.
    pub chain: [u8; 32],
    /// The state root after it, as replayed here.
    pub root: [u8; 32],
}

/// All entries that any node ever applied.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
    state: State,
    /// The domain's invariants, as far as `state`.
    fold: Fold,
    /// Entry in which a command was applied first, by the command's bytes.
    applied: BTreeMap<[u8; 32], u64>,
    genesis: [u8; 32],
    genesis_root: [u8; 32],
}

impl Chain {
    pub(crate) fn new(origin: &str, incarnation: u64) -> Self {
        let mut state = State::new(origin, Incarnation(incarnation));
        let genesis_root = state.root().0;
        Self {
            links: Vec::new(),
            fold: Fold::new(state.clone()),
            state,
            applied: BTreeMap::new(),
            genesis: tidegate_audit_log::LogHead::genesis(origin).chain().0,
            genesis_root,
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.links.len() as u64
    }

    /// Whether nothing was applied yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// An entry.
    #[must_use]
    pub fn link(&self, index: u64) -> Option<&Link> {
        self.links.get(usize::try_from(index).ok()?)
    }

    /// The chain and the root after so many entries.
    #[must_use]
    pub fn after(&self, entries: u64) -> Option<([u8; 32], [u8; 32])> {
        match entries.checked_sub(1) {
            None => Some((self.genesis, self.genesis_root)),
            Some(last) => self.link(last).map(|link| (link.chain, link.root)),
        }
    }

    /// The state after all entries.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The entry in which exactly these bytes were first applied.
    #[must_use]
    pub fn index_of(&self, command: &[u8]) -> Option<u64> {
        self.applied.get(blake3::hash(command).as_bytes()).copied()
    }

    /// Takes what is new in `entries`, and checks the domain's invariants on each.
    pub(super) fn extend(&mut self, entries: &[AuditEntry]) -> Vec<Violation> {
        let mut found = Vec::new();
        for entry in entries {
            if entry.index == self.len() {
                found.extend(self.push(entry).err());
            }
        }
        found
    }

    fn push(&mut self, entry: &AuditEntry) -> Result<(), Violation> {
        let broken = |id, detail: String| Violation {
            id,
            detail: format!("entry {}: {detail}", entry.index),
        };
        let parsed = Entry::parse(&entry.bytes).map_err(|e| broken("LOG-1", e.to_string()))?;
        let body = entry.body().map_err(|e| broken("LOG-1", e.to_string()))?;
        let stamp = Stamp {
            time: LogTime(parsed.header.t_ms),
            index: Index(entry.index),
            chain: Hash(parsed.header.prev_chain.0),
        };
        let replayed = self.replay(&body, stamp);
        let link = Link {
            bytes: entry.bytes.to_vec(),
            chain: parsed.chain().0,
            root: self.state.root().0,
            body,
        };
        // Nobody stores these rows.
        self.state.drain_changes();
        if let Asked::Command(command) = &link.body.asked {
            let key = *blake3::hash(command).as_bytes();
            self.applied.entry(key).or_insert(entry.index);
        }
        self.links.push(link);
        let link = &self.links[self.links.len() - 1];
        let Some(replayed) = replayed else {
            return Ok(());
        };
        if replayed != link.body.applied {
            self.fold = Fold::new(self.state.clone());
            let (here, there) = (shown(&replayed), shown(&link.body.applied));
            return Err(broken(
                "APPLY-1",
                format!("replay gives {here}, the log says {there}"),
            ));
        }
        domain::check(&mut self.fold, link, &mut self.state)
            .map_err(|(id, detail)| broken(id, detail))
    }

    /// What came of it here; nothing if the log has it by its digest only.
    fn replay(&mut self, body: &AuditBody, stamp: Stamp) -> Option<Applied> {
        match &body.asked {
            Asked::Command(command) => Some(apply(&mut self.state, Examined::of(command), stamp)),
            Asked::Membership(_) => Some(record_membership(&mut self.state, stamp)),
            Asked::Oversized { .. } => None,
        }
    }
}

fn shown(applied: &Applied) -> String {
    format!(
        "{:?} ({} B)",
        applied.outcome,
        canonical::encode(&applied.outcome).len()
    )
}

#[cfg(test)]
impl Chain {
    /// A log of what was asked and what came of it, whatever a state would say to that.
    pub(super) fn of(entries: impl IntoIterator<Item = (Asked, tidegate_domain::Outcome)>) -> Self {
        let mut chain = Self::new("fleet.example", 1);
        for (asked, outcome) in entries {
            let index = chain.len();
            if let Asked::Command(command) = &asked {
                let key = *blake3::hash(command).as_bytes();
                chain.applied.entry(key).or_insert(index);
            }
            let recorded = tidegate_domain::Event::EntryRecorded {
                index: Index(index),
                time: LogTime(0),
                spent: None,
                carries_root: false,
            };
            let applied = Applied {
                recorded,
                outcome,
                state_root: None,
            };
            let raft_index = index + 1;
            let body = AuditBody {
                raft_index,
                asked,
                applied,
            };
            chain.links.push(Link {
                bytes: Vec::new(),
                body,
                chain: chain.genesis,
                root: chain.genesis_root,
            });
        }
        chain
    }
}
