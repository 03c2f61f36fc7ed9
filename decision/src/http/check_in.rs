//! `POST /v1/check-in`.
use super::body::{
    BadField, Component, Metrics, Reason, from_base64, mode_name, to_base64, to_hex, verdict_name,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_proto::v1;

/// What a device says. Limits stand in `decision.proto`; what breaks one is answered `none` with
/// the reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckIn {
    device_id: String,
    variant: String,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    attested_claims: Option<String>,
    #[serde(default)]
    region: String,
    #[serde(default)]
    carrier: String,
    #[serde(default)]
    battery_percent: Option<u32>,
    #[serde(default)]
    power: Option<Power>,
    #[serde(default)]
    storage_free_bytes: Option<u64>,
    #[serde(default)]
    network: Option<Network>,
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
    #[serde(default)]
    utc_offset_minutes: Option<i32>,
    #[serde(default)]
    metrics: BTreeMap<String, Metrics>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Power {
    Battery,
    Charging,
    Mains,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Network {
    Wifi,
    Ethernet,
    Cellular,
    Roaming,
}

impl TryFrom<CheckIn> for v1::CheckInRequest {
    type Error = BadField;

    fn try_from(check_in: CheckIn) -> Result<Self, BadField> {
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
        } = check_in;
        let claims = attested_claims.as_deref().unwrap_or_default();
        let tokens = exposure_tokens
            .iter()
            .map(|token| from_base64("exposure_tokens", token));
        Ok(Self {
            device_id,
            variant,
            components: components.into_iter().map(Into::into).collect(),
            attested_claims: from_base64("attested_claims", claims)?,
            region,
            carrier,
            battery_percent,
            power: power
                .map_or(v1::PowerSource::Unspecified, Into::into)
                .into(),
            storage_free_bytes,
            network: network
                .map_or(v1::NetworkKind::Unspecified, Into::into)
                .into(),
            channel,
            boot_id,
            sequence,
            exposure_tokens: tokens.collect::<Result<_, _>>()?,
            labels: labels
                .into_iter()
                .map(|(key, value)| v1::Label { key, value })
                .collect(),
            utc_offset_minutes,
            metrics: metrics
                .into_iter()
                .map(|(component, metrics)| v1::ComponentMetrics {
                    component,
                    metrics: Some(metrics.into()),
                })
                .collect(),
        })
    }
}

impl From<Power> for v1::PowerSource {
    fn from(power: Power) -> Self {
        match power {
            Power::Battery => Self::Battery,
            Power::Charging => Self::Charging,
            Power::Mains => Self::Mains,
        }
    }
}

impl From<Network> for v1::NetworkKind {
    fn from(network: Network) -> Self {
        match network {
            Network::Wifi => Self::Wifi,
            Network::Ethernet => Self::Ethernet,
            Network::Cellular => Self::Cellular,
            Network::Roaming => Self::Roaming,
        }
    }
}

/// What the device is told.
#[derive(Debug, Serialize)]
pub(super) struct Decision {
    device_id: String,
    sequence: u64,
    verdict: &'static str,
    reasons: Vec<Reason>,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<Offer>,
    retry_after_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal_index: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Offer {
    release: String,
    component: String,
    version: String,
    security_version: u64,
    floor: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Payload>,
    manifest: String,
    signatures: Vec<Signature>,
    #[serde(skip_serializing_if = "String::is_empty")]
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

impl From<v1::CheckInResponse> for Decision {
    fn from(answer: v1::CheckInResponse) -> Self {
        let (verdict, mode) = (verdict_name(answer.verdict()), mode_name(answer.mode()));
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
            journal_index,
        } = answer;
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
            journal_index,
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
            manifest: to_base64(&manifest),
            signatures: signatures.into_iter().map(Into::into).collect(),
            rollout,
            wave,
            exposure_token: to_base64(&exposure_token),
            expires_at_ms,
        }
    }
}

impl From<v1::Payload> for Payload {
    fn from(payload: v1::Payload) -> Self {
        let v1::Payload { urls, sha256, size } = payload;
        Self {
            urls,
            sha256: to_hex(&sha256),
            size,
        }
    }
}

impl From<v1::ManifestSignature> for Signature {
    fn from(signature: v1::ManifestSignature) -> Self {
        let v1::ManifestSignature {
            public_key,
            signature,
        } = signature;
        Self {
            public_key: to_hex(&public_key),
            signature: to_hex(&signature),
        }
    }
}
