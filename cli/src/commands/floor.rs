//! `tidegate floor`.
use crate::{
    context::{Context, reason},
    describe,
    failure::Failure,
    signing::Signing,
    terminal::table,
};
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use tidegate_domain::{
    State,
    command::{DeclareRecoveryImage, RaiseFloor},
    guard::{RecoveryImage, Scope},
    id::{Component, Reason, ReleaseName, Revision, SecurityVersion},
    variant::Selector,
};

/// The least security version that devices may run. It only rises, and never over what devices
/// fall back to.
#[derive(Debug, Subcommand)]
pub(crate) enum Floor {
    Raise(Box<Raise>),
    Recovery(Box<Recovery>),
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

/// Declares what devices fall back to when nothing else boots. No floor is raised over it then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate floor recovery --component os --release os-rescue-2 --security-version 3
  tidegate floor recovery --component os --variants 'gw-200/*/*/*' --release os-7.0 --dry-run
  tidegate floor recovery --component os --release os-7.0 --collect recovery.command")]
pub(crate) struct Recovery {
    /// The component.
    #[arg(long)]
    component: Component,
    /// The variants: `model/revision/region/carrier` with `*` for any.
    #[arg(long, default_value = "*", value_name = "SELECTOR")]
    variants: Selector,
    /// Name of the image. It need not be a registered release: factories flash images, too.
    #[arg(long, value_name = "NAME")]
    release: ReleaseName,
    /// Its security version; a registered release's is known.
    #[arg(long, value_name = "NUMBER")]
    security_version: Option<u64>,
    #[command(flatten)]
    signing: Signing,
}

/// Lists the floors, and the recovery images that bound them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate floor list")]
pub(crate) struct List {}

impl Floor {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Raise(raise) => raise.run(context).await,
            Self::Recovery(recovery) => recovery.run(context).await,
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

impl Recovery {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let security_version = self.security_version(view.state())?;
        let scope = Scope {
            component: self.component,
            selector: self.variants,
        };
        let done = format!(
            "{} on {} falls back to {}",
            scope.component, scope.selector, self.release
        );
        let command = DeclareRecoveryImage {
            scope,
            image: RecoveryImage {
                release: self.release,
                security_version,
                // It is set when the command is applied.
                revision: Revision(0),
            },
        };
        let desk = context.desk(&cluster, &view);
        desk.submit(&self.signing, command, &done).await
    }

    /// What the release's own manifest says; what is said here may not contradict it.
    fn security_version(&self, state: &State) -> Result<SecurityVersion, Failure> {
        let registered = state.releases().get(&self.release);
        let registered = registered.map(|release| release.manifest.security_version);
        match (registered, self.security_version.map(SecurityVersion)) {
            (Some(known), Some(said)) if known != said => Err(Failure::usage(format!(
                "{} has security version {known}, not {said}",
                self.release
            ))),
            (Some(known), _) => Ok(known),
            (None, Some(said)) => Ok(said),
            (None, None) => Err(Failure::usage(format!(
                "no release named {} is registered, so its security version is not known",
                self.release
            ))
            .next("say --security-version")),
        }
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
    let mut text = table(&header, &rows);
    let (images, images_json) = recovery_images(view.state());
    if !images.is_empty() {
        let header = [
            "COMPONENT",
            "VARIANTS",
            "FALLS BACK TO",
            "SECURITY",
            "REVISION",
        ];
        text.push_str(&format!("\n{}", table(&header, &images)));
    }
    let json = json!({ "floors": json, "recovery_images": images_json });
    context.terminal.show(text, json);
    Ok(())
}

fn recovery_images(state: &State) -> (Vec<Vec<String>>, Vec<Json>) {
    let images = state.recovery_images().iter();
    let one = |(scope, image): (&Scope, &RecoveryImage)| {
        let row = vec![
            scope.component.to_string(),
            scope.selector.to_string(),
            image.release.to_string(),
            image.security_version.to_string(),
            image.revision.to_string(),
        ];
        let json = json!({
            "component": scope.component.as_str(),
            "selector": scope.selector.to_string(),
            "release": image.release.as_str(),
            "security_version": image.security_version.0,
            "revision": image.revision.0,
        });
        (row, json)
    };
    images.map(one).unzip()
}
