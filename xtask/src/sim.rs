//! The simulator's commands: what CI asks of it, and the long search.

use std::process::Command;

use crate::step::Step;

/// The simulator's flag changes every crate, so its artefacts live apart and neither build evicts
/// the other.
pub(crate) const SIM_FLAGS: &str = "--cfg madsim";
pub(crate) const SIM_TARGET: &str = "--target-dir target-sim";
/// The package that is the simulator.
pub(crate) const PACKAGE: &str = "tidegate-sim";

/// Seeds that CI runs twice: the traces must be the same to the last byte.
const CI_TWICE: u64 = 5;
/// How long CI runs fresh seeds.
const CI_MINUTES: u64 = 5;
/// The first seed where no commit says another.
const DEFAULT_BASE_SEED: u64 = 1_000_000;

/// What CI asks of the simulator beside its tests, which replay kept runs: that seeds repeat, and
/// that no fresh seed breaks anything. With the build that the tests have made: a faster one takes
/// longer to make than it saves here.
pub(crate) fn gate(base_seed: u64, threads: usize) -> Vec<Step> {
    let meta = format!("meta --seed {base_seed} --seeds {CI_TWICE}");
    let search =
        format!("search --base-seed {base_seed} --minutes {CI_MINUTES} --threads {threads}");
    vec![
        simulator("seeds repeat", "", &meta),
        simulator("fresh seeds", "", &search),
    ]
}

/// Searches for hours, with the fastest build; a state in which a class of faults never struck fails
/// it, too.
pub(crate) fn search(hours: f64, base_seed: u64, threads: usize) -> Vec<Step> {
    let minutes = hours * 60.0;
    let search =
        format!("search --base-seed {base_seed} --minutes {minutes} --threads {threads} --cells");
    let build = format!("build --release --locked {SIM_TARGET} -p {PACKAGE}");
    vec![
        Step::cargo("build the simulator", &build).env("RUSTFLAGS", SIM_FLAGS),
        simulator("fresh seeds", "--release ", &search),
    ]
}

fn simulator(name: &'static str, profile: &str, args: &str) -> Step {
    let run = format!("run --quiet {profile}--locked {SIM_TARGET} -p {PACKAGE} -- {args}");
    Step::cargo(name, &run).env("RUSTFLAGS", SIM_FLAGS)
}

/// The first fresh seed: another one for every commit, and the same for all who run that commit.
pub(crate) fn base_seed() -> u64 {
    let git = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.and_then(|output| String::from_utf8(output.stdout).ok());
    commit
        .and_then(|commit| seed_of(&commit))
        .unwrap_or(DEFAULT_BASE_SEED)
}

/// The first 48 bits of a commit's hash: short enough to be typed again.
fn seed_of(commit: &str) -> Option<u64> {
    u64::from_str_radix(commit.get(..12)?, 16).ok()
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_follows_from_the_commit() {
        let commit = "00000000002a17e1d6a8cc0c3b1d6ad1b2a3c4d5\n";
        assert_eq!(seed_of(commit), Some(42));
        assert_eq!(seed_of("fatal: no repository"), None);
        assert_eq!(seed_of("2a"), None);
    }

    #[test]
    fn ci_runs_seeds_twice_and_fresh_ones_and_a_search_begins_where_it_is_told() {
        let shown =
            |steps: Vec<Step>| -> Vec<String> { steps.iter().map(ToString::to_string).collect() };
        let (gate, long) = (shown(gate(42, 2)), shown(search(1.5, 42, 2)));
        let ([meta, fresh], [build, search]) = (&gate[..], &long[..]) else {
            panic!("{gate:#?} {long:#?}");
        };
        assert!(meta.ends_with("-- meta --seed 42 --seeds 5"));
        assert!(fresh.ends_with("-- search --base-seed 42 --minutes 5 --threads 2"));
        assert!(
            build.ends_with("build --release --locked --target-dir target-sim -p tidegate-sim")
        );
        assert!(search.ends_with("-- search --base-seed 42 --minutes 90 --threads 2 --cells"));
    }
}
