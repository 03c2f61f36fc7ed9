//! What the verifier says of logs whose hashes are all in order: kinds and versions that are not
//! known, bodies that are not in form, and a writer that broke the rules.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use std::collections::BTreeMap;

use support::{ExampleLog, ORIGIN, cosigned, golden_body, log_key, plain_body, policy};
use tidegate_audit_log::canonical::{CanonicalError, Reason};
use tidegate_audit_log::directory::MemoryDirectory;
use tidegate_audit_log::note::KeyName;
use tidegate_audit_log::tiles::{BundleId, TileId};
use tidegate_audit_log::tree::CompactRange;
use tidegate_audit_log::verify::{
    AllOpaque, AnyDeterministic, Body, BodyFault, BodyVerifier, Fault, OpaqueKind, Options,
};
use tidegate_audit_log::{
    ChainHash, Checkpoint, Entry, EntryHash, EntryHeader, Kind, NodeHash, Report, verify,
};

/// Signs and exports entries as they are, however wrong: fewer than 256 of them.
fn export_raw(entries: &[Vec<u8>]) -> MemoryDirectory {
    let mut files = BTreeMap::new();
    let mut tree = CompactRange::new();
    let (mut bundle, mut tile) = (Vec::new(), Vec::new());
    for entry in entries {
        bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap().to_be_bytes());
        bundle.extend_from_slice(entry);
        tile.extend_from_slice(&NodeHash::leaf(entry).0);
        tree.append(NodeHash::leaf(entry), |_, _| ());
    }
    let (origin, size) = (KeyName::new(ORIGIN).unwrap(), tree.size());
    let checkpoint = Checkpoint {
        origin,
        size,
        root: tree.root(),
    };
    let width = u16::try_from(entries.len()).unwrap();
    files.insert(BundleId { index: 0, width }.path(), bundle);
    files.insert(
        TileId {
            level: 0,
            index: 0,
            width,
        }
        .path(),
        tile,
    );
    files.insert(
        "checkpoint".to_owned(),
        cosigned(checkpoint).to_string().into_bytes(),
    );
    files.insert(
        "log.vkey".to_owned(),
        log_key().verifier().to_string().into_bytes(),
    );
    MemoryDirectory::from(files)
}

fn check(directory: &MemoryDirectory, bodies: &mut dyn BodyVerifier) -> Report {
    let policy = policy();
    let options = Options {
        policy: Some(&policy),
        ..Options::default()
    };
    verify(directory, &options, bodies).unwrap()
}

fn refused(entries: &[Vec<u8>]) -> (u64, Fault) {
    let bad = check(&export_raw(entries), &mut AnyDeterministic)
        .first_bad
        .unwrap();
    (bad.index, bad.what)
}

#[test]
fn bodies_of_known_kinds_must_be_in_form_and_opaque_ones_are_counted() {
    let log = ExampleLog::with_entries(300, golden_body);
    let directory = support::export(&log);
    let bad = check(&directory, &mut AnyDeterministic).first_bad.unwrap();
    let reason = CanonicalError {
        offset: 37,
        reason: Reason::NotShortest,
    };
    assert_eq!((bad.index, bad.what), (0, Fault::Body(reason)));

    let report = check(&directory, &mut AllOpaque);
    assert!(report.ok && report.authentic, "{report:?}");
    let kind = Kind(0x0010);
    let opaque = OpaqueKind {
        version: 1,
        kind,
        entries: 300,
        not_deterministic: 300,
    };
    assert_eq!(report.opaque, [opaque]);
    let report = check(
        &support::export(&ExampleLog::with_entries(3, plain_body)),
        &mut AllOpaque,
    );
    assert_eq!(report.opaque[0].not_deterministic, 0);
}

#[test]
fn entries_of_an_unknown_version_are_opaque_but_chained() {
    let mut log = ExampleLog::with_entries(2, plain_body);
    let mut future = log.append(&plain_body(2)).entry;
    future[4] = 9;
    // What follows it continues the chain over the bytes as they are.
    let after = EntryHeader {
        index: 3,
        prev_chain: Entry::parse(&log.entries[1])
            .unwrap()
            .chain()
            .next(&EntryHash::of(&future)),
        ..Entry::parse(&log.entries[1]).unwrap().header
    };
    let after = after.encode(&plain_body(3)).unwrap();
    let mut entries = vec![
        log.entries[0].clone(),
        log.entries[1].clone(),
        future,
        after,
    ];
    let report = check(&export_raw(&entries), &mut AnyDeterministic);
    assert!(report.ok, "{report:?}");
    let unknown = OpaqueKind {
        version: 9,
        kind: Kind(0),
        entries: 1,
        not_deterministic: 0,
    };
    assert_eq!(report.opaque, [unknown]);
    entries[2][60] ^= 1;
    let expected = Entry::parse(&entries[1])
        .unwrap()
        .chain()
        .next(&EntryHash::of(&entries[2]));
    assert_eq!(refused(&entries), (3, Fault::PrevChain { expected }));
}

#[test]
fn a_log_signed_over_a_broken_chain_is_refused() {
    let other_origin = EntryHeader {
        prev_chain: ChainHash::genesis("other.example/log"),
        ..header_of(&ExampleLog::with_entries(1, plain_body).entries[0])
    };
    let entry = other_origin.encode(&plain_body(0)).unwrap();
    let expected = ChainHash::genesis(ORIGIN);
    assert_eq!(refused(&[entry]), (0, Fault::PrevChain { expected }));
}

