//! Exports are written step by step, and a crash at any step loses nothing that was committed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use std::cell::Cell;
use std::io::{self, Read};

use support::{ExampleLog, ORIGIN, cosigned, export, export_into, plain_body, policy};
use tidegate_audit_log::directory::{
    Directory, FsDirectory, Listed, MemoryDirectory, WritableDirectory,
};
use tidegate_audit_log::export::ExportError;
use tidegate_audit_log::verify::{AnyDeterministic, Fault, Options};
use tidegate_audit_log::{Export, ExportWriter, Report, SignedCheckpoint, verify};

/// Sizes at which the example is committed: inside a tile, at its end, past it, past two.
const SIZES: [u64; 5] = [3, 256, 300, 301, 600];

fn check(directory: &dyn Directory) -> Report {
    let policy = policy();
    let options = Options {
        policy: Some(&policy),
        ..Options::default()
    };
    verify(directory, &options, &mut AnyDeterministic).unwrap()
}

/// What the log was at each of the sizes.
fn logs() -> Vec<ExampleLog> {
    SIZES
        .iter()
        .map(|size| ExampleLog::with_entries(*size, plain_body))
        .collect()
}

#[test]
fn growing_step_by_step_gives_the_same_files_as_at_once() {
    let mut directory = MemoryDirectory::new();
    for log in logs() {
        directory = export_into(directory, &log);
        let report = check(&directory);
        assert!(report.ok, "{report:?}");
        assert_eq!(directory.files(), export(&log).files());
    }
}

#[test]
fn the_same_writer_goes_on_after_a_commit() {
    let directory = MemoryDirectory::new();
    let mut writer = ExportWriter::open(&directory, ORIGIN).unwrap();
    let logs = logs();
    for log in &logs {
        for entry in &log.entries[usize::try_from(writer.size()).unwrap()..] {
            writer.append(entry).unwrap();
        }
        writer.commit(&cosigned(log.checkpoint())).unwrap();
        assert_eq!(writer.head(), &log.head);
    }
    writer
        .put_keys(support::log_key().verifier(), &policy())
        .unwrap();
    assert_eq!(directory.files(), export(logs.last().unwrap()).files());
}

#[test]
fn files_on_disk_are_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("audit");
    let mut on_disk = FsDirectory::new(&root);
    let mut log = ExampleLog::with_entries(300, plain_body);
    log.append_detached(&plain_body(300));
    on_disk = export_into(on_disk, &log);
    assert!(check(&on_disk).ok);
    for (path, bytes) in export(&log).files() {
        assert_eq!(std::fs::read(root.join(&path)).unwrap(), bytes, "{path}");
    }
    assert!(!root.join("tmp").exists());
    assert!(on_disk.open("tile/0/000/deeper").unwrap().is_none());
    let receipt = Export::new(&on_disk)
        .receipt(17, Some(b"for you".to_vec()))
        .unwrap();
    assert!(receipt.verify(&log.entries[17], &policy()).is_ok());
}

#[test]
fn an_empty_log_can_be_exported() {
    let directory = export(&ExampleLog::new());
    let report = check(&directory);
    assert!(report.ok && report.authentic, "{report:?}");
    assert_eq!(report.entries, 0);
    let log = ExampleLog::with_entries(2, plain_body);
    assert!(check(&export_into(directory, &log)).ok);
}

#[test]
fn the_writer_takes_the_next_entry_only() {
    let log = ExampleLog::with_entries(3, plain_body);
    let mut writer = ExportWriter::open(MemoryDirectory::new(), ORIGIN).unwrap();
    assert!(matches!(
        writer.append(&log.entries[1]),
        Err(ExportError::Follow(_))
    ));
    writer.append(&log.entries[0]).unwrap();
    assert!(matches!(
        writer.append(&log.entries[0]),
        Err(ExportError::Follow(_))
    ));
    let mut unchained = log.entries[1].clone();
    unchained[50] ^= 1;
    assert!(matches!(
        writer.append(&unchained),
        Err(ExportError::Follow(_))
    ));
    assert!(matches!(writer.append(b"TDG1"), Err(ExportError::Entry(_))));
    assert_eq!(writer.size(), 1);
    let early = writer.commit(&cosigned(log.checkpoint()));
    assert!(matches!(
        early,
        Err(ExportError::OtherCheckpoint { size: 1 })
    ));
}

