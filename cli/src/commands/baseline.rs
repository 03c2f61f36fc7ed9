//! `tidegate baseline`.
use crate::{context::Context, describe, failure::Failure, terminal::table};
use clap::{Args, Subcommand};
use serde_json::json;

/// What the fleet has settled on.
#[derive(Debug, Subcommand)]
pub(crate) enum Baseline {
    List(List),
}

/// Lists the baseline of every component, selector and channel. Completed rollouts set them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate baseline list --json")]
pub(crate) struct List {}

impl Baseline {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::List(List {}) = self;
        let view = context.view().await?;
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for (key, baseline) in view.state().baselines().iter() {
            let channel = key.channel.as_ref();
            rows.push(vec![
                key.component.to_string(),
                key.selector.to_string(),
                channel.map_or_else(|| "all".to_owned(), ToString::to_string),
                baseline.release.to_string(),
                describe::time(baseline.since),
                baseline.revision.to_string(),
            ]);
            json.push(json!({
                "component": key.component.as_str(),
                "selector": key.selector.to_string(),
                "channel": channel.map(ToString::to_string),
                "release": baseline.release.as_str(),
                "since_ms": baseline.since.0,
                "revision": baseline.revision.0,
            }));
        }
        let header = [
            "COMPONENT",
            "VARIANTS",
            "CHANNEL",
            "RELEASE",
            "SINCE",
            "REVISION",
        ];
        context
            .terminal
            .show(table(&header, &rows), json!({ "baselines": json }));
        Ok(())
    }
}
