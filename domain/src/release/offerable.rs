//! EPOCH-2: whether enough keys stand behind a release.
use super::{Release, ReleaseStatus};
use crate::{
    key::{KeySet, KeyStatus, Role},
    state::State,
};
use tidegate_keys::{TooFew, enough};
use tidegate_mutant::{Mutant, is_on};

/// Why a release may not be offered, whatever rollouts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOfferable {
    /// It was retired or revoked.
    #[error("it was withdrawn")]
    Withdrawn(ReleaseStatus),
    /// Too few distinct `release` keys that are trusted or retired have signed it.
    #[error("it needs {needed} signature(s) by distinct release keys, has {found}")]
    UnderSigned {
        /// The threshold of the role.
        needed: u16,
        /// Signatures that count.
        found: u16,
    },
}

/// Whether a release may be offered under the state's keys. The same goes for returning to it.
///
/// # Errors
/// Why not.
pub fn offerable(state: &State, release: &Release) -> Result<(), NotOfferable> {
    offerable_under(state.keys(), release)
}

/// Whether a release may be offered under a key set: it is not withdrawn, and a threshold of
/// distinct raw `release` keys signed it that are trusted, or were when they signed it and are
/// retired by now. A revoked key counts for nothing.
///
/// # Errors
/// Why not.
pub fn offerable_under(keys: &KeySet, release: &Release) -> Result<(), NotOfferable> {
    if release.status != ReleaseStatus::Registered {
        return Err(NotOfferable::Withdrawn(release.status));
    }
    let role = keys.role(Role::Release);
    let counts = |status| match status {
        KeyStatus::Trusted | KeyStatus::Retired => true,
        KeyStatus::Revoked => is_on(Mutant::RevokedKeyCounts),
    };
    let signers = release.signatures.keys();
    let found = signers
        .filter_map(|key| role.and_then(|role| role.status(key)))
        .filter(|status| counts(*status))
        .count();
    let threshold = role.map_or(1, |role| role.threshold);
    enough(threshold, found)
        .map_err(|TooFew { needed, found }| NotOfferable::UnderSigned { needed, found })
}
