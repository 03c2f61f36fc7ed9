//! The scenarios that we ship, and where failures are kept.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tidegate_sim::scenario::{Length, Scenario, nearest};

/// Names the folder `sim` for a caller who is somewhere else.
const HOME: &str = "TIDEGATE_SIM";

fn home() -> PathBuf {
    std::env::var_os(HOME).map_or_else(|| PathBuf::from("sim"), PathBuf::from)
}

/// Where failures are kept.
pub(crate) fn corpus() -> PathBuf {
    home().join("corpus")
}

/// Reads a scenario: what is no path is the name of one that we ship.
pub(super) fn read(scenario: &str) -> anyhow::Result<Scenario> {
    if scenario.contains(['/', '.']) {
        return read_file(Path::new(scenario));
    }
    let file = home().join("scenarios").join(scenario);
    let file = file.with_extension("yaml");
    if !file.exists() {
        let names: Vec<String> = files()?.iter().map(|file| name(file)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match nearest(scenario, &names) {
            Some(meant) => {
                anyhow::bail!("no scenario is called `{scenario}`; did you mean `{meant}`?")
            }
            None => anyhow::bail!("no scenario is called `{scenario}`; there are {names:?}"),
        }
    }
    read_file(&file)
}

fn read_file(path: &Path) -> anyhow::Result<Scenario> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Scenario::parse(&text).with_context(|| path.display().to_string())
}

/// Prints what there is.
pub(super) fn list() -> anyhow::Result<bool> {
    for file in files()? {
        let scenario = read_file(&file)?;
        let round = Length(scenario.round_ms);
        println!("{:24} {round:>6}  {}", name(&file), scenario.summary);
    }
    Ok(true)
}

fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.display().to_string()
}

fn files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = home().join("scenarios");
    let cannot = || {
        format!(
            "cannot read {}: call this at the workspace's root, as `cargo xtask chaos`, or set {HOME}",
            folder.display()
        )
    };
    let entries = std::fs::read_dir(&folder).with_context(cannot)?;
    let files = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<Result<Vec<_>, _>>().with_context(cannot)?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    Ok(files)
}
