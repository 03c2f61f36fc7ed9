//! Whose signatures count: policies, and the receipts that are checked under them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use support::{ExampleLog, ORIGIN, cosigned, key, log_key, plain_body, policy, voter_key};
use tidegate_audit_log::note::{
    KeyError, KeyName, NoteError, NoteSignature, SignatureKind, VerifierKey,
};
use tidegate_audit_log::policy::{PolicyReason, VerifyError};
use tidegate_audit_log::receipt::{Receipt, ReceiptError};
use tidegate_audit_log::tree::inclusion_proof;
use tidegate_audit_log::{Policy, SignedCheckpoint};

fn log() -> ExampleLog {
    ExampleLog::with_entries(20, plain_body)
}

/// Signed by the log and these voters (9 is the witness).
fn signed_by(voters: &[u32]) -> SignedCheckpoint {
    let mut signed = log().signed();
    for number in voters {
        signed.sign(&voter_key(*number), 5).unwrap();
    }
    signed
}

fn vkey(number: u32) -> VerifierKey {
    voter_key(number).verifier().clone()
}

#[test]
fn a_majority_of_voters_and_the_witness_must_have_cosigned() {
    for (voters, accepted) in [
        (&[1, 2, 9][..], true),
        (&[1, 2, 3, 9], true),
        (&[2, 3, 9], true),
        (&[1, 2], false),
        (&[1, 9], false),
        (&[9], false),
        (&[1, 2, 3], false),
        (&[], false),
        // Strangers do not count, and the same voter counts once.
        (&[1, 4, 5, 9], false),
        (&[1, 1, 1, 9], false),
    ] {
        let verdict = policy().verify(&signed_by(voters));
        assert_eq!(verdict.is_ok(), accepted, "{voters:?}: {verdict:?}");
        if let Err(error) = verdict {
            assert!(matches!(error, VerifyError::QuorumMissing { .. }));
        }
    }
    for (voters, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
        let keys: Vec<_> = (1..=voters).map(vkey).collect();
        let policy = Policy::majority(log_key().verifier(), &keys, None).unwrap();
        let enough: Vec<_> = (1..=majority).collect();
        assert!(policy.verify(&signed_by(&enough)).is_ok());
        assert!(policy.verify(&signed_by(&enough[1..])).is_err());
    }
    assert!(Policy::majority(log_key().verifier(), &[], None).is_err());
}

#[test]
fn the_same_line_repeated_counts_once() {
    let text = signed_by(&[1, 9]).to_string();
    let voter_line = text.lines().find(|line| line.contains("voter1")).unwrap();
    let repeated = format!("{text}{voter_line}\n{voter_line}\n");
    let signed = SignedCheckpoint::parse(repeated.as_bytes()).unwrap();
    assert!(matches!(
        policy().verify(&signed),
        Err(VerifyError::QuorumMissing { have: 1, .. })
    ));
}

#[test]
fn a_bad_signature_of_a_known_key_refuses_the_note_even_if_enough_are_good() {
    // The cosignature is of the same key over another checkpoint.
    let other = cosigned(ExampleLog::with_entries(19, plain_body).checkpoint());
    let mut signed = signed_by(&[1, 2, 9]);
    let mut with_bad = signed.clone();
    let foreign = other
        .note()
        .signatures()
        .iter()
        .find(|s| s.name().as_str() == "voter1.example");
    with_bad.add(foreign.unwrap().clone()).unwrap();
    assert!(matches!(
        policy().verify(&with_bad),
        Err(VerifyError::Signature(_))
    ));
    // That of an unknown key is ignored.
    signed
        .sign(
            &key("stranger", "stranger.example", SignatureKind::Cosignature),
            5,
        )
        .unwrap();
    assert!(policy().verify(&signed).is_ok());
}

#[test]
fn the_log_must_have_signed_under_its_own_origin() {
    let mut unsigned = SignedCheckpoint::unsigned(log().checkpoint());
    for number in [1, 2, 9] {
        unsigned.sign(&voter_key(number), 5).unwrap();
    }
    let refused = policy().verify(&unsigned);
    assert_eq!(
        refused,
        Err(VerifyError::NotSignedByLog {
            origin: KeyName::new(ORIGIN).unwrap()
        })
    );
    // A log that the policy knows cannot speak for another origin.
    let other = key("other", "other.example/log", SignatureKind::Log);
    let both = Policy::parse(
        format!(
            "log {}\nlog {}\nquorum none\n",
            log_key().verifier(),
            other.verifier()
        )
        .as_bytes(),
    );
    unsigned.sign(&other, 5).unwrap();
    assert!(matches!(
        both.unwrap().verify(&unsigned),
        Err(VerifyError::NotSignedByLog { .. })
    ));
}

