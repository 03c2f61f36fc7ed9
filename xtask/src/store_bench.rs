//! `cargo xtask bench store`: builds a store that takes unsigned filler, and loads it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::step::{Step, run_all};

/// What is built with the feature stays in a folder of its own: `target/` never holds it.
const TARGET: &str = "target-bench";
const GENERATOR: &str = "tidegate-bench";

/// Builds as it is released, but for the feature, and runs the generator where it was asked for, so
/// that the paths in its command line are the caller's; its exit status is ours.
pub(crate) fn run(args: &[String], asked_in: &Path) -> Result<ExitCode> {
    run_all(&[build()])?;
    let workspace = std::env::current_dir().context("there is no current folder")?;
    let status = Command::new(workspace.join(generator()))
        .args(args)
        .current_dir(asked_in)
        .status()
        .context("cannot start the load generator")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
}

fn build() -> Step {
    let what = format!("-p tidegate-cli -p {GENERATOR} --features tidegate-cli/bench");
    let build = format!("build --locked --release --quiet --target-dir {TARGET} {what}");
    Step::cargo("store and load generator", &build)
}

fn generator() -> PathBuf {
    Path::new(TARGET).join("release").join(GENERATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_filler_is_built_apart_from_what_is_released() {
        let build = build();
        let at = |word: &str| build.args.iter().position(|arg| arg == word).unwrap();
        assert_eq!(build.args[at("--target-dir") + 1], TARGET);
        assert_eq!(build.args[at("--features") + 1], "tidegate-cli/bench");
        assert!(build.args.iter().any(|arg| arg == "--release"));
        assert_ne!(TARGET, "target");
        assert!(generator().starts_with(TARGET));
    }
}
