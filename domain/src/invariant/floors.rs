//! FLOOR-1 and FLOOR-3.
use super::{Transition, Violation, ensure};
use crate::{
    floor::{blockers, floor_of},
    guard::{Floor, Scope},
};

/// FLOOR-1: a floor never falls, for a scope or for any variant.
pub(super) fn never_fall(t: &Transition<'_>) -> Result<(), Violation> {
    for (scope, floor) in t.before.floors().iter() {
        let after = t.after.floors().get(scope);
        let holds = after.is_some_and(|after| after.security_version >= floor.security_version);
        ensure(holds, "FLOOR-1", || {
            format!(
                "{}/{}: {floor:?} became {after:?}",
                scope.component, scope.selector
            )
        })?;
        for (_, variant) in t.before.variants().iter() {
            let was = floor_of(t.before, &scope.component, &variant.traits);
            let is = floor_of(t.after, &scope.component, &variant.traits);
            ensure(was <= is, "FLOOR-1", || {
                format!("{}: {was} became {is}", variant.traits)
            })?;
        }
    }
    Ok(())
}

/// FLOOR-3: no floor is above a rollback target, a recovery image, or a release under way of its
/// selector.
pub(super) fn never_pass_the_way_back(t: &Transition<'_>) -> Result<(), Violation> {
    for (scope, floor) in t.after.floors().iter() {
        let (scope, floor): (&Scope, &Floor) = (scope, floor);
        let passed = blockers(t.after, scope, floor.security_version).next();
        ensure(passed.is_none(), "FLOOR-3", || {
            format!(
                "floor {} of {}/{} passes {passed:?}",
                floor.security_version, scope.component, scope.selector
            )
        })?;
    }
    Ok(())
}
