//! `GET /v1/status`.
use super::body::{mode_name, verdict_name};
use serde::Serialize;
use tidegate_proto::v1;

/// What the node knows of itself.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    node: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    mode: &'static str,
    lease_left_ms: u64,
    incarnation: u64,
    entries: u64,
    log_time_ms: u64,
    answers: Vec<Answers>,
    journal_records: u64,
    journal_unanchored: u64,
    outcomes_uncertain: u64,
}

#[derive(Debug, Serialize)]
struct Answers {
    verdict: &'static str,
    mode: &'static str,
    count: u64,
}

impl From<v1::NodeStatusResponse> for Status {
    fn from(status: v1::NodeStatusResponse) -> Self {
        let mode = mode_name(status.mode());
        let v1::NodeStatusResponse {
            node,
            session,
            mode: _,
            lease_left_ms,
            incarnation,
            entries,
            log_time_ms,
            answers,
            journal_records,
            journal_unanchored,
            outcomes_uncertain,
        } = status;
        let answers = answers.into_iter().map(|answer| Answers {
            verdict: verdict_name(answer.verdict()),
            mode: mode_name(answer.mode()),
            count: answer.count,
        });
        Self {
            node,
            session,
            mode,
            lease_left_ms,
            incarnation,
            entries,
            log_time_ms,
            answers: answers.collect(),
            journal_records,
            journal_unanchored,
            outcomes_uncertain,
        }
    }
}
