//! What is built in for the simulator and for benches is not in what is released.

use tidegate_mutant::Mutant;

/// What the product itself says by that name.
const ALSO_A_REFUSAL: Mutant = Mutant::FloorAboveRollout;

#[test]
fn no_known_bug_is_built_in() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_tidegate")).unwrap();
    let has = |name: &str| memchr::memmem::find(&binary, name.as_bytes()).is_some();
    // The names of a type that it has are there to be found.
    assert!(has(&format!("{ALSO_A_REFUSAL:?}")));
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        assert!(mutant == ALSO_A_REFUSAL || !has(&name), "{name}");
    }
}

/// Nobody has to sign it: see the feature `bench`.
#[test]
fn no_command_of_benches_is_built_in() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_tidegate")).unwrap();
    let has = |name: &str| memchr::memmem::find(&binary, name.as_bytes()).is_some();
    // The names of commands that it has are there to be found.
    assert!(has("RaiseStateVersion"));
    assert_eq!(has("BenchFiller"), cfg!(feature = "bench"));
}
