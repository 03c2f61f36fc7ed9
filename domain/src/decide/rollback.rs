//! Where the devices of a rollout return to: decided per variant when it is created, and frozen.
use super::barriers;
use crate::{
    baseline::{baseline_of, baselines},
    id::ReleaseName,
    rejection::{Limit, Rejection, TargetFault},
    release::Release,
    rollout::{Audience, RollbackPlan, RollbackRule, RollbackTarget, RolloutSpec},
    state::State,
    variant::{Selector, Variant},
};

/// Most rules of one plan.
const RULES_MAX: usize = 4_096;

/// The way back of a rollout as things stand. Refused if part of the audience has none.
pub(super) fn plan(
    state: &State,
    spec: &RolloutSpec,
    release: &Release,
) -> Result<RollbackPlan, Rejection> {
    let targets = match &spec.rollback.target {
        RollbackTarget::FixForwardOnly => Vec::new(),
        RollbackTarget::Release(name) => to_release(state, &spec.audience, release, name)?,
        RollbackTarget::Baseline => to_baselines(state, &spec.audience, release)?,
    };
    if targets.len() > RULES_MAX {
        return Err(Rejection::LimitReached {
            what: Limit::RollbackRules,
            max: RULES_MAX as u64,
        });
    }
    let plan = RollbackPlan {
        targets,
        credit: spec.credit,
    };
    barriers::check_way_back(state, &plan)?;
    Ok(plan)
}

fn refused(target: &ReleaseName, fault: TargetFault) -> Rejection {
    Rejection::BadRollbackTarget {
        release: target.clone(),
        fault,
    }
}

fn to_release(
    state: &State,
    audience: &Audience,
    release: &Release,
    name: &ReleaseName,
) -> Result<Vec<RollbackRule>, Rejection> {
    let target = barriers::offerable_release(state, name)?;
    if target.manifest.component != release.manifest.component {
        let component = target.manifest.component.clone();
        return Err(refused(name, TargetFault::OtherComponent { component }));
    }
    if name == release.name() {
        return Err(refused(name, TargetFault::SameRelease));
    }
    let mut members = members(state, audience);
    if let Some(variant) = members.find(|v| target.payload_for(&v.traits).is_none()) {
        let traits = variant.traits.clone();
        return Err(refused(name, TargetFault::NoPayload { traits }));
    }
    let rule = |selector: &Selector| RollbackRule {
        selector: selector.clone(),
        release: name.clone(),
    };
    Ok(audience.selectors.iter().map(rule).collect())
}

/// The registered variants of an audience.
fn members<'a>(state: &'a State, audience: &'a Audience) -> impl Iterator<Item = &'a Variant> {
    let variants = state.variants().iter().map(|(_, variant)| variant);
    variants.filter(|variant| audience.matches(&variant.traits))
}

fn to_baselines(
    state: &State,
    audience: &Audience,
    release: &Release,
) -> Result<Vec<RollbackRule>, Rejection> {
    let component = &release.manifest.component;
    let mut found: Vec<_> = baselines(state, component)
        .filter(|(scope, _)| audience.meets(&scope.selector))
        .collect();
    found.sort_by_key(|(_, baseline)| std::cmp::Reverse(baseline.revision));
    let mut rules = Vec::new();
    // A variant that was excluded from a baseline has a rule of its own, ahead of the general ones.
    for variant in found.iter().flat_map(|(_, baseline)| &baseline.excluded) {
        let Some(variant) = state.variants().get(variant) else {
            continue;
        };
        if !audience.matches(&variant.traits) {
            continue;
        }
        let own = baseline_of(state, component, variant.id, &variant.traits);
        let (_, own) = own.ok_or(Rejection::NoRollbackTarget)?;
        rules.push(RollbackRule {
            selector: Selector::exactly(&variant.traits),
            release: own.release.clone(),
        });
    }
    for (scope, baseline) in &found {
        for selector in &audience.selectors {
            rules.extend(scope.selector.meet(selector).map(|selector| RollbackRule {
                selector,
                release: baseline.release.clone(),
            }));
        }
    }
    check_covered(state, audience, &rules)?;
    match rules.iter().find(|rule| rule.release == *release.name()) {
        Some(rule) => Err(refused(&rule.release, TargetFault::SameAsBaseline)),
        None => Ok(rules),
    }
}

/// Whether every registered variant of the audience has a target; where none is registered yet,
/// whether every variant there could be has one.
fn check_covered(
    state: &State,
    audience: &Audience,
    rules: &[RollbackRule],
) -> Result<(), Rejection> {
    let has_target = |variant: &Variant| rules.iter().any(|r| r.selector.matches(&variant.traits));
    let covered = |selector: &Selector| rules.iter().any(|r| r.selector.covers(selector));
    let known = members(state, audience).next().is_some();
    let all = if known {
        members(state, audience).all(has_target)
    } else {
        audience.selectors.iter().all(covered)
    };
    if all {
        Ok(())
    } else {
        Err(Rejection::NoRollbackTarget)
    }
}