fn header_of(entry: &[u8]) -> EntryHeader {
    Entry::parse(entry).unwrap().header
}

#[test]
fn what_never_falls_must_not_fall() {
    let check = |change: &dyn Fn(&mut EntryHeader), field| {
        let log = ExampleLog::with_entries(2, plain_body);
        let mut header = header_of(&log.entries[1]);
        change(&mut header);
        let entries = [
            log.entries[0].clone(),
            header.encode(&plain_body(1)).unwrap(),
        ];
        assert_eq!(refused(&entries), (1, Fault::RanBack { field }));
    };
    check(&|header| header.raft_term -= 1, "raft_term");
    check(&|header| header.t_ms -= 2, "t_ms");
    check(&|header| header.key_epoch -= 1, "key_epoch");
}

#[test]
fn a_signed_gap_or_repeat_is_refused() {
    let log = ExampleLog::with_entries(4, plain_body);
    let gap = [log.entries[0].clone(), log.entries[2].clone()];
    assert_eq!(refused(&gap), (1, Fault::Index { found: 2 }));
    let repeat = [log.entries[0].clone(), log.entries[0].clone()];
    assert_eq!(refused(&repeat), (1, Fault::Index { found: 0 }));
}

/// Understands one kind, and refuses one body of it.
struct Picky {
    seen: Vec<u64>,
}

impl BodyVerifier for Picky {
    fn knows(&self, kind: Kind) -> bool {
        kind == Kind(0x0010)
    }

    fn check(&mut self, entry: &Entry<'_>, body: Body<'_>) -> Result<(), BodyFault> {
        self.seen.push(entry.header.index);
        match body {
            Body::Inline(bytes) if bytes == plain_body(5) => Err(BodyFault {
                index: 5,
                what: "five is right out".to_owned(),
            }),
            Body::Detached(bytes) => {
                assert_eq!((entry.header.index, bytes), (3, plain_body(3).as_slice()));
                Ok(())
            }
            Body::Inline(_) | Body::Absent => Ok(()),
        }
    }
}

#[test]
fn the_callers_own_check_is_asked_in_order_and_heeded() {
    let mut log = ExampleLog::with_entries(3, plain_body);
    log.append_detached(&plain_body(3));
    (4..9).for_each(|index| drop(log.append(&plain_body(index))));
    let mut picky = Picky { seen: Vec::new() };
    let report = check(&support::export(&log), &mut picky);
    let bad = report.first_bad.unwrap();
    assert_eq!(
        bad.to_string(),
        "entry 5 (tile/entries/000.p/9): body: five is right out"
    );
    assert_eq!(picky.seen, [0, 1, 2, 3, 4, 5]);
    assert!(!report.ok && report.opaque.is_empty());
}

/// Looks into bodies when all are there, as a verifier does that works on several at a time.
#[derive(Default)]
struct Later {
    kept: Vec<(u64, Vec<u8>)>,
}

impl BodyVerifier for Later {
    fn knows(&self, _: Kind) -> bool {
        true
    }

    fn check(&mut self, entry: &Entry<'_>, _: Body<'_>) -> Result<(), BodyFault> {
        self.kept.push((entry.header.index, entry.body.to_vec()));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyFault> {
        let bad = self.kept.iter().find(|(_, body)| *body == plain_body(5));
        bad.map_or(Ok(()), |(index, _)| {
            Err(BodyFault {
                index: *index,
                what: "five is right out".to_owned(),
            })
        })
    }
}

/// Whatever is looked into later, the first bad entry is the one that is named.
#[test]
fn a_body_that_is_looked_into_later_is_as_bad_as_ever() {
    let log = ExampleLog::with_entries(600, plain_body);
    let first_bad = |spoiled: Option<usize>| {
        let mut files = support::export(&log).files();
        if let Some(entry) = spoiled {
            let index = u64::try_from(entry / 256).unwrap();
            let bundle = BundleId { index, width: 256 }.path();
            let before = log.entries[entry / 256 * 256..entry].iter();
            let at: usize = before.map(|entry| 2 + entry.len()).sum();
            files.get_mut(&bundle).unwrap()[at + 40] ^= 1;
        }
        let report = check(&MemoryDirectory::from(files), &mut Later::default());
        let bad = report.first_bad.unwrap();
        assert_eq!(report.entries, bad.index + u64::from(spoiled != Some(3)));
        bad.to_string()
    };
    let five = "entry 5 (tile/entries/000): body: five is right out";
    assert_eq!(first_bad(None), five);
    assert_eq!(first_bad(Some(300)), five);
    assert!(first_bad(Some(3)).starts_with("entry 3 (tile/entries/000)"));
}

#[test]
fn a_detached_body_must_be_in_form_too() {
    let mut log = ExampleLog::new();
    log.append_detached(&golden_body(0));
    let directory = support::export(&log);
    let bad = check(&directory, &mut AnyDeterministic).first_bad.unwrap();
    assert!(matches!(bad.what, Fault::Body(_)), "{bad}");
    assert!(check(&directory, &mut AllOpaque).ok);
}
