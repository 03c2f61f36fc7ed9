//! The envelope: body, signatures, and large arguments (formats.md, "Command envelope").
use super::{ArgumentsError, Command};
use crate::{
    canonical::{self, CanonicalError},
    id::{CommandId, Epoch, Hash, Index, LogTime, Millis, PublicKey, Revision, SignatureBytes},
    rejection::MalformedFault,
    signature::{self, SigningKey},
};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// The DSSE payload type of a command.
pub const COMMAND_PAYLOAD_TYPE: &str = "application/vnd.tidegate.command.v1+cbor";
/// Longest time between `not_before` and `not_after`: ids are kept that long.
pub const VALIDITY_MAX: Millis = Millis(7 * 24 * 3_600_000);
/// Longest PAE that is signed, in bytes: what a KMS signs without hashing first.
pub const PAE_BYTES_MAX: usize = 4_096;
/// Longest detached arguments, in bytes.
pub const DETACHED_BYTES_MAX: usize = 4 << 20;
/// Most signatures on one command.
pub const SIGNATURES_MAX: usize = 64;
/// Longest signed command, in bytes: detached arguments, body and signatures.
pub const ENVELOPE_BYTES_MAX: usize = DETACHED_BYTES_MAX + (64 << 10);

/// Domain of the digest of a signed body.
const DIGEST_CONTEXT: &str = "tidegate 2026-11 command digest v1";

/// A signature with the raw key that made it. Key ids are never looked at.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Signature {
    /// The raw public key.
    #[n(0)]
    pub key: PublicKey,
    /// The signature.
    #[n(1)]
    pub signature: SignatureBytes,
}

/// Where the arguments of a command stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// In the body itself: canonical CBOR of the kind's argument struct.
    Inline(Vec<u8>),
    /// Beside it: SHA-256 of the canonical bytes, which travel in [`SignedCommand::detached`].
    Detached(Hash),
}

/// The body of a command envelope: what is signed (formats.md, "Command envelope").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandBody {
    /// The cluster.
    pub origin: String,
    /// Applied at most once.
    pub id: CommandId,
    /// The key epoch that the signers knew.
    pub epoch: Epoch,
    /// First log time at which it may be applied.
    pub not_before: LogTime,
    /// Last log time at which it may be applied.
    pub not_after: LogTime,
    /// The log that the signers had seen: index of its last entry …
    pub base_index: Index,
    /// … and the chain head after it.
    pub base_chain: Hash,
    /// What kind of command it is.
    pub kind: u16,
    /// What exactly is asked.
    pub arguments: Arguments,
    /// The revision that the target must have.
    pub expected_revision: Option<Revision>,
}

