//! `tidegate device`.
use crate::{
    context::{Context, reason},
    failure::Failure,
    rollout_file::time::Instant,
    settings,
    signing::Signing,
    terminal::{Terminal, Tone},
};
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use std::{path::PathBuf, time::Duration};
use tidegate_decision::engine::{
    Because, CheckIn, Decision, DeviceId, Index, Mode, Network, NoBudgets, Power, PseudonymKey,
    Reason as Code, Running, TableOnly, VariantClaim, decide,
};
use tidegate_domain::{
    command::SetHold,
    guard::{HoldKey, HoldKind},
    id::{Channel, Component, LogTime, Pseudonym, Reason, Region, ReleaseName, SecurityVersion},
};
use tidegate_runtime::{Clock, SystemClock};

/// Single devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    Why(Box<Why>),
    Hold(Box<Hold>),
}

/// Says what a device would be told now, and why: the decision engine on the cluster's state.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate device why car-4711 --variant gw-200/b2/eu-west/none --runs os=7.3.0:4
  tidegate device why car-4711 --variant … --runs detector-model=3.1.0:2 --channel beta --battery 80

Asking draws no admission and changes nothing.")]
pub(crate) struct Why {
    #[command(flatten)]
    device: Describe,
    /// What runs on it: COMPONENT=VERSION:SECURITY_VERSION; repeat it for several.
    #[arg(long = "runs", required = true, value_name = "COMPONENT=VERSION:SECURITY", value_parser = running)]
    components: Vec<Running>,
    #[command(flatten)]
    whose: Whose,
}

/// What a device says of itself.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The device's id.
    #[arg(value_parser = device_id)]
    pub(crate) device: DeviceId,
    /// Its variant as `model/revision/region/carrier`.
    #[arg(long)]
    pub(crate) variant: String,
    /// Its release channel.
    #[arg(long, default_value = "stable")]
    pub(crate) channel: Channel,
    /// Where it says it is; else where its variant is.
    #[arg(long)]
    pub(crate) region: Option<Region>,
    /// Its state of charge in percent; none without a battery.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) battery: Option<u8>,
}

/// Holds a device: as it is, or on one release; or lets it go.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate device hold car-4711 --pseudonym-key fleet.pseudonym --for 30d --reason 'court order 12'
  tidegate device hold car-4711 --pseudonym-key fleet.pseudonym --component os --pin os-7.3.0 \\
      --until 2027-01-01T00:00:00Z --reason 'customer pilot'
  tidegate device hold car-4711 --pseudonym-key fleet.pseudonym --release --reason 'case closed'")]
pub(crate) struct Hold {
    /// The device's id.
    #[arg(value_parser = device_id)]
    device: DeviceId,
    /// Only this component; else all of them.
    #[arg(long)]
    component: Option<Component>,
    /// Keep it on this release instead of as it is.
    #[arg(long, value_name = "RELEASE")]
    pin: Option<ReleaseName>,
    /// How long it is held.
    #[arg(long = "for", value_name = "TIME", value_parser = settings::duration, conflicts_with = "until")]
    length: Option<Duration>,
    /// Until when it is held (RFC 3339).
    #[arg(long, value_name = "WHEN")]
    until: Option<Instant>,
    /// Let it go.
    #[arg(long, conflicts_with_all = ["pin", "length", "until"])]
    release: bool,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    signing: Signing,
}

/// How a device is called in the log.
#[derive(Debug, Args)]
struct Whose {
    /// The fleet's pseudonym key: a file of mode 0600 with 64 hexadecimal digits.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_PSEUDONYM_KEY")]
    pseudonym_key: Option<PathBuf>,
    /// The device's pseudonym, instead of the key.
    #[arg(long, value_name = "HEX", conflicts_with = "pseudonym_key", value_parser = pseudonym)]
    pseudonym: Option<Pseudonym>,
}

impl Whose {
    fn of(&self, device: &DeviceId) -> Result<Option<Pseudonym>, Failure> {
        if let Some(pseudonym) = self.pseudonym {
            return Ok(Some(pseudonym));
        }
        let Some(path) = &self.pseudonym_key else {
            return Ok(None);
        };
        let secret = crate::keys::read_secret_hex(path).map_err(Failure::refused)?;
        Ok(Some(PseudonymKey::new(secret).pseudonym(device)))
    }
}

impl Device {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Why(why) => why.run(context).await,
            Self::Hold(hold) => hold.run(context).await,
        }
    }
}

impl Why {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Describe {
            device,
            variant,
            channel,
            region,
            battery,
        } = self.device;
        let pseudonym = self.whose.of(&device)?;
        let check_in = CheckIn {
            // Holds are found by pseudonym only; the rest goes by the id.
            pseudonym: pseudonym.unwrap_or(Pseudonym([0; 32])),
            device,
            variant: VariantClaim::Traits(variant.into()),
            channel,
            region,
            components: self.components,
            battery_percent: battery,
            power: if battery.is_some() {
                Power::Unknown
            } else {
                Power::Mains
            },
            network: Network::Unknown,
            storage_free: None,
            boot_id: "".into(),
            sequence: 0,
            echoes: Vec::new(),
            attempts: Vec::new(),
        };
        let view = context.view().await?;
        let index = Index::build(view.state());
        let now = LogTime(SystemClock.wall().0);
        let decision = decide(
            &index,
            now,
            Mode::Fresh,
            &check_in,
            &TableOnly,
            &mut NoBudgets,
        );
        let shown = Shown {
            index: &index,
            decision: &decision,
            holds_checked: pseudonym.is_some(),
        };
        let mut json = shown.to_json();
        json["as_of_entry"] = json!(view.position().entries);
        context.terminal.show(shown.to_text(context.terminal), json);
        Ok(())
    }
}

