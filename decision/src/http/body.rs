//! What the JSON bodies share.
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tidegate_proto::v1;

/// A field whose text is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub(super) struct BadField {
    field: &'static str,
    problem: String,
}

/// Bytes from Base64 (RFC 4648, with padding).
pub(super) fn from_base64(field: &'static str, text: &str) -> Result<Vec<u8>, BadField> {
    STANDARD.decode(text).map_err(|error| BadField {
        field,
        problem: format!("is not Base64: {error}"),
    })
}

/// Bytes as Base64.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes as lower-case hexadecimal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What runs on a device.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    component: String,
    version: String,
    security_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<u64>,
}

impl From<Component> for v1::RunningComponent {
    fn from(running: Component) -> Self {
        let Component {
            component,
            version,
            security_version,
            floor,
        } = running;
        Self {
            component,
            version,
            security_version,
            floor,
        }
    }
}

/// What a device measured of a release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    #[serde(default)]
    errors: u64,
    #[serde(default)]
    operations: u64,
    #[serde(default)]
    correct: u64,
    #[serde(default)]
    labelled: u64,
    #[serde(default)]
    latency_counts: Vec<u64>,
}

impl From<Metrics> for v1::ReleaseMetrics {
    fn from(metrics: Metrics) -> Self {
        let Metrics {
            errors,
            operations,
            correct,
            labelled,
            latency_counts,
        } = metrics;
        Self {
            errors,
            operations,
            correct,
            labelled,
            latency_counts,
        }
    }
}

/// Why: a code and what it speaks of.
#[derive(Debug, Serialize)]
pub(super) struct Reason {
    code: String,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    params: serde_json::Map<String, serde_json::Value>,
}

impl From<v1::Reason> for Reason {
    fn from(reason: v1::Reason) -> Self {
        let v1::Reason { code, params } = reason;
        let params = params
            .into_iter()
            .map(|param| (param.name, param.value.into()));
        Self {
            code,
            params: params.collect(),
        }
    }
}

/// The name of a mode.
pub(super) const fn mode_name(mode: v1::DecisionMode) -> &'static str {
    match mode {
        v1::DecisionMode::Fresh => "fresh",
        v1::DecisionMode::Stale => "stale",
        v1::DecisionMode::Blind | v1::DecisionMode::Unspecified => "blind",
    }
}

/// The name of a verdict.
pub(super) const fn verdict_name(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Offer => "offer",
        v1::Verdict::Wait => "wait",
        v1::Verdict::Return => "return",
        v1::Verdict::None | v1::Verdict::Unspecified => "none",
    }
}
