//! The pieces of a snapshot as bytes, version 1.
//!
//! ```text
//! piece  = tag u8 | CBOR | BLAKE3(tag ‖ CBOR) [32]
//! header = 1 | [version, meta record, origin, incarnation, head, state root, first entry]
//! rows   = 2 | [[key, value]…]           in key order, all rows over all pieces
//! entries= 3 | [[entry, detached file or null]…]   from the first entry on, without gaps
//! end    = 4 | [pieces before this one, BLAKE3 over their hashes]
//! ```

use std::convert::Infallible;

use bytes::Bytes;
use minicbor::{Decoder, Encoder, decode, encode};

use crate::storage::StateError;
use crate::storage::codec;
use crate::types::SnapshotMeta;

const VERSION: u8 = 1;
const HASH_BYTES: usize = 32;

/// One piece, decoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Header(Header),
    Rows(Vec<(Bytes, Bytes)>),
    Entries(Vec<(Bytes, Option<Bytes>)>),
    End {
        pieces: u64,
        digest: [u8; HASH_BYTES],
    },
}

/// What the snapshot is of, and what must come of its rows and entries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) meta: SnapshotMeta,
    pub(super) origin: String,
    pub(super) incarnation: u64,
    /// `LogHead::to_bytes` of the sender.
    pub(super) head: Bytes,
    pub(super) root: [u8; HASH_BYTES],
    /// Index of the first audit entry that is sent.
    pub(super) first_entry: u64,
}

impl Piece {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(vec![self.tag()]);
        match self.encode(&mut out) {
            Ok(()) => {}
            Err(error) => unreachable!("encoding to memory failed: {error}"),
        }
        let mut bytes = out.into_writer();
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    const fn tag(&self) -> u8 {
        match self {
            Self::Header(_) => 1,
            Self::Rows(_) => 2,
            Self::Entries(_) => 3,
            Self::End { .. } => 4,
        }
    }

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        match self {
            Self::Header(header) => {
                let Header {
                    meta,
                    origin,
                    incarnation,
                    head,
                    root,
                    first_entry,
                } = header;
                out.array(7)?
                    .u8(VERSION)?
                    .bytes(&codec::to_bytes(meta))?
                    .str(origin)?;
                out.u64(*incarnation)?
                    .bytes(head)?
                    .bytes(root)?
                    .u64(*first_entry)?
                    .ok()
            }
            Self::Rows(rows) => {
                out.array(rows.len() as u64)?;
                for (key, value) in rows {
                    out.array(2)?.bytes(key)?.bytes(value)?;
                }
                Ok(())
            }
            Self::Entries(entries) => {
                out.array(entries.len() as u64)?;
                for (entry, detached) in entries {
                    out.array(2)?.bytes(entry)?;
                    match detached {
                        Some(file) => out.bytes(file)?,
                        None => out.null()?,
                    };
                }
                Ok(())
            }
            Self::End { pieces, digest } => out.array(2)?.u64(*pieces)?.bytes(digest)?.ok(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let damaged = |what: String| StateError::Refused(format!("a piece is damaged: {what}"));
        let (body, stated) = bytes
            .split_last_chunk::<HASH_BYTES>()
            .ok_or_else(|| damaged("it is too short".to_owned()))?;
        if blake3::hash(body) != *stated {
            return Err(damaged("its hash does not fit".to_owned()));
        }
        let (tag, cbor) = body
            .split_first()
            .ok_or_else(|| damaged("it is empty".to_owned()))?;
        let mut from = Decoder::new(cbor);
        let piece = Self::decode(*tag, &mut from).map_err(|error| damaged(error.to_string()))?;
        if from.position() < cbor.len() {
            return Err(damaged("bytes are left over".to_owned()));
        }
        Ok(piece)
    }

    fn decode(tag: u8, from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        let fields = array(from)?;
        match tag {
            1 => {
                expect(from, fields, 7)?;
                if from.u8()? != VERSION {
                    return Err(decode::Error::message("it has another format version"));
                }
                let meta = codec::from_bytes(from.bytes()?);
                let meta = meta.map_err(|error| decode::Error::message(error.to_string()))?;
                Ok(Self::Header(Header {
                    meta,
                    origin: from.str()?.to_owned(),
                    incarnation: from.u64()?,
                    head: bytes(from)?,
                    root: hash(from)?,
                    first_entry: from.u64()?,
                }))
            }
            2 => {
                let mut rows = Vec::new();
                for _ in 0..fields {
                    let len = array(from)?;
                    expect(from, len, 2)?;
                    rows.push((bytes(from)?, bytes(from)?));
                }
                Ok(Self::Rows(rows))
            }
            3 => {
                let mut entries = Vec::new();
                for _ in 0..fields {
                    let len = array(from)?;
                    expect(from, len, 2)?;
                    let entry = bytes(from)?;
                    let detached = if from.datatype()? == minicbor::data::Type::Null {
                        from.null()?;
                        None
                    } else {
                        Some(bytes(from)?)
                    };
                    entries.push((entry, detached));
                }
                Ok(Self::Entries(entries))
            }
            4 => {
                expect(from, fields, 2)?;
                Ok(Self::End {
                    pieces: from.u64()?,
                    digest: hash(from)?,
                })
            }
            _ => Err(decode::Error::message("unknown tag")),
        }
    }
}

/// Hash over the pieces seen so far; the same on both sides.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    pieces: u64,
}

impl Digest {
    pub(super) fn add(&mut self, piece: &[u8]) {
        let hash = piece
            .last_chunk::<HASH_BYTES>()
            .copied()
            .unwrap_or_default();
        self.hasher.update(&hash);
        self.pieces += 1;
    }

    pub(super) fn end(&self) -> Piece {
        Piece::End {
            pieces: self.pieces,
            digest: self.hasher.finalize().into(),
        }
    }
}

fn array(from: &mut Decoder<'_>) -> Result<u64, decode::Error> {
    from.array()?
        .ok_or_else(|| decode::Error::message("indefinite length"))
}

fn expect(from: &Decoder<'_>, found: u64, expected: u64) -> Result<(), decode::Error> {
    if found == expected {
        return Ok(());
    }
    Err(decode::Error::message("wrong number of fields").at(from.position()))
}

fn bytes(from: &mut Decoder<'_>) -> Result<Bytes, decode::Error> {
    Ok(Bytes::copy_from_slice(from.bytes()?))
}

fn hash(from: &mut Decoder<'_>) -> Result<[u8; HASH_BYTES], decode::Error> {
    from.bytes()?
        .try_into()
        .map_err(|_| decode::Error::message("a hash has 32 bytes"))
}
