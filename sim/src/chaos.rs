//! What SREs tell the simulator: scenarios, replays, smaller failures.

mod shipped;

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tidegate_mutant::Mutant;
use tidegate_sim::corpus::{Case, named};
use tidegate_sim::expect::{Expectation, Row, judge, table};
use tidegate_sim::generate;
use tidegate_sim::run::{Report, run_with};
use tidegate_sim::scenario::{Length, Plan};
use tidegate_sim::schedule::Schedule;
use tidegate_sim::shrink::shrink;
use tidegate_sim::view::{Paint, text, timeline};

pub(crate) use self::shipped::corpus;
use crate::command::at_least_one;

const EXAMPLES: &str = "\
Examples:
  cargo xtask chaos list
  cargo xtask chaos run --scenario region-outage --seed 7 --for 1h
  cargo xtask chaos run --scenario region-outage --html outage.html
  cargo xtask chaos run --seed 7 --seeds 20
  cargo xtask chaos replay sim/corpus/FILE.json --html failure.html
  cargo xtask chaos shrink sim/corpus/FILE.json
  cargo xtask chaos meta --scenario lost-node --seed 7
  cargo xtask chaos coverage --seeds 200

Exit status: 0 nothing broke and what was expected held, 1 something did not, 2 wrong use.";

/// Rehearses outages on the production code, in simulated time.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Chaos {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario, or without one the faults that follow from the seed
    Run {
        #[command(flatten)]
        what: Chosen,
        /// How many seeds, one after the other
        #[arg(long, default_value_t = 1, value_parser = at_least_one())]
        seeds: u64,
        /// Switch a known bug on, to see it found
        #[arg(long)]
        mutant: Option<String>,
        /// Where failures are kept, if not in sim/corpus
        #[arg(long, value_name = "DIR")]
        save: Option<PathBuf>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Run a kept failure or a schedule again, without the generator
    Replay {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        shown: Shown,
    },
    /// Make a kept failure smaller while it breaks the same invariant or misses the same
    /// expectation
    Shrink {
        /// The file
        file: PathBuf,
        /// Where the smaller one is written; over the file itself if absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Most runs
        #[arg(long, default_value_t = 300)]
        runs: usize,
    },
    /// Run twice and compare what happened byte for byte
    Meta {
        #[command(flatten)]
        what: Chosen,
        /// How many seeds, one after the other
        #[arg(long, default_value_t = 1, value_parser = at_least_one())]
        seeds: u64,
    },
    /// The scenarios that there are
    List,
}

/// What is run.
#[derive(Debug, Args)]
struct Chosen {
    /// A scenario by its name (see `list`) or a file
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// The seed that all chance follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated time: the scenario's round is repeated until it is over
    #[arg(long = "for", value_name = "TIME", value_parser = length, requires = "scenario")]
    length: Option<Length>,
}

/// How a run is shown.
#[derive(Debug, Args)]
struct Shown {
    /// Write an HTML timeline
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show every record, single requests and applied entries included
    #[arg(long, conflicts_with = "quiet")]
    verbose: bool,
    /// Show only what came of it
    #[arg(long)]
    quiet: bool,
}

fn length(text: &str) -> Result<Length, String> {
    Length::parse(text).ok_or_else(|| "expected a time such as 90s, 5m or 1h".to_owned())
}

impl Chosen {
    fn plan(&self, seed: u64) -> anyhow::Result<Plan> {
        let Some(scenario) = &self.scenario else {
            let schedule = generate::schedule(seed);
            let expect = Vec::new();
            return Ok(Plan { schedule, expect });
        };
        let scenario = shipped::read(scenario)?;
        Ok(scenario.plan(seed, self.length.map(|length| length.0)))
    }

    fn name(&self) -> &str {
        let name = self.scenario.as_deref().unwrap_or("faults at random");
        Path::new(name)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or(name)
    }
}

impl Chaos {
    /// Does what was asked; answers whether nothing broke and all that was expected held.
    pub(crate) fn execute(self) -> anyhow::Result<bool> {
        match self.command {
            Command::Run {
                what,
                seeds,
                mutant,
                save,
                shown,
            } => {
                let mutant = mutant.as_deref().map(named).transpose()?;
                let folder = save.unwrap_or_else(corpus);
                let mut sound = true;
                for seed in what.seed..what.seed.saturating_add(seeds) {
                    let title = format!("{}, seed {seed}", what.name());
                    let plan = what.plan(seed)?;
                    let keeping = Keeping {
                        scenario: what.scenario.as_ref().map(|_| what.name()),
                        folder: &folder,
                    };
                    sound &= rehearse(&title, plan, mutant, &shown, Some(keeping))?;
                }
                Ok(sound)
            }
            Command::Replay { file, shown } => {
                let case = case(&file)?;
                let mutant = case.mutant()?;
                let Case {
                    schedule, expect, ..
                } = case;
                let plan = Plan { schedule, expect };
                rehearse(&file.display().to_string(), plan, mutant, &shown, None)
            }
            Command::Shrink { file, out, runs } => {
                smaller(&file, out.as_deref().unwrap_or(&file), runs)
            }
            Command::Meta { what, seeds } => {
                let mut same = true;
                for seed in what.seed..what.seed.saturating_add(seeds) {
                    same &= twice(seed, &what.plan(seed)?.schedule);
                }
                Ok(same)
            }
            Command::List => shipped::list(),
        }
    }
}

