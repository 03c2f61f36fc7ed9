//! `tidegate cluster config`: the settings that must be the same everywhere.
use crate::{
    context::Context, describe, failure::Failure, rollout_file::number::Decimal, settings,
    signing::Signing, terminal::table,
};
use clap::{Args, Subcommand};
use serde_json::{Map, json};
use std::{str::FromStr, time::Duration};
use tidegate_domain::{
    command::SetClusterConfig,
    config::{ClusterConfig, Limits},
    id::{Millis, Ppm, Revision},
    release::ArtifactKind,
};

/// The replicated configuration: leases, horizons, limits.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Show(Show),
    Set(Box<Set>),
}

/// Shows the settings, under the names that refusals call them by.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate cluster config show
  tidegate cluster config show --json")]
pub(crate) struct Show {}

/// Changes settings; what is not said stays as it is. Takes the operators' quorum.
///
/// If somebody else changes the configuration meanwhile, the command is refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate cluster config set --lease 5s --drift-margin 100ms --dry-run
  tidegate cluster config set --silence firmware=96h --holdout 0.5
  tidegate cluster config set --limit rollouts_max=2000 --collect limits.command")]
pub(crate) struct Set {
    /// How long a decision node may call its snapshot fresh: the halt bound.
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    lease: Option<Duration>,
    /// What is taken off a lease for clock drift.
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    drift_margin: Option<Duration>,
    /// How long a decision node that is cut off may go on with critical security releases, from its
    /// last renewal on.
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    stale_max: Option<Duration>,
    /// When silence counts against a release of a kind; repeat it for several.
    #[arg(long, value_name = "KIND=TIME", value_parser = silence)]
    silence: Vec<(ArtifactKind, Duration)>,
    /// How often decision nodes report.
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    report_interval: Option<Duration>,
    /// How long an offer stands when its rollout doesn't say.
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    offer_ttl: Option<Duration>,
    /// Most unresolved exposures of a stratum when its rollout doesn't say.
    #[arg(long, value_name = "COUNT")]
    credit: Option<u64>,
    /// Share of the fleet that is in no rollout at all.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    holdout: Option<Ppm>,
    /// How often devices should check in, on average.
    #[arg(long, value_name = "TIME", value_parser = settings::duration)]
    poll_interval: Option<Duration>,
    /// How many entries at most lie between two entries that carry the state root.
    #[arg(long, value_name = "ENTRIES")]
    root_interval: Option<u64>,
    /// A limit on what the state holds, by its name in `config show`; repeat it for several.
    #[arg(long, value_name = "NAME=COUNT", value_parser = limit)]
    limit: Vec<Limit>,
    #[command(flatten)]
    signing: Signing,
}

impl Config {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Show(Show {}) => show(context).await,
            Self::Set(set) => set.run(context).await,
        }
    }
}

async fn show(context: &Context) -> Result<(), Failure> {
    let view = context.view().await?;
    let config = view.state().config();
    let rows: Vec<_> = describe::settings(config)
        .map(|setting| vec![setting.name.to_owned(), setting.value()])
        .collect();
    let values = describe::settings(config).map(describe::Setting::to_json);
    let text = format!(
        "{}revision {}",
        table(&["SETTING", "VALUE"], &rows),
        config.revision
    );
    let json = json!({
        "settings": values.collect::<Map<_, _>>(),
        "revision": config.revision.0,
    });
    context.terminal.show(text, json);
    Ok(())
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let present = view.state().config();
        let config = self.applied_to(present.clone());
        if config == *present {
            return Err(Failure::usage("nothing would change")
                .next("`tidegate cluster config show` shows the settings as they are"));
        }
        let signing = self.signing.on_top_of(present.revision);
        let command = SetClusterConfig {
            config: ClusterConfig {
                // It is set when the command is applied.
                revision: Revision(0),
                ..config
            },
        };
        let desk = context.desk(&cluster, &view);
        desk.submit(&signing, command, "the cluster is configured anew")
            .await
    }

    fn applied_to(&self, mut config: ClusterConfig) -> ClusterConfig {
        fn set<T>(setting: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *setting = said;
            }
        }
        let millis = |time: Duration| Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        set(&mut config.lease, self.lease.map(millis));
        set(&mut config.drift_margin, self.drift_margin.map(millis));
        set(&mut config.stale_max, self.stale_max.map(millis));
        for (kind, horizon) in &self.silence {
            *match kind {
                ArtifactKind::Firmware => &mut config.silence.firmware,
                ArtifactKind::Model => &mut config.silence.model,
                ArtifactKind::Config => &mut config.silence.config,
            } = millis(*horizon);
        }
        set(
            &mut config.report_interval,
            self.report_interval.map(millis),
        );
        set(&mut config.offer_ttl, self.offer_ttl.map(millis));
        set(&mut config.credit, self.credit);
        set(&mut config.holdout, self.holdout);
        set(&mut config.poll_interval, self.poll_interval.map(millis));
        set(&mut config.root_interval, self.root_interval);
        for limit in &self.limit {
            limit.apply(&mut config.limits);
        }
        config
    }
}

