//! The part of `cargo metadata` that xtask reads.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What every package of this workspace is called: `tidegate-<folder>`.
pub(crate) const PREFIX: &str = "tidegate-";

/// The workspace's own packages, without their dependencies' packages.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line of a manifest's dependency tables, of any kind.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// The platform or `cfg(…)` that the dependency is restricted to.
    pub(crate) target: Option<String>,
    /// `dev` or `build`; absent for what the crate itself is made of.
    pub(crate) kind: Option<String>,
}

/// A library, binary, test, bench or example.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// The folder that the package's name stands for.
    pub(crate) fn folder(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or(&self.name)
    }

    /// Whether the package names the simulator, and so has something to run in it.
    pub(crate) fn is_simulated(&self) -> bool {
        self.dependencies
            .iter()
            .any(|d| d.name == "madsim" && d.target.as_deref() == Some("cfg(madsim)"))
    }
}

/// Asks cargo. Fails when `Cargo.lock` is out of date: CI must build what was committed.
pub(crate) fn load() -> Result<Metadata> {
    let json = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    serde_json::from_str(&json).context("cannot read cargo's metadata")
}

/// The names of all packages that `package` is built with, itself included; build and test
/// dependencies excluded.
pub(crate) fn normal_dependencies(package: &str) -> Result<Vec<String>> {
    let args = [
        "tree", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}", "-p", package,
    ];
    Ok(first_words(&cargo(&args)?))
}

fn first_words(lines: &str) -> Vec<String> {
    lines
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn cargo(args: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let shown = args.join(" ");
    let output = Command::new(program)
        .args(args)
        .output()
        .context("cannot start cargo")?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`cargo {shown}` failed:\n{why}");
    String::from_utf8(output.stdout).with_context(|| format!("`cargo {shown}` printed no UTF-8"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A package as cargo would describe it: dependencies written `name` or `name@cfg(…)`, those of
    /// tests `dev:name`.
    pub(crate) fn package(name: &str, dependencies: &[&str], benches: &[&str]) -> Package {
        let dependency = |text: &&str| {
            let (kind, text) = text
                .strip_prefix("dev:")
                .map_or((None, *text), |text| (Some("dev"), text));
            let (name, target) = text
                .split_once('@')
                .map_or((text, None), |(n, t)| (n, Some(t)));
            Dependency {
                name: name.to_owned(),
                target: target.map(str::to_owned),
                kind: kind.map(str::to_owned),
            }
        };
        let bench = |name: &&str| Target {
            name: (*name).to_owned(),
            kind: vec!["bench".into()],
        };
        Package {
            name: name.to_owned(),
            manifest_path: format!("/somewhere/{}/Cargo.toml", name.trim_start_matches(PREFIX)),
            dependencies: dependencies.iter().map(dependency).collect(),
            targets: benches.iter().map(bench).collect(),
        }
    }

    #[test]
    fn reads_names_from_cargo_tree() {
        let tree = "tidegate-domain v0.1.0 (/x)\nminicbor v2.3.1\n\nsyn v2.0.1 (proc-macro) (*)\n";
        assert_eq!(first_words(tree), ["tidegate-domain", "minicbor", "syn"]);
    }

    #[test]
    fn a_package_is_simulated_only_under_the_simulators_cfg() {
        assert!(package("tidegate-a", &["madsim@cfg(madsim)"], &[]).is_simulated());
        assert!(!package("tidegate-a", &["madsim", "tokio@cfg(madsim)"], &[]).is_simulated());
    }
}
