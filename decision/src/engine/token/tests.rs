//! Tokens on their way to a device and back, and whatever else calls itself one.
use super::*;
use ed25519_dalek::Signer;
use proptest::prelude::*;
use tidegate_domain::id::{Channel, VariantId};

fn token() -> Token {
    Token {
        session: SessionId(7),
        rollout: Some(RolloutId(3)),
        wave: WaveIndex(1),
        stratum: Stratum {
            variant: VariantId(12),
            channel: Channel::new("stable").unwrap(),
        },
        cohort: Cohort(480_000),
        arm: Arm::Treatment,
        device: Pseudonym([9; 32]),
        attempt: 1,
        expires: LogTime(1_800_000_000_000),
        component: Component::new("detector-model").unwrap(),
        release: ReleaseName::new("detector-v3.2").unwrap(),
        stepping_stone: false,
        signer: SessionId(7),
        original: None,
    }
}

/// The same exposure's token, renewed by session 8.
fn renewed() -> Token {
    Token {
        expires: LogTime(1_900_000_000_000),
        release: ReleaseName::new("detector-v3.3").unwrap(),
        signer: SessionId(8),
        original: Some(check(&token().sign(&key())).unwrap().original()),
        ..token()
    }
}

fn other_key() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn check(bytes: &[u8]) -> Result<Verified<Token>, TokenError> {
    let public = |key: SigningKey| Some(PublicKey(key.verifying_key().to_bytes()));
    Verified::check(bytes, &Pseudonym([9; 32]), |id| match id {
        SessionId(7) => public(key()),
        SessionId(8) => public(other_key()),
        _ => None,
    })
}

#[test]
fn a_token_survives_its_way_to_a_device_and_back() {
    assert_eq!(*check(&token().sign(&key())).unwrap(), token());
}

#[test]
fn the_longest_token_fits() {
    let longest = Token {
        session: SessionId(u64::MAX),
        rollout: Some(RolloutId(u64::MAX)),
        wave: WaveIndex(u16::MAX),
        stratum: Stratum {
            variant: VariantId(u32::MAX),
            channel: Channel::new("c".repeat(Channel::MAX)).unwrap(),
        },
        cohort: Cohort(u32::MAX),
        attempt: u16::MAX,
        expires: LogTime(u64::MAX),
        component: Component::new("c".repeat(Component::MAX)).unwrap(),
        release: ReleaseName::new("r".repeat(ReleaseName::MAX)).unwrap(),
        stepping_stone: true,
        signer: SessionId(u64::MAX),
        original: Some(Original {
            expires: LogTime(u64::MAX),
            release: ReleaseName::new("r".repeat(ReleaseName::MAX)).unwrap(),
            stepping_stone: true,
            signature: SignatureBytes([255; 64]),
        }),
        ..token()
    };
    assert!(longest.sign(&key()).len() <= TOKEN_BYTES_MAX);
}

#[test]
fn a_token_of_another_device_is_refused() {
    let other = Token {
        device: Pseudonym([8; 32]),
        ..token()
    };
    assert!(matches!(
        check(&other.sign(&key())),
        Err(TokenError::OtherDevice)
    ));
}

#[test]
fn a_token_of_an_unknown_session_or_key_is_refused() {
    let unknown = Token {
        signer: SessionId(9),
        ..token()
    };
    assert!(matches!(
        check(&unknown.sign(&key())),
        Err(TokenError::UnknownSession(_))
    ));
    let forged = token().sign(&other_key());
    assert!(matches!(check(&forged), Err(TokenError::BadSignature)));
}

#[test]
fn a_renewed_token_carries_the_word_of_the_session_that_made_the_exposure() {
    let first = check(&renewed().sign(&other_key())).unwrap();
    assert_eq!(*first, renewed());
    let again = Token {
        expires: LogTime(1_950_000_000_000),
        original: Some(first.original()),
        ..renewed()
    };
    assert_eq!(*check(&again.sign(&other_key())).unwrap(), again);
}

/// A node that was taken over has a session of its own, and no other's key.
#[test]
fn no_session_speaks_of_exposures_that_another_did_not_make() {
    let refused = |token: Token| check(&token.sign(&other_key())).unwrap_err();
    let bare = Token {
        original: None,
        ..renewed()
    };
    assert!(matches!(refused(bare), TokenError::NotItsOwn { .. }));
    let mut own_word = renewed();
    let itself = check(&renewed().sign(&other_key())).unwrap();
    own_word.original.as_mut().unwrap().signature = itself.signature;
    assert!(matches!(refused(own_word), TokenError::BadSignature));
    for invented in [
        Token {
            attempt: 2,
            ..renewed()
        },
        Token {
            cohort: Cohort(480_001),
            ..renewed()
        },
        Token {
            device: Pseudonym([8; 32]),
            ..renewed()
        },
    ] {
        assert!(matches!(refused(invented), TokenError::BadSignature));
    }
    let needless = Token {
        original: renewed().original,
        ..token()
    };
    let needless = check(&needless.sign(&key())).unwrap_err();
    assert!(matches!(needless, TokenError::NotItsOwn { .. }));
}

#[test]
fn a_signature_made_for_something_else_is_refused() {
    let mut bytes = canonical::encode(&token());
    let signature = key().sign(&bytes);
    bytes.extend(signature.to_bytes());
    assert!(matches!(check(&bytes), Err(TokenError::BadSignature)));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    for good in [token().sign(&key()), renewed().sign(&other_key())] {
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(check(&good[..len]).is_err(), "cut to {len}");
        }
        assert!(
            check(&[good.as_slice(), &[0]].concat()).is_err(),
            "one byte more"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
        prop_assert!(check(&bytes).is_err());
    }
}
