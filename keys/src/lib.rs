//! ed25519 (RFC 8032): the one place where keys are judged, signatures verified and signers counted.
//!
//! Everything that trusts a signature asks here: commands, manifests, notes, cosignatures. What is
//! signed, and who may sign it, is for those who ask.

use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::{Decode, Encode};

pub use ed25519_dalek::{Signer, SigningKey};

/// Why a key may not be trusted with anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum KeyFault {
    /// No curve point has this encoding.
    #[n(0)]
    #[error("it is no point of the curve")]
    NotAPoint,
    /// The point has another, shorter encoding: two raw keys would be one signer.
    #[n(1)]
    #[error("it is not the canonical encoding of its point")]
    NotCanonical,
    /// The point has small order: signatures under it verify for anything.
    #[n(2)]
    #[error("it is weak")]
    Weak,
    /// The point has a torsion component: verifiers disagree about its signatures.
    #[n(3)]
    #[error("it is not torsion-free")]
    Torsion,
}

/// A public key that may be trusted. Only [`SoundKey::new`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundKey(VerifyingKey);

impl SoundKey {
    /// Judges a raw public key.
    ///
    /// # Errors
    /// It is weak, not canonical, not torsion-free, or no curve point.
    pub fn new(raw: &[u8; 32]) -> Result<Self, KeyFault> {
        let key = VerifyingKey::from_bytes(raw).map_err(|_| KeyFault::NotAPoint)?;
        let point = key.to_edwards();
        if point.compress().0 != *raw {
            return Err(KeyFault::NotCanonical);
        }
        if key.is_weak() {
            return Err(KeyFault::Weak);
        }
        if !point.is_torsion_free() {
            return Err(KeyFault::Torsion);
        }
        Ok(Self(key))
    }

    /// The raw key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether a signature over `message` verifies, strictly: no malleable, weak or small-order part
    /// passes ("Taming the many EdDSAs", Chalkias and others, 2020).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        verifies_under(&self.0, message, signature)
    }
}

/// Whether a signature verifies, strictly, under a raw key that others have judged, or will: a key
/// set takes sound keys only, and counts signatures of its own keys only.
#[must_use]
pub fn verifies(raw: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(raw).is_ok_and(|key| verifies_under(&key, message, signature))
}

fn verifies_under(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    key.verify_strict(message, &signature).is_ok()
}

/// Fewer distinct signers than it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// How many it takes.
    pub needed: u16,
    /// How many count, at most 65,535.
    pub found: u16,
}

/// Whether `found` distinct signers that count are enough. A threshold of zero counts as one: nothing
/// is ever authorized by nobody.
///
/// # Errors
/// [`TooFew`].
pub fn enough(threshold: u16, found: usize) -> Result<(), TooFew> {
    let needed = threshold.max(1);
    if found >= usize::from(needed) {
        return Ok(());
    }
    Err(TooFew {
        needed,
        found: u16::try_from(found).unwrap_or(u16::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_never_enough() {
        assert_eq!(
            enough(0, 0),
            Err(TooFew {
                needed: 1,
                found: 0
            })
        );
        assert_eq!(enough(0, 1), Ok(()));
        assert_eq!(
            enough(3, 2),
            Err(TooFew {
                needed: 3,
                found: 2
            })
        );
        assert_eq!(enough(3, 3), Ok(()));
        assert_eq!(enough(u16::MAX, 70_000), Ok(()));
    }

    #[test]
    fn what_a_key_signed_verifies_under_it_and_nothing_else_does() {
        let keys = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let signature = keys[0].sign(b"message").to_bytes();
        let public = keys.map(|key| key.verifying_key().to_bytes());
        let sound = public.map(|raw| SoundKey::new(&raw).unwrap());
        assert!(sound[0].verifies(b"message", &signature));
        assert!(!sound[1].verifies(b"message", &signature));
        assert!(!sound[0].verifies(b"massage", &signature));
        for byte in 0..64 {
            let mut other = signature;
            other[byte] ^= 1;
            assert!(!verifies(&public[0], b"message", &other), "{byte}");
        }
    }

    #[test]
    fn keys_that_prove_nothing_are_refused() {
        // The neutral element, once as it should be written and once with the sign bit set.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(SoundKey::new(&neutral), Err(KeyFault::Weak));
        neutral[31] = 0x80;
        assert!(SoundKey::new(&neutral).is_err());
        // y = 2 is on no point (RFC 8032, 5.1.3).
        let mut none = [0; 32];
        none[0] = 2;
        assert_eq!(SoundKey::new(&none), Err(KeyFault::NotAPoint));
    }
}
