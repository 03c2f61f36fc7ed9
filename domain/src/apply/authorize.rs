//! Who may ask: the one check of a command's signers against the keys of the state.
use super::{
    Stamp,
    access::{Demand, demand},
    examine::Said,
};
use crate::{
    command::{Base, Command, RotateKeys},
    id::{CommandId, Epoch, Hash, LogTime, PublicKey, Revision},
    key::{KeyStatus, Role, RoleKeys},
    rejection::Unauthorized,
    state::State,
};
use std::collections::BTreeSet;
use tidegate_keys::TooFew;

/// A value that carries the signatures which its kind, role and epoch demand. Only
/// [`Examined::authorize`](super::Examined::authorize) makes one of what was asked in earnest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    terms: Terms,
    signers: Vec<PublicKey>,
}

/// What the envelope says of when a command may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Applied at most once.
    pub id: CommandId,
    /// Digest of the body that was signed: what the id stands for.
    pub digest: Hash,
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
        }
    }
}

impl<T> Verified<T> {
    pub(super) const fn new(value: T, terms: Terms, signers: Vec<PublicKey>) -> Self {
        Self {
            value,
            terms,
            signers,
        }
    }

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
}

/// A command as if all who must had signed it. For [`super::preview`] only, which changes nothing.
pub(super) fn assumed(command: Command) -> Verified<Command> {
    Verified {
        value: command,
        terms: Terms {
            id: CommandId([0; 16]),
            digest: Hash([0; 32]),
            not_before: LogTime(0),
            not_after: LogTime(u64::MAX),
            expected_revision: None,
        },
        signers: Vec::new(),
    }
}

/// Checks that a command is for this cluster, epoch and log, and counts those who claim to have
/// signed it; answers those that count, in order.
///
/// # Errors
/// The first thing that does not fit.
pub(super) fn authorized(
    said: &Said,
    state: &State,
    stamp: Stamp,
) -> Result<Vec<PublicKey>, Unauthorized> {
    if said.origin != state.meta().origin {
        return Err(Unauthorized::OtherOrigin {
            existing: state.meta().origin.clone(),
            requested: said.origin.clone(),
        });
    }
    check_cluster(state, said, stamp)?;
    count(state, &said.command, &said.claimed)
}

/// Checks that the signers meant this cluster, in this epoch, with this history.
fn check_cluster(state: &State, said: &Said, stamp: Stamp) -> Result<(), Unauthorized> {
    let epoch = state.keys().epoch;
    if epoch == Epoch(0) && !matches!(said.command, Command::RotateKeys(_)) {
        return Err(Unauthorized::NoKeys);
    }
    if said.epoch != epoch {
        return Err(Unauthorized::OtherEpoch {
            existing: epoch,
            requested: said.epoch,
        });
    }
    let base = said.base;
    // Chain heads further back are not kept: a signer who names one of those is believed.
    let last = stamp.index.0.checked_sub(1);
    let fits = match last {
        Some(last) if base.index.0 == last => base.chain == stamp.chain,
        Some(last) => base.index.0 < last,
        None => false,
    };
    if fits || (base.index.0 == 0 && base == Base::genesis(&said.origin)) {
        return Ok(());
    }
    Err(Unauthorized::OtherBase {
        requested: base.index,
    })
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
        #[cfg(feature = "bench")]
        Demand::Nobody => Ok(Vec::new()),
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

fn enough(role: Role, needed: u16, found: usize) -> Result<(), Unauthorized> {
    tidegate_keys::enough(needed, found).map_err(|TooFew { needed, found }| {
        Unauthorized::TooFewSignatures {
            role,
            needed,
            found,
        }
    })
}
