//! C2SP signed notes with the two kinds of signatures that checkpoints carry: plain Ed25519 from
//! the log, and `cosignature/v1` from voters and witnesses
//! (<https://c2sp.org/signed-note>, <https://c2sp.org/tlog-cosignature>).

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};

mod key;

pub use key::{KeyError, KeyId, KeyName, NoteKey, SignatureError, SignatureKind, VerifierKey};

/// Most bytes of a note.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Most signature lines of a note.
pub const SIGNATURES_MAX: usize = 64;
/// Latest cosignature time, in seconds since 1970.
pub const COSIGNATURE_TIME_S_MAX: u64 = u64::MAX >> 1;

/// A text with signatures. Its text means nothing before a policy accepted the signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    /// In the order of the lines.
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note without signatures yet.
    ///
    /// # Errors
    /// [`NoteError::Text`] unless `text` is non-empty, ends in a newline, and has no other
    /// control characters.
    pub fn new(text: String) -> Result<Self, NoteError> {
        let control = text.bytes().any(|b| b < 0x20 && b != b'\n');
        if !text.ends_with('\n') || control {
            return Err(NoteError::Text);
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Parses text, blank line and at least one signature line.
    ///
    /// # Errors
    /// [`NoteError`] says what is not in the form of a signed note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: bytes.len() });
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Text)?;
        let (text, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let mut note = Self::new(format!("{text}\n"))?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        for (place, line) in lines.split('\n').enumerate() {
            let signature = NoteSignature::parse_line(line).ok_or(NoteError::SignatureLine {
                line: place.saturating_add(1),
            })?;
            note.push(signature)?;
        }
        Ok(note)
    }

    /// The signed text, final newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature; one of the same key replaces the older.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`] above [`SIGNATURES_MAX`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let key = |s: &NoteSignature| (s.name.clone(), s.id);
        match self
            .signatures
            .iter_mut()
            .find(|s| key(s) == key(&signature))
        {
            Some(same) => *same = signature,
            None => self.push(signature)?,
        }
        Ok(())
    }

    fn push(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// One signature line: `— <name> <base64 of key id and signature>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// The name of the key that is said to have signed.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key that is said to have signed.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Parses a signature line without its newline: how one node sends its signature to another.
    ///
    /// # Errors
    /// [`NoteError::SignatureLine`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        Self::parse_line(line).ok_or(NoteError::SignatureLine { line: 1 })
    }

    fn parse_line(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self {
            name: KeyName::new(name).ok()?,
            id: KeyId(u32::from_be_bytes(*id)),
            bytes: signature.to_vec(),
        })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(f, "— {} {}", self.name, BASE64_STANDARD.encode(bytes))
    }
}

/// Why bytes are not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note is too long.
    #[error("note: {bytes} bytes are more than {NOTE_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        bytes: usize,
    },
    /// The text is not UTF-8, has control characters, or does not end in a newline.
    #[error("note: the text is not UTF-8 lines without control characters")]
    Text,
    /// There is no blank line with signature lines after it.
    #[error("note: no signature lines after a blank line")]
    NoSignatures,
    /// A signature line is malformed.
    #[error("note: signature line {line} is not \"— <name> <base64>\"")]
    SignatureLine {
        /// Number of the line, from 1.
        line: usize,
    },
    /// More than [`SIGNATURES_MAX`] signatures.
    #[error("note: more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
}
