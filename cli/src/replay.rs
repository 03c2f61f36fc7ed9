//! The deepest check of an export: the whole log is applied again, and every recorded outcome must
//! be what the rules give. That verifies each command's signatures against the keys of its time.
mod ahead;

use crate::describe;
use ahead::{Ahead, Noted, Ready, Record};
use tidegate_audit_log::{
    Entry, EntryHeader, Kind,
    verify::{Body, BodyFault, BodyVerifier},
};
use tidegate_domain::{
    Applied, Command, Event, Stamp, State, apply,
    id::{Hash, Incarnation, Index, LogTime, PublicKey},
    key::Role,
    record_membership,
};
use tidegate_raft_store::storage::{KIND_MEMBERSHIP, KIND_UNREADABLE};

/// Applies the entries of a log again, from the empty state on.
pub(crate) struct Replay {
    state: State,
    /// The root keys that epoch 1 must begin with, if the auditor knows them.
    roots: Option<Vec<PublicKey>>,
    /// Why the log can't be applied any further, though its hashes are good.
    stopped: Option<String>,
    applied: u64,
    ahead: Ahead,
}

impl Replay {
    /// The replay of the log of a cluster. `roots` are the root keys that the auditor trusts.
    pub(crate) fn new(origin: &str, roots: Option<Vec<PublicKey>>) -> Self {
        Self {
            state: State::new(origin, Incarnation(1)),
            roots,
            stopped: None,
            applied: 0,
            ahead: Ahead::default(),
        }
    }

    /// The state after the last entry that was applied.
    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    /// How many entries were applied.
    pub(crate) const fn applied(&self) -> u64 {
        self.applied
    }

    /// Why the log could not be applied any further, if so.
    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Takes the turn of entries, in order. After a fault nothing has its turn any more: the state is
    /// not what the entries that follow were applied to.
    fn take_turns(&mut self, entries: Vec<Ready>) -> Result<(), BodyFault> {
        for Ready { header, record } in entries {
            if let Err(what) = self.take_turn(&header, record) {
                self.ahead = Ahead::default();
                let index = header.index;
                return Err(BodyFault { index, what });
            }
        }
        Ok(())
    }

    fn take_turn(&mut self, header: &EntryHeader, record: Record) -> Result<(), String> {
        if self.stopped.is_some() {
            return Ok(());
        }
        if let Some(version) = self.state.unknown_version() {
            self.stopped = Some(format!(
                "from entry {} on, the log follows rules of version {version}, which this build does not know",
                header.index
            ));
            return Ok(());
        }
        if header.key_epoch != self.state.keys().epoch.0 {
            return Err(format!(
                "the header says key epoch {}, the log is in epoch {}",
                header.key_epoch,
                self.state.keys().epoch
            ));
        }
        let stamp = Stamp {
            time: LogTime(header.t_ms),
            index: Index(header.index),
            chain: Hash(header.prev_chain.0),
        };
        let (body, applied) = match record {
            Record::Command(body, examined) => (body, apply(&mut self.state, examined, stamp)),
            Record::Membership(body) => (body, record_membership(&mut self.state, stamp)),
            Record::Fault(what) => return Err(what),
            Record::Absent => {
                self.stopped = Some(format!("the body of entry {} is absent", header.index));
                return Ok(());
            }
        };
        self.applied += 1;
        self.compare(&body.applied, &applied)
    }

    fn compare(&self, recorded: &Applied, found: &Applied) -> Result<(), String> {
        if recorded.outcome != found.outcome {
            return Err(format!(
                "the recorded outcome is not what the command's signatures and the rules give: {}",
                describe::outcome(&found.outcome)
            ));
        }
        if recorded.recorded != found.recorded || recorded.state_root != found.state_root {
            return Err(
                "the record of the entry, or the state root, is not what the log gives".to_owned(),
            );
        }
        self.check_roots(found)
    }

    /// The first epoch speaks for itself; only somebody who knows its keys can tell whose it is.
    fn check_roots(&self, applied: &Applied) -> Result<(), String> {
        let Some(trusted) = &self.roots else {
            return Ok(());
        };
        for event in applied.events() {
            let Event::KeysRotated(keys) = event else {
                continue;
            };
            if keys.epoch.0 != 1 {
                continue;
            }
            let root = keys.role(Role::Root);
            let found = root.map(|root| root.keys.keys().copied().collect::<Vec<_>>());
            let mut trusted = trusted.clone();
            trusted.sort_unstable();
            if found.unwrap_or_default() != trusted {
                return Err(
                    "key epoch 1 begins with other root keys than those given by --root".to_owned(),
                );
            }
        }
        Ok(())
    }
}

impl BodyVerifier for Replay {
    fn knows(&self, kind: Kind) -> bool {
        matches!(kind, KIND_MEMBERSHIP | KIND_UNREADABLE) || Command::kind_name(kind.0).is_some()
    }

    fn check(&mut self, entry: &Entry<'_>, body: Body<'_>) -> Result<(), BodyFault> {
        if self.stopped.is_some() {
            return Ok(());
        }
        let body = match body {
            Body::Inline(bytes) | Body::Detached(bytes) => Some(bytes.to_vec()),
            Body::Absent => None,
        };
        let header = entry.header;
        let ready = self.ahead.push(Noted { header, body });
        self.take_turns(ready)
    }

    fn finish(&mut self) -> Result<(), BodyFault> {
        while let Some(ready) = self.ahead.next() {
            self.take_turns(ready)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_audit_log::ChainHash;

    /// A verifier that went on with a state that is not the log's could say anything of what follows.
    #[test]
    fn after_a_fault_nothing_has_its_turn() {
        let mut replay = Replay::new("a.example", None);
        let mut checked = (0..10_000).map(|index| {
            let header = EntryHeader {
                index,
                raft_term: 1,
                t_ms: 0,
                key_epoch: 0,
                kind: KIND_UNREADABLE,
                detached: false,
                prev_chain: ChainHash([0; 32]),
            };
            let body = [0xff];
            let bytes = header.encode(&body).expect("it is short");
            let entry = Entry::parse(&bytes).expect("it was encoded");
            replay.check(&entry, Body::Inline(&body))
        });
        let fault = checked.find_map(Result::err).expect("far behind");
        assert_eq!(fault.index, 0);
        drop(checked);
        assert_eq!(replay.finish(), Ok(()));
        assert_eq!(replay.applied(), 0);
    }
}
