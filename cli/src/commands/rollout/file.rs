//! `rollout validate` and `rollout schema`: what needs nothing but the file.
use crate::{
    failure::Failure,
    rollout_file::{self, RolloutFile},
    terminal::Terminal,
};
use clap::Args;
use serde_json::{Value as Json, json};
use std::{
    io::Read,
    path::{Path, PathBuf},
};
use tidegate_domain::wave::WaveSpec;

/// Checks rollout files without asking the cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout validate examples/detector-v3.2.yaml
  generate-rollout | tidegate rollout validate -")]
pub(crate) struct Validate {
    /// The rollout files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints the JSON Schema of rollout files, for editors and other tools.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout schema > rollout.schema.json")]
pub(crate) struct Schema {}

impl Validate {
    pub(crate) fn run(self, terminal: Terminal) -> Result<(), Failure> {
        let mut checked = Vec::new();
        let mut failures = Vec::new();
        for file in &self.files {
            match read(file) {
                Ok(rollout) => checked.push(summary(file, &rollout)),
                Err(failure) => failures.push(failure),
            }
        }
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else {
            let text: Vec<&str> = checked.iter().map(|(text, _)| text.as_str()).collect();
            let json: Json = checked.iter().map(|(_, json)| json.clone()).collect();
            terminal.show(text.join("\n"), json!({ "ok": true, "files": json }));
            return Ok(());
        };
        Err(failures.fold(first, Failure::and))
    }
}

impl Schema {
    pub(crate) fn run(self, terminal: Terminal) -> Result<(), Failure> {
        terminal.line(rollout_file::SCHEMA);
        Ok(())
    }
}

/// Reads and parses a rollout file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<RolloutFile, Failure> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        ("standard input".to_owned(), read.map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    let text = text.map_err(|error| {
        Failure::usage(format!("cannot read {name}: {error}"))
            .next("name a rollout file; examples/detector-v3.2.yaml is one")
    })?;
    rollout_file::parse(&name, &text)
        .map_err(|problems| Failure::refused(&problems).details(problems.to_json()))
}

fn summary(path: &Path, rollout: &RolloutFile) -> (String, Json) {
    let (release, kind) = (&rollout.release, rollout.kind);
    let waves: Vec<String> = rollout.waves.iter().map(wave).collect();
    let text = format!(
        "{}: {kind} release {release} in {} stage(s): {}",
        path.display(),
        waves.len(),
        waves.join(", ")
    );
    let json = json!({
        "file": path.display().to_string(),
        "release": release.as_str(),
        "kind": kind.name(),
        "stages": rollout.waves.iter().map(|wave| json!({
            "name": wave.name.as_str(),
            "target_ppm": wave.target.get(),
            "cap": wave.cap,
            "soak_ms": wave.soak.0,
        })).collect::<Vec<_>>(),
    });
    (text, json)
}

fn wave(wave: &WaveSpec) -> String {
    match wave.cap {
        Some(cap) => format!("{} {} up to {cap} devices", wave.name, wave.target),
        None => format!("{} {}", wave.name, wave.target),
    }
}
