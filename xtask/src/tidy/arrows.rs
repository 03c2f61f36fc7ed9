//! Arrows between crates point down only, and the pure crates stay pure to their last dependency.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::metadata::{self, Dependency, Metadata, PREFIX, Package};

/// Every crate from the top down, with the crates that it may name. Each names only crates above
/// it; a new arrow is a decision, and is made here. Tests may name every crate above theirs, and
/// their own with other features.
const ARROWS: [(&str, &[&str]); 14] = [
    ("mutant", &[]),
    ("keys", &[]),
    ("domain", &["mutant", "keys"]),
    ("audit-log", &["keys"]),
    ("proto", &[]),
    ("runtime", &[]),
    (
        "client",
        &["mutant", "domain", "audit-log", "proto", "runtime"],
    ),
    (
        "raft-store",
        &["mutant", "domain", "audit-log", "proto", "runtime"],
    ),
    (
        "decision",
        &[
            "mutant",
            "domain",
            "audit-log",
            "proto",
            "runtime",
            "client",
        ],
    ),
    (
        "sim",
        &[
            "mutant",
            "domain",
            "audit-log",
            "proto",
            "runtime",
            "client",
            "raft-store",
            "decision",
        ],
    ),
    ("jepsen", &["proto"]),
    (
        "cli",
        &[
            "keys",
            "domain",
            "audit-log",
            "proto",
            "runtime",
            "client",
            "raft-store",
            "decision",
        ],
    ),
    (
        "bench",
        &["domain", "proto", "runtime", "client", "decision"],
    ),
    ("xtask", &[]),
];

/// Packages that must not be reached through any chain of normal dependencies, and why.
const OUT_OF_REACH: [(&str, &[&str], &str); 3] = [
    (
        "domain",
        &[
            "tokio",
            "madsim-tokio",
            "serde",
            "serde_core",
            "getrandom",
            "rand",
            "rand_core",
        ],
        "the domain is a pure function",
    ),
    (
        "audit-log",
        &["tokio", "madsim-tokio"],
        "auditors verify offline, without a runtime",
    ),
    (
        "decision",
        &["openraft", "tidegate-raft-store"],
        "decision nodes read the store over the wire, as a stranger would",
    ),
];

pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    metadata.packages.iter().flat_map(wrong_arrows).collect()
}

/// Asks cargo what each crate of [`OUT_OF_REACH`] is built with.
pub(super) fn check_reach() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (folder, forbidden, why) in OUT_OF_REACH {
        let built_with = metadata::normal_dependencies(&format!("{PREFIX}{folder}"))?;
        findings.extend(reached(folder, forbidden, why, &built_with));
    }
    Ok(findings)
}

fn wrong_arrows(package: &Package) -> Vec<Finding> {
    let folder = package.folder();
    let manifest = format!("{folder}/Cargo.toml");
    let lives_in = Path::new(&package.manifest_path)
        .parent()
        .and_then(Path::file_name);
    if !package.name.starts_with(PREFIX) || lives_in.is_none_or(|name| name != folder) {
        let message = format!(
            "package {}: a package is called {PREFIX}<folder>",
            package.name
        );
        return vec![Finding::file(&package.manifest_path, message)];
    }
    let Some(place) = ARROWS.iter().position(|(name, _)| *name == folder) else {
        let message = "this crate has no place in ARROWS of xtask/src/tidy/arrows.rs";
        return vec![Finding::file(&manifest, message)];
    };
    let (_, allowed) = ARROWS[place];
    let for_tests = |name: &str| ARROWS[..=place].iter().any(|(above, _)| *above == name);
    let is_wrong = |dependency: &Dependency| {
        let name = dependency.name.strip_prefix(PREFIX)?;
        let is_test = dependency.kind.as_deref() == Some("dev");
        let fits = allowed.contains(&name) || is_test && for_tests(name);
        (!fits).then(|| Finding::file(&manifest, format!("{folder} must not depend on {name}")))
    };
    package.dependencies.iter().filter_map(is_wrong).collect()
}

fn reached(folder: &str, forbidden: &[&str], why: &str, built_with: &[String]) -> Vec<Finding> {
    let manifest = format!("{folder}/Cargo.toml");
    forbidden
        .iter()
        .filter(|name| built_with.iter().any(|package| package == **name))
        .map(|name| {
            let repeat = format!("cargo tree -e normal -p {PREFIX}{folder} -i {name}");
            Finding::file(
                &manifest,
                format!("{folder} reaches {name}, but {why} ({repeat})"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::package;

    fn found(packages: Vec<Package>) -> Vec<String> {
        check(&Metadata { packages })
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_table_points_down() {
        for (place, (folder, allowed)) in ARROWS.iter().enumerate() {
            for name in *allowed {
                let above = ARROWS[..place].iter().any(|(above, _)| above == name);
                assert!(
                    above,
                    "{folder} names {name}, which does not stand above it"
                );
            }
        }
    }

    #[test]
    fn an_arrow_down_passes_and_an_arrow_up_or_aside_does_not() {
        assert!(
            found(vec![package(
                "tidegate-cli",
                &["tidegate-domain", "serde"],
                &[]
            )])
            .is_empty()
        );
        let aside = found(vec![package(
            "tidegate-decision",
            &["tidegate-raft-store"],
            &[],
        )]);
        assert_eq!(
            aside,
            ["decision/Cargo.toml: decision must not depend on raft-store"]
        );
        let up = found(vec![package(
            "tidegate-domain",
            &["tidegate-cli@cfg(unix)"],
            &[],
        )]);
        assert_eq!(up, ["domain/Cargo.toml: domain must not depend on cli"]);
    }

    #[test]
    fn tests_name_their_own_crate_and_any_above_it_but_none_below() {
        let of = |dependency| found(vec![package("tidegate-raft-store", &[dependency], &[])]);
        assert!(of("dev:tidegate-client").is_empty());
        assert!(of("dev:tidegate-raft-store").is_empty());
        assert_eq!(of("tidegate-client").len(), 1);
        assert_eq!(of("dev:tidegate-decision").len(), 1);
    }

    #[test]
    fn a_crate_must_have_a_place_and_the_name_of_its_folder() {
        assert!(found(vec![package("tidegate-console", &[], &[])])[0].contains("no place"));
        assert!(found(vec![package("domain", &[], &[])])[0].contains("tidegate-<folder>"));
        let mut moved = package("tidegate-domain", &[], &[]);
        moved.manifest_path = "/somewhere/core/Cargo.toml".into();
        assert!(found(vec![moved])[0].contains("tidegate-<folder>"));
    }

    #[test]
    fn a_pure_crate_is_impure_through_any_chain() {
        let built_with = ["tidegate-domain", "blake3", "serde"].map(str::to_owned);
        let findings = reached("domain", &["tokio", "serde"], "it is pure", &built_with);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].message.contains("-p tidegate-domain -i serde"),
            "{}",
            findings[0]
        );
    }
}
