//! `tidegate release`.
mod file;
mod list;
mod sign;

use crate::{
    context::{Context, reason},
    failure::Failure,
    signing::Signing,
};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use tidegate_domain::{
    command::{AddReleaseSignatures, RevokeRelease},
    id::{Reason, ReleaseName},
};

/// Releases: what is offered, for which hardware, and signed by whom.
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    Sign(Box<sign::Sign>),
    Register(Register),
    List(list::List),
    Show(list::Show),
    Revoke(Revoke),
}

/// Registers a signed release, or adds signatures to one that is registered.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate release register detector-v3.2.release --key alice.key
  tidegate release register detector-v3.2.release --dry-run")]
pub(crate) struct Register {
    /// The release file, as `release sign` writes it.
    file: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

/// Withdraws a release for good: it is never offered again, by no rollout and as no baseline.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate release revoke detector-v3.2 --reason 'trained on leaked data' --dry-run")]
pub(crate) struct Revoke {
    /// The release.
    name: ReleaseName,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Sign(sign) => sign.run(context),
            Self::Register(register) => register.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Revoke(revoke) => revoke.run(context).await,
        }
    }
}

impl Register {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let (release, manifest) = file::read(&self.file)?;
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let desk = context.desk(&cluster, &view);
        let name = manifest.name.clone();
        let registered = view.state().releases().get(&name);
        let Some(registered) = registered else {
            let done = format!("release {name} is registered");
            return desk.submit(&self.signing, release, &done).await;
        };
        if registered.manifest_bytes != release.manifest {
            return Err(Failure::refused(format!(
                "another release named {name} is registered, with another manifest"
            ))
            .next("a release never changes: give the new one a name of its own"));
        }
        let mut signatures = release.signatures;
        signatures.retain(|s| !registered.signatures.contains_key(&s.key));
        if signatures.is_empty() {
            let text = format!("release {name} is registered already, with all these signatures");
            let json = serde_json::json!({ "release": name.as_str(), "changed": false });
            context.terminal.show(text, json);
            return Ok(());
        }
        let done = format!("release {name} has {} more signature(s)", signatures.len());
        let command = AddReleaseSignatures {
            release: name,
            signatures,
        };
        desk.submit(&self.signing, command, &done).await
    }
}

impl Revoke {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let done = format!("release {} is revoked for good", self.name);
        let command = RevokeRelease {
            release: self.name,
            reason: self.reason,
        };
        context.submit(&self.signing, command, &done).await
    }
}
