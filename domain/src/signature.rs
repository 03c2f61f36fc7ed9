//! Signatures of commands and manifests: over the PAE of what is signed.
use crate::{
    command::{Signature, pae},
    id::{Hash, PublicKey, SignatureBytes},
};
use sha2::{Digest, Sha256};
use tidegate_keys::{Signer as _, SoundKey};

pub use tidegate_keys::{KeyFault, SigningKey};

/// A signature that does not verify under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of key {key} does not verify")]
pub struct BadSignature {
    /// The key.
    pub key: PublicKey,
}

/// Whether a key may be trusted at all.
///
/// # Errors
/// It is weak, not canonical, not torsion-free, or no curve point.
pub fn acceptable(key: &PublicKey) -> Result<(), KeyFault> {
    SoundKey::new(&key.0).map(drop)
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
    #[cfg(madsim)]
    let verifies = memo::remembered(signature, pae, || verifies(signature, pae));
    #[cfg(not(madsim))]
    let verifies = verifies(signature, pae);
    let bad = BadSignature { key: signature.key };
    verifies.then_some(()).ok_or(bad)
}

fn verifies(Signature { key, signature }: &Signature, pae: &[u8]) -> bool {
    tidegate_keys::verifies(&key.0, pae, &signature.0)
}

/// In the simulator one thread is every replica, and each verifies the same bytes: the answers are
/// remembered. They cannot differ, being a function of what they are remembered by.
#[cfg(madsim)]
mod memo {
    use super::Signature;
    use std::{cell::RefCell, collections::BTreeMap};

    /// Most answers that a thread remembers, of 33 bytes each.
    const ANSWERS_MAX: usize = 10_000;

    thread_local! {
        /// Whether it verifies, by the digest of key, signature and PAE.
        static ANSWERS: RefCell<BTreeMap<[u8; 32], bool>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn remembered(
        Signature { key, signature }: &Signature,
        pae: &[u8],
        verify: impl FnOnce() -> bool,
    ) -> bool {
        // Key and signature have fixed lengths: no two questions have the same bytes.
        let question = [&key.0, signature.0.as_slice(), pae].concat();
        let question = blake3::hash(&question).into();
        ANSWERS.with_borrow_mut(|answers| {
            if answers.len() >= ANSWERS_MAX {
                answers.clear();
            }
            *answers.entry(question).or_insert_with(verify)
        })
    }
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
