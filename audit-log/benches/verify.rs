//! How fast one core verifies an export, beside the hashing that no verifier can avoid.
//!
//! `cargo bench -p tidegate-audit-log --bench verify [-- <entries>]` writes an export of that many
//! 256-byte entries (200,000 by default) to a temporary folder and verifies it from there, each
//! measurement the best of seven.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::hint::black_box;
use std::time::Instant;

use tidegate_audit_log::directory::FsDirectory;
use tidegate_audit_log::entry::HEADER_BYTES;
use tidegate_audit_log::note::{KeyName, NoteKey, SignatureKind};
use tidegate_audit_log::verify::{AnyDeterministic, Options};
use tidegate_audit_log::{
    ChainHash, Checkpoint, EntryHash, ExportWriter, Kind, LogHead, NewEntry, NodeHash, Policy,
    SignedCheckpoint, verify,
};
use tidegate_keys::SigningKey;

const ORIGIN: &str = "bench.example/log";
const ENTRY_BYTES: usize = 256;
const ROUNDS: usize = 7;

fn main() {
    let size = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(200_000u64);
    let folder = tempfile::tempdir().unwrap();
    let signing = SigningKey::from_bytes(&[7; 32]);
    let key = NoteKey::new(KeyName::new(ORIGIN).unwrap(), SignatureKind::Log, signing).unwrap();
    let policy = Policy::log_only(key.verifier().clone()).unwrap();
    let directory = FsDirectory::new(folder.path());

    let begin = Instant::now();
    let entries = write_export(directory, size, &key, &policy);
    println!("{size} entries of {ENTRY_BYTES} bytes, one core, best of {ROUNDS}");
    report(
        "write the export (fsync per file)",
        size,
        begin.elapsed().as_secs_f64(),
    );

    let floor = best(|| hash_alone(&entries));
    report("baseline: hashing alone, in memory", size, floor);
    let leaves = best(|| leaves_alone(&entries));
    report("baseline: SHA-256 leaves alone", size, leaves);
    let directory = FsDirectory::new(folder.path());
    let options = Options {
        policy: Some(&policy),
        ..Options::default()
    };
    let verified = best(|| {
        let report = verify(&directory, &options, &mut AnyDeterministic).unwrap();
        assert!(
            report.ok && report.authentic && report.entries == size,
            "{report:?}"
        );
    });
    report("verify the export", size, verified);
    println!(
        "verification costs {:.2} times its hashing",
        verified / floor
    );
}

fn report(what: &str, entries: u64, seconds: f64) {
    let rate = entries as f64 / seconds;
    let nanoseconds = 1e9 / rate;
    println!(
        "{what:<36} {:>7.3} M entries/s {nanoseconds:>7.0} ns/entry",
        rate / 1e6
    );
}

fn best(mut run: impl FnMut()) -> f64 {
    let mut time = || {
        let begin = Instant::now();
        run();
        begin.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| time()).fold(f64::INFINITY, f64::min)
}

fn write_export(directory: FsDirectory, size: u64, key: &NoteKey, policy: &Policy) -> Vec<Vec<u8>> {
    let mut head = LogHead::genesis(ORIGIN);
    let mut writer = ExportWriter::open(directory, ORIGIN).unwrap();
    let mut entries = Vec::new();
    for index in 0..size {
        // A map with one byte string, filled up to the entry's size.
        let mut body = vec![0xa1, 0x01, 0x58, 0];
        body.resize(
            ENTRY_BYTES - HEADER_BYTES,
            u8::try_from(index % 251).unwrap(),
        );
        body[3] = u8::try_from(body.len() - 4).unwrap();
        let kind = Kind(1);
        let new = NewEntry {
            detached: false,
            kind,
            raft_term: 1,
            t_ms: index,
            key_epoch: 1,
            body: &body,
        };
        let appended = head.append(&new, |_, _| ()).unwrap();
        assert_eq!(appended.entry.len(), ENTRY_BYTES);
        writer.append(&appended.entry).unwrap();
        entries.push(appended.entry);
    }
    let origin = KeyName::new(ORIGIN).unwrap();
    let mut signed = SignedCheckpoint::unsigned(Checkpoint {
        origin,
        size,
        root: head.root(),
    });
    signed.sign(key, 0).unwrap();
    writer.put_keys(key.verifier(), policy).unwrap();
    writer.commit(&signed).unwrap();
    entries
}

/// Leaf, tree node, entry hash and chain link of each entry, and nothing else.
fn hash_alone(entries: &[Vec<u8>]) {
    let mut chain = ChainHash::genesis(ORIGIN);
    let mut node = NodeHash::empty_tree();
    for entry in entries {
        node = NodeHash::node(&node, &NodeHash::leaf(entry));
        chain = chain.next(&EntryHash::of(entry));
    }
    black_box((chain, node));
}

fn leaves_alone(entries: &[Vec<u8>]) {
    for entry in entries {
        black_box(NodeHash::leaf(entry));
    }
}
