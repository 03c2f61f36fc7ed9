//! EPOCH-1, EPOCH-2 and the stops' part of HALT-2.
use super::{Transition, Violation, ensure};
use crate::{event::Event, key::KeyStatus, release::offerable, rollout::Life};

/// EPOCH-1: the epoch stays, or rises by exactly one by a rotation. (That both root quorums signed
/// it is AUTH-1's matter.)
pub(super) fn epoch_rises_by_one(t: &Transition<'_>) -> Result<(), Violation> {
    let (was, is) = (t.before.keys().epoch.0, t.after.keys().epoch.0);
    let rotations = t
        .events()
        .iter()
        .filter(|e| matches!(e, Event::KeysRotated(_)));
    let rotations = rotations.count();
    let expected = was.saturating_add(u32::try_from(rotations).unwrap_or(u32::MAX));
    ensure(rotations <= 1 && is == expected, "EPOCH-1", || {
        format!("epoch {was} became {is} by {rotations} rotations")
    })
}

/// A revoked key is never trusted again, no key is forgotten, and none serves two roles.
pub(super) fn revoked_is_for_ever(t: &Transition<'_>) -> Result<(), Violation> {
    for (role, keys) in &t.before.keys().roles {
        let after = t.after.keys().role(*role);
        for (key, entry) in &keys.keys {
            let status = after.and_then(|after| after.status(key));
            let revoked = entry.status == KeyStatus::Revoked;
            let holds = status.is_some() && (!revoked || status == Some(KeyStatus::Revoked));
            ensure(holds, "EPOCH-2", || {
                format!("{role} key {key} was {:?}, is {status:?}", entry.status)
            })?;
        }
    }
    let mut all: Vec<_> = t
        .after
        .keys()
        .roles
        .values()
        .flat_map(|r| r.keys.keys())
        .collect();
    let count = all.len();
    all.sort();
    all.dedup();
    ensure(all.len() == count, "EPOCH-2", || {
        "a key serves two roles".to_owned()
    })
}

/// EPOCH-2, as far as the store goes: no rollout runs whose release lacks its threshold of
/// signatures by distinct release keys that are not revoked.
pub(super) fn running_releases_are_signed(t: &Transition<'_>) -> Result<(), Violation> {
    for (id, rollout) in t.after.rollouts().iter() {
        if rollout.life != Life::Running {
            continue;
        }
        let release = t.after.releases().get(&rollout.spec.release);
        let verdict = release.map(|release| offerable(t.after, release));
        ensure(verdict == Some(Ok(())), "EPOCH-2", || {
            format!("rollout {id} runs {}: {verdict:?}", rollout.spec.release)
        })?;
    }
    Ok(())
}

/// HALT-2: an emergency stop that is gone was lifted, by an event that AUTH-1 asks a quorum for.
pub(super) fn stops_are_lifted_by_quorum(t: &Transition<'_>) -> Result<(), Violation> {
    for (id, stop) in t.before.stops().iter() {
        let lifted = t
            .events()
            .iter()
            .any(|event| matches!(event, Event::StopLifted { stop, reason: _ } if stop == id));
        let holds = lifted || t.after.stops().get(id) == Some(stop);
        ensure(holds, "HALT-2", || {
            format!("stop {id} went without being lifted")
        })?;
    }
    Ok(())
}
