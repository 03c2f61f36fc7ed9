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
            power: POWERS.read_or_unspecified(power)?,
            storage_free_bytes,
            network: NETWORKS.read_or_unspecified(network)?,
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
            kind: KINDS.read(kind)?,
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
        Ok(Self {
            stage: STAGES.read(stage)?,
            code,
        })
    }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, FieldError> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| FieldError::Base64(field))
}

/// The words for the values of a wire enum: `verified` is `OUTCOME_KIND_VERIFIED`.
struct Words<E> {
    field: &'static str,
    prefix: &'static str,
    /// Divided by `", "`. What is unspecified is left out, and has no word.
    expected: &'static str,
    from_name: fn(&str) -> Option<E>,
}

const POWERS: Words<v1::PowerSource> = Words {
    field: "power",
    prefix: "POWER_SOURCE_",
    expected: "battery, charging, mains",
    from_name: v1::PowerSource::from_str_name,
};
const NETWORKS: Words<v1::NetworkKind> = Words {
    field: "network",
    prefix: "NETWORK_KIND_",
    expected: "wifi, ethernet, cellular, roaming",
    from_name: v1::NetworkKind::from_str_name,
};
const KINDS: Words<v1::OutcomeKind> = Words {
    field: "kind",
    prefix: "OUTCOME_KIND_",
    expected: "downloaded, installed, verified, failed, reverted",
    from_name: v1::OutcomeKind::from_str_name,
};
const STAGES: Words<v1::InstallStage> = Words {
    field: "stage",
    prefix: "INSTALL_STAGE_",
    expected: "download, verify, install, boot, health",
    from_name: v1::InstallStage::from_str_name,
};

impl<E: Default + Into<i32>> Words<E> {
    fn read(&self, word: String) -> Result<i32, FieldError> {
        let is_known = self.expected.split(", ").any(|known| known == word);
        let name = format!("{}{}", self.prefix, word.to_uppercase());
        let value = (self.from_name)(&name).filter(|_| is_known);
        value.map(Into::into).ok_or(FieldError::Word {
            field: self.field,
            expected: self.expected,
            found: word,
        })
    }

    fn read_or_unspecified(&self, word: Option<String>) -> Result<i32, FieldError> {
        word.map_or_else(|| Ok(E::default().into()), |word| self.read(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value but the unspecified one has a word, and every word a value.
    #[track_caller]
    fn check<E: Default + Into<i32>>(words: &Words<E>) {
        let all = words
            .expected
            .split(", ")
            .map(|word| words.read(word.to_owned()));
        let mut values: Vec<_> = all.map(Result::unwrap).collect();
        values.sort_unstable();
        assert_eq!(values, Vec::from_iter(1..=values.len() as i32));
        let unknown = words.read("unspecified".to_owned()).unwrap_err();
        assert!(unknown.to_string().contains(words.expected), "{unknown}");
        assert!(words.read("WIFI".to_owned()).is_err());
        assert_eq!(words.read_or_unspecified(None).unwrap(), 0);
    }

    #[test]
    fn every_value_has_a_word_and_every_word_a_value() {
        check(&POWERS);
        check(&NETWORKS);
        check(&KINDS);
        check(&STAGES);
        assert_eq!(v1::PowerSource::try_from(4).ok(), None);
        assert_eq!(v1::NetworkKind::try_from(5).ok(), None);
        assert_eq!(v1::OutcomeKind::try_from(6).ok(), None);
        assert_eq!(v1::InstallStage::try_from(6).ok(), None);
    }
}
