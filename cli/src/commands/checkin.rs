//! `tidegate checkin`: one device, one answer.
use crate::{
    commands::device::{Describe, running},
    context::Context,
    describe,
    failure::{Failure, Kind},
    settings,
    terminal::{Terminal, Tone},
};
use clap::Args;
use serde_json::{Value as Json, json};
use tidegate_decision::engine::Running;
use tidegate_domain::id::Millis;
use tidegate_proto::{
    WireError,
    v1::{
        CheckInRequest, CheckInResponse, DecisionMode, Offer, RunningComponent, Verdict,
        decision_client::DecisionClient,
    },
};
use tonic::transport::Endpoint;

/// Checks in as a device would, and shows the answer. It counts: an offer draws an admission.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate checkin car-4711 --to 127.0.0.1:7101 --variant gw-200/b2/eu-west/none --runs os=7.3.0:4

`tidegate device why` asks the same without counting.")]
pub(crate) struct Checkin {
    /// Decision nodes, nearest first; else those of the profile.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        env = "TIDEGATE_DECIDE"
    )]
    to: Vec<String>,
    #[command(flatten)]
    device: Describe,
    /// Changes with every boot.
    #[arg(long, default_value = "cli", value_name = "ID")]
    boot_id: String,
    /// Counts the device's check-ins.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    sequence: u64,
    /// What runs on it: COMPONENT=VERSION:SECURITY_VERSION; repeat it for several.
    #[arg(long = "runs", required = true, value_name = "COMPONENT=VERSION:SECURITY", value_parser = running)]
    components: Vec<Running>,
}

impl Checkin {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let nodes = if self.to.is_empty() {
            context.settings.decide.clone()
        } else {
            settings::addresses(&self.to)?
        };
        if nodes.is_empty() {
            return Err(Failure::usage("no decision node is named").next(
                "say --to HOST:PORT, set TIDEGATE_DECIDE, or write `decide` into the profile",
            ));
        }
        let request = self.request();
        let mut failures = Vec::new();
        for node in &nodes {
            match ask(node, request.clone(), context).await {
                Ok(answer) => {
                    let (text, json) = show(context.terminal, &answer);
                    context.terminal.show(text, json);
                    return Ok(());
                }
                Err(why) => failures.push(format!("{node}: {why}")),
            }
        }
        Err(Failure::new(Kind::Unreachable, failures.join("\n  "))
            .next("a device would ask again later; `tidegate cluster status` shows the store"))
    }

    fn request(self) -> CheckInRequest {
        let component = |running: Running| RunningComponent {
            component: running.component.to_string(),
            version: running.version.to_string(),
            security_version: running.security_version.0,
            floor: None,
        };
        CheckInRequest {
            device_id: self.device.device.as_str().to_owned(),
            variant: self.device.variant,
            components: self.components.into_iter().map(component).collect(),
            region: self
                .device
                .region
                .map_or_else(String::new, |region| region.to_string()),
            battery_percent: self.device.battery.map(u32::from),
            channel: self.device.channel.to_string(),
            boot_id: self.boot_id,
            sequence: self.sequence,
            ..CheckInRequest::default()
        }
    }
}

async fn ask(
    node: &str,
    request: CheckInRequest,
    context: &Context,
) -> Result<CheckInResponse, String> {
    let endpoint = Endpoint::from_shared(format!("http://{node}"));
    let endpoint = endpoint.map_err(|error| error.to_string())?;
    let endpoint = endpoint
        .connect_timeout(context.settings.timeout)
        .timeout(context.settings.timeout);
    let channel = endpoint
        .connect()
        .await
        .map_err(|_| "it cannot be reached".to_owned())?;
    let answer = DecisionClient::new(channel).check_in(request).await;
    let answer = answer.map_err(|status| WireError::from(&status).message)?;
    Ok(answer.into_inner())
}

fn show(terminal: Terminal, answer: &CheckInResponse) -> (String, Json) {
    let (tone, verdict) = match answer.verdict() {
        Verdict::Offer => (Tone::Good, "offer"),
        Verdict::Return => (Tone::Warning, "return"),
        Verdict::Wait => (Tone::Warning, "wait"),
        Verdict::None => (Tone::Faint, "none"),
        Verdict::Unspecified => (Tone::Bad, "?"),
    };
    let mode = match answer.mode() {
        DecisionMode::Fresh => "fresh",
        DecisionMode::Stale => "stale",
        DecisionMode::Blind => "blind",
        DecisionMode::Unspecified => "?",
    };
    let mut text = format!(
        "{} ({mode}), check in again in {}",
        terminal.paint(tone, verdict),
        describe::length(Millis(answer.retry_after_ms))
    );
    let mut reasons = Vec::new();
    for reason in &answer.reasons {
        let params = reason.params.iter();
        let params: Vec<String> = params.map(|p| format!("{} {}", p.name, p.value)).collect();
        text.push_str(&format!("\n  {} {}", reason.code, params.join(", ")));
        let values = reason
            .params
            .iter()
            .map(|p| (p.name.clone(), json!(p.value)));
        reasons.push(json!({ "code": reason.code, "params": values.collect::<Json>() }));
    }
    if let Some(offer) = &answer.offer {
        text.push_str(&offer_text(offer));
    }
    let json = json!({
        "verdict": verdict,
        "mode": mode,
        "reasons": reasons,
        "retry_after_ms": answer.retry_after_ms,
        "snapshot_entries": answer.snapshot_entries,
        "journal_index": answer.journal_index,
        "offer": answer.offer.as_ref().map(offer_json),
    });
    (text, json)
}

fn offer_text(offer: &Offer) -> String {
    let mut text = format!(
        "\n{} {} {} (security version {}, floor {})",
        offer.release, offer.component, offer.version, offer.security_version, offer.floor
    );
    if let Some(payload) = &offer.payload {
        text.push_str(&format!(
            "\n  {} bytes, SHA-256 {}",
            payload.size,
            hex::encode(&payload.sha256)
        ));
        for url in &payload.urls {
            text.push_str(&format!("\n  {url}"));
        }
    }
    text
}

fn offer_json(offer: &Offer) -> Json {
    json!({
        "release": offer.release,
        "component": offer.component,
        "version": offer.version,
        "security_version": offer.security_version,
        "floor": offer.floor,
        "rollout": offer.rollout,
        "wave": offer.wave,
        "expires_ms": offer.expires_at_ms,
        "exposure_token": hex::encode(&offer.exposure_token),
        "payload": offer.payload.as_ref().map(|payload| json!({
            "urls": payload.urls,
            "sha256": hex::encode(&payload.sha256),
            "size": payload.size,
        })),
    })
}
