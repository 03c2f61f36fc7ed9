//! Decisions on floors, recovery images, stops, region policies and holds.
use super::{
    Decision, check_limit, check_range, invalid,
    spec::{check_freezes, check_windows},
};
use crate::{
    apply::Context,
    command::{
        DeclareRecoveryImage, EmergencyStop, LiftStop, RaiseFloor, SetHold, SetRegionPolicy,
    },
    event::Event,
    floor::{self, Blocker},
    guard::{Floor, Hold, HoldKind, RecoveryImage, RegionPolicy, Stop},
    id::{ReleaseName, Revision, StopId},
    rejection::{Field, Limit, Rejection, ValueFault},
    release::ReleaseStatus,
    state::State,
};
use std::collections::BTreeSet;
use tidegate_mutant::{Mutant, is_on};

/// Most releases and recovery images that one floor takes away: an entry holds their names.
const RETIRED_MAX: u32 = 50_000;

/// FLOOR-1 and FLOOR-3: floors rise, never over what devices may have to fall back to. With
/// `retire` whatever is in the way goes in the same step; rollouts of it are halted by
/// consequence.
pub(super) fn raise_floor(state: &State, arguments: &RaiseFloor, context: &Context) -> Decision {
    let RaiseFloor {
        scope,
        security_version: to,
        reason,
        retire,
    } = arguments;
    let existing = floor::highest_covering(state, &scope.component, &scope.selector);
    if *to <= existing && !is_on(Mutant::FloorFalls) {
        return Err(Rejection::FloorNotRaised {
            existing,
            requested: *to,
        });
    }
    if !state.floors().contains(scope) {
        let max = state.config().limits.scopes_max;
        check_limit(Limit::Floors, state.floors().len(), max)?;
    }
    let floor = Floor {
        security_version: *to,
        since: context.time,
        revision: context.revision(),
    };
    let mut images = Vec::new();
    let mut releases: BTreeSet<&ReleaseName> = BTreeSet::new();
    for blocker in floor::blockers(state, scope, *to) {
        if is_on(Mutant::FloorAboveRollout) {
            continue;
        }
        if !retire {
            return Err(blocker.rejection(*to));
        }
        match blocker {
            Blocker::RecoveryImage { scope, .. } => images.push(scope.clone()),
            Blocker::Rollout { release, .. } | Blocker::RollbackTarget { release, .. } => {
                releases.insert(release);
            }
        }
    }
    let gone = releases.len().saturating_add(images.len());
    check_limit(Limit::Retired, gone.saturating_sub(1), RETIRED_MAX)?;
    let raised = Event::FloorRaised {
        scope: scope.clone(),
        floor,
        reason: reason.clone(),
    };
    let images = images
        .into_iter()
        .map(|scope| Event::RecoveryImageRetired { scope });
    let releases = releases.into_iter().map(|release| Event::ReleaseWithdrawn {
        release: release.clone(),
        status: ReleaseStatus::Retired,
        reason: None,
    });
    Ok(std::iter::once(raised)
        .chain(images)
        .chain(releases)
        .collect())
}

pub(super) fn declare_recovery_image(
    state: &State,
    arguments: &DeclareRecoveryImage,
    context: &Context,
) -> Decision {
    let DeclareRecoveryImage { scope, image } = arguments;
    floor::check_not_below(
        state,
        &scope.component,
        &scope.selector,
        (&image.release, image.security_version),
    )?;
    if !state.recovery_images().contains(scope) {
        let max = state.config().limits.scopes_max;
        check_limit(Limit::RecoveryImages, state.recovery_images().len(), max)?;
    }
    Ok(vec![Event::RecoveryImageDeclared {
        scope: scope.clone(),
        image: RecoveryImage {
            revision: context.revision(),
            ..image.clone()
        },
    }])
}

pub(super) fn emergency_stop(
    state: &State,
    arguments: &EmergencyStop,
    context: &Context,
) -> Decision {
    let EmergencyStop {
        scope,
        covers,
        reason,
    } = arguments;
    let max = state.config().limits.stops_max;
    check_limit(Limit::Stops, state.stops().len(), max)?;
    Ok(vec![Event::StopRaised(Stop {
        id: StopId(state.meta().last_stop.0.saturating_add(1)),
        scope: scope.clone(),
        covers: *covers,
        reason: reason.clone(),
        since: context.time,
        revision: context.revision(),
    })])
}

/// HALT-2: `authorize` has counted the quorum.
pub(super) fn lift_stop(state: &State, arguments: &LiftStop, _context: &Context) -> Decision {
    let LiftStop { stop, reason } = arguments;
    if !state.stops().contains(stop) {
        return Err(Rejection::UnknownStop { stop: *stop });
    }
    Ok(vec![Event::StopLifted {
        stop: *stop,
        reason: reason.clone(),
    }])
}

pub(super) fn set_region_policy(
    state: &State,
    arguments: &SetRegionPolicy,
    context: &Context,
) -> Decision {
    let SetRegionPolicy { region, policy } = arguments;
    let RegionPolicy {
        offers_allowed: _,
        metered_allowed: _,
        battery_min_percent,
        maintenance,
        freezes,
        revision: Revision(_),
    } = policy;
    let battery = u64::from(*battery_min_percent);
    check_range(Field::PolicyBattery, battery, 0, 100)?;
    check_windows(Field::PolicyMaintenance, maintenance)?;
    check_freezes(Field::PolicyFreezes, freezes)?;
    if !state.region_policies().contains(region) {
        let max = state.config().limits.scopes_max;
        check_limit(Limit::RegionPolicies, state.region_policies().len(), max)?;
    }
    Ok(vec![Event::RegionPolicySet {
        region: region.clone(),
        policy: RegionPolicy {
            revision: context.revision(),
            ..policy.clone()
        },
    }])
}

pub(super) fn set_hold(state: &State, arguments: &SetHold, context: &Context) -> Decision {
    let SetHold {
        key,
        kind,
        reason,
        expires,
    } = arguments;
    // A hold that has expired but is not forgotten yet is no hold.
    let held = state
        .holds()
        .get(key)
        .is_some_and(|hold| hold.expires > context.time);
    let Some(kind) = kind else {
        if !held {
            return Err(Rejection::UnknownHold);
        }
        return Ok(vec![Event::HoldReleased { key: key.clone() }]);
    };
    if *expires <= context.time {
        let now = context.time;
        return Err(invalid(Field::Expires, ValueFault::Past { now }));
    }
    if let HoldKind::Pin(name) = kind
        && !state.releases().contains(name)
    {
        return Err(Rejection::UnknownRelease { name: name.clone() });
    }
    if !state.holds().contains(key) {
        let max = state.config().limits.holds_max;
        check_limit(Limit::Holds, state.holds().len(), max)?;
    }
    Ok(vec![Event::HoldSet {
        key: key.clone(),
        hold: Hold {
            kind: kind.clone(),
            reason: reason.clone(),
            expires: *expires,
            revision: context.revision(),
        },
    }])
}
