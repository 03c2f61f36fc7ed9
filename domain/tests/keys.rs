//! Keys and epochs: EPOCH-1 walked exhaustively, EPOCH-2, and what keys are refused.
use tidegate_domain::{
    Outcome, Rejection, Unauthorized,
    command::{AddReleaseSignatures, RevokeKey, RotateKeys, seal},
    id::{Epoch, PublicKey, ReleaseName},
    key::{KeyStatus, ProposedKey, Role},
    release::{MANIFEST_PAYLOAD_TYPE, NotOfferable, ReleaseStatus, offerable},
    signature::{KeyFault, SigningKey, acceptable, sign},
    testing::{Fleet, name, reason, release},
};

/// EPOCH-1, exhaustively: the old root keys are 0, 1, 2 and the new ones 1, 2, 3, two of each have
/// to sign. Every subset of five keys tries every epoch from the one before to two ahead.
#[test]
fn the_epoch_rises_by_one_and_by_both_quorums_only() {
    let fleet = Fleet::new();
    for subset in 0..32_u8 {
        let numbers: Vec<u8> = (0..5).filter(|n| subset & (1 << n) != 0).collect();
        let signers: Vec<&SigningKey> = numbers
            .iter()
            .map(|n| fleet.keys.key(Role::Root, *n))
            .collect();
        let count = |of: [u8; 3]| of.iter().filter(|n| numbers.contains(n)).count();
        let quorums = count([0, 1, 2]) >= 2 && count([1, 2, 3]) >= 2;
        for epoch in 0..=3 {
            let mut trial = fleet.clone();
            let mut rotation = trial.rotation(&[1, 2, 3]);
            rotation.epoch = Epoch(epoch);
            let proposal = trial.proposal(rotation);
            let outcome = trial
                .apply(&seal(&proposal, &signers).to_bytes())
                .outcome
                .clone();
            let accepted = matches!(outcome, Outcome::Accepted(_));
            assert_eq!(
                accepted,
                quorums && epoch == 2,
                "{numbers:?} to {epoch}: {outcome:?}"
            );
            let expected = if accepted { Epoch(2) } else { Epoch(1) };
            assert_eq!(trial.state.keys().epoch, expected);
        }
    }
}

/// The walk of one key through three epochs: trusted, left out, taken back, revoked, and never again.
#[test]
fn a_retired_key_may_return_and_a_revoked_one_may_not() {
    let mut fleet = Fleet::new();
    let key = fleet.keys.public(Role::Release, 0);
    let status = |fleet: &Fleet| {
        fleet
            .state
            .keys()
            .role(Role::Release)
            .and_then(|r| r.status(&key))
    };
    assert_eq!(status(&fleet), Some(KeyStatus::Trusted));
    let without = fleet.rotation(&[1, 2, 3]);
    fleet.accept(without);
    assert_eq!(status(&fleet), Some(KeyStatus::Retired));
    let with = fleet.rotation(&[0, 1, 2]);
    fleet.accept(with);
    assert_eq!(status(&fleet), Some(KeyStatus::Trusted));
    let revoke = RevokeKey {
        key,
        reason: reason(),
        strand: false,
    };
    fleet.accept(revoke.clone());
    assert_eq!(status(&fleet), Some(KeyStatus::Revoked));
    assert!(matches!(
        fleet.refuse(revoke),
        Rejection::InvalidValue { .. }
    ));
    let back = fleet.rotation(&[0, 1, 2]);
    assert_eq!(fleet.refuse(back), Rejection::RevokedKeyReturns { key });
}

