//! Loads a cluster of `tidegate serve` processes, and one of etcd beside it, in rounds that take
//! turns, and says how fast each of them answers. `cargo xtask bench store` builds and runs it.

mod contest;
mod etcd;
mod load;
mod ours;
mod probe;
mod report;
mod rows;
mod samples;
mod server;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use contest::Contest;
use etcd::Etcd;
use ours::Ours;
use report::Report;
use rows::Choice;
use server::Program;
use system::System as _;

/// Measures the store, beside etcd if there is one.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench store", bin_name = "cargo xtask bench store")]
struct Arguments {
    /// Write what was measured to this file, too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long each round lasts
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many rounds of each; the table has their medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only the row of this name; may be said more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only rows of so many clients; may be said more than once
    #[arg(long, value_name = "N")]
    clients: Vec<usize>,
    /// Ours alone, even if there is an etcd
    #[arg(long)]
    without_etcd: bool,
    /// etcd's program
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    etcd: PathBuf,
    /// A line for the head of each store node's configuration; may be said more than once
    #[arg(long, value_name = "TOML")]
    setting: Vec<String>,
    /// The program under test, built with its feature `bench`; the one beside this one by default
    #[arg(long, value_name = "FILE")]
    tidegate: Option<PathBuf>,
    /// The folder in which the clusters keep their data, in a folder of their own that is removed;
    /// the system's for temporary files by default
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Whoever started this has ended: so do the clusters.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = runtime
        .context("the machine gives this process no threads")
        .and_then(|runtime| runtime.block_on(until_ended(arguments)));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until it is done or asked to end; either way its processes and files are gone after it.
async fn until_ended(arguments: Arguments) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("asked to end"),
        done = run(arguments) => done,
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    ensure!(
        arguments.seconds > 0.0 && arguments.seconds <= 3_600.0,
        "--seconds is more than 0 and at most 3600"
    );
    ensure!(arguments.rounds > 0, "--rounds is at least 1");
    let choice = Choice {
        names: arguments.only.clone(),
        clients: arguments.clients.clone(),
    };
    if let Some(name) = choice.unknown() {
        bail!(
            "no row is called {name:?}; there are: {}",
            rows::names().join(", ")
        );
    }
    let folder = match &arguments.data {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    // Before the clusters, so that it goes after them.
    let folder = folder.context("there is no place for the clusters' data")?;
    let (mut contest, etcd) = start(&arguments, &choice, folder.path()).await?;
    let lasts = Duration::from_secs_f64(arguments.seconds);
    let (rows, missing) = rows::run(&mut contest, &choice, lasts).await;
    drop(contest);
    let report = Report {
        etcd,
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        rows,
        missing,
    };
    print!("{}", report.to_text());
    if let Some(file) = &arguments.json {
        let text = format!("{:#}\n", report.to_json());
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    ensure!(!report.rows.is_empty(), "nothing was measured");
    Ok(ExitCode::SUCCESS)
}

/// Starts the clusters, and stops them until they are measured; with what etcd says it is.
async fn start(
    arguments: &Arguments,
    choice: &Choice,
    folder: &Path,
) -> Result<(Contest, Option<String>)> {
    let tidegate = match &arguments.tidegate {
        Some(file) => server::find(file),
        None => std::env::current_exe()?
            .parent()
            .and_then(|beside| server::find(&beside.join("tidegate"))),
    };
    // The servers run in another folder.
    let tidegate = tidegate.context("there is no tidegate to test: say --tidegate")?;
    let tidegate = tidegate.canonicalize()?;
    let mut ours = Ours::start(&tidegate, folder, &arguments.setting).await?;
    ours.servers().pause()?;
    let mut loopback = None;
    if choice.has_name(rows::LOOPBACK_GAP) {
        let folder = folder.join("loopback");
        std::fs::create_dir(&folder)?;
        let profile = ["raft.profile = \"loopback\"".to_owned()];
        let settings = [&arguments.setting[..], &profile].concat();
        let mut started = Ours::start(&tidegate, &folder, &settings).await?;
        started.servers().pause()?;
        loopback = Some(started);
    }
    let binary = server::find(&arguments.etcd).filter(|_| !arguments.without_etcd);
    let (mut etcd, mut version) = (None, None);
    if let Some(binary) = binary {
        let binary = binary.canonicalize()?;
        version = Some(version_of(&binary, folder)?);
        let mut started = Etcd::start(&binary, folder).await?;
        started.servers().pause()?;
        etcd = Some(started);
    } else {
        eprintln!("no etcd: ours alone");
    }
    let contest = Contest {
        ours,
        loopback,
        etcd,
        rounds: arguments.rounds,
    };
    Ok((contest, version))
}

fn version_of(etcd: &Path, folder: &Path) -> Result<String> {
    let program = Program {
        path: etcd.to_owned(),
        args: vec!["--version".to_owned()],
        folder: folder.to_owned(),
        name: "etcd".to_owned(),
    };
    let said = program.run()?;
    let first = said.lines().next().unwrap_or_default();
    Ok(first.replace("etcd Version:", "etcd"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn rows_and_clients_are_chosen_again_and_again() {
        let words = "bench --only write --only restart --clients 64 --json a.json --rounds 5";
        let arguments = Arguments::parse_from(words.split(' '));
        assert_eq!(arguments.only, ["write", "restart"]);
        assert_eq!((arguments.clients, arguments.rounds), (vec![64], 5));
        assert_eq!(arguments.json, Some(PathBuf::from("a.json")));
    }
}
