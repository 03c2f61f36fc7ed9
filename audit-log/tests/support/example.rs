//! The export that tests damage, and how they look at the verdict.

use std::collections::BTreeMap;

use tidegate_audit_log::directory::MemoryDirectory;
use tidegate_audit_log::verify::{AnyDeterministic, FirstBad, Options};
use tidegate_audit_log::{Report, verify};

use super::{ExampleLog, export, plain_body, policy};

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// 600 entries: two full bundles and a partial one, a partial tile of level 1, detached bodies.
pub(crate) const SIZE: u64 = 600;
pub(crate) const DETACHED: [u64; 2] = [100, 599];

pub(crate) fn example() -> ExampleLog {
    let mut log = ExampleLog::new();
    for index in 0..SIZE {
        if DETACHED.contains(&index) {
            log.append_detached(&plain_body(index));
        } else {
            log.append(&plain_body(index));
        }
    }
    log
}

pub(crate) fn example_files() -> Files {
    static FILES: std::sync::LazyLock<Files> =
        std::sync::LazyLock::new(|| export(&example()).files());
    FILES.clone()
}

pub(crate) fn check(files: Files, options: &Options<'_>) -> Report {
    verify(
        &MemoryDirectory::from(files),
        options,
        &mut AnyDeterministic,
    )
    .unwrap()
}

pub(crate) fn check_under_policy(files: Files) -> Report {
    check(
        files,
        &Options {
            policy: Some(&policy()),
            ..Options::default()
        },
    )
}

/// The first bad place, with and without a policy: they must agree on it.
pub(crate) fn first_bad(files: Files) -> FirstBad {
    let report = check_under_policy(files.clone());
    assert!(!report.ok && !report.authentic);
    let found = report.first_bad.unwrap();
    let without = check(files, &Options::default());
    assert_eq!(without.first_bad.as_ref(), Some(&found));
    assert!(report.entries <= SIZE);
    found
}