impl<C> Encode<C> for CommandBody {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let Self {
            origin,
            id,
            epoch,
            not_before,
            not_after,
            base_index,
            base_chain,
            kind,
            arguments,
            expected_revision,
        } = self;
        e.map(if expected_revision.is_some() { 10 } else { 9 })?;
        e.u8(1)?.str(origin)?;
        e.u8(2)?.encode_with(id, ctx)?;
        e.u8(3)?.encode_with(epoch, ctx)?;
        e.u8(4)?.encode_with(not_before, ctx)?;
        e.u8(5)?.encode_with(not_after, ctx)?;
        e.u8(6)?.encode_with(base_index, ctx)?;
        e.u8(7)?.encode_with(base_chain, ctx)?;
        e.u8(8)?.u16(*kind)?;
        e.u8(9)?;
        match arguments {
            Arguments::Inline(bytes) => {
                e.writer_mut()
                    .write_all(bytes)
                    .map_err(encode::Error::write)?;
            }
            Arguments::Detached(digest) => {
                e.encode_with(digest, ctx)?;
            }
        }
        if let Some(revision) = expected_revision {
            e.u8(10)?.encode_with(revision, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for CommandBody {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let fields = d.map()?.unwrap_or_default();
        if !matches!(fields, 9 | 10) {
            return Err(decode::Error::message("a command body has 9 or 10 fields"));
        }
        let body = Self {
            origin: at(d, 1)?.str()?.to_owned(),
            id: at(d, 2)?.decode_with(ctx)?,
            epoch: at(d, 3)?.decode_with(ctx)?,
            not_before: at(d, 4)?.decode_with(ctx)?,
            not_after: at(d, 5)?.decode_with(ctx)?,
            base_index: at(d, 6)?.decode_with(ctx)?,
            base_chain: at(d, 7)?.decode_with(ctx)?,
            kind: at(d, 8)?.u16()?,
            arguments: arguments(at(d, 9)?, ctx)?,
            expected_revision: if fields == 10 {
                Some(at(d, 10)?.decode_with(ctx)?)
            } else {
                None
            },
        };
        Ok(body)
    }
}

/// Takes the key of the next map entry, which must be `key`.
fn at<'a, 'b>(d: &'a mut Decoder<'b>, key: u8) -> Result<&'a mut Decoder<'b>, decode::Error> {
    let position = d.position();
    if d.u8()? == key {
        return Ok(d);
    }
    Err(decode::Error::message("the fields of a command body are in ascending order").at(position))
}

fn arguments<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Arguments, decode::Error> {
    if d.datatype()? == minicbor::data::Type::Bytes {
        return Ok(Arguments::Detached(d.decode_with(ctx)?));
    }
    let from = d.position();
    d.skip()?;
    let bytes = d.input().get(from..d.position()).unwrap_or_default();
    Ok(Arguments::Inline(bytes.to_vec()))
}

/// A command as it travels and as it stands in the log: body, signatures, and large arguments.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedCommand {
    /// Canonical bytes of a [`CommandBody`], as signed.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// Signatures over the PAE of the body, sorted by raw key.
    #[n(1)]
    pub signatures: Vec<Signature>,
    /// The arguments, if the body has only their digest.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub detached: Option<Vec<u8>>,
}

/// The DSSE pre-authentication encoding: what is really signed.
/// Source: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    out.reserve(payload.len());
    let mut out = out.into_bytes();
    out.extend_from_slice(payload);
    out
}

/// The log that signers had seen: the index of its last entry and the chain head after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Index of the last entry; 0 with the genesis chain for an empty log.
    pub index: Index,
    /// The chain head after it.
    pub chain: Hash,
}

impl Base {
    /// The empty log of a cluster, which the signers of its key ceremony have seen.
    pub fn genesis(origin: &str) -> Self {
        Self {
            index: Index(0),
            chain: Hash(blake3::derive_key(
                "tidegate 2026-11 audit genesis v1",
                origin.as_bytes(),
            )),
        }
    }
}

/// A command that somebody wants signed, with all that its envelope says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The cluster.
    pub origin: String,
    /// Drawn at random, once per intent: a retry keeps it.
    pub id: CommandId,
    /// The current key epoch.
    pub epoch: Epoch,
    /// First log time at which it may be applied.
    pub not_before: LogTime,
    /// Last log time at which it may be applied; at most [`VALIDITY_MAX`] later.
    pub not_after: LogTime,
    /// The log as the signers see it.
    pub base: Base,
    /// What is asked.
    pub command: Command,
    /// The revision that the target must have.
    pub expected_revision: Option<Revision>,
}

impl Proposal {
    /// The command as its approvers are to sign it: arguments that make the PAE longer than
    /// [`PAE_BYTES_MAX`] stand beside the body, which has their digest.
    pub fn unsigned(&self) -> SignedCommand {
        let arguments = self.command.arguments();
        let inline = self.body(Arguments::Inline(arguments.clone()));
        if pae(COMMAND_PAYLOAD_TYPE, &inline).len() <= PAE_BYTES_MAX {
            return SignedCommand {
                body: inline,
                signatures: Vec::new(),
                detached: None,
            };
        }
        SignedCommand {
            body: self.body(Arguments::Detached(signature::sha256(&arguments))),
            signatures: Vec::new(),
            detached: Some(arguments),
        }
    }