#[test]
fn a_cosignature_covers_its_time() {
    let signed = signed_by(&[1]);
    let signature = &signed.note().signatures()[1];
    assert_eq!(vkey(1).verify(signed.note().text(), signature), Ok(Some(5)));
    assert_eq!(
        NoteSignature::parse(&signature.to_string()).as_ref(),
        Ok(signature)
    );
    let message = vkey(1).message(signed.note().text(), 5);
    assert!(message.starts_with(b"cosignature/v1\ntime 5\ntidegate.example/fleet-a\n20\n"));
    assert!(voter_key(1).sign(signed.note().text(), u64::MAX).is_err());
}

#[test]
fn a_policy_is_printed_as_it_is_parsed() {
    let nested = format!(
        "# who watches\n\n log\t{} https://log.example/\nwitness X1 {}\nwitness X2 {}\nwitness Y {} https://y.example\n\
         group X any X1 X2\n group all-of-them all X Y\nquorum all-of-them",
        log_key().verifier(),
        vkey(1),
        vkey(2),
        vkey(9)
    );
    let parsed = Policy::parse(nested.as_bytes()).unwrap();
    let printed = parsed.to_string();
    assert!(printed.contains("group X 1 X1 X2\ngroup all-of-them 2 X Y\nquorum all-of-them\n"));
    assert_eq!(Policy::parse(printed.as_bytes()).unwrap(), parsed);
    assert!(parsed.verify(&signed_by(&[2, 9])).is_ok());
    assert!(parsed.verify(&signed_by(&[1, 2])).is_err());
    assert_eq!(
        Policy::parse(policy().to_string().as_bytes()).unwrap(),
        policy()
    );
}

fn refuse(file: &str, line: usize, reason: PolicyReason) {
    let error = Policy::parse(file.as_bytes()).unwrap_err();
    assert_eq!((error.line, error.reason), (line, reason), "{file}");
}

#[test]
fn policy_errors_name_the_line() {
    use PolicyReason::*;
    let w1 = format!("witness a {}", vkey(1));
    for (rest, line, reason) in [
        ("", 1, NoQuorum),
        ("quorum a\nquorum a", 3, QuorumTwice),
        ("group a 1 a\nquorum a", 2, NameTwice),
        ("group none 1 a\nquorum a", 2, NameTwice),
        ("group g 1 a b\nquorum g", 2, UnknownName),
        ("group g 1 none\nquorum g", 2, UnknownName),
        ("quorum g\ngroup g 1 a", 2, UnknownName),
        ("group g 1 a a\nquorum g", 2, MemberTwice),
        ("group g 1 a\ngroup h 1 a\nquorum g", 3, MemberTwice),
        ("group g 0 a\nquorum g", 2, Threshold),
        ("group g 2 a\nquorum g", 2, Threshold),
        ("group g 01 a\nquorum g", 2, Threshold),
        ("group g all\nquorum g", 2, Threshold),
        ("quorum", 2, Syntax),
        ("witnesses a b", 2, Syntax),
        ("quorum none\r", 2, ControlCharacter),
        ("log nonsense\nquorum a", 2, Key(KeyError::Form)),
    ] {
        let file = if rest.is_empty() {
            w1.clone()
        } else {
            format!("{w1}\n{rest}")
        };
        refuse(&file, line, reason);
    }
    refuse("", 1, NoQuorum);
}

#[test]
fn a_key_stands_once_in_a_policy_and_in_its_own_role() {
    let (log, w1) = (log_key().verifier().clone(), vkey(1));
    let as_witness = |name: &str, public: &[u8; 32]| {
        let name = KeyName::new(name).unwrap();
        VerifierKey::new(name, SignatureKind::Cosignature, public).unwrap()
    };
    let log_again = as_witness("double", log.public());
    let w1_again = as_witness("renamed", w1.public());
    use PolicyReason::*;
    refuse(&format!("log {w1}\nquorum none"), 1, WrongKind);
    refuse(&format!("witness a {log}\nquorum a"), 1, WrongKind);
    refuse(&format!("log {log}\nlog {log}\nquorum none"), 2, KeyTwice);
    refuse(
        &format!("log {log}\nwitness a {log_again}\nquorum a"),
        2,
        KeyTwice,
    );
    refuse(
        &format!("witness a {w1}\nwitness b {w1_again}\nquorum a"),
        2,
        KeyTwice,
    );
}

