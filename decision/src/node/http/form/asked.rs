//! What devices send.
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::collections::BTreeMap;
use tidegate_proto::v1;

/// A field that does not say what it must.
#[derive(Debug, thiserror::Error)]
pub(in crate::node::http) enum FieldError {
    /// Not base64.
    #[error("`{0}` is not standard base64")]
    Base64(&'static str),
    /// Not one of the words.
    #[error("`{field}` is one of {expected}, not {found:?}")]
    Word {
        field: &'static str,
        expected: &'static str,
        found: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node::http) struct CheckIn {
    device_id: String,
    variant: String,
    components: Vec<Running>,
    #[serde(default)]
    attested_claims: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    carrier: String,
    battery_percent: Option<u32>,
    power: Option<String>,
    storage_free_bytes: Option<u64>,
    network: Option<String>,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    boot_id: String,
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    exposure_tokens: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    utc_offset_minutes: Option<i32>,
    #[serde(default)]
    metrics: Vec<ComponentMetrics>,
    #[serde(default)]
    failures: Vec<PastFailures>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Running {
    component: String,
    version: String,
    #[serde(default)]
    security_version: u64,
    floor: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComponentMetrics {
    component: String,
    metrics: Metrics,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PastFailures {
    release: String,
    count: u32,
    last_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node::http) struct Outcome {
    device_id: String,
    exposure_token: String,
    kind: String,
    failure: Option<Failure>,
    #[serde(default)]
    boot_id: String,
    #[serde(default)]
    components: Vec<Running>,
    metrics: Option<Metrics>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    stage: String,
    #[serde(default)]
    code: String,
}

impl TryFrom<CheckIn> for v1::CheckInRequest {
    type Error = FieldError;

    fn try_from(form: CheckIn) -> Result<Self, FieldError> {
        let CheckIn {
            device_id,
            variant,
            components,
            attested_claims,
            region,
            carrier,
            battery_percent,
            power,
            storage_free_bytes,
            network,
            channel,
            boot_id,
            sequence,
            exposure_tokens,
            labels,
            utc_offset_minutes,
            metrics,
            failures,
        } = form;
        let tokens = exposure_tokens.iter();
        let label = |(key, value)| v1::Label { key, value };
        Ok(Self {
            device_id,
            variant,
            components: components.into_iter().map(Into::into).collect(),
            attested_claims: bytes("attested_claims", &attested_claims)?,
            region,
            carrier,
            battery_percent,
            power: power_of(power)?.into(),
            storage_free_bytes,
            network: network_of(network)?.into(),
            channel,
            boot_id,
            sequence,
            exposure_tokens: tokens
                .map(|t| bytes("exposure_tokens", t))
                .collect::<Result<_, _>>()?,
            labels: labels.into_iter().map(label).collect(),
            utc_offset_minutes,
            metrics: metrics.into_iter().map(Into::into).collect(),
            failures: failures.into_iter().map(Into::into).collect(),
        })
    }
}

impl TryFrom<Outcome> for v1::OutcomeReport {
    type Error = FieldError;

    fn try_from(form: Outcome) -> Result<Self, FieldError> {
        let Outcome {
            device_id,
            exposure_token,
            kind,
            failure,
            boot_id,
            components,
            metrics,
        } = form;
        Ok(Self {
            device_id,
            exposure_token: bytes("exposure_token", &exposure_token)?,
            kind: kind_of(kind)?.into(),
            failure: failure.map(TryInto::try_into).transpose()?,
            boot_id,
            components: components.into_iter().map(Into::into).collect(),
            metrics: metrics.map(Into::into),
        })
    }
}

impl From<Running> for v1::RunningComponent {
    fn from(form: Running) -> Self {
        let Running {
            component,
            version,
            security_version,
            floor,
        } = form;
        Self {
            component,
            version,
            security_version,
            floor,
        }
    }
}

impl From<ComponentMetrics> for v1::ComponentMetrics {
    fn from(form: ComponentMetrics) -> Self {
        let ComponentMetrics { component, metrics } = form;
        Self {
            component,
            metrics: Some(metrics.into()),
        }
    }
}

impl From<Metrics> for v1::ReleaseMetrics {
    fn from(form: Metrics) -> Self {
        let Metrics {
            errors,
            operations,
            correct,
            labelled,
            latency_counts,
        } = form;
        Self {
            errors,
            operations,
            correct,
            labelled,
            latency_counts,
        }
    }
}

impl From<PastFailures> for v1::PastFailures {
    fn from(form: PastFailures) -> Self {
        let PastFailures {
            release,
            count,
            last_ms,
        } = form;
        Self {
            release,
            count,
            last_ms,
        }
    }
}

impl TryFrom<Failure> for v1::OutcomeFailure {
    type Error = FieldError;

    fn try_from(form: Failure) -> Result<Self, FieldError> {
        let Failure { stage, code } = form;
        let known = match stage.as_str() {
            "download" => v1::InstallStage::Download,
            "verify" => v1::InstallStage::Verify,
            "install" => v1::InstallStage::Install,
            "boot" => v1::InstallStage::Boot,
            "health" => v1::InstallStage::Health,
            _ => {
                return Err(FieldError::Word {
                    field: "stage",
                    expected: "download, verify, install, boot, health",
                    found: stage,
                });
            }
        };
        Ok(Self {
            stage: known.into(),
            code,
        })
    }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, FieldError> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| FieldError::Base64(field))
}

fn power_of(word: Option<String>) -> Result<v1::PowerSource, FieldError> {
    match word.as_deref() {
        None => Ok(v1::PowerSource::Unspecified),
        Some("battery") => Ok(v1::PowerSource::Battery),
        Some("charging") => Ok(v1::PowerSource::Charging),
        Some("mains") => Ok(v1::PowerSource::Mains),
        Some(found) => Err(FieldError::Word {
            field: "power",
            expected: "battery, charging, mains",
            found: found.to_owned(),
        }),
    }
}

fn network_of(word: Option<String>) -> Result<v1::NetworkKind, FieldError> {
    match word.as_deref() {
        None => Ok(v1::NetworkKind::Unspecified),
        Some("wifi") => Ok(v1::NetworkKind::Wifi),
        Some("ethernet") => Ok(v1::NetworkKind::Ethernet),
        Some("cellular") => Ok(v1::NetworkKind::Cellular),
        Some("roaming") => Ok(v1::NetworkKind::Roaming),
        Some(found) => Err(FieldError::Word {
            field: "network",
            expected: "wifi, ethernet, cellular, roaming",
            found: found.to_owned(),
        }),
    }
}

fn kind_of(word: String) -> Result<v1::OutcomeKind, FieldError> {
    match word.as_str() {
        "downloaded" => Ok(v1::OutcomeKind::Downloaded),
        "installed" => Ok(v1::OutcomeKind::Installed),
        "verified" => Ok(v1::OutcomeKind::Verified),
        "failed" => Ok(v1::OutcomeKind::Failed),
        "reverted" => Ok(v1::OutcomeKind::Reverted),
        _ => Err(FieldError::Word {
            field: "kind",
            expected: "downloaded, installed, verified, failed, reverted",
            found: word,
        }),
    }
}
