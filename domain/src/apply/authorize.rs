//! The one security check. Nothing else in the domain looks at a signature of a command.
use super::{
    Stamp,
    access::{Demand, demand},
};
use crate::{
    command::{
        Base, COMMAND_PAYLOAD_TYPE, Command, CommandBody, DETACHED_BYTES_MAX, ENVELOPE_BYTES_MAX,
        PAE_BYTES_MAX, RotateKeys, SIGNATURES_MAX, Signature, SignedCommand, pae,
    },
    id::{CommandId, Epoch, LogTime, PublicKey, Revision},
    key::{KeyStatus, Role, RoleKeys},
    rejection::Unauthorized,
    signature::{BadSignature, verify_pae},
    state::State,
};
use std::collections::BTreeSet;
use tidegate_mutant::{Mutant, is_on};

/// A value that carries the signatures which its kind, role and epoch demand. Outside this module
/// only [`authorize`] and the last of its steps, [`Counted::verify`], make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    terms: Terms,
    signers: Vec<PublicKey>,
    keys: Revision,
}

/// What the envelope says of when a command may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Applied at most once.
    pub id: CommandId,
    /// First log time at which it may be applied.
    pub not_before: LogTime,
    /// Last log time at which it may be applied.
    pub not_after: LogTime,
    /// The revision that the target must have.
    pub expected_revision: Option<Revision>,
}

#[cfg(feature = "testing")]
impl Verified<Command> {
    /// A command that nobody signed, so that a bench can tell what signatures cost.
    pub fn assume(command: impl Into<Command>, terms: Terms, signers: Vec<PublicKey>) -> Self {
        Self {
            value: command.into(),
            terms,
            signers,
            keys: Revision(0),
        }
    }
}

impl<T> Verified<T> {
    /// What was verified.
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// When it may be applied.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The distinct keys whose signatures counted, in order; at least one.
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }

    /// The key set in which they counted: once it has changed, they must be counted again.
    pub const fn keys(&self) -> Revision {
        self.keys
    }
}

/// A command as if all who must had signed it. For [`super::preview`] only, which changes nothing.
pub(super) fn assumed(command: Command) -> Verified<Command> {
    Verified {
        value: command,
        terms: Terms {
            id: CommandId([0; 16]),
            not_before: LogTime(0),
            not_after: LogTime(u64::MAX),
            expected_revision: None,
        },
        signers: Vec::new(),
        keys: Revision(0),
    }
}

/// Checks that a command was signed for this cluster, epoch and log by those whom its kind
/// demands. `envelope` is the canonical form of a [`SignedCommand`].
///
/// Whoever guards the state with a lock takes the three steps one by one, and holds it for the
/// second alone.
///
/// # Errors
/// The first thing that is wrong.
pub fn authorize(
    state: &State,
    envelope: &[u8],
    stamp: Stamp,
) -> Result<Verified<Command>, Unauthorized> {
    Claim::read(envelope)?.count(state, stamp)?.verify()
}

/// What an envelope says. Nothing of it is checked yet.
#[derive(Debug)]
pub struct Claim {
    signed: SignedCommand,
    body: CommandBody,
    command: Command,
}

/// A command whose claimed signers suffice, in the state in which they were counted. Whether they
/// signed it is left to see.
#[derive(Debug)]
pub struct Counted {
    unverified: Verified<Command>,
    pae: Vec<u8>,
    signatures: Vec<Signature>,
}

impl Claim {
    /// Decodes an envelope.
    ///
    /// # Errors
    /// It is too large, or no command in canonical form.
    pub fn read(envelope: &[u8]) -> Result<Self, Unauthorized> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(malformed(format_args!(
                "{} bytes, at most {ENVELOPE_BYTES_MAX}",
                envelope.len()
            )));
        }
        let signed = SignedCommand::from_bytes(envelope).map_err(malformed)?;
        let detached = signed.detached.as_ref().map_or(0, Vec::len);
        if detached > DETACHED_BYTES_MAX {
            return Err(malformed(format_args!(
                "{detached} bytes of arguments, at most {DETACHED_BYTES_MAX}"
            )));
        }
        let (body, command) = signed.parse().map_err(malformed)?;
        Ok(Self {
            signed,
            body,
            command,
        })
    }

    /// Checks that the command is for this cluster, epoch and log, and counts those who claim to
    /// have signed it: before anything is verified, so that an outsider costs no curve arithmetic.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn count(self, state: &State, stamp: Stamp) -> Result<Counted, Unauthorized> {
        let Self {
            signed,
            body,
            command,
        } = self;
        if body.origin != state.meta().origin {
            return Err(Unauthorized::OtherOrigin {
                existing: state.meta().origin.clone(),
                requested: body.origin,
            });
        }
        check_cluster(state, &body, &command, stamp)?;
        let pae = pae(COMMAND_PAYLOAD_TYPE, &signed.body);
        if pae.len() > PAE_BYTES_MAX {
            return Err(malformed(format_args!(
                "{} bytes to sign, at most {PAE_BYTES_MAX}",
                pae.len()
            )));
        }
        let claimed = claimed_signers(&signed.signatures)?;
        let signers = count(state, &command, &claimed)?;
        let terms = Terms {
            id: body.id,
            not_before: body.not_before,
            not_after: body.not_after,
            expected_revision: body.expected_revision,
        };
        let unverified = Verified {
            value: command,
            terms,
            signers,
            keys: state.keys().revision,
        };
        Ok(Counted {
            unverified,
            pae,
            signatures: signed.signatures,
        })
    }
}