#[test]
fn a_rotation_is_refused_for_keys_and_thresholds_that_do_not_fit() {
    let fleet = Fleet::new();
    let check = |change: fn(&Fleet, &mut RotateKeys), expect: fn(&Rejection) -> bool| {
        let mut trial = fleet.clone();
        let mut rotation = trial.rotation(&[0, 1, 2]);
        change(&trial, &mut rotation);
        let rejection = trial.refuse(rotation);
        assert!(expect(&rejection), "{rejection:?}");
    };
    check(
        |_, r| r.roles[1].threshold = 0,
        |why| {
            matches!(
                why,
                Rejection::ThresholdOutOfRange {
                    role: Role::Release,
                    ..
                }
            )
        },
    );
    check(
        |_, r| r.roles[2].threshold = 4,
        |why| {
            matches!(
                why,
                Rejection::ThresholdOutOfRange {
                    threshold: 4,
                    keys: 3,
                    ..
                }
            )
        },
    );
    check(
        |_, r| r.roles.retain(|proposed| proposed.role != Role::Operator),
        |why| {
            matches!(
                why,
                Rejection::ThresholdOutOfRange {
                    role: Role::Operator,
                    ..
                }
            )
        },
    );
    check(
        |_, r| r.roles[1].keys[1] = r.roles[1].keys[0].clone(),
        |why| matches!(why, Rejection::DuplicateKey { .. }),
    );
    check(
        |_, r| r.roles[1].keys.reverse(),
        |why| matches!(why, Rejection::InvalidValue { .. }),
    );
    check(
        |fleet, r| r.roles[1].keys = with(r, fleet.keys.public(Role::Operator, 0)),
        |why| matches!(why, Rejection::DuplicateKey { .. }),
    );
    check(
        |_, r| r.roles[1].keys = with(r, PublicKey([0; 32])),
        |why| matches!(why, Rejection::UnacceptableKey { .. }),
    );
    check(
        |_, r| r.roles.swap(0, 1),
        |why| matches!(why, Rejection::InvalidValue { .. }),
    );
}

fn with(rotation: &RotateKeys, key: PublicKey) -> Vec<ProposedKey> {
    let mut keys = rotation.roles[1].keys.clone();
    keys.push(ProposedKey {
        key,
        name: name("another"),
    });
    keys.sort_by_key(|proposed| proposed.key);
    keys
}

/// Points that verifiers disagree about. Sources: the eight torsion points of
/// <https://eprint.iacr.org/2020/1244> (Taming the many EdDSAs), and RFC 8032 §5.1.3.
#[test]
fn weak_foreign_and_twice_encoded_keys_are_told_apart() {
    let hex = |text: &str| {
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        }
        PublicKey(key)
    };
    let identity = hex("0100000000000000000000000000000000000000000000000000000000000000");
    let order_8 = hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    let order_4 = hex("0000000000000000000000000000000000000000000000000000000000000000");
    for weak in [identity, order_8, order_4] {
        assert_eq!(acceptable(&weak), Err(KeyFault::Weak));
    }
    // y = p + 1: another encoding of the identity.
    let twice = hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    assert_eq!(acceptable(&twice), Err(KeyFault::NotCanonical));
    // y = 2 has no x.
    let nowhere = hex("0200000000000000000000000000000000000000000000000000000000000000");
    assert_eq!(acceptable(&nowhere), Err(KeyFault::NotAPoint));
    // A sound key plus a point of order eight: case 8 and 9 style of the paper.
    let mixed = torsioned(&Fleet::new().keys.public(Role::Root, 0), &order_8);
    assert_eq!(acceptable(&mixed), Err(KeyFault::Torsion));
    assert_eq!(acceptable(&Fleet::new().keys.public(Role::Root, 0)), Ok(()));
}

/// The sum of two points given by their encodings.
fn torsioned(a: &PublicKey, b: &PublicKey) -> PublicKey {
    let point = |key: &PublicKey| {
        ed25519_dalek::VerifyingKey::from_bytes(&key.0)
            .expect("a point")
            .to_edwards()
    };
    PublicKey((point(a) + point(b)).compress().0)
}

