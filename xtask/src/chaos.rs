//! `cargo xtask chaos`: builds the simulator and hands the command line on to it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::sim::{SIM_FLAGS, SIM_TARGET};
use crate::step::{Step, run_all};

const PACKAGE: &str = "tidegate-sim";
/// Commands of the simulator that stand beside those for scenarios.
const BESIDE: [&str; 1] = ["coverage"];

/// Where the simulator finds its scenarios and keeps failures, when it is called from elsewhere.
const HOME: &str = "TIDEGATE_SIM";

/// Builds the simulator as it is released and runs it where it was asked for, so that the paths in
/// its command line are the caller's; its exit status is ours.
pub(crate) fn run(args: &[String], asked_in: &Path) -> Result<ExitCode> {
    let build = format!("build --locked --release --quiet {SIM_TARGET} -p {PACKAGE}");
    run_all(&[Step::cargo("simulator", &build).env("RUSTFLAGS", SIM_FLAGS)])?;
    let workspace = std::env::current_dir().context("there is no current folder")?;
    let mut simulator = Command::new(workspace.join(binary()));
    if asked_in != workspace {
        simulator.env(HOME, workspace.join("sim"));
    }
    let status = simulator
        .args(handed_on(args))
        .current_dir(asked_in)
        .status()
        .context("cannot start the simulator")?;
    // A signal is no answer of the simulator's.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
}

fn binary() -> PathBuf {
    let target = SIM_TARGET.trim_start_matches("--target-dir ");
    PathBuf::from(target).join("release").join(PACKAGE)
}

fn handed_on(args: &[String]) -> Vec<String> {
    let beside = args
        .first()
        .is_some_and(|first| BESIDE.contains(&first.as_str()));
    let group = (!beside).then(|| "chaos".to_owned());
    group.into_iter().chain(args.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_to_the_simulator_as_it_is() {
        let handed = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            handed_on(&args).join(" ")
        };
        assert_eq!(handed(&["run", "--seed", "7"]), "chaos run --seed 7");
        assert_eq!(handed(&["--help"]), "chaos --help");
        assert_eq!(handed(&[]), "chaos");
        assert_eq!(handed(&["coverage", "--seeds", "3"]), "coverage --seeds 3");
        assert!(binary().ends_with("target-sim/release/tidegate-sim"));
    }
}
