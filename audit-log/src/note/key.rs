//! Keys that sign notes: their names, their vkey lines, and the one place that checks signatures.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};
use tidegate_keys::{Signer as _, SigningKey, SoundKey};

use super::{COSIGNATURE_TIME_S_MAX, NoteSignature};

/// The name of a key: non-empty, no spaces, no plus, no control characters. A log's name is its
/// origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.contains(bad) {
            return Err(KeyError::Name);
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A short identifier of (name, kind, key). It finds a key; it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What a key signs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// Type 0x01: the note's text. Only the log signs so.
    Log,
    /// Type 0x04: `cosignature/v1`, the text after a line with the time. Voters and witnesses.
    Cosignature,
}

impl SignatureKind {
    fn type_byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A named public key: what a vkey line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    kind: SignatureKind,
    id: KeyId,
    key: SoundKey,
}

impl VerifierKey {
    /// Takes a raw Ed25519 public key.
    ///
    /// # Errors
    /// [`KeyError::Point`] if the key is weak, not canonical, or not torsion-free.
    pub fn new(name: KeyName, kind: SignatureKind, public: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SoundKey::new(public).map_err(|_| KeyError::Point)?;
        let digest: [u8; 32] = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', kind.type_byte()])
            .chain_update(public)
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        Ok(Self {
            name,
            kind,
            id: KeyId(u32::from_be_bytes([a, b, c, d])),
            key,
        })
    }

    /// Parses `<name>+<8 hex digits>+<base64 of type and key>`.
    ///
    /// # Errors
    /// [`KeyError`] names the part that is wrong.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let (name, rest) = vkey.split_once('+').ok_or(KeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let bytes = BASE64_STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let (&[kind], public) = bytes.split_first_chunk().ok_or(KeyError::Form)?;
        let kind = match kind {
            0x01 => SignatureKind::Log,
            0x04 => SignatureKind::Cosignature,
            found => return Err(KeyError::Kind { found }),
        };
        let public = public.try_into().map_err(|_| KeyError::Form)?;
        let key = Self::new(KeyName::new(name)?, kind, public)?;
        if id != key.id.to_string() {
            return Err(KeyError::Id { expected: key.id });
        }
        Ok(key)
    }

    /// The key's name; a log's origin.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// Its short identifier.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The raw public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Did this key sign as `signature` says? Names and ids alone decide; nothing is verified.
    pub fn is_named_by(&self, signature: &NoteSignature) -> bool {
        self.name == signature.name && self.id == signature.id
    }

    /// The bytes that this key signs for `text`; `time_s` (seconds since 1970) is part of them
    /// for cosignatures only. For keys in a KMS; then [`attach`](Self::attach).
    pub fn message(&self, text: &str, time_s: u64) -> Vec<u8> {
        match self.kind {
            SignatureKind::Log => text.as_bytes().to_vec(),
            SignatureKind::Cosignature => {
                format!("cosignature/v1\ntime {time_s}\n{text}").into_bytes()
            }
        }
    }

    /// Makes a signature line of what a KMS returned for [`message`](Self::message).
    ///
    /// # Errors
    /// [`SignatureError`] if the signature does not verify: a bad line is never attached.
    pub fn attach(
        &self,
        text: &str,
        time_s: u64,
        signature: &[u8; 64],
    ) -> Result<NoteSignature, SignatureError> {
        let mut bytes = match self.kind {
            SignatureKind::Log => Vec::new(),
            SignatureKind::Cosignature => time_s.to_be_bytes().to_vec(),
        };
        bytes.extend_from_slice(signature);
        let signature = NoteSignature {
            name: self.name.clone(),
            id: self.id,
            bytes,
        };
        self.verify(text, &signature)?;
        Ok(signature)
    }

    /// Verifies a signature line strictly; gives the time of a cosignature, in seconds since
    /// 1970.
    ///
    /// # Errors
    /// [`SignatureError`] if it is not this key's valid signature over `text`.
    pub fn verify(
        &self,
        text: &str,
        signature: &NoteSignature,
    ) -> Result<Option<u64>, SignatureError> {
        let bad = || SignatureError {
            name: self.name.clone(),
            id: self.id,
        };
        if !self.is_named_by(signature) {
            return Err(bad());
        }
        let (time_s, raw) = match self.kind {
            SignatureKind::Log => (None, signature.bytes.as_slice()),
            SignatureKind::Cosignature => {
                let (time, raw) = signature.bytes.split_first_chunk().ok_or_else(bad)?;
                (Some(u64::from_be_bytes(*time)), raw)
            }
        };
        if time_s.is_some_and(|time| time > COSIGNATURE_TIME_S_MAX) {
            return Err(bad());
        }
        let raw = raw.try_into().map_err(|_| bad())?;
        let message = self.message(text, time_s.unwrap_or(0));
        if !self.key.verifies(&message, raw) {
            return Err(bad());
        }
        Ok(time_s)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.type_byte()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(
            f,
            "{}+{}+{}",
            self.name,
            self.id,
            BASE64_STANDARD.encode(bytes)
        )
    }
}

/// A private key in memory with its name. Keys in a KMS use [`VerifierKey::message`].
pub struct NoteKey {
    verifier: VerifierKey,
    signing: SigningKey,
}

impl NoteKey {
    /// Names a key.
    ///
    /// # Errors
    /// [`KeyError::Point`] cannot happen for honestly generated keys.
    pub fn new(name: KeyName, kind: SignatureKind, signing: SigningKey) -> Result<Self, KeyError> {
        let verifier = VerifierKey::new(name, kind, signing.verifying_key().as_bytes())?;
        Ok(Self { verifier, signing })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs `text` as the key's kind demands.
    ///
    /// # Errors
    /// [`SignatureError`] if `time_s` is above [`COSIGNATURE_TIME_S_MAX`].
    pub fn sign(&self, text: &str, time_s: u64) -> Result<NoteSignature, SignatureError> {
        let signature = self.signing.sign(&self.verifier.message(text, time_s));
        self.verifier.attach(text, time_s, &signature.to_bytes())
    }
}

impl fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKey({})", self.verifier)
    }
}

/// Why text or bytes are not a usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name is empty or has spaces, control characters or a plus.
    #[error("key name: empty, or with spaces, control characters or \"+\"")]
    Name,
    /// The text is not a vkey.
    #[error("vkey: not <name>+<8 hex digits>+<base64 of type and 32-byte key>")]
    Form,
    /// The signature type is not one that this log uses.
    #[error("vkey: signature type {found:#04x} is neither 0x01 (log) nor 0x04 (cosignature/v1)")]
    Kind {
        /// Type byte found.
        found: u8,
    },
    /// The id is not that of name, type and key.
    #[error("vkey: the key id should be {expected}")]
    Id {
        /// The id that name, type and key give.
        expected: KeyId,
    },
    /// The public key is unusable.
    #[error("public key: weak, not canonical, or not torsion-free")]
    Point,
}

/// A signature line that names a key does not verify under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of {name} (key {id}) does not verify")]
pub struct SignatureError {
    /// Name of the key.
    pub name: KeyName,
    /// Its id.
    pub id: KeyId,
}
