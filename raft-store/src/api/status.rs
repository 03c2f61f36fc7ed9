//! What a node says of itself and of its group.

use std::time::Duration;

use openraft::{Instant as _, ServerState};
use openraft_rt::watch::WatchReceiver;
use tidegate_proto::v1;

use super::store::Serving;
use crate::room::Level;
use crate::types::{LogId, NodeId};

/// How long ago a majority must have confirmed that a node which calls itself ready is not behind:
/// a few of the rounds that it runs by itself.
const READY_AGE_MAX: Duration = Duration::from_secs(5);

/// This node as it stands now.
pub(super) fn status(serving: &Serving) -> v1::StatusResponse {
    let position = serving.state.position();
    let metrics = serving.group.raft.metrics();
    let metrics = metrics.borrow_watched().clone();
    let last = metrics.last_log_index.map_or(0, |last| last + 1);
    let membership = metrics.membership_config.membership();
    let voters: Vec<NodeId> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(id, member)| {
        let matched = metrics.replication.as_ref().and_then(|nodes| nodes.get(id));
        let acked = metrics.heartbeat.as_ref().and_then(|nodes| nodes.get(id));
        let acked = acked.and_then(|at| at.as_ref());
        v1::Member {
            node_id: *id,
            address: member.addr.clone(),
            region: member.region.clone(),
            voter: voters.contains(id),
            lag: matched.map(|matched| lag(last, matched.as_ref())),
            last_ack_ms: acked
                .map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        }
    });
    let members = members.collect();
    let leads = metrics.current_leader == Some(serving.group.me);
    let stopped = metrics.running_state.is_err();
    v1::StatusResponse {
        node_id: serving.group.me,
        origin: serving.origin(),
        role: role(metrics.state, stopped).into(),
        term: metrics.current_term,
        leader: metrics.current_leader,
        entries: position.entries,
        incarnation: serving.state.incarnation().0,
        log_time_ms: position.log_time_ms,
        members,
        disk: disk(serving).into(),
        state_root: position.root.to_vec(),
        ready: is_ready(serving),
        watchers: u32::try_from(serving.watches.open_now()).unwrap_or(u32::MAX),
        proposals_in_flight: u32::try_from(serving.writes.in_flight()).unwrap_or(u32::MAX),
        raft_last_log: last.saturating_sub(1),
        raft_applied: metrics.last_applied.map_or(0, |applied| applied.index),
        log_time_ahead_ms: serving.too_far_ahead_ms(position.log_time_ms),
        disk_free_bytes: serving.room.free(),
        disk_reserve_bytes: serving.room.reserve(),
        clock_ahead_ms: leads.then(|| {
            let (me, clock) = (serving.group.me, serving.clock.as_ref());
            -serving.clocks.median_ahead_ms(me, &voters, clock)
        }),
    }
}

/// Whether clients' reads are let in, and this node was not behind a moment ago.
fn is_ready(serving: &Serving) -> bool {
    let confirmed = serving.reads.last_confirmed();
    let age = confirmed.map(|confirmed| serving.clock.boot().since(confirmed));
    serving.reads.is_ready() && age.is_some_and(|age| age <= READY_AGE_MAX)
}

fn lag(log_len: u64, matched: Option<&LogId>) -> u64 {
    log_len.saturating_sub(matched.map_or(0, |matched| matched.index + 1))
}

const fn role(state: ServerState, stopped: bool) -> v1::NodeRole {
    if stopped {
        return v1::NodeRole::Stopped;
    }
    match state {
        ServerState::Learner => v1::NodeRole::Learner,
        ServerState::Follower => v1::NodeRole::Follower,
        ServerState::Candidate => v1::NodeRole::Candidate,
        ServerState::Leader => v1::NodeRole::Leader,
        ServerState::Shutdown => v1::NodeRole::Stopped,
    }
}

fn disk(serving: &Serving) -> v1::DiskState {
    let Serving {
        log, state, room, ..
    } = serving;
    match log.poisoned().or_else(|| state.poisoned()) {
        Some(poison) if !poison.full => v1::DiskState::Failed,
        None if room.level() == Level::Ample => v1::DiskState::Writable,
        Some(_) | None => v1::DiskState::Full,
    }
}
