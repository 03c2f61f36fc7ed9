//! What devices are told.
use crate::node::NodeStatus;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use std::collections::BTreeMap;
use tidegate_proto::v1;

#[derive(Debug, Serialize)]
pub(in crate::node::http) struct Answer {
    device_id: String,
    sequence: u64,
    verdict: String,
    reasons: Vec<Reason>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<Offer>,
    retry_after_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_entries: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Offer {
    release: String,
    component: String,
    version: String,
    security_version: u64,
    floor: u64,
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Payload>,
    manifest: String,
    signatures: Vec<Signature>,
    rollout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<u32>,
    exposure_token: String,
    expires_at_ms: u64,
}

#[derive(Debug, Serialize)]
struct Payload {
    urls: Vec<String>,
    sha256: String,
    size: u64,
}

#[derive(Debug, Serialize)]
struct Signature {
    public_key: String,
    signature: String,
}

#[derive(Debug, Serialize)]
pub(in crate::node::http) struct OutcomeReply {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

#[derive(Debug, Serialize)]
pub(in crate::node::http) struct Status {
    mode: &'static str,
    session: Option<u64>,
    lease_left_ms: u64,
    incarnation: Option<u64>,
    entries: u64,
    log_time_ms: u64,
    /// By mode, then by verdict.
    answers: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    reasons: BTreeMap<&'static str, u64>,
    outcomes_uncertain: u64,
    admissions_held: u64,
}

#[derive(Debug, Serialize)]
pub(in crate::node::http) struct Health {
    pub(in crate::node::http) mode: &'static str,
}

/// The last word of a wire enum's name, in lower case: `VERDICT_OFFER` is `offer`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

impl From<v1::CheckInResponse> for Answer {
    fn from(response: v1::CheckInResponse) -> Self {
        let verdict = word(response.verdict().as_str_name(), "VERDICT_");
        let mode = word(response.mode().as_str_name(), "DECISION_MODE_");
        let v1::CheckInResponse {
            device_id,
            sequence,
            verdict: _,
            reasons,
            mode: _,
            offer,
            retry_after_ms,
            incarnation,
            snapshot_entries,
            journal_index: _,
        } = response;
        Self {
            device_id,
            sequence,
            verdict,
            reasons: reasons.into_iter().map(Into::into).collect(),
            mode,
            offer: offer.map(Into::into),
            retry_after_ms,
            incarnation,
            snapshot_entries,
        }
    }
}

impl From<v1::Reason> for Reason {
    fn from(reason: v1::Reason) -> Self {
        let v1::Reason { code, params } = reason;
        let param = |v1::ReasonParam { name, value }| (name, value);
        Self {
            code,
            params: params.into_iter().map(param).collect(),
        }
    }
}

impl From<v1::Offer> for Offer {
    fn from(offer: v1::Offer) -> Self {
        let v1::Offer {
            release,
            component,
            version,
            security_version,
            floor,
            payload,
            delta,
            manifest,
            signatures,
            rollout,
            wave,
            exposure_token,
            expires_at_ms,
        } = offer;
        Self {
            release,
            component,
            version,
            security_version,
            floor,
            payload: payload.map(Into::into),
            delta: delta.map(Into::into),
            manifest: BASE64_STANDARD.encode(manifest),
            signatures: signatures.into_iter().map(Into::into).collect(),
            rollout,
            wave,
            exposure_token: BASE64_STANDARD.encode(exposure_token),
            expires_at_ms,
        }
    }
}

impl From<v1::Payload> for Payload {
    fn from(payload: v1::Payload) -> Self {
        let v1::Payload { urls, sha256, size } = payload;
        Self {
            urls,
            sha256: hex::encode(sha256),
            size,
        }
    }
}

impl From<v1::ManifestSignature> for Signature {
    fn from(signed: v1::ManifestSignature) -> Self {
        let v1::ManifestSignature {
            public_key,
            signature,
        } = signed;
        Self {
            public_key: hex::encode(public_key),
            signature: hex::encode(signature),
        }
    }
}

impl From<v1::OutcomeReply> for OutcomeReply {
    fn from(reply: v1::OutcomeReply) -> Self {
        Self {
            status: word(reply.status().as_str_name(), "OUTCOME_STATUS_"),
            reason: reply.reason.map(Into::into),
        }
    }
}

impl From<NodeStatus> for Status {
    fn from(status: NodeStatus) -> Self {
        let NodeStatus {
            session,
            mode,
            lease_left,
            incarnation,
            entries,
            log_time,
            answers,
            reasons,
            outcomes_uncertain,
            admissions_held,
        } = status;
        let mut by_mode: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (verdict, mode, count) in answers {
            by_mode
                .entry(mode.name())
                .or_default()
                .insert(verdict.name(), count);
        }
        Self {
            mode: mode.name(),
            session: session.map(|session| session.0),
            lease_left_ms: u64::try_from(lease_left.as_millis()).unwrap_or(u64::MAX),
            incarnation: incarnation.map(|incarnation| incarnation.0),
            entries,
            log_time_ms: log_time.0,
            answers: by_mode,
            reasons,
            outcomes_uncertain,
            admissions_held,
        }
    }
}
