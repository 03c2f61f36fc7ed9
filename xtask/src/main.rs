//! `cargo xtask`: the one entry for CI, tests, benches and the checks that no compiler makes.

mod bench;
mod chaos;
mod gates;
mod metadata;
mod sim;
mod step;
mod store_bench;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// The project's one entry for CI, tests and checks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What CI runs: formatting, lints, tidy, licences and sources, docs, then every test
    Ci,
    /// Every test: documentation tests, the simulated cluster, then the whole workspace
    Test,
    /// House rules that no compiler checks: arrows, sizes, invariants, links, words, hidden IO
    Tidy,
    /// Build the simulator and search fresh seeds for one that breaks something
    Sim {
        /// For how many hours
        #[arg(long)]
        hours: f64,
        /// The first seed; without it, one that follows from the commit
        #[arg(long)]
        base_seed: Option<u64>,
        /// How many seeds side by side; without it, one for each processor
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Run the benches and print their tables
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        /// Only benches whose name contains this
        filter: Option<String>,
        #[command(subcommand)]
        real: Option<Real>,
    },
    /// Rehearse outages in the simulator: run, replay, shrink, meta, coverage, list
    #[command(disable_help_flag = true)]
    Chaos {
        /// Handed on to the simulator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Benches of real processes.
#[derive(Subcommand)]
enum Real {
    /// Load a cluster of real processes, beside etcd if it is installed: `bench store --help`
    #[command(disable_help_flag = true)]
    Store {
        /// Handed on to the load generator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match enter_workspace().and_then(|asked_in| dispatch(Cli::parse().command, &asked_in)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, asked_in: &Path) -> Result<ExitCode> {
    let metadata = metadata::load()?;
    match command {
        Command::Chaos { args } => return chaos::run(&args, asked_in),
        Command::Ci => step::run_all(&gates::ci(&metadata)),
        Command::Test => step::run_all(&gates::test(&metadata)),
        Command::Tidy => tidy::run(&metadata),
        Command::Sim {
            hours,
            base_seed,
            threads,
        } => {
            let base_seed = base_seed.unwrap_or_else(sim::base_seed);
            let threads = threads.unwrap_or_else(sim::processors);
            step::run_all(&sim::search(hours, base_seed, threads))
        }
        Command::Bench {
            filter: _,
            real: Some(Real::Store { args }),
        } => return store_bench::run(&args, asked_in),
        Command::Bench { filter, real: None } => {
            step::run_all(&bench::steps(&metadata, filter.as_deref().unwrap_or(""))?)
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Every path that xtask names is relative to the workspace, wherever it was called from; answers
/// where that was.
fn enter_workspace() -> Result<PathBuf> {
    let asked_in = std::env::current_dir().context("there is no current folder")?;
    let own = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = PathBuf::from(own).join("..");
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))?;
    Ok(asked_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn bench(words: &str) -> (Option<String>, Option<String>) {
        let words = format!("xtask bench {words}");
        match Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command) {
            Ok(Command::Bench { filter, real }) => {
                (filter, real.map(|Real::Store { args }| args.join(" ")))
            }
            Ok(_) => panic!("no bench"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_words_after_bench_store_are_handed_on_as_they_are() {
        for words in ["--json a.json --only write --rounds 5", "--help", ""] {
            let handed = bench(&format!("store {words}"));
            assert_eq!(handed, (None, Some(words.to_owned())));
        }
    }

    #[test]
    fn other_benches_are_chosen_by_name_as_before() {
        assert_eq!(bench("engine"), (Some("engine".to_owned()), None));
        assert_eq!(bench(""), (None, None));
    }
}
