//! An export with anything changed in it is refused, at the place where it was changed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use proptest::prelude::*;
use proptest::sample::Index;
use support::example::{
    DETACHED, Files, SIZE, check, check_under_policy, example, example_files, first_bad,
};
use support::{ExampleLog, export, plain_body};
use tidegate_audit_log::tiles::{BundleId, TileId};
use tidegate_audit_log::verify::{Fault, Options};

fn split_bundle(bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        entries.push(rest[2..2 + length].to_vec());
        rest = &rest[2 + length..];
    }
    entries
}

/// Cuts entries into bundles again, with the widths that `SIZE` demands as far as they reach.
fn put_bundles(files: &mut Files, entries: &[Vec<u8>]) {
    files.retain(|path, _| !path.starts_with("tile/entries/"));
    for (index, entries) in entries.chunks(256).enumerate() {
        let width = u16::try_from(entries.len()).unwrap();
        let id = BundleId {
            index: u64::try_from(index).unwrap(),
            width,
        };
        let frame = |entry: &Vec<u8>| {
            let length = u16::try_from(entry.len()).unwrap();
            [&length.to_be_bytes(), entry.as_slice()].concat()
        };
        files.insert(id.path(), entries.iter().flat_map(frame).collect());
    }
}

fn all_entries(files: &Files) -> Vec<Vec<u8>> {
    let bundles = files
        .iter()
        .filter(|(path, _)| path.starts_with("tile/entries/"));
    bundles
        .flat_map(|(_, bundle)| split_bundle(bundle))
        .collect()
}

/// The lowest entry that a byte of a file stands for, as `FirstBad::index` defines it.
fn place_of(path: &str, offset: usize) -> u64 {
    let in_tile = |level: u32| u64::try_from(offset / 32).unwrap() * 256u64.pow(level);
    match path {
        "checkpoint" | "log.vkey" => 0,
        "tile/0/000" => in_tile(0),
        "tile/0/001" => 256 + in_tile(0),
        "tile/0/002.p/88" => 512 + in_tile(0),
        "tile/1/000.p/2" => in_tile(1),
        _ => unreachable!("{path}"),
    }
}

#[test]
fn the_untouched_export_is_authentic() {
    let report = check_under_policy(example_files());
    assert_eq!(report.first_bad, None);
    assert!(report.ok && report.authentic);
    assert_eq!((report.entries, report.size), (SIZE, SIZE));
    let log = example();
    assert_eq!(
        (report.head, report.root),
        (Some(log.head.chain()), Some(log.head.root()))
    );
    assert_eq!(report.cosigners, ["voter-1", "voter-2", "witness"]);
    assert_eq!((report.detached.present, report.detached.absent), (2, 0));

    let without = check(example_files(), &Options::default());
    assert!(without.ok && !without.authentic);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any bit of any file but the policy, which says whom to believe and proves nothing.
    #[test]
    fn a_flipped_bit_is_found_where_it_is(file: Index, byte: Index, bit in 0u32..8) {
        let mut files = example_files();
        files.remove("policy");
        let path = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = files.get_mut(&path).unwrap();
        let offset = byte.index(bytes.len());
        bytes[offset] ^= 1 << bit;
        let damaged = bytes.clone();

        let report = check(files.clone(), &Options::default());
        let Some(found) = report.first_bad else {
            // Without a policy, cosignatures are of unknown keys: nobody can check them.
            let unsigned = path == "checkpoint" && offset > 200;
            prop_assert!(unsigned, "{path} {offset}");
            let report = check_under_policy(files);
            // A cosigner renamed is a cosigner missing.
            prop_assert!(!report.ok);
            return Ok(());
        };
        prop_assert!(!report.ok);
        if let Some(bundle) = path.strip_prefix("tile/entries/") {
            prop_assert_eq!(found.file.as_deref(), Some(path.as_str()));
            let first = 256 * bundle[..3].parse::<u64>().unwrap();
            let original = split_bundle(&example_files()[&path]);
            let mut end = 0;
            let entry = original.iter().position(|e| { end += 2 + e.len(); offset < end });
            prop_assert_eq!(found.index, first + u64::try_from(entry.unwrap()).unwrap());
        } else if path.starts_with("detached/") {
            prop_assert_eq!(found.file.as_deref(), Some(path.as_str()));
            prop_assert!(DETACHED.contains(&found.index));
        } else {
            prop_assert_eq!(found.index, place_of(&path, offset), "{} {:?}", path, found);
            prop_assert_eq!(found.file.as_deref(), Some(path.as_str()));
        }
        prop_assert!(damaged != example_files()[&path]);
        prop_assert_eq!(check_under_policy(files).first_bad.unwrap().index, found.index);
    }

    #[test]
    fn swapped_entries_are_found(a: Index, b: Index) {
        let mut files = example_files();
        let mut entries = all_entries(&files);
        let (a, b) = (a.index(entries.len()), b.index(entries.len()));
        prop_assume!(a != b);
        entries.swap(a, b);
        put_bundles(&mut files, &entries);
        let index = u64::try_from(a.min(b)).unwrap();
        let found = first_bad(files);
        prop_assert_eq!(found.index, index);
        let found_index = u64::try_from(a.max(b)).unwrap();
        prop_assert_eq!(found.what, Fault::Index { found: found_index });
    }

    #[test]
    fn a_removed_entry_is_found(removed: Index) {
        let mut files = example_files();
        let mut entries = all_entries(&files);
        let removed = removed.index(entries.len());
        entries.remove(removed);
        put_bundles(&mut files, &entries);
        let found = first_bad(files);
        // Entries move up, so the last bundle has another name: it is missed, unless the gap
        // comes before it.
        let index = u64::try_from(removed).unwrap();
        prop_assert_eq!(found.index, index.min(512));
    }

    #[test]
    fn an_inserted_or_doubled_entry_is_found(at: Index, of: Index) {
        let mut files = example_files();
        let mut entries = all_entries(&files);
        let (at, of) = (at.index(entries.len() + 1), of.index(entries.len()));
        let doubled = entries[of].clone();
        entries.insert(at, doubled);
        put_bundles(&mut files, &entries);
        let found = first_bad(files);
        // Next to itself, the second of the two is the one in the wrong place.
        let first = if at == of { at + 1 } else { at };
        prop_assert_eq!(found.index, u64::try_from(first).unwrap().min(512));
    }

    #[test]
    fn a_cut_file_is_found(file: Index, keep: Index) {
        let mut files = example_files();
        files.remove("policy");
        let path = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = files.get_mut(&path).unwrap();
        let keep = keep.index(bytes.len());
        bytes.truncate(keep);
        // The end of the checkpoint holds cosignatures, which count under a policy only; the key
        // may stand without its newline.
        let harmless = path == "log.vkey" && keep + 1 == example_files()[&path].len();
        let report = check_under_policy(files);
        prop_assert_eq!(report.ok, harmless, "{} cut to {}", path, keep);
    }

    #[test]
    fn a_missing_file_is_found(file: Index) {
        let mut files = example_files();
        files.remove("policy");
        let path = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        files.remove(&path);
        let report = check(files, &Options::default());
        let found = report.first_bad.unwrap();
        prop_assert_eq!(found.file.as_deref(), Some(path.as_str()));
        prop_assert_eq!(found.what, Fault::Missing);
    }
}

