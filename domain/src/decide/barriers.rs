//! What stands between a rollout and its devices: withdrawn releases, floors, halts, and other
//! rollouts. Asked when a rollout is created, started, widened, and when its halt is lifted.
use crate::{
    floor,
    id::{ReleaseName, RolloutId},
    rejection::{Rejection, SupersessionFault, TargetFault},
    release::{NotOfferable, Release, offerable},
    rollout::{Audience, Life, RollbackPlan, Rollout, RolloutSpec},
    state::State,
};
use std::ops::Bound;
use tidegate_mutant::{Mutant, is_on};

/// The release of a name, if it may be offered.
pub(crate) fn offerable_release<'a>(
    state: &'a State,
    name: &ReleaseName,
) -> Result<&'a Release, Rejection> {
    let release = state.releases().get(name);
    let release = release.ok_or_else(|| Rejection::UnknownRelease { name: name.clone() })?;
    match offerable(state, release) {
        Ok(()) => Ok(release),
        Err(NotOfferable::Withdrawn(_)) => Err(Rejection::ReleaseWithdrawn { name: name.clone() }),
        Err(NotOfferable::UnderSigned { needed, found }) => Err(Rejection::ReleaseUnderSigned {
            name: name.clone(),
            needed,
            found,
        }),
    }
}

/// FLOOR-3 for a release and an audience.
pub(super) fn check_floors(
    state: &State,
    release: &Release,
    audience: &Audience,
) -> Result<(), Rejection> {
    let manifest = &release.manifest;
    let subject = (&manifest.name, manifest.security_version);
    audience.selectors.iter().try_for_each(|selector| {
        floor::check_not_below(state, &manifest.component, selector, subject)
    })
}

/// HALT-2: a halted release stays barred from its audience, whichever rollout brings it.
pub(crate) fn check_bars(
    state: &State,
    release: &ReleaseName,
    audience: &Audience,
    own: Option<RolloutId>,
) -> Result<(), Rejection> {
    let by_release = &state.derived.bars_by_release;
    let from = Bound::Included((release.clone(), RolloutId(0)));
    let to = Bound::Included((release.clone(), RolloutId(u64::MAX)));
    let bars = by_release.range((from, to));
    let others = bars.filter(|(_, id)| Some(*id) != own);
    let mut met = others.filter_map(|(_, id)| state.bars().get(id));
    match met.find(|bar| bar.audience.overlaps(audience) && !is_on(Mutant::BarEvaded)) {
        Some(bar) => Err(Rejection::BarredByHalt {
            release: release.clone(),
            halted: bar.rollout,
        }),
        None => Ok(()),
    }
}

/// The overlap rule: of one component, two rollouts under way may not reach the same devices,
/// unless one takes the other's place or different priorities say which of them a device follows.
pub(super) fn check_overlap(
    state: &State,
    spec: &RolloutSpec,
    release: &Release,
    own: Option<RolloutId>,
) -> Result<(), Rejection> {
    let live = state.derived.live_rollouts.iter();
    let others = live.filter(|id| Some(**id) != own && Some(**id) != spec.supersedes);
    let mut underway = others
        .filter_map(|id| state.rollouts().get(id))
        .filter(|other| other.life.is_underway());
    let collides = |other: &Rollout| {
        let ranked = matches!(
            (spec.priority, other.spec.priority),
            (Some(own), Some(other)) if own != other
        );
        !ranked
            && same_component(state, other, release)
            && other.spec.audience.overlaps(&spec.audience)
    };
    match underway.find(|other| collides(other)) {
        Some(other) => Err(Rejection::Overlaps { existing: other.id }),
        None => Ok(()),
    }
}

fn same_component(state: &State, other: &Rollout, release: &Release) -> bool {
    let others = state.releases().get(&other.spec.release);
    others.is_some_and(|others| others.manifest.component == release.manifest.component)
}

/// The rollout that this one takes the place of, if it is still there to be replaced.
pub(super) fn superseded<'a>(
    state: &'a State,
    spec: &RolloutSpec,
    release: &Release,
) -> Result<Option<&'a Rollout>, Rejection> {
    let Some(existing) = spec.supersedes else {
        return Ok(None);
    };
    let refused = |fault| Rejection::CannotSupersede { existing, fault };
    let Some(other) = state.rollouts().get(&existing) else {
        return Err(refused(SupersessionFault::Unknown));
    };
    if !same_component(state, other, release) {
        return Err(refused(SupersessionFault::OtherComponent));
    }
    if !other.spec.audience.overlaps(&spec.audience) {
        return Err(refused(SupersessionFault::OtherAudience));
    }
    match &other.life {
        Life::Running | Life::Paused { .. } | Life::Halted { .. } => Ok(Some(other)),
        Life::RolledBack { .. } | Life::Superseded { .. } | Life::Completed { .. } => Ok(None),
        Life::Draft | Life::Approved => Err(refused(SupersessionFault::NotStarted)),
        Life::RollingBack { .. } => Err(refused(SupersessionFault::RollingBack)),
    }
}

/// Whether devices can still go back: refuses a target that may not be offered any more, or that a
/// floor has passed.
pub(super) fn check_way_back(state: &State, plan: &RollbackPlan) -> Result<(), Rejection> {
    plan.targets.iter().try_for_each(|rule| {
        let refused = |fault| Rejection::BadRollbackTarget {
            release: rule.release.clone(),
            fault,
        };
        let target = state.releases().get(&rule.release);
        let target = target.ok_or_else(|| refused(TargetFault::Unknown))?;
        offerable(state, target).map_err(|why| match why {
            NotOfferable::Withdrawn(_) => refused(TargetFault::Withdrawn),
            NotOfferable::UnderSigned { needed, found } => {
                refused(TargetFault::UnderSigned { needed, found })
            }
        })?;
        let manifest = &target.manifest;
        floor::check_not_below(
            state,
            &manifest.component,
            &rule.selector,
            (&manifest.name, manifest.security_version),
        )
    })
}

/// Everything that must be out of the way when a rollout begins to reach devices, or goes on.
pub(crate) fn check_all(state: &State, rollout: &Rollout) -> Result<(), Rejection> {
    let spec = &rollout.spec;
    let release = offerable_release(state, &spec.release)?;
    check_floors(state, release, &spec.audience)?;
    check_bars(state, &spec.release, &spec.audience, Some(rollout.id))?;
    check_overlap(state, spec, release, Some(rollout.id))?;
    check_way_back(state, &rollout.rollback)
}
