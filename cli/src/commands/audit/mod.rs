//! `tidegate audit`.
mod export;
mod prove;
mod show;
mod verify;

use crate::{context::Context, failure::Failure};
use clap::Subcommand;

/// The audit log: exports, and what can be shown from them without trusting anybody.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    Export(export::Export),
    Verify(verify::Verify),
    Prove(prove::Prove),
    Show(show::Show),
}

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Export(export) => export.run(context).await,
            Self::Verify(verify) => verify.run(context),
            Self::Prove(prove) => prove.run(context),
            Self::Show(show) => show.run(context),
        }
    }
}