/// EPOCH-2: thresholds count distinct keys that are trusted or retired, never revoked ones.
#[test]
fn a_revoked_key_takes_its_signatures_with_it() {
    let mut fleet = Fleet::new();
    fleet.register(release("os-1"));
    let stored = |fleet: &Fleet| {
        fleet
            .state
            .releases()
            .get(&release_name("os-1"))
            .unwrap()
            .clone()
    };
    assert_eq!(stored(&fleet).signatures.len(), 2);
    assert_eq!(offerable(&fleet.state, &stored(&fleet)), Ok(()));
    // Retired is as good as trusted.
    let rotation = fleet.rotation(&[3, 4, 5]);
    fleet.accept(rotation);
    assert_eq!(offerable(&fleet.state, &stored(&fleet)), Ok(()));
    // Revoked is not, and has to be said.
    let key = *stored(&fleet).signatures.keys().next().unwrap();
    let revoke = |strand| RevokeKey {
        key,
        reason: reason(),
        strand,
    };
    let stranded = Rejection::WouldStrand {
        releases: vec![release_name("os-1")],
    };
    assert_eq!(fleet.refuse(revoke(false)), stranded);
    fleet.accept(revoke(true));
    let under_signed = NotOfferable::UnderSigned {
        needed: 2,
        found: 1,
    };
    assert_eq!(offerable(&fleet.state, &stored(&fleet)), Err(under_signed));
    // A signature by a key of the new epoch makes up for it.
    let manifest = stored(&fleet).manifest_bytes;
    let signature = sign(
        fleet.keys.key(Role::Release, 3),
        MANIFEST_PAYLOAD_TYPE,
        &manifest,
    );
    let add = AddReleaseSignatures {
        release: release_name("os-1"),
        signatures: vec![signature],
    };
    fleet.accept(add);
    assert_eq!(offerable(&fleet.state, &stored(&fleet)), Ok(()));
    assert_eq!(stored(&fleet).status, ReleaseStatus::Registered);
}

#[test]
fn a_higher_threshold_strands_what_fewer_have_signed() {
    let mut fleet = Fleet::new();
    fleet.register(release("os-1"));
    let mut rotation = fleet.rotation(&[0, 1, 2]);
    rotation.roles[1].threshold = 3;
    let stranded = Rejection::WouldStrand {
        releases: vec![release_name("os-1")],
    };
    assert_eq!(fleet.refuse(rotation.clone()), stranded);
    rotation.strand = true;
    fleet.accept(rotation);
}

#[test]
fn root_keys_are_never_revoked_below_their_threshold() {
    let mut fleet = Fleet::new();
    let revoke = |fleet: &Fleet, role, number| RevokeKey {
        key: fleet.keys.public(role, number),
        reason: reason(),
        strand: true,
    };
    let first = revoke(&fleet, Role::Root, 0);
    fleet.accept(first);
    let second = revoke(&fleet, Role::Root, 1);
    let rejection = fleet.refuse(second);
    assert!(matches!(
        rejection,
        Rejection::ThresholdOutOfRange {
            role: Role::Root,
            threshold: 2,
            keys: 1
        }
    ));
    // Any other role goes when it must: a rotation mends it.
    let decision = revoke(&fleet, Role::Decision, 0);
    fleet.accept(decision);
}

/// Thresholds count raw keys: one signer under many names, or many times, is one.
#[test]
fn one_signer_is_one_signer() {
    let mut fleet = Fleet::new();
    let key = fleet.keys.key(Role::Operator, 0).clone();
    let revoke = RevokeKey {
        key: fleet.keys.public(Role::Release, 2),
        reason: reason(),
        strand: true,
    };
    let proposal = fleet.proposal(revoke);
    let mut signed = seal(&proposal, &[&key]);
    signed.signatures.push(signed.signatures[0].clone());
    let outcome = fleet.apply(&signed.to_bytes()).outcome.clone();
    assert!(matches!(
        outcome,
        Outcome::Rejected(Rejection::Unauthorized(Unauthorized::Malformed { .. }))
    ));
}

fn release_name(text: &str) -> ReleaseName {
    text.parse().expect("a release name")
}
