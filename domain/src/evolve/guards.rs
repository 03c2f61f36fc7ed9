//! Folds of floors, baselines, recovery images, stops, holds and region policies.
use super::{Inconsistent, row};
use crate::{
    guard::{
        Baseline, BaselineKey, Floor, Hold, HoldKey, RecoveryImage, RegionPolicy, Scope, Stop,
    },
    id::{Region, StopId},
    state::State,
};

/// FLOOR-1: this is the only place that writes a floor, and it refuses to lower one.
pub(super) fn floor_raised(
    state: &mut State,
    scope: &Scope,
    floor: Floor,
) -> Result<(), Inconsistent> {
    let existing = state.floors.get(scope);
    if existing.is_some_and(|existing| existing.security_version >= floor.security_version) {
        return Err(Inconsistent::Conflict("the floor is there"));
    }
    state.floors.insert(scope.clone(), floor);
    Ok(())
}

pub(super) fn baseline_set(
    state: &mut State,
    key: &BaselineKey,
    baseline: &Baseline,
) -> Result<(), Inconsistent> {
    state.baselines.insert(key.clone(), baseline.clone());
    Ok(())
}

pub(super) fn recovery_image_declared(
    state: &mut State,
    scope: &Scope,
    image: &RecoveryImage,
) -> Result<(), Inconsistent> {
    state.recovery_images.insert(scope.clone(), image.clone());
    Ok(())
}

pub(super) fn recovery_image_retired(state: &mut State, scope: &Scope) -> Result<(), Inconsistent> {
    let removed = state.recovery_images.remove(scope);
    removed
        .map(drop)
        .ok_or(Inconsistent::Missing("recovery image"))
}

pub(super) fn stop_raised(state: &mut State, stop: &Stop) -> Result<(), Inconsistent> {
    if state.stops.contains(&stop.id) {
        return Err(Inconsistent::Conflict("the stop is raised"));
    }
    let meta = state.meta.get_mut();
    meta.last_stop = meta.last_stop.max(stop.id);
    state.stops.insert(stop.id, stop.clone());
    Ok(())
}

pub(super) fn stop_lifted(state: &mut State, stop: StopId) -> Result<(), Inconsistent> {
    let removed = state.stops.remove(&stop);
    removed.map(drop).ok_or(Inconsistent::Missing("stop"))
}

pub(super) fn region_policy_set(
    state: &mut State,
    region: &Region,
    policy: &RegionPolicy,
) -> Result<(), Inconsistent> {
    state.region_policies.insert(region.clone(), policy.clone());
    Ok(())
}

pub(super) fn hold_set(state: &mut State, key: &HoldKey, hold: &Hold) -> Result<(), Inconsistent> {
    if let Some(before) = state.holds.get(key) {
        let by_end = (before.expires, key.clone());
        state.derived.holds_by_end.remove(&by_end);
    }
    state
        .derived
        .holds_by_end
        .insert((hold.expires, key.clone()));
    state.holds.insert(key.clone(), hold.clone());
    Ok(())
}

pub(super) fn hold_released(state: &mut State, key: &HoldKey) -> Result<(), Inconsistent> {
    let expires = row(&mut state.holds, key, "hold")?.expires;
    state.holds.remove(key);
    state.derived.holds_by_end.remove(&(expires, key.clone()));
    Ok(())
}
