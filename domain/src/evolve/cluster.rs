//! Folds of the log's position, and of what the cluster is.
use super::{Inconsistent, revision};
use crate::{
    config::{ClusterConfig, Member},
    event::SpentId,
    id::{Index, LogTime, NodeId, StateVersion},
    state::{Spent, State},
};

/// Most spent ids, holds, and sessions, each, that one entry forgets: more than it can add, so that the
/// backlog shrinks, and few, so that no entry is slow.
const FORGET_MAX: usize = 4;

pub(super) fn entry_recorded(
    state: &mut State,
    index: Index,
    time: LogTime,
    spent: Option<SpentId>,
    carries_root: bool,
) -> Result<(), Inconsistent> {
    let meta = state.meta();
    if index != meta.next {
        return Err(Inconsistent::OutOfOrder {
            expected: meta.next,
            found: index,
        });
    }
    if time < meta.time {
        return Err(Inconsistent::TimeRunsBack {
            existing: meta.time,
            found: time,
        });
    }
    let meta = state.meta.get_mut();
    meta.next = Index(index.0.saturating_add(1));
    meta.time = time;
    if carries_root {
        meta.last_root = Some(index);
    }
    if let Some(SpentId {
        id,
        not_after,
        digest,
    }) = spent
    {
        if state.spent.contains(&id) {
            return Err(Inconsistent::Conflict("the command id is spent"));
        }
        let spent = Spent {
            index,
            not_after,
            digest,
        };
        state.spent.insert(id, spent);
        state.derived.spent_by_end.insert((not_after, id));
    }
    forget_expired(state, time);
    Ok(())
}

/// Forgets ids whose commands can never be applied again, holds that hold no more, and sessions
/// that are over and whose last envelope can come no more.
fn forget_expired(state: &mut State, now: LogTime) {
    for _ in 0..FORGET_MAX {
        match state.derived.spent_by_end.first() {
            Some((end, id)) if *end < now => {
                state.spent.remove(id);
                state.derived.spent_by_end.pop_first();
            }
            Some(_) | None => break,
        }
    }
    for _ in 0..FORGET_MAX {
        match state.derived.holds_by_end.first() {
            Some((end, key)) if *end <= now => {
                state.holds.remove(key);
                state.derived.holds_by_end.pop_first();
            }
            Some(_) | None => break,
        }
    }
    for _ in 0..FORGET_MAX {
        match state.derived.settled_sessions.first() {
            Some((end, id)) if *end < now => {
                state.sessions.remove(id);
                state.derived.settled_sessions.pop_first();
            }
            Some(_) | None => break,
        }
    }
}

pub(super) fn membership_changed(
    state: &mut State,
    members: &[Member],
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let membership = state.membership.get_mut();
    let last = members.iter().map(|member| member.id).max();
    membership.last_node = membership.last_node.max(last.unwrap_or(NodeId(0)));
    membership.members = members.to_vec();
    membership.revision = revision;
    Ok(())
}

pub(super) fn config_set(state: &mut State, config: &ClusterConfig) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let row = state.config.get_mut();
    row.clone_from(config);
    row.revision = revision;
    Ok(())
}

pub(super) fn version_raised(state: &mut State, version: StateVersion) -> Result<(), Inconsistent> {
    let meta = state.meta.get_mut();
    if version <= meta.version {
        return Err(Inconsistent::Conflict("state version is there"));
    }
    meta.version = version;
    Ok(())
}
