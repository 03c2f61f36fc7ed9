//! A step is one cargo command: shown before it runs, so that whoever reads the log can repeat it.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// One cargo command with the environment it needs.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) args: Vec<String>,
    pub(crate) demand: Demand,
}

/// What a step must show beside a good exit status. A run without tests exits well too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// The exit status is all.
    ExitStatus,
    /// At least one test ran.
    SomeTest,
    /// The last `test result:` line counts at least one test: it is what readers of a log look at.
    ClosesOnTests,
}

impl Step {
    /// A step that runs `cargo <args>`, the words separated by blanks.
    pub(crate) fn cargo(name: &'static str, args: &str) -> Self {
        let args = args.split_whitespace().map(str::to_owned).collect();
        Self {
            name,
            env: Vec::new(),
            args,
            demand: Demand::ExitStatus,
        }
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    pub(crate) fn demand(mut self, demand: Demand) -> Self {
        self.demand = demand;
        self
    }

    fn run(&self) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        self.run_as(Command::new(cargo))
    }

    fn run_as(&self, mut command: Command) -> Result<()> {
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let counts = match self.demand {
            Demand::ExitStatus => {
                let status = command.status().context("cannot start cargo")?;
                ensure!(status.success(), "{} failed ({status})", self.name);
                return Ok(());
            }
            Demand::SomeTest | Demand::ClosesOnTests => {
                // One pipe for both streams, so that results stay below the name of their binary.
                let (output, input) = std::io::pipe().context("cannot make a pipe")?;
                let also_input = input.try_clone().context("cannot make a pipe")?;
                let mut child = command
                    .stdout(input)
                    .stderr(also_input)
                    .spawn()
                    .context("cannot start cargo")?;
                // It holds the pipe's other end, which must close for the output to end.
                drop(command);
                let counts = pass_through(BufReader::new(output), &mut std::io::stdout().lock())?;
                let status = child.wait().context("cannot wait for cargo")?;
                ensure!(status.success(), "{} failed ({status})", self.name);
                counts
            }
        };
        self.demand
            .check(counts)
            .with_context(|| self.name.to_owned())
    }
}

/// The command line, ready to be pasted into a shell.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str("cargo")?;
        self.args
            .iter()
            .try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs the steps in order and stops at the first that fails. Durations go to stderr before the
/// next step begins; after the last step nothing is printed, so that a run closes on the test
/// runner's own line.
pub(crate) fn run_all(steps: &[Step]) -> Result<()> {
    run_each(steps, Step::run)
}

fn run_each(steps: &[Step], mut run: impl FnMut(&Step) -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    for (number, step) in steps.iter().enumerate() {
        eprintln!("==> [{}/{}] {}: {step}", number + 1, steps.len(), step.name);
        let step_begun = Instant::now();
        if let Err(error) = run(step) {
            let after = seconds(step_begun.elapsed());
            bail!("{error:#}, after {after}\nrepeat it with: {step}");
        }
        if number + 1 < steps.len() {
            let (own, total) = (seconds(step_begun.elapsed()), seconds(begun.elapsed()));
            eprintln!("<== {} took {own} ({total} since the start)", step.name);
        }
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Tests that ran, read from the runner's `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    total: u64,
    last: u64,
}

impl Demand {
    fn check(self, counts: Counts) -> Result<()> {
        match self {
            Self::ExitStatus => {}
            Self::SomeTest => ensure!(counts.total > 0, "no test ran"),
            Self::ClosesOnTests => {
                ensure!(counts.last > 0, "the run closed on a binary without tests");
            }
        }
        Ok(())
    }
}

/// Copies lines as they come, and counts the tests that they report.
fn pass_through(mut from: impl BufRead, to: &mut impl Write) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut line = Vec::new();
    while from
        .read_until(b'\n', &mut line)
        .context("cannot read the test runner's output")?
        > 0
    {
        to.write_all(&line)
            .and_then(|()| to.flush())
            .context("cannot print")?;
        if let Some(ran) = tests_ran(&String::from_utf8_lossy(&line)) {
            counts = Counts {
                total: counts.total + ran,
                last: ran,
            };
        }
        line.clear();
    }
    Ok(counts)
}

/// `test result: ok. 3 passed; 1 failed; …` reports 4 tests.
fn tests_ran(line: &str) -> Option<u64> {
    let (_, report) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let part = report
            .split("; ")
            .find_map(|part| part.strip_suffix(word))?;
        part.trim().parse::<u64>().ok()
    };
    Some(count(" passed")? + count(" failed")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(output: &str) -> Counts {
        let mut copy = Vec::new();
        let counts = pass_through(output.as_bytes(), &mut copy).unwrap();
        assert_eq!(
            copy,
            output.as_bytes(),
            "what the runner prints is left as it is"
        );
        counts
    }

    const THREE: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n";
    const NONE: &str = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn counts_tests_of_all_binaries_and_of_the_last() {
        assert_eq!(
            counts(&format!("running 3 tests\n{THREE}{NONE}")),
            Counts { total: 3, last: 0 }
        );
        assert_eq!(
            counts(&format!("{NONE}{THREE}\n")),
            Counts { total: 3, last: 3 }
        );
        assert_eq!(
            counts("test result: FAILED. 1 passed; 2 failed; 0 ignored\n").total,
            3
        );
        assert_eq!(counts("no line of a runner, no newline"), Counts::default());
    }

    #[test]
    fn a_run_without_tests_does_not_pass_for_one() {
        let idle = Counts::default();
        assert!(Demand::ExitStatus.check(idle).is_ok());
        assert!(Demand::SomeTest.check(idle).is_err());
        assert!(Demand::SomeTest.check(Counts { total: 1, last: 0 }).is_ok());
        assert!(
            Demand::ClosesOnTests
                .check(Counts { total: 1, last: 0 })
                .is_err()
        );
        assert!(
            Demand::ClosesOnTests
                .check(Counts { total: 1, last: 1 })
                .is_ok()
        );
    }

    #[test]
    fn shows_a_command_that_a_shell_takes() {
        let step = Step::cargo("x", "test -p a").env("RUSTFLAGS", "--cfg madsim");
        assert_eq!(step.to_string(), "RUSTFLAGS='--cfg madsim' cargo test -p a");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_first_failing_step_stops_the_run_and_says_how_to_repeat_it() {
        let steps = ["fmt", "clippy", "test"].map(|command| Step::cargo("a step", command));
        let mut ran = Vec::new();
        let result = run_each(&steps, |step| {
            ran.push(step.to_string());
            ensure!(ran.len() < 2, "broken");
            Ok(())
        });
        assert_eq!(ran, ["cargo fmt", "cargo clippy"]);
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("broken, after "), "{message}");
        assert!(
            message.ends_with("repeat it with: cargo clippy"),
            "{message}"
        );
    }

    #[test]
    fn a_step_needs_a_good_exit_status_and_what_it_demands() {
        let run = |program: &str, demand| {
            let result = Step::cargo("a step", "")
                .demand(demand)
                .run_as(Command::new(program));
            result.map_err(|error| format!("{error:#}"))
        };
        assert_eq!(run("true", Demand::ExitStatus), Ok(()));
        assert_eq!(
            run("true", Demand::SomeTest),
            Err("a step: no test ran".to_owned())
        );
        for demand in [Demand::ExitStatus, Demand::SomeTest, Demand::ClosesOnTests] {
            assert!(
                run("false", demand)
                    .unwrap_err()
                    .starts_with("a step failed")
            );
            assert!(
                run("no-such-program", demand)
                    .unwrap_err()
                    .starts_with("cannot start")
            );
        }
    }
}
