//! How Raft's own values are stored: version 1 of every record in Raft's log and in `state.redb`.
//!
//! ```text
//! record = version u8 = 1 | CBOR array | checksum [8]
//! checksum = first 8 bytes of BLAKE3(version ‖ CBOR)
//! ```
//! openraft's serde derives gain fields between releases, so none of them is used: every field is
//! named here, and a new one does not compile until it is. A record of another version, with bytes
//! left over or with a wrong checksum is an error that stops the node.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;
use minicbor::{Decoder, Encoder, decode, encode};
use openraft::impls::leader_id_std;

use crate::types::{
    CommittedLeader, Entry, EntryPayload, LogId, Member, Membership, NodeId, Proposal,
    SnapshotMeta, StoredMembership, Vote,
};

/// Version of the records that this build writes.
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// A value with a stored form.
pub trait Record: Sized {
    /// What the value is called in error messages.
    const NAME: &'static str;

    /// Writes the value as one CBOR item.
    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>>;

    /// Reads what [`Record::encode`] wrote.
    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error>;
}

/// Why stored bytes are not the record that they should be. Always a reason to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The record was written by another version of the store.
    #[error("{record}: format version {found}, this build knows {VERSION}")]
    Version {
        /// What was read.
        record: &'static str,
        /// The version found.
        found: u8,
    },
    /// The bytes changed since they were written, or are too few.
    #[error("{record}: checksum mismatch, the stored bytes are damaged")]
    Checksum {
        /// What was read.
        record: &'static str,
    },
    /// The checksum fits but the bytes are not this kind of record.
    #[error("{record}: {source}")]
    Malformed {
        /// What was read.
        record: &'static str,
        /// Where decoding failed.
        source: decode::Error,
    },
}

/// The stored form of `value`.
pub fn to_bytes<T: Record>(value: &T) -> Vec<u8> {
    let mut out = Encoder::new(vec![VERSION]);
    let Ok(()) = value.encode(&mut out).map_err(unreachable_error);
    let mut bytes = out.into_writer();
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The value of a stored record.
///
/// # Errors
/// [`CodecError`] says in which way the bytes are not such a record.
pub fn from_bytes<T: Record>(bytes: &[u8]) -> Result<T, CodecError> {
    let record = T::NAME;
    let (body, stated) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(CodecError::Checksum { record })?;
    if checksum(body) != *stated {
        return Err(CodecError::Checksum { record });
    }
    let (version, cbor) = body.split_first().ok_or(CodecError::Checksum { record })?;
    if *version != VERSION {
        return Err(CodecError::Version {
            record,
            found: *version,
        });
    }
    let mut from = Decoder::new(cbor);
    let malformed = |source| CodecError::Malformed { record, source };
    let value = T::decode(&mut from).map_err(malformed)?;
    if from.position() < cbor.len() {
        return Err(malformed(decode::Error::message("bytes are left over")));
    }
    Ok(value)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

/// Writing to memory fails only if an `Encode` of our own says so, and none does.
fn unreachable_error(error: encode::Error<Infallible>) -> Infallible {
    unreachable!("encoding to memory failed: {error}")
}

impl Record for LogId {
    const NAME: &'static str = "log id";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self {
            leader_id: CommittedLeader { term },
            index,
        } = self;
        out.array(2)?.u64(*term)?.u64(*index)?.ok()
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 2)?;
        let leader_id = CommittedLeader { term: from.u64()? };
        Ok(Self {
            leader_id,
            index: from.u64()?,
        })
    }
}

impl Record for Vote {
    const NAME: &'static str = "vote";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self {
            leader_id: leader_id_std::LeaderId { term, voted_for },
            committed,
        } = self;
        out.array(3)?
            .u64(*term)?
            .u64(*voted_for)?
            .bool(*committed)?
            .ok()
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 3)?;
        let leader_id = leader_id_std::LeaderId {
            term: from.u64()?,
            voted_for: from.u64()?,
        };
        Ok(Self {
            leader_id,
            committed: from.bool()?,
        })
    }
}

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

