//! The state in memory, and how one Raft entry moves it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_audit_log::detached::DetachedBody;
use tidegate_audit_log::tree::NodeId as TreeNode;
use tidegate_audit_log::{LogHead, NewEntry, NodeHash, entry};
use tidegate_domain::apply::{apply, record_membership};
use tidegate_domain::id::{Hash, Index, LogTime};
use tidegate_domain::{Applied as Came, Outcome, Stamp, State, canonical};
use tidegate_mutant::{Mutant, is_on};

use super::StateError;
use crate::storage::audit_body::{Asked, AuditBody, encode_events};
use crate::storage::feed::Position;
use crate::types::{Applied, Entry, EntryPayload, LogId, NodeId, StoredMembership};

/// Everything that moves together when an entry is applied.
#[derive(Debug)]
pub(in crate::storage) struct Core {
    pub(in crate::storage) state: State,
    pub(in crate::storage) head: LogHead,
    /// The state root as of the last save.
    pub(in crate::storage) root: Hash,
    pub(in crate::storage) applied: Option<LogId>,
    pub(in crate::storage) membership: StoredMembership,
}

/// An entry that was added to the audit log, with all that storage keeps of it.
pub(super) struct Chained {
    pub(super) index: u64,
    pub(super) entry: Vec<u8>,
    /// The hashes of the tree that it completed.
    pub(super) nodes: Vec<(TreeNode, NodeHash)>,
    pub(super) detached: Option<DetachedBody>,
    pub(super) events: Bytes,
}

/// What changed since a state was last saved, and where it stands.
pub(in crate::storage) struct Settled {
    /// Domain rows; without a value if they are gone.
    pub(super) rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) head: LogHead,
    pub(super) root: Hash,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// Salts of detached bodies follow from the body, because every node must build the same entry.
/// That keeps what a salt is for: the body holds signatures that nobody can make again, so a guess
/// at an erased body cannot be confirmed.
const SALT_CONTEXT: &str = "tidegate 2026-11 audit detached salt v1";

impl Core {
    pub(in crate::storage) fn new(state: State, head: LogHead) -> Self {
        Self {
            state,
            head,
            root: Hash([0; 32]),
            applied: None,
            membership: StoredMembership::default(),
        }
    }

    pub(in crate::storage) fn position(&self, installs: u64) -> Position {
        Position {
            entries: self.head.size(),
            chain: self.head.chain().0,
            root: self.root.0,
            log_time_ms: self.state.meta().time.0,
            applied: self.applied,
            installs,
        }
    }

    /// `apply` panics under rules that it does not know; this is asked first.
    pub(in crate::storage) fn check_known_rules(&self) -> Result<(), StateError> {
        match self.state.unknown_version() {
            Some(version) => Err(StateError::NewerRules(version)),
            None => Ok(()),
        }
    }

    /// Applies the next Raft entry, in memory of this node. Nothing that comes of it depends on which
    /// one that is, but under a known bug.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        node: NodeId,
    ) -> Result<(Applied, Option<Chained>), StateError> {
        self.check_known_rules()?;
        let Entry { log_id, payload } = entry;
        self.applied = Some(*log_id);
        // The epoch under which the command was judged, not the one that it began.
        let key_epoch = self.state.keys().epoch.0;
        let (asked, came) = match payload {
            EntryPayload::Blank => return Ok((Applied::Blank, None)),
            EntryPayload::Normal(proposal) => {
                let stamp = self.stamp(LogTime(proposal.stamp_ms));
                let command = &proposal.command;
                let came = apply(&mut self.state, command.take_examined(), stamp);
                (Asked::command(command.bytes().clone()), came)
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(*log_id), membership.clone());
                // Raft's own entries carry no stamp: log time stands still.
                let stamp = self.stamp(self.state.meta().time);
                let came = record_membership(&mut self.state, stamp);
                (Asked::Membership(membership.clone()), came)
            }
        };
        let reworded = is_on(Mutant::ProseInChain)
            && node % 2 == 1
            && matches!(came.outcome, Outcome::Rejected(_));
        let place = LogId {
            index: log_id.index + u64::from(reworded),
            ..*log_id
        };
        let (applied, chained) = self.chain(place, key_epoch, asked, came)?;
        Ok((applied, Some(chained)))
    }

    /// Computes the root, and collects what storage lacks.
    pub(in crate::storage) fn settle(&mut self) -> Settled {
        self.root = self.state.root();
        Settled {
            rows: self.state.drain_changes(),
            head: self.head.clone(),
            root: self.root,
            applied: self.applied,
            membership: self.membership.clone(),
        }
    }

    /// What the next entry would carry at log time `time`.
    pub(super) fn stamp(&self, time: LogTime) -> Stamp {
        Stamp {
            time,
            index: Index(self.head.size()),
            chain: Hash(self.head.chain().0),
        }
    }

    /// Makes the audit entry of what was just applied.
    fn chain(
        &mut self,
        log_id: LogId,
        key_epoch: u32,
        asked: Asked,
        came: Came,
    ) -> Result<(Applied, Chained), StateError> {
        let kind = asked.kind();
        let outcome = Bytes::from(canonical::encode(&came.outcome));
        let events = encode_events(&came);
        let body = AuditBody {
            raft_index: log_id.index,
            asked,
            applied: came,
        }
        .to_bytes();
        let index = self.head.size();
        let damaged =
            |error: &dyn std::fmt::Display| StateError::Damaged(format!("entry {index}: {error}"));
        let detached = if body.len() > entry::BODY_BYTES_MAX {
            let salt = blake3::derive_key(SALT_CONTEXT, &body);
            Some(DetachedBody::new(salt, &body).map_err(|error| damaged(&error))?)
        } else {
            None
        };
        let commitment = detached.as_ref().map(|body| body.commitment().encode());
        let new = NewEntry {
            detached: commitment.is_some(),
            kind,
            raft_term: log_id.leader_id.term,
            t_ms: self.state.meta().time.0,
            key_epoch,
            body: commitment.as_deref().unwrap_or(&body),
        };
        let mut nodes = Vec::new();
        let appended = self
            .head
            .append(&new, |id, hash| nodes.push((id, *hash)))
            .map_err(|error| damaged(&error))?;
        let applied = Applied::Chained {
            index,
            chain: appended.chain.0,
            outcome,
        };
        let chained = Chained {
            index,
            entry: appended.entry,
            nodes,
            detached,
            events,
        };
        Ok((applied, chained))
    }
}
