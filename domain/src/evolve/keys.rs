//! Folds of trusted keys.
use super::{Inconsistent, revision};
use crate::{
    id::{Epoch, PublicKey},
    key::{KeySet, KeyStatus},
    state::State,
};
use tidegate_mutant::{Mutant, is_on};

pub(super) fn rotated(state: &mut State, keys: &KeySet) -> Result<(), Inconsistent> {
    let next = Epoch(state.keys().epoch.0.saturating_add(1));
    if keys.epoch != next && !(is_on(Mutant::EpochSkipped) && keys.epoch > next) {
        return Err(Inconsistent::Conflict("the key epoch is another"));
    }
    state.keys.get_mut().clone_from(keys);
    Ok(())
}

pub(super) fn revoked(state: &mut State, key: &PublicKey) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let keys = state.keys.get_mut();
    let entry = keys
        .roles
        .values_mut()
        .find_map(|role| role.keys.get_mut(key))
        .ok_or(Inconsistent::Missing("key"))?;
    entry.status = KeyStatus::Revoked;
    keys.revision = revision;
    Ok(())
}