#[test]
fn every_bit_of_one_entry_and_its_leaf() {
    let (bundle, tile) = (
        BundleId {
            index: 1,
            width: 256,
        }
        .path(),
        "tile/0/001".to_owned(),
    );
    let entries = split_bundle(&example_files()[&bundle]);
    let start: usize = entries[..44].iter().map(|entry| 2 + entry.len()).sum();
    let entry = start..start + 2 + entries[44].len();
    for (path, range) in [(bundle, entry), (tile, 44 * 32..45 * 32)] {
        for bit in range.start * 8..range.end * 8 {
            let mut files = example_files();
            files.get_mut(&path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let found = first_bad(files);
            assert_eq!(found.index, 300, "bit {bit} of {path}: {found}");
            assert_eq!(found.file, Some(path.clone()), "bit {bit}: {found}");
        }
    }
}

#[test]
fn every_bit_of_a_small_export() {
    let mut log = ExampleLog::with_entries(1, plain_body);
    log.append_detached(&plain_body(1));
    let mut sound = export(&log).files();
    sound.remove("policy");
    assert!(check_under_policy(sound.clone()).ok);
    for (path, bytes) in &sound {
        for bit in 0..bytes.len() * 8 {
            let mut files = sound.clone();
            files.get_mut(path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let report = check_under_policy(files);
            let found = report
                .first_bad
                .unwrap_or_else(|| panic!("bit {bit} of {path}"));
            assert_eq!(
                found.file.as_deref(),
                Some(path.as_str()),
                "bit {bit}: {found}"
            );
        }
    }
}

#[test]
fn a_flipped_hash_of_an_upper_tile_is_told_from_the_tile_below() {
    let path = TileId {
        level: 1,
        index: 0,
        width: 2,
    }
    .path();
    let mut files = example_files();
    files.get_mut(&path).unwrap()[32 + 5] ^= 4;
    let found = first_bad(files);
    assert_eq!(
        (found.index, found.file, found.what),
        (256, Some(path), Fault::TileNode)
    );
}

#[test]
fn entries_forged_together_with_their_tiles_do_not_match_the_checkpoint() {
    // A whole other log under the old checkpoint: everything fits but the root.
    let mut other = ExampleLog::with_entries(SIZE - 1, plain_body);
    other.append(&plain_body(7));
    let mut files = export(&other).files();
    files.insert("checkpoint".into(), example_files()["checkpoint"].clone());
    let found = first_bad(files);
    assert_eq!(
        (found.index, found.file.as_deref()),
        (0, Some("checkpoint"))
    );
    assert_eq!(
        found.what,
        Fault::Root {
            computed: other.head.root()
        }
    );
}