/// A decision, to be shown.
struct Shown<'a> {
    index: &'a Index,
    decision: &'a Decision,
    holds_checked: bool,
}

impl Shown<'_> {
    fn to_text(&self, terminal: Terminal) -> String {
        let mut text = format!(
            "{}, because",
            terminal.paint(Tone::Strong, self.decision.verdict.name())
        );
        for because in self.decision.reasons.as_slice() {
            let component = because
                .component
                .and_then(|slot| self.index.component(slot));
            let rollout = because.rollout.map(|rollout| format!("rollout {rollout}"));
            let about = rollout
                .into_iter()
                .chain(component.map(ToString::to_string));
            let about: Vec<String> = about.collect();
            let about = match about.as_slice() {
                [] => String::new(),
                about => format!("{}: ", about.join(", ")),
            };
            let (params, _) = parameters(&because.reason);
            text.push_str(&format!("\n  {about}{}{params}", because.reason.code()));
        }
        let reasons = self.decision.reasons.as_slice();
        if reasons.iter().any(|because| would_draw(&because.reason)) {
            text.push_str("\nnothing else is in its way: a decision node with an admission to spare would offer it");
        }
        if !self.holds_checked {
            text.push_str("\nholds were not looked at: say --pseudonym-key for them");
        }
        text
    }

    fn to_json(&self) -> Json {
        let reason = |because: &Because| {
            let component = because
                .component
                .and_then(|slot| self.index.component(slot));
            json!({
                "code": because.reason.code(),
                "rollout": because.rollout.map(|rollout| rollout.0),
                "component": component.map(|component| component.as_str()),
                "params": parameters(&because.reason).1,
            })
        };
        json!({
            "verdict": self.decision.verdict.name(),
            "reasons": self.decision.reasons.as_slice().iter().map(reason).collect::<Json>(),
            "holds_checked": self.holds_checked,
        })
    }
}

/// Whether only the lack of an admission, which asking does not draw, is in the way.
fn would_draw(reason: &Code) -> bool {
    matches!(reason, Code::BudgetExhausted)
}

fn parameters(reason: &Code) -> (String, Json) {
    let mut text = Vec::new();
    let mut values = serde_json::Map::new();
    reason.params(|name, value| {
        text.push(format!("{name} {value}"));
        values.insert(name.to_owned(), json!(value.to_string()));
    });
    let text = match text.is_empty() {
        true => String::new(),
        false => format!(" ({})", text.join(", ")),
    };
    (text, Json::Object(values))
}

impl Hold {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let device = self.whose.of(&self.device)?.ok_or_else(|| {
            Failure::usage("the log knows devices by pseudonym only")
                .next("say --pseudonym-key FILE, or --pseudonym HEX")
        })?;
        let now = SystemClock.wall().0;
        let expires = match (self.length, self.until, self.release) {
            (Some(length), None, false) => {
                let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                LogTime(now.saturating_add(length))
            }
            (None, Some(until), false) => until.0,
            (None, None, true) => LogTime(now),
            _ => {
                return Err(Failure::usage("how long is the device held?")
                    .next("say --for 30d or --until WHEN; --release lets it go"));
            }
        };
        let kind = match (self.release, self.pin) {
            (true, _) => None,
            (false, Some(release)) => Some(HoldKind::Pin(release)),
            (false, None) => Some(HoldKind::Legal),
        };
        let done = match &kind {
            None => "the device is held no more".to_owned(),
            Some(_) => format!(
                "the device is held until {}",
                crate::describe::time(expires)
            ),
        };
        let command = SetHold {
            key: HoldKey {
                device,
                component: self.component,
            },
            kind,
            reason: self.reason,
            expires,
        };
        context.submit(&self.signing, command, &done).await
    }
}

fn device_id(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|error| error.to_string())
}

fn pseudonym(text: &str) -> Result<Pseudonym, String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| "expected 64 hexadecimal digits".to_owned())?;
    Ok(Pseudonym(bytes))
}

pub(crate) fn running(text: &str) -> Result<Running, String> {
    let expected = "expected COMPONENT=VERSION:SECURITY_VERSION, such as os=7.3.0:4";
    let (component, rest) = text.split_once('=').ok_or(expected)?;
    let (version, security) = rest.rsplit_once(':').ok_or(expected)?;
    Ok(Running {
        component: component.parse().map_err(|error| format!("{error}"))?,
        version: version.parse().map_err(|error| format!("{error}"))?,
        security_version: SecurityVersion(security.parse().map_err(|_| expected)?),
        floor: None,
    })
}