/// A limit and its new value.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Releases(u32),
    Rollouts(u32),
    Waves(u16),
    Variants(u32),
    Sessions(u32),
    Holds(u32),
    Stops(u32),
    Commands(u32),
    Scopes(u32),
    ReportTallies(u32),
}

impl Limit {
    fn apply(self, limits: &mut Limits) {
        match self {
            Self::Releases(max) => limits.releases_max = max,
            Self::Rollouts(max) => limits.rollouts_max = max,
            Self::Waves(max) => limits.waves_max = max,
            Self::Variants(max) => limits.variants_max = max,
            Self::Sessions(max) => limits.sessions_max = max,
            Self::Holds(max) => limits.holds_max = max,
            Self::Stops(max) => limits.stops_max = max,
            Self::Commands(max) => limits.commands_max = max,
            Self::Scopes(max) => limits.scopes_max = max,
            Self::ReportTallies(max) => limits.report_tallies_max = max,
        }
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    fn count<T: FromStr>(text: &str) -> Result<T, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is no count, or too large"))
    }
    let (name, value) = text.split_once('=').ok_or("expected NAME=COUNT")?;
    Ok(match name.strip_prefix("limits.").unwrap_or(name) {
        "releases_max" => Limit::Releases(count(value)?),
        "rollouts_max" => Limit::Rollouts(count(value)?),
        "waves_max" => Limit::Waves(count(value)?),
        "variants_max" => Limit::Variants(count(value)?),
        "sessions_max" => Limit::Sessions(count(value)?),
        "holds_max" => Limit::Holds(count(value)?),
        "stops_max" => Limit::Stops(count(value)?),
        "commands_max" => Limit::Commands(count(value)?),
        "scopes_max" => Limit::Scopes(count(value)?),
        "report_tallies_max" => Limit::ReportTallies(count(value)?),
        _ => return Err(format!("no limit is named {name:?}")),
    })
}

fn silence(text: &str) -> Result<(ArtifactKind, Duration), String> {
    let (kind, time) = text.split_once('=').ok_or("expected KIND=TIME")?;
    let kind: Result<ArtifactKind, _> = kind.parse();
    Ok((
        kind.map_err(|error| error.to_string())?,
        settings::duration(time)?,
    ))
}

fn percent(text: &str) -> Result<Ppm, String> {
    const PPM_PER_PERCENT: u64 = 10_000;
    let number = Decimal::parse(text).map_err(|error| error.to_string())?;
    let ppm = number.in_units(PPM_PER_PERCENT);
    let ppm = ppm
        .and_then(|ppm| u32::try_from(ppm).ok())
        .and_then(Ppm::new);
    ppm.ok_or_else(|| "expected 0 to 100, with at most four decimals".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    /// Every setting can be set, and only the one that was said changes.
    #[test]
    fn each_setting_has_its_flag() {
        let before = ClusterConfig::initial();
        let arguments = describe::settings(&before).map(|setting| {
            let flag = match setting.name.split_once('.') {
                Some(("limits", name)) => vec!["--limit".to_owned(), format!("{name}=7")],
                Some((_, kind)) => vec!["--silence".to_owned(), format!("{kind}=7s")],
                None => {
                    let flag = format!("--{}", setting.name.replace('_', "-"));
                    let is_time = setting.to_json().0.ends_with("_ms");
                    vec![flag, if is_time { "7s" } else { "7" }.to_owned()]
                }
            };
            (setting.name, flag)
        });
        for (name, flag) in arguments {
            let line = Line::parse_from([vec!["set".to_owned()], flag].concat());
            let after = line.set.applied_to(before.clone());
            let changed = describe::settings(&before)
                .zip(describe::settings(&after))
                .filter(|(before, after)| before != after);
            let changed: Vec<&str> = changed.map(|(before, _)| before.name).collect();
            assert_eq!(changed, [name]);
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for bad in [
            "rollouts_max",
            "rollouts=1",
            "waves_max=65536",
            "waves_max=-1",
        ] {
            assert!(limit(bad).is_err(), "{bad}");
        }
        for bad in ["100.1", "-1", "NaN", "0.00001"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
        assert_eq!(percent("0.5").map(Ppm::get), Ok(5_000));
        assert!(silence("toaster=1h").is_err());
    }
}
