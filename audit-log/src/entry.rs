//! An audit entry: a fixed 72-byte header and a body. Parsing is strict, and an error names the
//! field that is wrong.

use crate::hash::{ChainHash, EntryHash, NodeHash};

/// The first four bytes of every entry.
pub const MAGIC: [u8; 4] = *b"TDG1";
/// The layout this build writes and understands.
pub const VERSION: u8 = 1;
/// Length of the header, in bytes; the body follows.
pub const HEADER_BYTES: usize = 72;
/// Most bytes of an entry: what the 16-bit length of a tlog-tiles entry bundle can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Most bytes of a body inside an entry; larger bodies are detached.
pub const BODY_BYTES_MAX: usize = ENTRY_BYTES_MAX - HEADER_BYTES;

const FLAG_DETACHED: u8 = 0b0000_0001;

/// What an entry records, by number. This crate gives the numbers no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

/// The fields of an entry's header that are not implied by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// The body is a [commitment](crate::detached::Commitment); the bytes stand beside the log.
    pub detached: bool,
    /// What the entry records.
    pub kind: Kind,
    /// Leaf index: gapless from 0.
    pub index: u64,
    /// Raft term in which the entry was proposed; never falls.
    pub raft_term: u64,
    /// Log time in milliseconds since 1970; never falls.
    pub t_ms: u64,
    /// Generation of the trusted key set; never falls.
    pub key_epoch: u32,
    /// The chain up to the entry before this one.
    pub prev_chain: ChainHash,
}

impl EntryHeader {
    /// The entry's bytes: this header, then `body`.
    ///
    /// # Errors
    /// [`EntryError::TooLong`] if `body` has more than [`BODY_BYTES_MAX`] bytes.
    pub fn encode(&self, body: &[u8]) -> Result<Vec<u8>, EntryError> {
        let too_long = EntryError::TooLong {
            bytes: body.len().saturating_add(HEADER_BYTES),
        };
        if body.len() > BODY_BYTES_MAX {
            return Err(too_long);
        }
        let body_len = u32::try_from(body.len()).map_err(|_| too_long)?;
        let Self {
            detached,
            kind,
            index,
            raft_term,
            t_ms,
            key_epoch,
            prev_chain,
        } = self;
        let mut out = Vec::with_capacity(HEADER_BYTES.saturating_add(body.len()));
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.push(if *detached { FLAG_DETACHED } else { 0 });
        out.extend_from_slice(&kind.0.to_be_bytes());
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(&raft_term.to_be_bytes());
        out.extend_from_slice(&t_ms.to_be_bytes());
        out.extend_from_slice(&key_epoch.to_be_bytes());
        out.extend_from_slice(&body_len.to_be_bytes());
        out.extend_from_slice(&prev_chain.0);
        out.extend_from_slice(body);
        Ok(out)
    }
}

/// A parsed entry; borrows the bytes that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The header's fields.
    pub header: EntryHeader,
    /// What follows the header; a commitment if `header.detached`.
    pub body: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Parses an entry that must fill `bytes` exactly.
    ///
    /// # Errors
    /// [`EntryError`] names the field that is wrong.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        let short = EntryError::TooShort { bytes: bytes.len() };
        let (magic, rest) = bytes.split_first_chunk().ok_or(short)?;
        if *magic != MAGIC {
            return Err(EntryError::Magic { found: *magic });
        }
        let (&[version, flags], rest) = rest.split_first_chunk().ok_or(short)?;
        if version != VERSION {
            return Err(EntryError::Version { found: version });
        }
        if flags & !FLAG_DETACHED != 0 {
            return Err(EntryError::Flags { found: flags });
        }
        let (kind, rest) = rest.split_first_chunk().ok_or(short)?;
        let (index, rest) = rest.split_first_chunk().ok_or(short)?;
        let (raft_term, rest) = rest.split_first_chunk().ok_or(short)?;
        let (t_ms, rest) = rest.split_first_chunk().ok_or(short)?;
        let (key_epoch, rest) = rest.split_first_chunk().ok_or(short)?;
        let (body_len, rest) = rest.split_first_chunk().ok_or(short)?;
        let (prev_chain, body) = rest.split_first_chunk().ok_or(short)?;
        let stated = u32::from_be_bytes(*body_len);
        if usize::try_from(stated) != Ok(body.len()) {
            return Err(EntryError::BodyLen {
                stated,
                actual: body.len(),
            });
        }
        let header = EntryHeader {
            detached: flags & FLAG_DETACHED != 0,
            kind: Kind(u16::from_be_bytes(*kind)),
            index: u64::from_be_bytes(*index),
            raft_term: u64::from_be_bytes(*raft_term),
            t_ms: u64::from_be_bytes(*t_ms),
            key_epoch: u32::from_be_bytes(*key_epoch),
            prev_chain: ChainHash(*prev_chain),
        };
        Ok(Self {
            header,
            body,
            bytes,
        })
    }

    /// The whole entry as it was parsed. Hashes are taken over these, never over a re-encoding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The tree's leaf of this entry.
    pub fn leaf(&self) -> NodeHash {
        NodeHash::leaf(self.bytes)
    }

    /// The chain up to and including this entry.
    pub fn chain(&self) -> ChainHash {
        self.header.prev_chain.next(&EntryHash::of(self.bytes))
    }
}

/// Why bytes are not an entry, or cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Fewer bytes than a header.
    #[error("entry: {bytes} bytes are fewer than the header's {HEADER_BYTES}")]
    TooShort {
        /// Bytes found.
        bytes: usize,
    },
    /// More bytes than an entry may have.
    #[error("entry: {bytes} bytes are more than {ENTRY_BYTES_MAX}; detach the body")]
    TooLong {
        /// Bytes found.
        bytes: usize,
    },
    /// The first four bytes.
    #[error("magic: found {found:02x?}, expected \"TDG1\"")]
    Magic {
        /// Bytes found.
        found: [u8; 4],
    },
    /// A layout that this build does not know.
    #[error("version: found {found}, this build knows {VERSION}")]
    Version {
        /// Version found.
        found: u8,
    },
    /// A flag bit that means nothing.
    #[error("flags: {found:#010b} has bits that are not defined")]
    Flags {
        /// Flags found.
        found: u8,
    },
    /// The stated length is not what follows the header.
    #[error("body_len: says {stated}, but {actual} bytes follow the header")]
    BodyLen {
        /// Length in the header.
        stated: u32,
        /// Bytes after the header.
        actual: usize,
    },
}
