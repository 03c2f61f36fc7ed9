//! Checkpoints: what a log claims to hold, in three lines, signed and cosigned
//! (<https://c2sp.org/tlog-checkpoint>).

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::hash::NodeHash;
use crate::note::{KeyName, Note, NoteError, NoteKey, NoteSignature, SignatureError};
use crate::tree::TREE_SIZE_MAX;

/// A claim that the log of `origin` has `size` entries under `root`. Worth nothing by itself:
/// take it from a [`Verified`](crate::policy::Verified).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: KeyName,
    /// Number of entries.
    pub size: u64,
    /// Merkle tree hash over them.
    pub root: NodeHash,
}

impl Checkpoint {
    /// Parses exactly three lines; extension lines are refused.
    ///
    /// # Errors
    /// [`CheckpointError`] names the line.
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Lines)?
            .split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        if lines.next().is_some() {
            return Err(CheckpointError::Lines);
        }
        let origin = KeyName::new(origin).map_err(|_| CheckpointError::Origin)?;
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        if size > TREE_SIZE_MAX {
            return Err(CheckpointError::Size);
        }
        let root = parse_hash(root).ok_or(CheckpointError::Root)?;
        Ok(Self { origin, size, root })
    }

    /// The three lines that are signed.
    pub fn to_text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{}\n", BASE64_STANDARD.encode(root.0))
    }
}

/// A checkpoint with signature lines, none of them verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    claim: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// A checkpoint without signatures yet.
    pub fn unsigned(claim: Checkpoint) -> Self {
        let note = Note::new(claim.to_text()).expect("three lines make a valid note text");
        Self { claim, note }
    }

    /// Parses a signed note whose text is a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok(Self {
            claim: Checkpoint::parse_text(note.text())?,
            note,
        })
    }

    /// What the signatures, if they are good, vouch for.
    pub fn unverified_claim(&self) -> &Checkpoint {
        &self.claim
    }

    /// The signed note.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Signs or cosigns, as the key's kind says. `time_s` (seconds since 1970) goes into
    /// cosignatures only. Whoever signs has recomputed the root from its own entries first.
    ///
    /// # Errors
    /// [`SignError`] if the key refuses or the note is full.
    pub fn sign(&mut self, key: &NoteKey, time_s: u64) -> Result<(), SignError> {
        let signature = key.sign(self.note.text(), time_s)?;
        Ok(self.note.add(signature)?)
    }

    /// Adds a signature line that another node or a KMS made. It is not verified here.
    ///
    /// # Errors
    /// [`SignError::Note`] if the note is full.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), SignError> {
        Ok(self.note.add(signature)?)
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// An ASCII decimal without sign or leading zeroes.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if plain && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}

/// A hash in canonical base64.
pub(crate) fn parse_hash(text: &str) -> Option<NodeHash> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    Some(NodeHash(bytes.try_into().ok()?))
}

/// Why bytes are not a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The bytes are not a signed note.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The text does not have exactly three lines.
    #[error("checkpoint: the text must be exactly origin, size and root")]
    Lines,
    /// The first line is not an origin.
    #[error("checkpoint: the origin is not a valid key name")]
    Origin,
    /// The second line is not a tree size.
    #[error("checkpoint: the size is not a decimal without leading zeroes, at most 2^62")]
    Size,
    /// The third line is not a hash.
    #[error("checkpoint: the root is not 32 bytes in base64")]
    Root,
}

/// Why a checkpoint could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key's signature does not verify.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The note takes no more signatures.
    #[error(transparent)]
    Note(#[from] NoteError),
}