impl Record for Entry {
    const NAME: &'static str = "log entry";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self { log_id, payload } = self;
        out.array(3)?;
        log_id.encode(out)?;
        match payload {
            EntryPayload::Blank => out.u8(BLANK)?.null()?.ok(),
            EntryPayload::Normal(proposal) => {
                out.u8(NORMAL)?;
                proposal.encode(out)
            }
            EntryPayload::Membership(membership) => {
                out.u8(MEMBERSHIP)?;
                membership.encode(out)
            }
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 3)?;
        let log_id = LogId::decode(from)?;
        let at = from.position();
        let payload = match from.u8()? {
            BLANK => {
                from.null()?;
                EntryPayload::Blank
            }
            NORMAL => EntryPayload::Normal(Proposal::decode(from)?),
            MEMBERSHIP => EntryPayload::Membership(Membership::decode(from)?),
            _ => return Err(decode::Error::message("unknown payload").at(at)),
        };
        Ok(Self { log_id, payload })
    }
}

impl Record for Proposal {
    const NAME: &'static str = "proposal";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self { stamp_ms, command } = self;
        out.array(2)?.u64(*stamp_ms)?.bytes(command.bytes())?.ok()
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 2)?;
        let stamp_ms = from.u64()?;
        Ok(Self {
            stamp_ms,
            command: Bytes::copy_from_slice(from.bytes()?).into(),
        })
    }
}

impl Record for Member {
    const NAME: &'static str = "member";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self { addr, region } = self;
        out.array(2)?.str(addr)?.str(region)?.ok()
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 2)?;
        Ok(Self {
            addr: from.str()?.to_owned(),
            region: from.str()?.to_owned(),
        })
    }
}

impl Record for Membership {
    const NAME: &'static str = "membership";

    // openraft keeps the fields private; voters (one set, or two while they change) and nodes are
    // all that it has.
    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let voters = self.get_joint_config();
        out.array(2)?.array(voters.len() as u64)?;
        for set in voters {
            out.array(set.len() as u64)?;
            for id in set {
                out.u64(*id)?;
            }
        }
        out.array(self.nodes().count() as u64)?;
        for (id, member) in self.nodes() {
            out.array(2)?.u64(*id)?;
            member.encode(out)?;
        }
        Ok(())
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 2)?;
        let mut voters = Vec::new();
        for _ in 0..array_len(from)? {
            let mut set = BTreeSet::new();
            for _ in 0..array_len(from)? {
                set.insert(from.u64()?);
            }
            voters.push(set);
        }
        let mut nodes = BTreeMap::<NodeId, Member>::new();
        for _ in 0..array_len(from)? {
            expect_array(from, 2)?;
            nodes.insert(from.u64()?, Member::decode(from)?);
        }
        if voters.is_empty() && nodes.is_empty() {
            // A node before its first membership; `new` refuses to make one.
            return Ok(Self::default());
        }
        Self::new(voters, nodes).map_err(|error| decode::Error::message(error.to_string()))
    }
}

impl Record for StoredMembership {
    const NAME: &'static str = "stored membership";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        out.array(2)?;
        encode_option(self.log_id().as_ref(), out)?;
        self.membership().encode(out)
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 2)?;
        Ok(Self::new(decode_option(from)?, Membership::decode(from)?))
    }
}

impl Record for SnapshotMeta {
    const NAME: &'static str = "snapshot meta";

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self {
            last_log_id,
            last_membership,
        } = self;
        out.array(2)?;
        encode_option(last_log_id.as_ref(), out)?;
        last_membership.encode(out)
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        expect_array(from, 2)?;
        let last_log_id = decode_option(from)?;
        Ok(Self {
            last_log_id,
            last_membership: StoredMembership::decode(from)?,
        })
    }
}

pub(super) fn encode_option<T: Record>(
    value: Option<&T>,
    out: &mut Encoder<Vec<u8>>,
) -> Result<(), encode::Error<Infallible>> {
    match value {
        Some(value) => value.encode(out),
        None => out.null()?.ok(),
    }
}

pub(super) fn decode_option<T: Record>(from: &mut Decoder<'_>) -> Result<Option<T>, decode::Error> {
    if from.datatype()? == minicbor::data::Type::Null {
        from.null()?;
        return Ok(None);
    }
    T::decode(from).map(Some)
}

pub(super) fn expect_array(from: &mut Decoder<'_>, len: u64) -> Result<(), decode::Error> {
    let at = from.position();
    if array_len(from)? == len {
        return Ok(());
    }
    Err(decode::Error::message("wrong number of fields").at(at))
}

fn array_len(from: &mut Decoder<'_>) -> Result<u64, decode::Error> {
    let at = from.position();
    from.array()?
        .ok_or_else(|| decode::Error::message("indefinite length").at(at))
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
