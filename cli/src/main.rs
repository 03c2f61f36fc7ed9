//! The `tidegate` command.
#![allow(
    dead_code,
    unused_imports,
    reason = "commands that reach a cluster follow in the next change"
)]
mod commands;
mod failure;
mod rollout_file;
mod terminal;

use clap::Parser;
use std::process::ExitCode;
use terminal::Terminal;

fn main() -> ExitCode {
    let asked = commands::CommandLine::parse();
    let terminal = Terminal::new(asked.json);
    match asked.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if terminal.json {
                terminal.line(format!("{:#}", failure.to_json()));
            }
            terminal.note(failure.to_text());
            ExitCode::from(&failure)
        }
    }
}
