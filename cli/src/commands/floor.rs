//! `tidegate floor`.
use crate::{
    context::{Context, reason},
    describe,
    failure::Failure,
    signing::Signing,
    terminal::table,
};
use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_domain::{
    command::RaiseFloor,
    guard::Scope,
    id::{Component, Reason, SecurityVersion},
    variant::Selector,
};

/// The least security version that devices may run. It only rises.
#[derive(Debug, Subcommand)]
pub(crate) enum Floor {
    Raise(Box<Raise>),
    List(List),
}

/// Raises a floor. Takes the operators' quorum, for it cannot be undone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate floor raise --component os --to 7 --reason 'CVE-2026-1234' --dry-run
  tidegate floor raise --component os --variants 'gw-200/*/*/*' --to 7 --reason '…' --collect raise.command")]
pub(crate) struct Raise {
    /// The component.
    #[arg(long)]
    component: Component,
    /// The variants: `model/revision/region/carrier` with `*` for any.
    #[arg(long, default_value = "*", value_name = "SELECTOR")]
    variants: Selector,
    /// The new floor: a security version above the old one.
    #[arg(long, value_name = "SECURITY_VERSION")]
    to: u64,
    /// Halt and retire in the same step whatever stands below.
    #[arg(long)]
    retire: bool,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

/// Lists the floors.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate floor list")]
pub(crate) struct List {}

impl Floor {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Raise(raise) => raise.run(context).await,
            Self::List(List {}) => list(context).await,
        }
    }
}

impl Raise {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let done = format!(
            "the floor of {} on {} is {}",
            self.component, self.variants, self.to
        );
        let command = RaiseFloor {
            scope: Scope {
                component: self.component,
                selector: self.variants,
            },
            security_version: SecurityVersion(self.to),
            reason: self.reason,
            retire: self.retire,
        };
        context.submit(&self.signing, command, &done).await
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let view = context.view().await?;
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for (scope, floor) in view.state().floors().iter() {
        rows.push(vec![
            scope.component.to_string(),
            scope.selector.to_string(),
            floor.security_version.to_string(),
            describe::time(floor.since),
            floor.revision.to_string(),
        ]);
        json.push(json!({
            "component": scope.component.as_str(),
            "selector": scope.selector.to_string(),
            "security_version": floor.security_version.0,
            "since_ms": floor.since.0,
            "revision": floor.revision.0,
        }));
    }
    let header = ["COMPONENT", "VARIANTS", "FLOOR", "SINCE", "REVISION"];
    context
        .terminal
        .show(table(&header, &rows), json!({ "floors": json }));
    Ok(())
}
