//! Decisions on trusted keys.
use super::{Decision, invalid, invalid_at};
use crate::{
    apply::Context,
    command::{RevokeKey, RotateKeys},
    event::Event,
    id::{Epoch, ReleaseName},
    key::{KeyEntry, KeySet, KeyStatus, ProposedKey, ProposedRole, Role, RoleKeys},
    rejection::{Field, Limit, Rejection, ValueFault},
    release::offerable_under,
    signature,
    state::State,
};
use std::collections::BTreeMap;
use tidegate_mutant::{Mutant, is_on};

/// Most stranded releases that a refusal names.
const STRANDED_NAMED_MAX: usize = 100;

/// EPOCH-1: the next epoch, whose root quorums `authorize` has counted.
pub(super) fn rotate(state: &State, arguments: &RotateKeys, context: &Context) -> Decision {
    let RotateKeys {
        epoch,
        roles,
        strand,
    } = arguments;
    let before = state.keys();
    let expected = Epoch(before.epoch.0.saturating_add(1));
    if *epoch != expected && !(is_on(Mutant::EpochSkipped) && *epoch > expected) {
        return Err(Rejection::EpochNotNext {
            expected,
            requested: *epoch,
        });
    }
    if !roles.is_sorted_by(|a, b| a.role < b.role) {
        return Err(invalid(Field::Roles, ValueFault::Unsorted));
    }
    for role in [Role::Root, Role::Release, Role::Operator] {
        if !roles.iter().any(|proposed| proposed.role == role) {
            return Err(threshold_out_of_range(role, 0, 0));
        }
    }
    let after = KeySet {
        epoch: *epoch,
        roles: rotated_roles(before, roles, *epoch)?,
        since: context.time,
        revision: context.revision(),
    };
    check_stranded(state, &after, *strand)?;
    Ok(vec![Event::KeysRotated(after)])
}

/// The roles of the next epoch: what is proposed is trusted, what is left out is retired, and
/// what was revoked stays revoked.
fn rotated_roles(
    before: &KeySet,
    proposed: &[ProposedRole],
    epoch: Epoch,
) -> Result<BTreeMap<Role, RoleKeys>, Rejection> {
    let mut roles = before.roles.clone();
    for entry in roles.values_mut().flat_map(|role| role.keys.values_mut()) {
        if entry.status == KeyStatus::Trusted {
            entry.status = KeyStatus::Retired;
        }
    }
    for (at, proposed) in proposed.iter().enumerate() {
        let ProposedRole {
            role,
            threshold,
            keys,
        } = proposed;
        let count = u16::try_from(keys.len()).unwrap_or(u16::MAX);
        if *threshold == 0 || *threshold > count {
            return Err(threshold_out_of_range(*role, *threshold, count));
        }
        if !keys.is_sorted_by_key(|proposed| proposed.key) {
            return Err(invalid_at(Field::RoleKeys, at, ValueFault::Unsorted));
        }
        for key in keys {
            trust(&mut roles, *role, key, epoch)?;
        }
        let keys = roles.entry(*role).or_default();
        keys.threshold = *threshold;
        if keys.keys.len() > KeySet::KEYS_MAX {
            return Err(Rejection::LimitReached {
                what: Limit::Keys { role: *role },
                max: KeySet::KEYS_MAX as u64,
            });
        }
    }
    Ok(roles)
}

/// Trusts one key in one role: one that is sound, serves no other role, and was never revoked.
fn trust(
    roles: &mut BTreeMap<Role, RoleKeys>,
    role: Role,
    proposed: &ProposedKey,
    epoch: Epoch,
) -> Result<(), Rejection> {
    let ProposedKey { key, name } = proposed;
    let known = roles
        .iter()
        .find_map(|(role, keys)| keys.keys.get(key).map(|entry| (*role, entry.clone())));
    let since = match known {
        Some((_, entry)) if entry.status == KeyStatus::Revoked => {
            return Err(Rejection::RevokedKeyReturns { key: *key });
        }
        // Everything that was trusted before is retired by now: this key was proposed twice.
        Some((_, entry)) if entry.status == KeyStatus::Trusted => {
            return Err(Rejection::DuplicateKey { key: *key });
        }
        Some((served, _)) if served != role => {
            return Err(Rejection::DuplicateKey { key: *key });
        }
        Some((_, entry)) => entry.since,
        None => {
            signature::acceptable(key)
                .map_err(|fault| Rejection::UnacceptableKey { key: *key, fault })?;
            epoch
        }
    };
    let entry = KeyEntry {
        name: name.clone(),
        status: KeyStatus::Trusted,
        since,
    };
    roles.entry(role).or_default().keys.insert(*key, entry);
    Ok(())
}

pub(super) fn revoke(state: &State, arguments: &RevokeKey, _context: &Context) -> Decision {
    let RevokeKey {
        key,
        reason,
        strand,
    } = arguments;
    let mut after = state.keys().clone();
    let (role, keys) = after
        .roles
        .iter_mut()
        .find(|(_, keys)| keys.keys.contains_key(key))
        .ok_or(Rejection::UnknownKey { key: *key })?;
    let role = *role;
    let Some(entry) = keys.keys.get_mut(key) else {
        return Err(Rejection::UnknownKey { key: *key });
    };
    let was = std::mem::replace(&mut entry.status, KeyStatus::Revoked);
    if was == KeyStatus::Revoked {
        return Err(invalid(Field::Key, ValueFault::RevokedBefore));
    }
    // Without a root quorum no epoch could ever begin again; any other role is mended by one.
    let too_few = keys.trusted() < usize::from(keys.threshold);
    if was == KeyStatus::Trusted && too_few && (role == Role::Root || !strand) {
        let left = u16::try_from(keys.trusted()).unwrap_or(u16::MAX);
        return Err(threshold_out_of_range(role, keys.threshold, left));
    }
    check_stranded(state, &after, *strand)?;
    Ok(vec![Event::KeyRevoked {
        key: *key,
        reason: reason.clone(),
    }])
}

/// Refuses to leave releases without enough signatures, unless that was asked for.
fn check_stranded(state: &State, after: &KeySet, strand: bool) -> Result<(), Rejection> {
    if strand {
        return Ok(());
    }
    let releases: Vec<ReleaseName> = state
        .releases()
        .iter()
        .filter(|(_, release)| offerable_under(state.keys(), release).is_ok())
        .filter(|(_, release)| offerable_under(after, release).is_err())
        .map(|(name, _)| name.clone())
        .take(STRANDED_NAMED_MAX)
        .collect();
    if releases.is_empty() {
        return Ok(());
    }
    Err(Rejection::WouldStrand { releases })
}

const fn threshold_out_of_range(role: Role, threshold: u16, keys: u16) -> Rejection {
    Rejection::ThresholdOutOfRange {
        role,
        threshold,
        keys,
    }
}
