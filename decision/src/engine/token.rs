//! Exposure tokens: a node's signed word that it let a device into a wave.
//!
//! A device echoes its token, so that any node knows what it was offered without asking another,
//! draws no budget for it again, and counts its outcome once.
use minicbor::{Decode, Encode};
use tidegate_domain::{
    canonical::{self, CanonicalError},
    command::Signature,
    id::{
        Cohort, Component, LogTime, Pseudonym, PublicKey, ReleaseName, RolloutId, SessionId,
        SignatureBytes, WaveIndex,
    },
    signature::{self, SigningKey},
    tally::{Arm, Stratum, TallyKey},
};

/// The DSSE payload type of a token.
pub const TOKEN_PAYLOAD_TYPE: &str = "application/vnd.tidegate.exposure.v1+cbor";
/// Longest token, signature included, in bytes.
pub const TOKEN_BYTES_MAX: usize = 512;
const SIGNATURE_BYTES: usize = 64;

/// What a token says. On the wire: canonical CBOR, then an ed25519 signature by the session's key
/// over the PAE of those bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// The session that made the exposure, in whose tallies it is counted.
    #[n(0)]
    pub session: SessionId,
    /// The rollout; absent for a baseline, which has no waves.
    #[n(1)]
    pub rollout: Option<RolloutId>,
    /// The wave that the exposure counts for; 0 for a baseline.
    #[n(2)]
    pub wave: WaveIndex,
    /// The stratum.
    #[n(3)]
    pub stratum: Stratum,
    /// The hour of the exposure.
    #[n(4)]
    pub cohort: Cohort,
    /// The side.
    #[n(5)]
    pub arm: Arm,
    /// The device.
    #[n(6)]
    pub device: Pseudonym,
    /// Which attempt of this device, from 1.
    #[n(7)]
    pub attempt: u16,
    /// The offer stands before this time. The exposure stays open longer.
    #[n(8)]
    pub expires: LogTime,
    /// The component.
    #[n(9)]
    pub component: Component,
    /// The release that was offered.
    #[n(10)]
    pub release: ReleaseName,
    /// Whether that release is only a stepping stone: running it resolves nothing.
    #[n(11)]
    pub stepping_stone: bool,
    /// The session whose key signed: another one than `session` when a device renewed its offer
    /// elsewhere.
    #[n(12)]
    pub signer: SessionId,
}

/// What makes two tokens speak of the same exposure: a renewed offer, or the next hop of a path,
/// carries a new token for the old exposure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExposureId {
    session: SessionId,
    rollout: Option<RolloutId>,
    component: Component,
    arm: Arm,
    device: Pseudonym,
    cohort: Cohort,
    attempt: u16,
}

impl Token {
    /// Which exposure it speaks of.
    pub fn exposure(&self) -> ExposureId {
        ExposureId {
            session: self.session,
            rollout: self.rollout,
            component: self.component.clone(),
            arm: self.arm,
            device: self.device,
            cohort: self.cohort,
            attempt: self.attempt,
        }
    }

    /// Where the exposure is tallied; `None` for a baseline.
    pub fn tally(&self) -> Option<TallyKey> {
        Some(TallyKey {
            rollout: self.rollout?,
            wave: self.wave,
            stratum: self.stratum.clone(),
            cohort: self.cohort,
            arm: self.arm,
        })
    }

    /// The token as a device gets it.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut bytes = canonical::encode(self);
        let Signature { key: _, signature } = signature::sign(key, TOKEN_PAYLOAD_TYPE, &bytes);
        bytes.extend(signature.0);
        bytes
    }
}

/// A value whose signature was checked: there is no other way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Why bytes are not a token of this device.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token.
    #[error("a token has at most {TOKEN_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Too short to hold a signature.
    #[error("too short for a token")]
    TooShort,
    /// Not a token's canonical form.
    #[error("not a token: {0}")]
    Malformed(#[from] CanonicalError),
    /// No such session in the snapshot.
    #[error("session {0} is not known")]
    UnknownSession(SessionId),
    /// The session's key did not sign these bytes.
    #[error("the signature does not verify")]
    BadSignature,
    /// Signed, but for another device.
    #[error("the token speaks of another device")]
    OtherDevice,
}

impl Verified<Token> {
    /// Checks that `bytes` are a token that one of our sessions signed for `device`.
    ///
    /// # Errors
    /// Anything else.
    pub fn check(
        bytes: &[u8],
        device: &Pseudonym,
        key_of: impl FnOnce(SessionId) -> Option<PublicKey>,
    ) -> Result<Self, TokenError> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(bytes.len()));
        }
        let (body, signature) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(TokenError::TooShort)?;
        let token: Token = canonical::decode(body)?;
        let key = key_of(token.signer).ok_or(TokenError::UnknownSession(token.signer))?;
        let signature = Signature {
            key,
            signature: SignatureBytes(*signature),
        };
        signature::verify(&signature, TOKEN_PAYLOAD_TYPE, body)
            .map_err(|_| TokenError::BadSignature)?;
        if token.device != *device {
            return Err(TokenError::OtherDevice);
        }
        Ok(Self(token))
    }
}

#[cfg(test)]
mod tests {
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
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn check(bytes: &[u8]) -> Result<Verified<Token>, TokenError> {
        let public = PublicKey(key().verifying_key().to_bytes());
        Verified::check(bytes, &Pseudonym([9; 32]), |id| {
            (id == SessionId(7)).then_some(public)
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
            signer: SessionId(8),
            ..token()
        };
        assert!(matches!(
            check(&unknown.sign(&key())),
            Err(TokenError::UnknownSession(_))
        ));
        let forged = token().sign(&SigningKey::from_bytes(&[6; 32]));
        assert!(matches!(check(&forged), Err(TokenError::BadSignature)));
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
        let good = token().sign(&key());
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

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(check(&bytes).is_err());
        }
    }
}
