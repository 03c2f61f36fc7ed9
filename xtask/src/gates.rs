//! What CI demands, in order: cheap steps first, the tests last.

use crate::metadata::Metadata;
use crate::sim::{self, SIM_FLAGS, SIM_TARGET};
use crate::step::{Demand, Step};

/// Everything CI runs; it ends with exactly the steps of [`test()`].
pub(crate) fn ci(metadata: &Metadata) -> Vec<Step> {
    let lints = "--all-targets --no-deps -- -D warnings";
    let mut steps = vec![
        Step::cargo("format", "fmt --all --check"),
        Step::cargo("tidy", "xtask tidy"),
        Step::cargo("supply chain", "deny --locked check bans licenses sources"),
        Step::cargo("lint", &format!("clippy --locked --workspace {lints}")),
    ];
    if let Some(packages) = simulated(metadata) {
        let args = format!("clippy --locked {SIM_TARGET} {packages} {lints}");
        steps.push(Step::cargo("lint under the simulator", &args).env("RUSTFLAGS", SIM_FLAGS));
    }
    let docs = Step::cargo("docs", "doc --locked --workspace --no-deps");
    steps.push(docs.env("RUSTDOCFLAGS", "-D warnings"));
    steps.extend(test(metadata));
    steps
}

/// Every test of the project. The workspace's own tests come last, since documentation tests and
/// the simulator may close on a binary that has none, or on no test at all.
pub(crate) fn test(metadata: &Metadata) -> Vec<Step> {
    let mut steps = vec![Step::cargo(
        "documentation tests",
        "test --locked --workspace --doc --no-fail-fast",
    )];
    if let Some(packages) = simulated(metadata) {
        let args = format!("test --locked {SIM_TARGET} {packages} --lib --tests --no-fail-fast");
        let step = Step::cargo("simulator tests", &args).env("RUSTFLAGS", SIM_FLAGS);
        steps.push(step.demand(Demand::SomeTest));
    }
    if metadata.packages.iter().any(|p| p.name == sim::PACKAGE) {
        steps.extend(sim::gate(sim::base_seed(), sim::processors()));
    }
    // Cargo runs packages by name, so this closes on the tests of xtask itself.
    let all = Step::cargo(
        "tests",
        "test --locked --workspace --lib --bins --tests --no-fail-fast",
    );
    steps.push(all.demand(Demand::ClosesOnTests));
    steps
}

/// `-p a -p b` for the crates that have something to run in the simulator.
fn simulated(metadata: &Metadata) -> Option<String> {
    let chosen = metadata.packages.iter().filter(|p| p.is_simulated());
    let args: Vec<_> = chosen.map(|p| format!("-p {}", p.name)).collect();
    (!args.is_empty()).then(|| args.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::package;

    fn shown(steps: &[Step]) -> Vec<String> {
        steps.iter().map(ToString::to_string).collect()
    }

    fn workspace() -> Metadata {
        let simulated = package("tidegate-runtime", &["madsim@cfg(madsim)"], &[]);
        Metadata {
            packages: vec![package("tidegate-domain", &[], &[]), simulated],
        }
    }

    #[test]
    fn ci_ends_with_exactly_the_tests() {
        let (ci, test) = (shown(&ci(&workspace())), shown(&test(&workspace())));
        assert!(ci.ends_with(&test), "{ci:#?}");
    }

    #[test]
    fn tests_close_on_the_workspace_and_cover_simulator_and_documentation() {
        let steps = test(&workspace());
        assert_eq!(steps.last().unwrap().demand, Demand::ClosesOnTests);
        let shown = shown(&steps);
        assert!(shown.iter().any(|s| s.contains("--doc")), "{shown:#?}");
        let sim: Vec<_> = shown
            .iter()
            .filter(|s| s.contains("--cfg madsim"))
            .collect();
        assert!(matches!(sim[..], [s] if s.contains("target-sim -p tidegate-runtime --lib")));
    }

    #[test]
    fn without_simulated_crates_there_is_no_simulator_step() {
        let metadata = Metadata {
            packages: vec![package("tidegate-domain", &[], &[])],
        };
        assert!(!shown(&ci(&metadata)).iter().any(|s| s.contains("madsim")));
    }
}
