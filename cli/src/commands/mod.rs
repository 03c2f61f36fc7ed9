//! The command line: one file per group of commands.
mod rollout;

use crate::{failure::Failure, terminal::Terminal};
use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 refused or failed verification, 2 wrong use, 3 unreachable or outcome unknown.";

/// Rolls releases out to a fleet in waves, with every step signed, ordered and provable.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct CommandLine {
    /// Prints results as one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    group: Group,
}

#[derive(Debug, Subcommand)]
enum Group {
    #[command(subcommand)]
    Rollout(rollout::Rollout),
}

impl CommandLine {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let terminal = Terminal::new(self.json);
        match self.group {
            Group::Rollout(rollout) => rollout.run(terminal),
        }
    }
}
