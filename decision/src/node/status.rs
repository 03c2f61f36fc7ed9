//! What a node knows of itself.
use super::desk::Desk;
use crate::{
    engine::{Mode, Verdict},
    wire,
};
use std::{collections::BTreeMap, time::Duration};
use tidegate_domain::id::{Incarnation, LogTime, SessionId};
use tidegate_proto::v1;

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The open session, if there is one.
    pub session: Option<SessionId>,
    /// How much the node knows.
    pub mode: Mode,
    /// How much longer its lease runs.
    pub lease_left: Duration,
    /// The cluster's life that its snapshot is of; absent without a snapshot.
    pub incarnation: Option<Incarnation>,
    /// Number of audit entries that its snapshot covers.
    pub entries: u64,
    /// Log time of its snapshot.
    pub log_time: LogTime,
    /// Answers since the start, by verdict and mode.
    pub answers: Vec<(Verdict, Mode, u64)>,
    /// Answers since the start by the code of their first reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Outcomes that wait for their owner.
    pub outcomes_uncertain: u64,
    /// Admissions held and not spent.
    pub admissions_held: u64,
}

impl NodeStatus {
    pub(crate) fn of(desk: &Desk) -> Self {
        let standing = desk.standing();
        let snapshot = desk.known.snapshot();
        let cited = snapshot.as_ref().map(|snapshot| snapshot.index.cited());
        let live = desk.live.get();
        Self {
            session: live.as_ref().map(|live| live.session),
            mode: standing.mode,
            lease_left: desk.known.lease_left(&*desk.clock),
            incarnation: cited.map(|cited| cited.incarnation),
            entries: cited.map_or(0, |cited| cited.entries.0),
            log_time: cited.map_or(LogTime(0), |cited| cited.time),
            answers: desk.meters.answers(),
            reasons: desk.meters.reasons(),
            outcomes_uncertain: desk.forwarding().uncertain() as u64,
            admissions_held: live.map_or(0, |live| live.purse.held()),
        }
    }
}

impl From<NodeStatus> for v1::NodeStatusResponse {
    fn from(status: NodeStatus) -> Self {
        let NodeStatus {
            session,
            mode,
            lease_left,
            incarnation,
            entries,
            log_time,
            answers,
            reasons: _,
            outcomes_uncertain,
            admissions_held: _,
        } = status;
        let count = |(verdict, mode, count)| v1::VerdictCount {
            verdict: wire::verdict(verdict).into(),
            mode: wire::mode(mode).into(),
            count,
        };
        Self {
            session: session.map(|session| session.0),
            mode: wire::mode(mode).into(),
            lease_left_ms: u64::try_from(lease_left.as_millis()).unwrap_or(u64::MAX),
            incarnation: incarnation.unwrap_or_default().0,
            entries,
            log_time_ms: log_time.0,
            answers: answers.into_iter().map(count).collect(),
            journal_records: 0,
            journal_unanchored: 0,
            outcomes_uncertain,
        }
    }
}
