//! What the binary can be told to do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tidegate_mutant::Mutant;
use tidegate_sim::corpus::{self, Case};
use tidegate_sim::coverage::Coverage;
use tidegate_sim::run::{Report, run};
use tidegate_sim::schedule::Schedule;
use tidegate_sim::search::{News, Plan, search};
use tidegate_sim::{generate, hunt};

use crate::chaos::{Chaos, corpus as kept};

/// Runs the whole system under faults, and says which invariant broke.
#[derive(Debug, Parser)]
#[command(name = "tidegate-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one seed or several, each with the schedule that follows from it.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1, value_parser = at_least_one())]
        seeds: u64,
        /// Print what happened, one record a line.
        #[arg(long)]
        verbose: bool,
    },
    /// Run a schedule from a file.
    Replay {
        /// The schedule, as `generate` prints it.
        file: PathBuf,
        /// Print what happened, one record a line.
        #[arg(long)]
        verbose: bool,
    },
    /// Run a seed twice and compare the traces byte for byte.
    Meta {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1, value_parser = at_least_one())]
        seeds: u64,
    },
    /// Switch known bugs on, one at a time, and look for each with seed after seed.
    Mutants {
        /// Only this one, as the code names it.
        #[arg(long)]
        only: Option<String>,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Most seeds for each.
        #[arg(long, default_value_t = 200, value_parser = at_least_one())]
        seeds: u64,
        /// How many are hunted side by side.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Keep the runs that found them in this folder, in the place of earlier ones.
        #[arg(long)]
        save: Option<PathBuf>,
    },
    /// Run seeds, and say which states faults struck in and what never happened.
    Coverage {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 200, value_parser = at_least_one())]
        seeds: u64,
    },
    /// Run fresh seeds, one after the other, until the time is up.
    Search {
        /// The first seed; the others follow it.
        #[arg(long)]
        base_seed: u64,
        /// For how many minutes.
        #[arg(long)]
        minutes: f64,
        /// How many seeds side by side.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Also fail if a fault never struck in some state, or something never happened.
        #[arg(long)]
        cells: bool,
        /// Where failures are kept, if not in sim/corpus.
        #[arg(long, value_name = "DIR")]
        save: Option<PathBuf>,
    },
    /// What `cargo xtask chaos` runs: scenarios, replays, smaller failures.
    Chaos(Chaos),
    /// Print the schedule of a seed.
    Generate {
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
}

/// No seeds at all would show nothing, and look as if nothing were wrong.
pub(crate) fn at_least_one() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// Runs what the command line says. 0: nothing broke; 1: something did; 2: wrong use.
pub(crate) fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tidegate-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn execute(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Run {
            seed,
            seeds,
            verbose,
        } => {
            let mut sound = true;
            for seed in seed..seed.saturating_add(seeds) {
                sound &= tell(
                    &format!("seed {seed}"),
                    &run(generate::schedule(seed)),
                    verbose,
                );
            }
            Ok(sound)
        }
        Command::Replay { file, verbose } => {
            let json = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let schedule = Schedule::from_json(&json)
                .with_context(|| format!("{} is no schedule", file.display()))?;
            Ok(tell(&file.display().to_string(), &run(schedule), verbose))
        }
        Command::Meta { seed, seeds } => {
            let twice = |seed| is_repeatable(seed);
            Ok((seed..seed.saturating_add(seeds))
                .map(twice)
                .fold(true, |all, one| all & one))
        }
        Command::Mutants {
            only,
            seed,
            seeds,
            threads,
            save,
        } => {
            let mutants = match only {
                Some(only) => vec![corpus::named(&only)?],
                None => Mutant::ALL.to_vec(),
            };
            let plan = hunt::Plan {
                mutants,
                first_seed: seed,
                seeds,
                threads,
            };
            are_found(plan, save.as_deref())
        }
        Command::Coverage { seed, seeds } => Ok(covers(seed..seed.saturating_add(seeds))),
        Command::Search {
            base_seed,
            minutes,
            threads,
            cells,
            save,
        } => {
            let budget = Duration::try_from_secs_f64(minutes * 60.0);
            let plan = Plan {
                base_seed,
                budget: budget.with_context(|| format!("{minutes} minutes are no time"))?,
                threads,
            };
            Ok(is_clean(plan, cells, &save.unwrap_or_else(kept)))
        }
        Command::Chaos(chaos) => chaos.execute(),
        Command::Generate { seed } => {
            print!("{}", generate::schedule(seed).to_json());
            Ok(true)
        }
    }
}

fn tell(what: &str, report: &Report, verbose: bool) -> bool {
    if verbose {
        for record in report.trace.records() {
            println!("{record}");
        }
    }
    println!("{what}: {report}");
    for violation in &report.violations {
        println!("  {} BROKEN: {}", violation.id, violation.detail);
    }
    report.violations.is_empty()
}

/// Whether fresh seeds broke nothing and, if that is asked, every cell of the matrix was hit.
fn is_clean(plan: Plan, cells: bool, save: &Path) -> bool {
    let (seed, threads) = (plan.base_seed, plan.threads);
    println!("searching from seed {seed}, {threads} side by side");
    let tally = search(plan, |news| {
        println!("{news}");
        if let News::Broken { seed, violation } = news {
            match Case::broken(generate::schedule(seed), violation).keep(save) {
                Ok(file) => println!("  kept: {}", file.display()),
                // The seed suffices while nothing of the simulator changes.
                Err(error) => println!("  NOT kept in {}: {error}", save.display()),
            }
        }
    });
    println!("{tally}");
    let covered = !cells || is_covered(&tally.coverage);
    covered && tally.failures.is_empty()
}

/// Two runs of one seed must be the same to the last byte.
fn is_repeatable(seed: u64) -> bool {
    let [first, second] = [(), ()].map(|()| run(generate::schedule(seed)));
    if first.trace.hash() == second.trace.hash() {
        println!("seed {seed}: twice the same; {first}");
        return true;
    }
    println!("seed {seed}: NOT repeatable");
    let pairs = first.trace.records().iter().zip(second.trace.records());
    for (number, (one, other)) in pairs.enumerate() {
        if one != other {
            println!("  record {number} differs:\n  {one}\n  {other}");
            break;
        }
    }
    false
}

/// Whether nothing broke in these seeds and every cell of the matrix was hit.
fn covers(seeds: std::ops::Range<u64>) -> bool {
    let mut coverage = Coverage::default();
    let mut sound = true;
    for seed in seeds {
        let report = run(generate::schedule(seed));
        sound &= tell(&format!("seed {seed}"), &report, false);
        coverage.add(&report.coverage);
    }
    is_covered(&coverage) && sound
}

/// Prints the matrix; answers whether every cell of it was hit, and everything happened.
fn is_covered(coverage: &Coverage) -> bool {
    print!("{coverage}");
    let missing = coverage.missing();
    for what in &missing {
        println!("  NEVER: {what}");
    }
    missing.is_empty()
}

/// Whether all known bugs are found; the runs that found them are kept in a folder, if there is one.
fn are_found(plan: hunt::Plan, folder: Option<&Path>) -> anyhow::Result<bool> {
    let unkept = Mutex::new(None);
    let found = hunt::hunt(plan, |hunted| {
        println!("{hunted}");
        if let (Some(case), Some(folder)) = (&hunted.case, folder)
            && let Err(error) = hunt::keep(case, folder)
        {
            *unkept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    let unkept = unkept.into_inner();
    match unkept.unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error).context("a run that found a bug could not be kept"),
        None => Ok(found),
    }
}
