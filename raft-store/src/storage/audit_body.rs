//! The body of an audit entry: what was asked, verbatim, and what came of it.
//!
//! ```text
//! { 1: Raft index, 2: signed command as it was proposed (bytes),
//!   3: membership of the group [[voters…]…, [[id, [address, region]]…]]   (membership entries only)
//!   4: recorded event, 5: outcome, 6: state root [32] (entries that carry one),
//!   7: [length, BLAKE3] of what was proposed (only where it was too large to be a command) }
//! ```
//! Exactly one of 2, 3 and 7 is there. Deterministic CBOR, as `docs/formats.md` says.

use bytes::Bytes;
use minicbor::{Decoder, Encoder, decode, encode};
use std::convert::Infallible;
use tidegate_audit_log::Kind;
use tidegate_domain::command::{CommandBody, ENVELOPE_BYTES_MAX, SignedCommand};
use tidegate_domain::id::Hash;
use tidegate_domain::{Applied, Event, Outcome, canonical};

use super::codec::Record;
use crate::types::Membership;

/// Kind of an entry whose command could not be read. Only a faulty leader proposes one.
pub const KIND_UNREADABLE: Kind = Kind(0x0000);
/// Kind of an entry that records a change of the Raft group's membership.
pub const KIND_MEMBERSHIP: Kind = Kind(0x0001);

/// What an audit entry records.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditBody {
    /// Where the entry stands in Raft's log.
    pub raft_index: u64,
    /// What was asked.
    pub asked: Asked,
    /// What came of it.
    pub applied: Applied,
}

/// What a Raft entry asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A signed command, or what a faulty leader passed off as one.
    Command(Bytes),
    /// Something too large to be a command, by length and BLAKE3.
    Oversized {
        /// Its length in bytes.
        bytes: u64,
        /// Its hash.
        blake3: [u8; 32],
    },
    /// Other members in the Raft group.
    Membership(Membership),
}

impl Asked {
    /// A proposed command, by digest if it is too large to be one.
    #[must_use]
    pub fn command(proposed: Bytes) -> Self {
        if proposed.len() <= ENVELOPE_BYTES_MAX {
            return Self::Command(proposed);
        }
        let blake3 = blake3::hash(&proposed).into();
        Self::Oversized {
            bytes: proposed.len() as u64,
            blake3,
        }
    }

    /// The kind that the entry's header states.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Command(command) => kind_of(command),
            Self::Oversized { .. } => KIND_UNREADABLE,
            Self::Membership(_) => KIND_MEMBERSHIP,
        }
    }
}

fn kind_of(command: &[u8]) -> Kind {
    let signed = canonical::decode::<SignedCommand>(command);
    let body = signed
        .ok()
        .and_then(|signed| canonical::decode::<CommandBody>(&signed.body).ok());
    body.map_or(KIND_UNREADABLE, |body| Kind(body.kind))
}

impl AuditBody {
    /// The body's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        match self.encode(&mut out) {
            Ok(()) => out.into_writer(),
            Err(error) => unreachable!("encoding to memory failed: {error}"),
        }
    }

    fn encode(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        let Self {
            raft_index,
            asked,
            applied,
        } = self;
        let Applied {
            recorded,
            outcome,
            state_root,
        } = applied;
        out.map(if state_root.is_some() { 5 } else { 4 })?;
        out.u8(1)?.u64(*raft_index)?;
        match asked {
            Asked::Command(command) => {
                out.u8(2)?.bytes(command)?;
            }
            Asked::Membership(membership) => {
                out.u8(3)?;
                membership.encode(out)?;
            }
            Asked::Oversized { .. } => {}
        }
        out.u8(4)?.encode(recorded)?;
        out.u8(5)?.encode(outcome)?;
        if let Some(root) = state_root {
            out.u8(6)?.bytes(&root.0)?;
        }
        if let Asked::Oversized { bytes, blake3 } = asked {
            out.u8(7)?.array(2)?.u64(*bytes)?.bytes(blake3)?;
        }
        Ok(())
    }

    /// Reads a body, attached or detached.
    ///
    /// # Errors
    /// The bytes are not a body that this build knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, decode::Error> {
        let mut from = Decoder::new(bytes);
        let fields = from
            .map()?
            .ok_or_else(|| decode::Error::message("indefinite map"))?;
        let (mut raft_index, mut asked) = (None, None);
        let (mut recorded, mut outcome, mut state_root) = (None, None, None);
        for _ in 0..fields {
            let at = from.position();
            match from.u8()? {
                1 => raft_index = Some(from.u64()?),
                2 => asked = Some(Asked::Command(Bytes::copy_from_slice(from.bytes()?))),
                3 => asked = Some(Asked::Membership(Membership::decode(&mut from)?)),
                4 => recorded = Some(from.decode::<Event>()?),
                5 => outcome = Some(from.decode::<Outcome>()?),
                6 => state_root = Some(Hash(hash(&mut from)?)),
                7 => {
                    from.array()?;
                    asked = Some(Asked::Oversized {
                        bytes: from.u64()?,
                        blake3: hash(&mut from)?,
                    });
                }
                _ => return Err(decode::Error::message("unknown field").at(at)),
            }
        }
        let missing = || decode::Error::message("a field is missing");
        let applied = Applied {
            recorded: recorded.ok_or_else(missing)?,
            outcome: outcome.ok_or_else(missing)?,
            state_root,
        };
        let raft_index = raft_index.ok_or_else(missing)?;
        Ok(Self {
            raft_index,
            asked: asked.ok_or_else(missing)?,
            applied,
        })
    }

    /// The entry's complete events as a watcher folds them: canonical CBOR of an array.
    #[must_use]
    pub fn events(&self) -> Bytes {
        encode_events(&self.applied)
    }
}

/// Canonical CBOR of all events of one entry, in order.
pub(super) fn encode_events(applied: &Applied) -> Bytes {
    let events: Vec<&Event> = applied.events().collect();
    Bytes::from(canonical::encode(&events))
}

fn hash(from: &mut Decoder<'_>) -> Result<[u8; 32], decode::Error> {
    let at = from.position();
    from.bytes()?
        .try_into()
        .map_err(|_| decode::Error::message("a hash has 32 bytes").at(at))
}
