//! The state root: golden, and the same when it is computed the dumb way.
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_domain::{
    State,
    id::{Hash, Incarnation},
    testing::{Fleet, Step},
};

/// `docs/formats.md`, "State root", read aloud: all buckets, all levels, nothing remembered.
fn dumb_root(state: &State) -> Hash {
    let key = |name: &str| blake3::derive_key(&format!("tidegate 2026-11 state {name} v1"), b"");
    let keyed = |name: &str, parts: &[&[u8]]| {
        let mut hasher = blake3::Hasher::new_keyed(&key(name));
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        *hasher.finalize().as_bytes()
    };
    let mut buckets: Vec<BTreeMap<Vec<u8>, [u8; 32]>> = vec![BTreeMap::new(); 65_536];
    for (row, value) in state.rows() {
        let hash = blake3::hash(&row);
        let bucket = u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]);
        let len = (row.len() as u32).to_be_bytes();
        let hash = keyed("row", &[&len, &row, &value]);
        buckets[usize::from(bucket)].insert(row, hash);
    }
    let mut level: Vec<[u8; 32]> = buckets
        .iter()
        .map(|rows| match rows.len() {
            0 => [0; 32],
            _ => keyed(
                "bucket",
                &rows.values().map(<[u8; 32]>::as_slice).collect::<Vec<_>>(),
            ),
        })
        .collect();
    while level.len() > 1 {
        let pairs = level.chunks(2);
        level = pairs
            .map(|pair| match pair {
                [[0, ..], [0, ..]] if pair.iter().all(|hash| *hash == [0; 32]) => [0; 32],
                _ => keyed("node", &[&pair[0], &pair[1]]),
            })
            .collect();
    }
    Hash(level[0])
}

#[test]
fn a_new_state_has_its_golden_root() {
    let mut state = State::new("fleet.example", Incarnation(7));
    assert_eq!(state.root(), dumb_root(&state));
    let golden = "a96dc821a96c2a5b0f90aaa31bda83abcce096241b633c08cf773b7a48d63764";
    assert_eq!(state.root().to_string(), golden);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// The root that is kept up to date is the root computed from all rows, at any moment, however
    /// often it was asked for in between; and rows restored from storage have it, too.
    #[test]
    fn the_root_follows_the_rows(steps in prop::collection::vec((any::<u8>(), any::<u64>(), any::<bool>()), 1..60)) {
        let mut fleet = Fleet::new();
        for (what, dice, ask) in steps {
            fleet.take(Step { what, dice });
            if ask {
                fleet.state.root();
            }
        }
        let root = fleet.state.root();
        prop_assert_eq!(root, dumb_root(&fleet.state));
        let mut restored = State::from_rows(fleet.state.rows()).expect("rows of a state");
        prop_assert_eq!(restored.root(), root);
        prop_assert_eq!(restored, fleet.state);
    }
}