/// Where failures are kept, and of which scenario they are.
struct Keeping<'a> {
    scenario: Option<&'a str>,
    folder: &'a Path,
}

/// Runs, shows, judges, and keeps what failed.
fn rehearse(
    title: &str,
    plan: Plan,
    mutant: Option<Mutant>,
    shown: &Shown,
    keeping: Option<Keeping<'_>>,
) -> anyhow::Result<bool> {
    let Plan { schedule, expect } = plan;
    let report = run_with(schedule.clone(), mutant);
    let records = report.trace.records();
    if !shown.quiet {
        let paint = match std::io::stdout().is_terminal() {
            true => Paint::Colours,
            false => Paint::Plain,
        };
        print!("{}", text(records, shown.verbose, paint));
    }
    let rows = judge(&expect, records, &report.violations);
    println!("{title}: {report}");
    for violation in &report.violations {
        println!("  {} BROKEN: {}", violation.id, violation.detail);
    }
    print!("{}", table(&rows));
    if let Some(file) = &shown.html {
        let page = timeline(title, &schedule, records, &rows);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
        println!("  timeline: {}", file.display());
    }
    let sound = rows.iter().all(|row| row.held);
    // What was expected of the whole run says nothing of a part.
    let judged = match report.cut_short {
        Some(why) if !expect.is_empty() => {
            println!("  NOT JUDGED: the run was cut short by {why}");
            false
        }
        _ => true,
    };
    if let (false, Some(Keeping { scenario, folder })) = (sound, keeping) {
        let case = Case {
            scenario: scenario.map(str::to_owned),
            mutant: mutant.map(|mutant| format!("{mutant:?}")),
            expect,
            ..failed(&report, &rows, schedule)
        };
        let file = case.keep(folder);
        let file = file.with_context(|| format!("cannot keep it in {}", folder.display()))?;
        println!("  kept: {}", file.display());
    }
    Ok(sound && judged)
}

/// What broke first, or what was missed first.
fn failed(report: &Report, rows: &[Row], schedule: Schedule) -> Case {
    if let Some(violation) = report.violations.first() {
        return Case::broken(schedule, violation);
    }
    let missed = rows.iter().find(|row| !row.held);
    Case {
        cause: missed.map_or_else(String::new, |row| {
            format!("expected {}, measured {}", row.expected, row.measured)
        }),
        broken: None,
        scenario: None,
        mutant: None,
        expect: Vec::new(),
        schedule,
    }
}

fn case(file: &Path) -> anyhow::Result<Case> {
    let json =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Case::from_json(&json).with_context(|| file.display().to_string())
}

/// In what way a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// The invariant that broke first.
    Broken(String),
    /// What was expected.
    Missed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(id) => write!(f, "{id} broken"),
            Self::Missed(expected) => write!(f, "not held: {expected}"),
        }
    }
}

/// Shrinks a kept failure. It must fail to begin with, and goes on failing in the same way.
fn smaller(file: &Path, out: &Path, runs_max: usize) -> anyhow::Result<bool> {
    let mut case = case(file)?;
    let mutant = case.mutant()?;
    let expect = case.expect.clone();
    let failures = |schedule: &Schedule| {
        let report = run_with(schedule.clone(), mutant);
        failures(&report, &expect)
    };
    let Some(first) = failures(&case.schedule).into_iter().next() else {
        anyhow::bail!(
            "{}: nothing breaks and nothing is missed, there is nothing to shrink",
            file.display()
        );
    };
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let before = case.schedule.faults.len();
    let mut runs = 1_u32;
    case.schedule = shrink(&case.schedule, runs_max, |schedule| {
        runs += 1;
        let same = failures(schedule).contains(&first);
        let sign = if same { "still fails" } else { "does not" };
        println!("  {} faults: {sign}", schedule.faults.len());
        same
    });
    if let Failure::Broken(id) = &first {
        case.broken = Some(id.clone());
    }
    std::fs::write(out, case.to_json())
        .with_context(|| format!("cannot write {}", out.display()))?;
    let after = case.schedule.faults.len();
    println!(
        "{}: {first} with {after} faults instead of {before}, {runs} runs",
        out.display()
    );
    Ok(true)
}

/// Which invariant broke first or, when none did, everything that was expected and missed.
fn failures(report: &Report, expect: &[Expectation]) -> Vec<Failure> {
    if let Some(violation) = report.violations.first() {
        return vec![Failure::Broken(violation.id.to_owned())];
    }
    let rows = judge(expect, report.trace.records(), &[]);
    let missed = rows.into_iter().filter(Row::is_missed);
    missed.map(|row| Failure::Missed(row.expected)).collect()
}

/// Two runs of one schedule must be the same to the last byte.
fn twice(seed: u64, schedule: &Schedule) -> bool {
    let [first, second] = [(), ()].map(|()| run_with(schedule.clone(), None));
    let one = first.trace.to_json_lines();
    let other = second.trace.to_json_lines();
    if one == other {
        println!("seed {seed}: twice the same, {} bytes; {first}", one.len());
        return true;
    }
    println!("seed {seed}: NOT repeatable");
    let differing = one
        .lines()
        .zip(other.lines())
        .find(|(one, other)| one != other);
    if let Some((one, other)) = differing {
        println!("  {one}\n  {other}");
    }
    false
}