#[test]
fn keys_that_sign_for_more_than_one_are_refused() {
    let name = || KeyName::new("x.example").unwrap();
    let mut identity = [0u8; 32];
    identity[0] = 1;
    // A point of order 8, and y = 1 written as p + 1.
    let small = hex::decode("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    let unreduced = hex::decode("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    for public in [
        identity,
        small.unwrap().try_into().unwrap(),
        unreduced.unwrap().try_into().unwrap(),
    ] {
        let key = VerifierKey::new(name(), SignatureKind::Log, &public);
        assert_eq!(key, Err(KeyError::Point));
    }
}

#[test]
fn vkeys_and_notes_are_strict() {
    let good = log_key().verifier().to_string();
    let wrong_id = good.replacen("+6371dcab+", "+6371dcac+", 1);
    assert!(matches!(
        VerifierKey::parse(&wrong_id),
        Err(KeyError::Id { .. })
    ));
    let upper = good.replacen("+6371dcab+", "+6371DCAB+", 1);
    assert!(matches!(
        VerifierKey::parse(&upper),
        Err(KeyError::Id { .. })
    ));
    for bad in ["", "a+b", "a b+6371dcab+AS8h", &good[..good.len() - 1]] {
        assert!(VerifierKey::parse(bad).is_err(), "{bad}");
    }

    let text = log().signed().to_string();
    assert!(SignedCheckpoint::parse(text.as_bytes()).is_ok());
    for (from, to) in [
        ("\n20\n", "\n020\n"),
        ("\n20\n", "\n+20\n"),
        ("\n20\n", "\n\n"),
        ("\n20\n", "\n20\nextension\n"),
        ("\n20\n", "\n20 \n"),
        ("=\n\n", "\n\n"),
        ("— ", "- "),
        ("— ", "—"),
        ("\n\n", "\n"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert!(
            SignedCheckpoint::parse(changed.as_bytes()).is_err(),
            "{from:?} as {to:?}"
        );
    }
    let mut full = SignedCheckpoint::unsigned(log().checkpoint());
    let add = |n: u32, full: &mut SignedCheckpoint| {
        full.sign(&voter_key(n), 1)
            .map_err(|error| error.to_string())
    };
    (0..64).for_each(|n| add(n, &mut full).unwrap());
    assert_eq!(
        add(64, &mut full),
        Err(NoteError::TooManySignatures.to_string())
    );
    assert_eq!(add(3, &mut full), Ok(()));
}

fn receipt(index: u64) -> Receipt {
    let log = log();
    let path = inclusion_proof(&log.hashes, index, 20).unwrap();
    Receipt {
        extra: Some(vec![1, 2, 3]),
        index,
        path,
        checkpoint: signed_by(&[1, 2, 9]),
    }
}

#[test]
fn a_receipt_proves_its_entry_and_no_other() {
    let log = log();
    for index in 0..20u64 {
        let place = usize::try_from(index).unwrap();
        let receipt = receipt(index);
        let file = receipt.to_string();
        assert!(file.starts_with(&format!(
            "c2sp.org/tlog-proof@v1\nextra AQID\nindex {index}\n"
        )));
        let parsed = Receipt::parse(file.as_bytes()).unwrap();
        assert_eq!(parsed, receipt);
        let verified = parsed.verify(&log.entries[place], &policy()).unwrap();
        assert_eq!((verified.size, verified.root), (20, log.head.root()));

        let other = (place + 1) % 20;
        let refused = parsed.verify(&log.entries[other], &policy());
        assert!(matches!(refused, Err(ReceiptError::Proof(_))));
        let moved = Receipt {
            index: (index + 1) % 20,
            ..receipt.clone()
        };
        assert!(moved.verify(&log.entries[place], &policy()).is_err());
        let unsigned = Receipt {
            checkpoint: signed_by(&[1]),
            ..receipt
        };
        let refused = unsigned.verify(&log.entries[place], &policy());
        assert!(matches!(refused, Err(ReceiptError::Policy(_))));
    }
}

#[test]
fn receipts_are_parsed_strictly() {
    let file = receipt(3).to_string();
    let without_extra = Receipt {
        extra: None,
        ..receipt(3)
    };
    assert_eq!(
        Receipt::parse(without_extra.to_string().as_bytes()),
        Ok(without_extra)
    );
    for (from, to) in [
        ("@v1", "@v2"),
        ("index 3", "index 03"),
        ("index 3", "Index 3"),
        ("index 3\n", ""),
        ("extra AQID", "extra AQI"),
        ("extra AQID\n", "extra AQID\nextra AQID\n"),
        ("index 3\n", "index 3\n \n"),
        ("\n\n", "\n"),
        ("index 3\n", "index 3\nAAAA\n"),
    ] {
        let changed = file.replacen(from, to, 1);
        assert!(
            Receipt::parse(changed.as_bytes()).is_err(),
            "{from:?} as {to:?}"
        );
    }
}
