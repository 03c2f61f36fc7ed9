//! `POST /v1/outcomes`.
use super::body::{BadField, Component, Metrics, Reason, from_base64};
use serde::{Deserialize, Serialize};
use tidegate_proto::v1;

/// What became of an exposure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    device_id: String,
    exposure_token: String,
    kind: Kind,
    #[serde(default)]
    failure: Option<Failure>,
    #[serde(default)]
    boot_id: String,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    metrics: Option<Metrics>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Downloaded,
    Installed,
    Verified,
    Failed,
    Reverted,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    stage: Stage,
    #[serde(default)]
    code: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Download,
    Verify,
    Install,
    Boot,
    Health,
}

impl TryFrom<Outcome> for v1::OutcomeReport {
    type Error = BadField;

    fn try_from(outcome: Outcome) -> Result<Self, BadField> {
        let Outcome {
            device_id,
            exposure_token,
            kind,
            failure,
            boot_id,
            components,
            metrics,
        } = outcome;
        Ok(Self {
            device_id,
            exposure_token: from_base64("exposure_token", &exposure_token)?,
            kind: v1::OutcomeKind::from(kind).into(),
            failure: failure.map(|Failure { stage, code }| v1::OutcomeFailure {
                stage: v1::InstallStage::from(stage).into(),
                code,
            }),
            boot_id,
            components: components.into_iter().map(Into::into).collect(),
            metrics: metrics.map(Into::into),
        })
    }
}

impl From<Kind> for v1::OutcomeKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Downloaded => Self::Downloaded,
            Kind::Installed => Self::Installed,
            Kind::Verified => Self::Verified,
            Kind::Failed => Self::Failed,
            Kind::Reverted => Self::Reverted,
        }
    }
}

impl From<Stage> for v1::InstallStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Download => Self::Download,
            Stage::Verify => Self::Verify,
            Stage::Install => Self::Install,
            Stage::Boot => Self::Boot,
            Stage::Health => Self::Health,
        }
    }
}

/// What became of the report.
#[derive(Debug, Serialize)]
pub(super) struct Reply {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl From<v1::OutcomeReply> for Reply {
    fn from(reply: v1::OutcomeReply) -> Self {
        let status = match reply.status() {
            v1::OutcomeStatus::Counted => "counted",
            v1::OutcomeStatus::Duplicate => "duplicate",
            v1::OutcomeStatus::Uncertain => "uncertain",
            v1::OutcomeStatus::Refused | v1::OutcomeStatus::Unspecified => "refused",
        };
        Self {
            status,
            reason: reply.reason.map(Into::into),
        }
    }
}
