//! Bodies too large for an entry, or that must stay erasable: the entry carries a commitment,
//! the bytes stand beside the log. The salt stands with the bytes, so that erasing the file
//! leaves nothing in the log from which a guess at its content could be confirmed.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::hash::{DETACHED_CONTEXT, write_hex};

/// The first four bytes of a detached body's file.
pub const MAGIC: [u8; 4] = *b"TDB1";
/// Length of the salt, in bytes.
pub const SALT_BYTES: usize = 32;
/// Most bytes of a detached body: a verifier holds one in memory.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a file before the body.
pub const PREFIX_BYTES: usize = MAGIC.len() + SALT_BYTES;

/// A detached body with its salt: `"TDB1" ‖ salt ‖ body`.
#[derive(Clone, PartialEq, Eq)]
pub struct DetachedBody {
    file: Vec<u8>,
    commitment: Commitment,
}

impl DetachedBody {
    /// Salts `body`. The salt must be fresh and random: it alone keeps a short body from being
    /// guessed from its commitment after it was erased.
    ///
    /// # Errors
    /// [`DetachedError::TooLong`] above [`BODY_BYTES_MAX`].
    pub fn new(salt: [u8; SALT_BYTES], body: &[u8]) -> Result<Self, DetachedError> {
        let mut file = Vec::with_capacity(PREFIX_BYTES.saturating_add(body.len()));
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&salt);
        file.extend_from_slice(body);
        Self::from_file(file)
    }

    /// Takes the bytes of a file and computes what they commit to.
    ///
    /// # Errors
    /// [`DetachedError`] if the prefix is wrong or the body too long.
    pub fn from_file(file: Vec<u8>) -> Result<Self, DetachedError> {
        if !file.starts_with(&MAGIC) {
            return Err(DetachedError::Magic);
        }
        let body = file
            .get(PREFIX_BYTES..)
            .ok_or(DetachedError::TooShort { bytes: file.len() })?;
        let too_long = DetachedError::TooLong { bytes: body.len() };
        if body.len() > BODY_BYTES_MAX {
            return Err(too_long);
        }
        let commitment = Commitment {
            body_bytes: u32::try_from(body.len()).map_err(|_| too_long)?,
            blake3: blake3::derive_key(DETACHED_CONTEXT, &file),
            sha256: Sha256::digest(&file).into(),
        };
        Ok(Self { file, commitment })
    }

    /// The body without magic and salt.
    pub fn body(&self) -> &[u8] {
        self.file.get(PREFIX_BYTES..).unwrap_or_default()
    }

    /// The bytes that an export stores.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// What the entry carries instead of the body.
    pub fn commitment(&self) -> &Commitment {
        &self.commitment
    }
}

impl fmt::Debug for DetachedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedBody")
            .field("commitment", &self.commitment)
            .finish()
    }
}

/// What an entry with the detached flag carries as its body: deterministic CBOR
/// `{1: body length, 2: BLAKE3 [32], 3: SHA-256 [32]}`, both hashes over the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Length of the body, without magic and salt, in bytes.
    pub body_bytes: u32,
    /// `DK("tidegate 2026-11 audit detached body v1", file)`.
    pub blake3: [u8; 32],
    /// `SHA-256(file)`, so that `sha256sum` tells whether a file is what its name says.
    pub sha256: [u8; 32],
}

impl Commitment {
    /// The entry body.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            body_bytes,
            blake3,
            sha256,
        } = self;
        let mut out = Vec::with_capacity(80);
        minicbor::Encoder::new(&mut out)
            .map(3)
            .and_then(|e| e.u8(1)?.u32(*body_bytes))
            .and_then(|e| e.u8(2)?.bytes(blake3))
            .and_then(|e| e.u8(3)?.bytes(sha256))
            .expect("writing into a Vec cannot fail");
        out
    }

    /// Reads an entry body; strict, so that a commitment has exactly one encoding.
    ///
    /// # Errors
    /// [`DetachedError::Commitment`].
    pub fn decode(body: &[u8]) -> Result<Self, DetachedError> {
        let commitment = Self::decode_loose(body).ok_or(DetachedError::Commitment)?;
        if commitment.encode() == body {
            Ok(commitment)
        } else {
            Err(DetachedError::Commitment)
        }
    }

    fn decode_loose(body: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(body);
        let three_fields = decoder.map().ok()?? == 3;
        let first = decoder.u64().ok()? == 1;
        let body_bytes = decoder.u32().ok()?;
        let second = decoder.u64().ok()? == 2;
        let blake3 = decoder.bytes().ok()?.try_into().ok()?;
        let third = decoder.u64().ok()? == 3;
        let sha256 = decoder.bytes().ok()?.try_into().ok()?;
        (three_fields && first && second && third).then_some(Self {
            body_bytes,
            blake3,
            sha256,
        })
    }

    /// The path of the file in an export: `detached/<first 2 hex digits>/<64 hex digits>`.
    pub fn path(&self) -> String {
        let mut hex = String::with_capacity(64);
        // Writing into a String cannot fail.
        let _ = write_hex(&mut hex, &self.sha256);
        format!("detached/{}/{hex}", hex.get(..2).unwrap_or_default())
    }
}

/// Why a detached body or its commitment is not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetachedError {
    /// The file does not begin with "TDB1".
    #[error("detached body: the file does not begin with \"TDB1\"")]
    Magic,
    /// The file ends inside the salt.
    #[error("detached body: {bytes} bytes end inside the salt")]
    TooShort {
        /// Bytes found.
        bytes: usize,
    },
    /// The body is too large to export.
    #[error("detached body: {bytes} bytes are more than {BODY_BYTES_MAX}")]
    TooLong {
        /// Bytes of the body.
        bytes: usize,
    },
    /// The entry's body is not a commitment.
    #[error("body: not a commitment {{1: length, 2: BLAKE3, 3: SHA-256}}")]
    Commitment,
    /// The file is not what the entry committed to.
    #[error("detached body: the file is not what the entry committed to")]
    Mismatch,
}