    fn body(&self, arguments: Arguments) -> Vec<u8> {
        let Self {
            origin,
            id,
            epoch,
            not_before,
            not_after,
            base,
            command,
            expected_revision,
        } = self;
        canonical::encode(&CommandBody {
            origin: origin.clone(),
            id: *id,
            epoch: *epoch,
            not_before: *not_before,
            not_after: *not_after,
            base_index: base.index,
            base_chain: base.chain,
            kind: command.kind(),
            arguments,
            expected_revision: *expected_revision,
        })
    }
}

/// Signs a proposal with every key given: the whole of what travels to the cluster.
pub fn seal(proposal: &Proposal, keys: &[&SigningKey]) -> SignedCommand {
    let mut signed = proposal.unsigned();
    keys.iter().for_each(|key| signed.sign(key));
    signed
}

impl SignedCommand {
    /// Adds an approval made with `key`, or makes it again.
    pub fn sign(&mut self, key: &SigningKey) {
        self.add_signature(signature::sign(key, COMMAND_PAYLOAD_TYPE, &self.body));
    }

    /// Adds an approval that was made elsewhere. Whether it verifies shows when it is applied.
    pub fn add_signature(&mut self, signature: Signature) {
        let position = self
            .signatures
            .binary_search_by_key(&signature.key, |s| s.key);
        match position {
            Ok(at) => {
                if let Some(present) = self.signatures.get_mut(at) {
                    *present = signature;
                }
            }
            Err(at) => self.signatures.insert(at, signature),
        }
    }

    /// Digest of what is signed: the same whoever signs it. An id, and a session's turn, are bound to
    /// it.
    pub fn digest(&self) -> Hash {
        Hash(blake3::derive_key(DIGEST_CONTEXT, &self.body))
    }

    /// The canonical bytes: what `apply` takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes what [`Self::to_bytes`] made. Nothing is verified.
    ///
    /// # Errors
    /// The bytes are not the canonical form of a signed command.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::decode(bytes)
    }

    /// Decodes the body and the arguments. Nothing is verified but that the arguments belong.
    ///
    /// # Errors
    /// The bytes are not canonical, the kind is unknown, or the arguments are not those that the
    /// body names.
    pub fn parse(&self) -> Result<(CommandBody, Command), EnvelopeError> {
        let body: CommandBody = canonical::decode(&self.body)?;
        let arguments = match (&body.arguments, &self.detached) {
            (Arguments::Inline(bytes), None) => bytes,
            (Arguments::Detached(digest), Some(bytes)) if signature::sha256(bytes) == *digest => {
                bytes
            }
            (Arguments::Detached(_), Some(_)) => return Err(EnvelopeError::OtherArguments),
            (Arguments::Detached(_), None) => return Err(EnvelopeError::NoArguments),
            (Arguments::Inline(_), Some(_)) => return Err(EnvelopeError::ArgumentsTwice),
        };
        let command = Command::from_arguments(body.kind, arguments)?;
        Ok((body, command))
    }
}

/// Why a signed command cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The body is not canonical.
    #[error("body: {0}")]
    Body(#[from] CanonicalError),
    /// The arguments are not those of a known command.
    #[error("arguments: {0}")]
    Arguments(#[from] ArgumentsError),
    /// The arguments that travel beside the body are not those that it names.
    #[error("the detached arguments have another digest than the body names")]
    OtherArguments,
    /// The body names arguments that are not there.
    #[error("the arguments are detached, and missing")]
    NoArguments,
    /// Arguments stand in the body and beside it.
    #[error("the arguments stand in the body and beside it")]
    ArgumentsTwice,
}

impl EnvelopeError {
    /// Its code, which stands in the log: without what a decoder said.
    pub const fn fault(&self) -> MalformedFault {
        match self {
            Self::Body(_) => MalformedFault::Body,
            Self::Arguments(ArgumentsError::UnknownKind(kind)) => {
                MalformedFault::UnknownKind { kind: *kind }
            }
            Self::Arguments(ArgumentsError::Canonical(_)) => MalformedFault::Arguments,
            Self::OtherArguments => MalformedFault::OtherArguments,
            Self::NoArguments => MalformedFault::NoArguments,
            Self::ArgumentsTwice => MalformedFault::ArgumentsTwice,
        }
    }
}
