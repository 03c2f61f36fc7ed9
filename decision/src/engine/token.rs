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
pub const TOKEN_BYTES_MAX: usize = 768;
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
    /// Present exactly if `signer` is another session than `session`.
    #[n(13)]
    pub original: Option<Original>,
}

/// What the session that made an exposure signed of it, where a renewed token says otherwise; the
/// rest is the same in both. Without it any session could speak of exposures of any other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Original {
    /// See [`Token::expires`].
    #[n(0)]
    pub expires: LogTime,
    /// See [`Token::release`].
    #[n(1)]
    pub release: ReleaseName,
    /// See [`Token::stepping_stone`].
    #[n(2)]
    pub stepping_stone: bool,
    /// By the key of the session that made the exposure.
    #[n(3)]
    pub signature: SignatureBytes,
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

    /// The token as its session first signed it.
    fn as_made(&self) -> Option<(Self, SignatureBytes)> {
        let original = self.original.clone()?;
        let made = Self {
            expires: original.expires,
            release: original.release,
            stepping_stone: original.stepping_stone,
            signer: self.session,
            original: None,
            ..self.clone()
        };
        Some((made, original.signature))
    }

    /// The token as a device gets it.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut bytes = canonical::encode(self);
        let Signature { key: _, signature } = signature::sign(key, TOKEN_PAYLOAD_TYPE, &bytes);
        bytes.extend(signature.0);
        bytes
    }
}

/// A value whose signatures were checked: there is no other way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    signature: SignatureBytes,
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
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
    /// Signed by one session for the exposure of another, without that one's own signature.
    #[error("session {signer} speaks of an exposure that session {session} did not sign")]
    NotItsOwn {
        /// Whose exposure it would be.
        session: SessionId,
        /// Who says so.
        signer: SessionId,
    },
    /// Signed, but for another device.
    #[error("the token speaks of another device")]
    OtherDevice,
}

impl Verified<Token> {
    /// Checks that `bytes` are a token that one of our sessions signed for `device`, and that the
    /// session that it names made the exposure.
    ///
    /// # Errors
    /// Anything else.
    pub fn check(
        bytes: &[u8],
        device: &Pseudonym,
        key_of: impl Fn(SessionId) -> Option<PublicKey>,
    ) -> Result<Self, TokenError> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(bytes.len()));
        }
        let (body, signature) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(TokenError::TooShort)?;
        let signature = SignatureBytes(*signature);
        let token: Token = canonical::decode(body)?;
        let check = |signer, signature, body: &[u8]| {
            let key = key_of(signer).ok_or(TokenError::UnknownSession(signer))?;
            signature::verify(&Signature { key, signature }, TOKEN_PAYLOAD_TYPE, body)
                .map_err(|_| TokenError::BadSignature)
        };
        check(token.signer, signature, body)?;
        let (session, signer) = (token.session, token.signer);
        match token.as_made() {
            None if signer == session => {}
            Some((made, signature)) if signer != session => {
                check(session, signature, &canonical::encode(&made))?;
            }
            Some(_) | None => return Err(TokenError::NotItsOwn { session, signer }),
        }
        if token.device != *device {
            return Err(TokenError::OtherDevice);
        }
        Ok(Self {
            value: token,
            signature,
        })
    }

    /// What a token says of its exposure that another session renews for it.
    pub(super) fn original(&self) -> Original {
        self.original.clone().unwrap_or_else(|| Original {
            expires: self.expires,
            release: self.release.clone(),
            stepping_stone: self.stepping_stone,
            signature: self.signature,
        })
    }
}

#[cfg(test)]
mod tests;