impl Counted {
    /// Verifies every signature, also of those that don't count. Takes time, and no state.
    ///
    /// # Errors
    /// The first one that does not verify.
    pub fn verify(self) -> Result<Verified<Command>, Unauthorized> {
        let unverified = is_on(Mutant::SignatureUnverified);
        for signature in self.signatures.iter().filter(|_| !unverified) {
            verify_pae(signature, &self.pae)
                .map_err(|BadSignature { key }| Unauthorized::BadSignature { key })?;
        }
        Ok(self.unverified)
    }
}

/// Checks that the signers meant this cluster, in this epoch, with this history.
fn check_cluster(
    state: &State,
    body: &CommandBody,
    command: &Command,
    stamp: Stamp,
) -> Result<(), Unauthorized> {
    let epoch = state.keys().epoch;
    if epoch == Epoch(0) && !matches!(command, Command::RotateKeys(_)) {
        return Err(Unauthorized::NoKeys);
    }
    if body.epoch != epoch {
        return Err(Unauthorized::OtherEpoch {
            existing: epoch,
            requested: body.epoch,
        });
    }
    let base = Base {
        index: body.base_index,
        chain: body.base_chain,
    };
    // Chain heads further back are not kept: a signer who names one of those is believed.
    let last = stamp.index.0.checked_sub(1);
    let fits = match last {
        Some(last) if base.index.0 == last => base.chain == stamp.chain,
        Some(last) => base.index.0 < last,
        None => false,
    };
    if fits || (base.index.0 == 0 && base == Base::genesis(&body.origin)) {
        return Ok(());
    }
    Err(Unauthorized::OtherBase {
        requested: base.index,
    })
}

/// The keys that claim to have signed: sorted, so that there is one form, and so distinct.
fn claimed_signers(signatures: &[Signature]) -> Result<BTreeSet<PublicKey>, Unauthorized> {
    if signatures.len() > SIGNATURES_MAX {
        return Err(malformed(format_args!(
            "{} signatures, at most {SIGNATURES_MAX}",
            signatures.len()
        )));
    }
    if !signatures.is_sorted_by(|a, b| a.key < b.key) {
        return Err(malformed("signatures stand sorted by key, each key once"));
    }
    Ok(signatures.iter().map(|signature| signature.key).collect())
}

/// Counts the signers that matter to the command, and checks that they suffice.
fn count(
    state: &State,
    command: &Command,
    claimed: &BTreeSet<PublicKey>,
) -> Result<Vec<PublicKey>, Unauthorized> {
    match demand(state, command) {
        Demand::RootQuorums => root_quorums(state, command, claimed),
        Demand::Operator => of_role(state, Role::Operator, Some(1), claimed),
        Demand::OperatorQuorum => of_role(state, Role::Operator, None, claimed),
        Demand::Decision => of_role(state, Role::Decision, Some(1), claimed),
        Demand::Session(session) => {
            let signers = of_role(state, Role::Decision, Some(1), claimed)?;
            let owner = state.sessions().get(&session).map(|session| session.key);
            match owner.filter(|owner| signers.contains(owner)) {
                Some(owner) => Ok(vec![owner]),
                None => Err(Unauthorized::OtherSession { session }),
            }
        }
        Demand::Node => of_role(state, Role::Node, Some(1), claimed),
    }
}

/// The trusted signers of a role: at least `needed`, or the role's threshold.
fn of_role(
    state: &State,
    role: Role,
    needed: Option<u16>,
    claimed: &BTreeSet<PublicKey>,
) -> Result<Vec<PublicKey>, Unauthorized> {
    let keys = state.keys().role(role);
    let trusted =
        |key: &&PublicKey| keys.and_then(|keys| keys.status(key)) == Some(KeyStatus::Trusted);
    let signers: Vec<PublicKey> = claimed.iter().filter(trusted).copied().collect();
    let threshold = keys.map_or(1, |keys: &RoleKeys| keys.threshold);
    enough(role, needed.unwrap_or(threshold), signers.len())?;
    Ok(signers)
}

/// EPOCH-1: thresholds of the root keys of both epochs.
fn root_quorums(
    state: &State,
    command: &Command,
    claimed: &BTreeSet<PublicKey>,
) -> Result<Vec<PublicKey>, Unauthorized> {
    let mut signers = BTreeSet::new();
    if state.keys().epoch > Epoch(0) {
        signers.extend(of_role(state, Role::Root, None, claimed)?);
    }
    let Command::RotateKeys(RotateKeys { roles, .. }) = command else {
        unreachable!("only RotateKeys demands root quorums");
    };
    let root = roles.iter().find(|proposed| proposed.role == Role::Root);
    let proposed: BTreeSet<PublicKey> = root
        .into_iter()
        .flat_map(|root| &root.keys)
        .map(|key| key.key)
        .collect();
    let new: BTreeSet<PublicKey> = claimed.intersection(&proposed).copied().collect();
    enough(Role::Root, root.map_or(1, |root| root.threshold), new.len())?;
    signers.extend(new);
    Ok(signers.into_iter().collect())
}

/// A threshold of zero counts as one: nothing is ever authorized by nobody.
fn enough(role: Role, needed: u16, found: usize) -> Result<(), Unauthorized> {
    let needed = needed.max(1);
    if found >= usize::from(needed) {
        return Ok(());
    }
    Err(Unauthorized::TooFewSignatures {
        role,
        needed,
        found: u16::try_from(found).unwrap_or(u16::MAX),
    })
}

fn malformed(detail: impl ToString) -> Unauthorized {
    Unauthorized::Malformed {
        detail: detail.to_string(),
    }
}