#[test]
fn a_directory_of_another_or_damaged_log_is_not_continued() {
    let directory = export(&ExampleLog::with_entries(300, plain_body));
    let other = ExportWriter::open(&directory, "other.example/log").unwrap_err();
    assert!(matches!(other, ExportError::OtherLog { .. }), "{other}");
    let mut files = directory.files();
    files.get_mut("tile/0/001.p/44").unwrap()[40] ^= 1;
    let damaged = MemoryDirectory::from(files);
    let error = ExportWriter::open(&damaged, ORIGIN).unwrap_err();
    assert!(matches!(error, ExportError::Damaged), "{error}");
}

/// A disk that stops after so many changes.
struct Stops {
    files: MemoryDirectory,
    changes_left: Cell<u32>,
}

impl Stops {
    fn change(&self) -> io::Result<()> {
        let left = self
            .changes_left
            .get()
            .checked_sub(1)
            .ok_or(io::ErrorKind::Other)?;
        self.changes_left.set(left);
        Ok(())
    }
}

impl Directory for Stops {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.files.open(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        self.files.list(path)
    }
}

impl WritableDirectory for Stops {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        self.files.put(path, bytes)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.change()?;
        self.files.remove(path)
    }

    fn sync(&self) -> io::Result<()> {
        self.files.sync()
    }
}

/// Writes all steps; gives the size of the last commit that returned.
fn write_all(directory: &Stops, logs: &[ExampleLog]) -> Result<u64, u64> {
    let mut committed = 0;
    for log in logs {
        let step = || -> Result<(), ExportError> {
            let mut writer = ExportWriter::open(directory, ORIGIN)?;
            while writer.size() < log.head.size() {
                writer.append(&log.entries[usize::try_from(writer.size()).unwrap()])?;
            }
            writer.commit(&cosigned(log.checkpoint()))
        };
        step().map_err(|_| committed)?;
        committed = log.head.size();
    }
    Ok(committed)
}

#[test]
fn a_crash_at_any_change_leaves_the_export_of_a_checkpoint() {
    let logs = logs();
    for changes in 0.. {
        let files = export(&ExampleLog::new());
        let directory = Stops {
            files,
            changes_left: Cell::new(changes),
        };
        let crashed = write_all(&directory, &logs);
        let Err(acknowledged) = crashed else {
            assert!(changes > 20, "{changes} changes were enough");
            return;
        };
        let found = Export::new(&directory)
            .checkpoint()
            .unwrap()
            .unverified_claim()
            .size;
        assert!(
            found >= acknowledged,
            "after {changes} changes: {found} < {acknowledged}"
        );
        let report = check(&directory);
        if let Some(bad) = report.first_bad {
            // Entries that were on their way: said to be beyond what the checkpoint covers.
            assert_eq!(
                (bad.index, bad.what),
                (found, Fault::BeyondCheckpoint),
                "{changes}"
            );
        }
        assert_eq!(report.entries, found);

        directory.changes_left.set(u32::MAX);
        let rest: Vec<_> = logs.iter().filter(|log| log.head.size() >= found).collect();
        for log in rest {
            export_into(&directory, log);
        }
        let report = check(&directory);
        assert!(
            report.ok && report.size == 600,
            "after {changes} changes: {report:?}"
        );
    }
}

#[test]
fn signatures_can_be_added_to_a_committed_checkpoint() {
    let log = ExampleLog::with_entries(5, plain_body);
    let directory = MemoryDirectory::new();
    let mut writer = ExportWriter::open(&directory, ORIGIN).unwrap();
    log.entries
        .iter()
        .for_each(|entry| writer.append(entry).unwrap());
    writer.commit(&log.signed()).unwrap();
    writer
        .put_keys(support::log_key().verifier(), &policy())
        .unwrap();
    assert!(!check(&directory).ok);
    writer.commit(&cosigned(log.checkpoint())).unwrap();
    assert!(check(&directory).ok);
    let stored = Export::new(&directory).checkpoint().unwrap();
    assert_eq!(
        SignedCheckpoint::parse(stored.to_string().as_bytes()).unwrap(),
        stored
    );
}
