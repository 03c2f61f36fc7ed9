//! An export that contradicts what an auditor knows, or holds what its checkpoint does not cover.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use support::example::{
    DETACHED, SIZE, check, check_under_policy, example, example_files, first_bad,
};
use support::{ExampleLog, cosigned, export, log_key, plain_body, policy, voter_key};
use tidegate_audit_log::tree::consistency_proof;
use tidegate_audit_log::verify::{Fault, Known, Options};
use tidegate_audit_log::{NodeHash, Policy, Report, SignedCheckpoint};

#[test]
fn entries_beyond_the_checkpoint_are_found() {
    let mut log = example();
    for index in SIZE..SIZE + 200 {
        log.append(&plain_body(index));
    }
    let mut files = export(&log).files();
    let old = example_files();
    for (path, bytes) in old {
        files.insert(path, bytes);
    }
    let found = first_bad(files);
    assert_eq!((found.index, found.what), (SIZE, Fault::BeyondCheckpoint));
}

#[test]
fn strangers_among_the_tiles_are_found() {
    for path in [
        "tile/0/readme",
        "tile/x000/000",
        "tile/0/x000/000",
        "tile/9/000",
        "tile/0/000.p/256",
    ] {
        let mut files = example_files();
        files.insert(path.to_owned(), vec![0; 32]);
        let found = first_bad(files);
        assert_eq!(
            (found.index, found.what),
            (SIZE, Fault::Unexpected),
            "{path}"
        );
    }
}

#[test]
fn partial_tiles_of_older_checkpoints_must_be_beginnings_of_the_newer() {
    let newer = example_files();
    let older = export(&ExampleLog::with_entries(40, plain_body)).files();
    let mut files = newer.clone();
    for path in ["tile/0/000.p/40", "tile/entries/000.p/40"] {
        files.insert(path.to_owned(), older[path].clone());
    }
    assert!(check_under_policy(files.clone()).ok);
    files.get_mut("tile/0/000.p/40").unwrap()[1000] ^= 1;
    let found = first_bad(files);
    assert_eq!((found.index, found.what), (0, Fault::StalePartial));
}

fn known(checkpoint: &SignedCheckpoint, proof: Option<Vec<NodeHash>>) -> Vec<Known> {
    vec![Known {
        checkpoint: policy().verify(checkpoint).unwrap().into_inner(),
        proof,
    }]
}

fn against(known: &[Known]) -> Report {
    check(
        example_files(),
        &Options {
            known,
            ..Options::default()
        },
    )
}

#[test]
fn known_checkpoints_show_forks_and_truncation() {
    let older = ExampleLog::with_entries(90, plain_body);
    let older = known(&cosigned(older.checkpoint()), None);
    assert!(against(&older).ok);

    let mut forked = ExampleLog::with_entries(90, plain_body);
    forked.append(&plain_body(4));
    let both = [older, known(&cosigned(forked.checkpoint()), None)].concat();
    let found = against(&both).first_bad.unwrap();
    assert_eq!(
        (found.index, found.what),
        (90, Fault::Forked { known_size: 91 })
    );

    let mut newer = example();
    newer.append(&plain_body(SIZE));
    let signed = cosigned(newer.checkpoint());
    let found = against(&known(&signed, None)).first_bad.unwrap();
    assert_eq!(
        (found.index, found.what),
        (
            SIZE,
            Fault::Truncated {
                known_size: SIZE + 1
            }
        )
    );
    let proof = consistency_proof(&newer.hashes, SIZE, SIZE + 1).unwrap();
    assert!(against(&known(&signed, Some(proof.clone()))).ok);

    let fork = ExampleLog::with_entries(SIZE + 1, plain_body);
    let proof_of_fork = consistency_proof(&fork.hashes, SIZE, SIZE + 1).unwrap();
    for proof in [proof, proof_of_fork] {
        let report = against(&known(&cosigned(fork.checkpoint()), Some(proof)));
        let found = report.first_bad.unwrap();
        assert_eq!(
            (found.index, found.what),
            (
                0,
                Fault::Forked {
                    known_size: SIZE + 1
                }
            )
        );
    }
}

#[test]
fn too_few_cosignatures_are_self_consistent_at_most() {
    let mut files = example_files();
    files.remove("policy");
    let mut signed = SignedCheckpoint::unsigned(example().checkpoint());
    signed.sign(&log_key(), 0).unwrap();
    signed.sign(&voter_key(1), 1).unwrap();
    signed.sign(&voter_key(9), 1).unwrap();
    files.insert("checkpoint".into(), signed.to_string().into_bytes());
    let report = check(files.clone(), &Options::default());
    assert!(report.ok && !report.authentic);
    assert_eq!(report.unknown_signatures, 2);
    let found = check_under_policy(files.clone()).first_bad.unwrap();
    assert_eq!(
        (found.index, found.file.as_deref()),
        (0, Some("checkpoint"))
    );
    let message = found.to_string();
    assert!(
        message.contains("needs 2 of its members to have cosigned, 1 have"),
        "{message}"
    );

    // Another log's key in the export is no way around the auditor's policy.
    let log_only = Policy::log_only(
        support::key("x", support::ORIGIN, log_key().verifier().kind())
            .verifier()
            .clone(),
    )
    .unwrap();
    let report = check(
        files,
        &Options {
            policy: Some(&log_only),
            ..Options::default()
        },
    );
    assert_eq!(report.first_bad.unwrap().what, Fault::KeyNotInPolicy);
}

#[test]
fn erased_bodies_are_accepted_only_when_asked_for() {
    let mut files = example_files();
    files.retain(|path, _| !path.starts_with("detached/"));
    let found = first_bad(files.clone());
    assert_eq!((found.index, found.what), (DETACHED[0], Fault::Missing));
    let options = Options {
        allow_absent_detached: true,
        ..Options::default()
    };
    let report = check(files, &options);
    assert!(report.ok);
    assert_eq!((report.detached.present, report.detached.absent), (0, 2));
}
