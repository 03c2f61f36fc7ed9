//! Floors: what binds a variant, and what a floor may not pass.
use crate::{
    guard::{Floor, Scope},
    id::{Component, ReleaseName, RolloutId, SecurityVersion},
    rejection::Rejection,
    release::{Release, ReleaseStatus},
    rollout::{Life, Rollout},
    state::State,
    variant::{Selector, VariantTraits},
};

/// The floor that binds a variant: of all floors whose selector matches it, the highest.
/// Zero where there is none.
pub fn floor_of(state: &State, component: &Component, variant: &VariantTraits) -> SecurityVersion {
    floors(state, component)
        .filter(|(scope, _)| scope.selector.matches(variant))
        .map(|(_, floor)| floor.security_version)
        .max()
        .unwrap_or_default()
}

/// The highest floor that binds any variant of a selector.
pub fn highest_over<'a>(
    state: &'a State,
    component: &Component,
    selector: &Selector,
) -> Option<(&'a Scope, &'a Floor)> {
    floors(state, component)
        .filter(|(scope, _)| scope.selector.overlaps(selector))
        .max_by_key(|(_, floor)| floor.security_version)
}

/// The highest floor that binds every variant of a selector: what a raise has to top.
pub(crate) fn highest_covering(
    state: &State,
    component: &Component,
    selector: &Selector,
) -> SecurityVersion {
    floors(state, component)
        .filter(|(scope, _)| scope.selector.covers(selector))
        .map(|(_, floor)| floor.security_version)
        .max()
        .unwrap_or_default()
}

/// Refuses what would run below a floor of a selector (FLOOR-3).
///
/// # Errors
/// [`Rejection::BelowFloor`] with the highest floor that is in the way.
pub(crate) fn check_not_below(
    state: &State,
    component: &Component,
    selector: &Selector,
    (release, security_version): (&ReleaseName, SecurityVersion),
) -> Result<(), Rejection> {
    match highest_over(state, component, selector) {
        Some((scope, floor)) if security_version < floor.security_version => {
            Err(Rejection::BelowFloor {
                release: release.clone(),
                scope: Box::new(scope.clone()),
                existing: floor.security_version,
                requested: security_version,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// The floors of one component.
fn floors<'a>(
    state: &'a State,
    component: &Component,
) -> impl Iterator<Item = (&'a Scope, &'a Floor)> {
    let component = component.clone();
    // Of one component, the scope of the whole fleet is the least: nothing sorts before absent.
    let first = Scope {
        component: component.clone(),
        selector: Selector::ALL,
    };
    state
        .floors()
        .range(first..)
        .take_while(move |(scope, _)| scope.component == component)
}

/// Something that a floor may not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker<'a> {
    /// A recovery image.
    RecoveryImage {
        /// For which component and variants.
        scope: &'a Scope,
        /// Its name.
        release: &'a ReleaseName,
        /// Its security version.
        security_version: SecurityVersion,
    },
    /// The release of a rollout that brings it, or waits to.
    Rollout {
        /// The rollout.
        rollout: RolloutId,
        /// Its release.
        release: &'a ReleaseName,
        /// The security version of its release.
        security_version: SecurityVersion,
    },
    /// The release that devices of a rollout return to.
    RollbackTarget {
        /// The rollout.
        rollout: RolloutId,
        /// The target.
        release: &'a ReleaseName,
        /// The security version of the target.
        security_version: SecurityVersion,
    },
}

impl Blocker<'_> {
    /// Why a floor was refused.
    pub(crate) fn rejection(&self, requested: SecurityVersion) -> Rejection {
        match self {
            Self::RecoveryImage {
                scope: _,
                release,
                security_version,
            } => Rejection::FloorAboveRecoveryImage {
                image: (*release).clone(),
                existing: *security_version,
                requested,
            },
            Self::Rollout {
                rollout,
                release,
                security_version,
            } => Rejection::FloorAboveRollout {
                rollout: *rollout,
                release: (*release).clone(),
                existing: *security_version,
                requested,
            },
            Self::RollbackTarget {
                rollout,
                release,
                security_version,
            } => Rejection::FloorAboveRollbackTarget {
                rollout: *rollout,
                release: (*release).clone(),
                existing: *security_version,
                requested,
            },
        }
    }
}

/// What a floor of `to` over a scope would pass: recovery images, releases of rollouts that are
/// not halted or final, and rollback targets of rollouts that are not final. A release that was
/// withdrawn is no target and no offer any more.
pub fn blockers<'a>(
    state: &'a State,
    scope: &'a Scope,
    to: SecurityVersion,
) -> impl Iterator<Item = Blocker<'a>> {
    let images = state.recovery_images().iter().filter(move |(at, image)| {
        at.component == scope.component
            && at.selector.overlaps(&scope.selector)
            && image.security_version < to
    });
    let images = images.map(|(scope, image)| Blocker::RecoveryImage {
        scope,
        release: &image.release,
        security_version: image.security_version,
    });
    let live = state.derived.live_rollouts.iter();
    let rollouts = live.filter_map(|id| state.rollouts().get(id));
    images.chain(rollouts.flat_map(move |rollout| in_rollout(state, rollout, scope, to)))
}

fn in_rollout<'a>(
    state: &'a State,
    rollout: &'a Rollout,
    scope: &'a Scope,
    to: SecurityVersion,
) -> impl Iterator<Item = Blocker<'a>> {
    let below = move |name: &'a ReleaseName| {
        let release: &Release = state.releases().get(name)?;
        let security_version = release.manifest.security_version;
        let blocks = release.manifest.component == scope.component
            && release.status == ReleaseStatus::Registered
            && security_version < to;
        blocks.then_some(security_version)
    };
    let stands_still = matches!(rollout.life, Life::Halted { .. } | Life::RollingBack { .. });
    let own = (!stands_still && rollout.spec.audience.meets(&scope.selector))
        .then(|| below(&rollout.spec.release))
        .flatten()
        .map(|security_version| Blocker::Rollout {
            rollout: rollout.id,
            release: &rollout.spec.release,
            security_version,
        });
    let rules = rollout.rollback.targets.iter();
    let targets = rules.filter(|rule| rule.selector.overlaps(&scope.selector));
    own.into_iter().chain(targets.filter_map(move |rule| {
        Some(Blocker::RollbackTarget {
            rollout: rollout.id,
            release: &rule.release,
            security_version: below(&rule.release)?,
        })
    }))
}
