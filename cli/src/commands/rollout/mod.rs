//! `tidegate rollout`.
mod file;

use crate::{failure::Failure, terminal::Terminal};
use clap::Subcommand;

/// Brings a release to the fleet in waves.
#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    Validate(file::Validate),
    Schema(file::Schema),
}

impl Rollout {
    pub(crate) fn run(self, terminal: Terminal) -> Result<(), Failure> {
        match self {
            Self::Validate(validate) => validate.run(terminal),
            Self::Schema(schema) => schema.run(terminal),
        }
    }
}
