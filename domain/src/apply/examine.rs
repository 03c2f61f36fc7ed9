//! What can be said of a signed command without any state: whether it is one, and whether its
//! signatures verify. That is most of the work of applying it, and the answer never changes: it is
//! done once on each node, ahead of the command's turn and on any thread.
use super::{Stamp, Terms, Verified, authorize::authorized};
use crate::{
    command::{
        Base, COMMAND_PAYLOAD_TYPE, Command, DETACHED_BYTES_MAX, ENVELOPE_BYTES_MAX, PAE_BYTES_MAX,
        SIGNATURES_MAX, Signature, SignedCommand, pae,
    },
    id::{Epoch, PublicKey},
    rejection::{MalformedFault, Unauthorized},
    signature::{BadSignature, verify_pae},
    state::State,
};
use std::collections::BTreeSet;
use tidegate_mutant::{Mutant, is_on};

/// A signed command after everything was done with it that needs no state. Only
/// [`Examined::of`] and [`Claim::verify`] make one, so that whoever has it knows that no signature
/// is left to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined(Result<Box<Said>, Unauthorized>);

/// What an envelope says, of which no signature was verified yet.
#[derive(Debug)]
pub struct Claim {
    said: Box<Said>,
    pae: Vec<u8>,
    signatures: Vec<Signature>,
}

/// What an envelope says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) origin: String,
    pub(super) epoch: Epoch,
    pub(super) base: Base,
    pub(super) terms: Terms,
    pub(super) command: Command,
    /// The keys that claim to have signed, each once.
    pub(super) claimed: BTreeSet<PublicKey>,
}

impl Claim {
    /// Decodes an envelope, which is the canonical form of a [`SignedCommand`] if it is anything.
    ///
    /// # Errors
    /// [`Unauthorized::Malformed`]: it is too large, or no command in canonical form.
    pub fn read(envelope: &[u8]) -> Result<Self, Unauthorized> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(malformed(MalformedFault::TooLong {
                bytes: envelope.len() as u64,
                max: ENVELOPE_BYTES_MAX as u64,
            }));
        }
        let signed =
            SignedCommand::from_bytes(envelope).map_err(|_| malformed(MalformedFault::Envelope))?;
        let detached = signed.detached.as_ref().map_or(0, Vec::len);
        if detached > DETACHED_BYTES_MAX {
            return Err(malformed(MalformedFault::ArgumentsTooLong {
                bytes: detached as u64,
                max: DETACHED_BYTES_MAX as u64,
            }));
        }
        let (body, command) = signed.parse().map_err(|why| malformed(why.fault()))?;
        let pae = pae(COMMAND_PAYLOAD_TYPE, &signed.body);
        if pae.len() > PAE_BYTES_MAX {
            return Err(malformed(MalformedFault::PaeTooLong {
                bytes: pae.len() as u64,
                max: PAE_BYTES_MAX as u64,
            }));
        }
        let claimed = claimed_signers(&signed.signatures)?;
        let terms = Terms {
            id: body.id,
            digest: signed.digest(),
            not_before: body.not_before,
            not_after: body.not_after,
            expected_revision: body.expected_revision,
        };
        let said = Said {
            origin: body.origin,
            epoch: body.epoch,
            base: Base {
                index: body.base_index,
                chain: body.base_chain,
            },
            terms,
            command,
            claimed,
        };
        Ok(Self {
            said: Box::new(said),
            pae,
            signatures: signed.signatures,
        })
    }

    /// How many signatures there are to verify: each takes some 30 µs.
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }

    pub(super) const fn said(&self) -> &Said {
        &self.said
    }

    /// Verifies every signature, also of those that don't count.
    pub fn verify(self) -> Examined {
        let unverified = is_on(Mutant::SignatureUnverified);
        let bad = self
            .signatures
            .iter()
            .filter(|_| !unverified)
            .find_map(|signature| verify_pae(signature, &self.pae).err());
        Examined(match bad {
            Some(BadSignature { key }) => Err(Unauthorized::BadSignature { key }),
            None => Ok(self.said),
        })
    }
}

impl Examined {
    /// Examines an envelope, whatever it may be.
    pub fn of(envelope: &[u8]) -> Self {
        match Claim::read(envelope) {
            Ok(claim) if is_on(Mutant::ReplicaTrusts) => Self(Ok(claim.said)),
            Ok(claim) => claim.verify(),
            Err(unauthorized) => Self(Err(unauthorized)),
        }
    }

    pub(super) fn said(&self) -> Result<&Said, Unauthorized> {
        match &self.0 {
            Ok(said) => Ok(said),
            Err(unauthorized) => Err(unauthorized.clone()),
        }
    }

    /// What is asked, and when it may be applied; nothing if it is no command.
    pub fn asked(&self) -> Option<(&Command, &Terms)> {
        let said = self.0.as_ref().ok()?;
        Some((&said.command, &said.terms))
    }

    /// The command with those who asked for it, if it is for this cluster, epoch and log, and they
    /// may ask for it, as things stand.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn authorize(self, state: &State, stamp: Stamp) -> Result<Verified<Command>, Unauthorized> {
        let said = self.0?;
        let signers = authorized(&said, state, stamp)?;
        let Said { command, terms, .. } = *said;
        Ok(Verified::new(command, terms, signers))
    }
}

/// The keys that claim to have signed: sorted, so that there is one form, and so distinct.
fn claimed_signers(signatures: &[Signature]) -> Result<BTreeSet<PublicKey>, Unauthorized> {
    if signatures.len() > SIGNATURES_MAX {
        return Err(malformed(MalformedFault::TooManySignatures {
            count: signatures.len() as u64,
            max: SIGNATURES_MAX as u64,
        }));
    }
    if !signatures.is_sorted_by(|a, b| a.key < b.key) {
        return Err(malformed(MalformedFault::SignaturesUnsorted));
    }
    Ok(signatures.iter().map(|signature| signature.key).collect())
}

const fn malformed(fault: MalformedFault) -> Unauthorized {
    Unauthorized::Malformed { fault }
}
