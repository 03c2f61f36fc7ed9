//! The deepest check of an export: the whole log is applied again, and every recorded outcome must
//! be what the rules give. That verifies each command's signatures against the keys of its time.
use crate::describe;
use tidegate_audit_log::{
    Entry, Kind,
    verify::{Body, BodyFault, BodyVerifier},
};
use tidegate_domain::{
    Applied, Command, Event, Examined, Stamp, State, apply,
    id::{Hash, Incarnation, Index, LogTime, PublicKey},
    key::Role,
    record_membership,
};
use tidegate_raft_store::storage::{Asked, AuditBody, KIND_MEMBERSHIP, KIND_UNREADABLE};

/// Larger messages never reach a log.
const OVERSIZED_BYTES_MAX: u64 = 256 << 20;

/// Applies the entries of a log again, from the empty state on.
pub(crate) struct Replay {
    state: State,
    /// The root keys that epoch 1 must begin with, if the auditor knows them.
    roots: Option<Vec<PublicKey>>,
    /// Why the log can't be applied any further, though its hashes are good.
    stopped: Option<String>,
    applied: u64,
}

impl Replay {
    /// The replay of the log of a cluster. `roots` are the root keys that the auditor trusts.
    pub(crate) fn new(origin: &str, roots: Option<Vec<PublicKey>>) -> Self {
        Self {
            state: State::new(origin, Incarnation(1)),
            roots,
            stopped: None,
            applied: 0,
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

    fn replay(&mut self, entry: &Entry<'_>, bytes: &[u8]) -> Result<(), BodyFault> {
        let body = AuditBody::from_bytes(bytes)
            .map_err(|error| BodyFault(format!("the body is no record of a command: {error}")))?;
        let header = &entry.header;
        let stamp = Stamp {
            time: LogTime(header.t_ms),
            index: Index(header.index),
            chain: Hash(header.prev_chain.0),
        };
        let applied = match &body.asked {
            Asked::Command(command) => apply(&mut self.state, Examined::of(command), stamp),
            Asked::Membership(_) => record_membership(&mut self.state, stamp),
            // Refused by its length alone: any bytes of that length are refused alike.
            Asked::Oversized { bytes, .. } if *bytes <= OVERSIZED_BYTES_MAX => {
                let length = usize::try_from(*bytes).unwrap_or(usize::MAX);
                apply(&mut self.state, Examined::of(&vec![0; length]), stamp)
            }
            Asked::Oversized { bytes, .. } => {
                return Err(BodyFault(format!("it records a command of {bytes} bytes")));
            }
        };
        self.applied += 1;
        self.compare(&body.applied, &applied)
    }

    fn compare(&self, recorded: &Applied, found: &Applied) -> Result<(), BodyFault> {
        if recorded.outcome != found.outcome {
            return Err(BodyFault(format!(
                "the recorded outcome is not what the command's signatures and the rules give: {}",
                describe::outcome(&found.outcome)
            )));
        }
        if recorded.recorded != found.recorded || recorded.state_root != found.state_root {
            return Err(BodyFault(
                "the record of the entry, or the state root, is not what the log gives".to_owned(),
            ));
        }
        self.check_roots(found)
    }

    /// The first epoch speaks for itself; only somebody who knows its keys can tell whose it is.
    fn check_roots(&self, applied: &Applied) -> Result<(), BodyFault> {
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
                return Err(BodyFault(
                    "key epoch 1 begins with other root keys than those given by --root".to_owned(),
                ));
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
        if let Some(version) = self.state.unknown_version() {
            self.stopped = Some(format!(
                "from entry {} on, the log follows rules of version {version}, which this build does not know",
                entry.header.index
            ));
            return Ok(());
        }
        if entry.header.key_epoch != self.state.keys().epoch.0 {
            return Err(BodyFault(format!(
                "the header says key epoch {}, the log is in epoch {}",
                entry.header.key_epoch,
                self.state.keys().epoch
            )));
        }
        match body {
            Body::Inline(bytes) | Body::Detached(bytes) => self.replay(entry, bytes),
            Body::Absent => {
                self.stopped = Some(format!(
                    "the body of entry {} is absent",
                    entry.header.index
                ));
                Ok(())
            }
        }
    }
}
