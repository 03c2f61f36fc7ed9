//! The `tidegate` command.
mod armour;
mod cluster;
mod command_file;
mod commands;
mod context;
mod demo;
mod describe;
mod export;
mod failure;
mod fleet;
mod keys;
mod process;
mod replay;
mod rollout_file;
mod settings;
mod signing;
mod terminal;

use clap::Parser;
use std::process::ExitCode;
use terminal::Terminal;

/// A store node and a decision node make small things on one thread and drop them on another, in
/// which the system's allocator spends a fifth of a busy store's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let asked = commands::CommandLine::parse();
    let terminal = Terminal::new(asked.common.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.note(format!(
                "error: the machine gives this process no threads: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    let Err(failure) = runtime.block_on(asked.run()) else {
        return ExitCode::SUCCESS;
    };
    if !failure.is_reported() {
        if terminal.json {
            terminal.line(format!("{:#}", failure.to_json()));
        }
        terminal.note(failure.to_text());
    }
    ExitCode::from(&failure)
}
