//! Receipts: an offline proof that one entry is in the log, as a `c2sp.org/tlog-proof@v1` file
//! (<https://c2sp.org/tlog-proof>).

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, parse_decimal, parse_hash};
use crate::hash::NodeHash;
use crate::note::NOTE_BYTES_MAX;
use crate::policy::{Policy, Verified, VerifyError};
use crate::tree::{PATH_MAX, ProofError, verify_inclusion};

/// The first line of a receipt.
pub const RECEIPT_HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Most bytes of the extra data.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a receipt file.
pub const RECEIPT_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX;

/// A receipt, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Data for the application; nothing vouches for it. At most [`EXTRA_BYTES_MAX`].
    pub extra: Option<Vec<u8>>,
    /// Leaf index of the entry.
    pub index: u64,
    /// Inclusion path, leaf's sibling first.
    pub path: Vec<NodeHash>,
    /// The checkpoint that the path leads to.
    pub checkpoint: SignedCheckpoint,
}

impl Receipt {
    /// Parses a receipt file.
    ///
    /// # Errors
    /// [`ReceiptError`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ReceiptError::Header)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ReceiptError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(RECEIPT_HEADER) {
            return Err(ReceiptError::Header);
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(encoded) => {
                lines.next();
                let extra = BASE64_STANDARD
                    .decode(encoded)
                    .map_err(|_| ReceiptError::Extra)?;
                Some(extra)
                    .filter(|extra| extra.len() <= EXTRA_BYTES_MAX)
                    .ok_or(ReceiptError::Extra)
                    .map(Some)?
            }
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(parse_decimal).ok_or(ReceiptError::Index)?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() >= PATH_MAX {
                return Err(ReceiptError::Path);
            }
            path.push(parse_hash(line).ok_or(ReceiptError::Path)?);
        }
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        Ok(Self {
            extra,
            index,
            path,
            checkpoint,
        })
    }

    /// Checks that `entry` (its bytes) is in the log at [`index`](Self::index), under a
    /// checkpoint that `policy` accepts.
    ///
    /// # Errors
    /// [`ReceiptError::Policy`] or [`ReceiptError::Proof`].
    pub fn verify(
        &self,
        entry: &[u8],
        policy: &Policy,
    ) -> Result<Verified<Checkpoint>, ReceiptError> {
        let checkpoint = policy.verify(&self.checkpoint)?;
        let leaf = NodeHash::leaf(entry);
        verify_inclusion(
            leaf,
            self.index,
            checkpoint.size,
            &self.path,
            &checkpoint.root,
        )?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            extra,
            index,
            path,
            checkpoint,
        } = self;
        writeln!(f, "{RECEIPT_HEADER}")?;
        if let Some(extra) = extra {
            writeln!(f, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "index {index}")?;
        for hash in path {
            writeln!(f, "{}", BASE64_STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{checkpoint}")
    }
}

/// Why a receipt does not parse or does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// More than [`RECEIPT_BYTES_MAX`] bytes.
    #[error("receipt: more than {RECEIPT_BYTES_MAX} bytes")]
    TooLong,
    /// The first line.
    #[error("receipt: does not begin with \"{RECEIPT_HEADER}\"")]
    Header,
    /// The extra line.
    #[error("receipt: extra is not base64 of at most {EXTRA_BYTES_MAX} bytes")]
    Extra,
    /// The index line.
    #[error("receipt: no \"index <decimal>\" line")]
    Index,
    /// A line of the path.
    #[error("receipt: the path is not at most {PATH_MAX} lines of base64 hashes")]
    Path,
    /// No blank line before the checkpoint.
    #[error("receipt: no blank line before the checkpoint")]
    NoCheckpoint,
    /// The checkpoint does not parse.
    #[error("receipt: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The policy does not accept the checkpoint.
    #[error("receipt: {0}")]
    Policy(#[from] VerifyError),
    /// The path does not lead from the entry to the checkpoint's root.
    #[error("receipt: {0}")]
    Proof(#[from] ProofError),
}
