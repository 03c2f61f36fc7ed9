//! ed25519: the one place where keys are judged, signatures made and verified.
use crate::{
    command::{Signature, pae},
    id::{Hash, PublicKey, SignatureBytes},
};
use ed25519_dalek::{Signer, VerifyingKey};
use sha2::{Digest, Sha256};

pub use ed25519_dalek::SigningKey;

/// A signature that does not verify under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of key {key} does not verify")]
pub struct BadSignature {
    /// The key.
    pub key: PublicKey,
}

/// Why a key may not be trusted with anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnacceptableKey {
    /// No curve point has this encoding.
    #[error("it is no point of the curve")]
    NotAPoint,
    /// The point has another, shorter encoding: two raw keys would be one signer.
    #[error("it is not the canonical encoding of its point")]
    NotCanonical,
    /// The point has small order: signatures under it verify for anything.
    #[error("it is weak")]
    Weak,
    /// The point has a torsion component: verifiers disagree about its signatures.
    #[error("it is not torsion-free")]
    Torsion,
}

/// Whether a key may be trusted at all.
///
/// # Errors
/// It is weak, not canonical, not torsion-free, or no curve point.
pub fn acceptable(key: &PublicKey) -> Result<(), UnacceptableKey> {
    let verifying = VerifyingKey::from_bytes(&key.0).map_err(|_| UnacceptableKey::NotAPoint)?;
    let point = verifying.to_edwards();
    if point.compress().0 != key.0 {
        return Err(UnacceptableKey::NotCanonical);
    }
    if verifying.is_weak() {
        return Err(UnacceptableKey::Weak);
    }
    if !point.is_torsion_free() {
        return Err(UnacceptableKey::Torsion);
    }
    Ok(())
}

/// Verifies a signature over the PAE of a payload, strictly (formats.md, "Signature rules").
///
/// # Errors
/// The signature does not verify.
pub fn verify(
    signature: &Signature,
    payload_type: &str,
    payload: &[u8],
) -> Result<(), BadSignature> {
    verify_pae(signature, &pae(payload_type, payload))
}

/// Verifies a signature over a PAE.
pub(crate) fn verify_pae(signature: &Signature, pae: &[u8]) -> Result<(), BadSignature> {
    let Signature { key, signature } = signature;
    let bad = BadSignature { key: *key };
    let verifying = VerifyingKey::from_bytes(&key.0).map_err(|_| bad)?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    verifying.verify_strict(pae, &signature).map_err(|_| bad)
}

/// Signs the PAE of a payload.
pub fn sign(key: &SigningKey, payload_type: &str, payload: &[u8]) -> Signature {
    Signature {
        key: public_key(key),
        signature: SignatureBytes(key.sign(&pae(payload_type, payload)).to_bytes()),
    }
}

/// The public half of a key.
pub fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// SHA-256: the digest of detached arguments and of payloads.
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}
