//! `tidegate cluster raise-version`.
use crate::{context::Context, failure::Failure, signing::Signing};
use clap::Args;
use tidegate_domain::{command::RaiseStateVersion, id::StateVersion};

/// Lets newer rules hold, once every node runs a build that knows them. Takes the operators'
/// quorum, and there is no way back.
///
/// A node whose build does not know the rules stops when it meets the command, and goes on when it
/// is started with a build that does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate cluster status                      # the version whose rules hold now
  tidegate cluster raise-version 2 --dry-run   # whether a node of this build would take it
  tidegate cluster raise-version 2 --collect version.command")]
pub(crate) struct RaiseVersion {
    /// The version: the present one plus one.
    version: u32,
    #[command(flatten)]
    signing: Signing,
}

impl RaiseVersion {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let version = StateVersion(self.version);
        let done = format!("the rules of version {version} hold from the next entry on");
        context
            .submit(&self.signing, RaiseStateVersion { version }, &done)
            .await
    }
}
