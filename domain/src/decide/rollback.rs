//! Where the devices of a rollout return to: decided per variant when it is created, and frozen.
use super::barriers;
use crate::{
    baseline::baselines,
    id::{Channel, ReleaseName},
    rejection::{Limit, Rejection, TargetFault},
    release::Release,
    rollout::{Audience, RollbackPlan, RollbackRule, RollbackTarget, RolloutSpec},
    state::State,
    variant::{Selector, Variant},
};
use std::collections::BTreeSet;

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
    check_rules(&targets)?;
    let plan = RollbackPlan {
        targets,
        credit: spec.credit,
    };
    barriers::check_way_back(state, &plan)?;
    Ok(plan)
}

/// Bounds the rules of a plan, those that amendments add to it too.
pub(super) fn check_rules(rules: &[RollbackRule]) -> Result<(), Rejection> {
    if rules.len() <= RULES_MAX {
        return Ok(());
    }
    Err(Rejection::LimitReached {
        what: Limit::RollbackRules,
        max: RULES_MAX as u64,
    })
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
        channel: None,
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
    let on = |channel: &Option<Channel>| {
        let channel = channel.as_ref();
        channel.is_none_or(|own| audience.channels.is_empty() || audience.channels.contains(own))
    };
    let mut found: Vec<_> = baselines(state, component)
        .filter(|(key, _)| audience.meets(&key.selector) && on(&key.channel))
        .collect();
    found.sort_by_key(|(_, baseline)| std::cmp::Reverse(baseline.revision));
    let channels = channels(state, audience);
    let mut rules = Vec::new();
    // A variant that was excluded from a baseline has rules of its own, ahead of the general ones.
    let excluded = found.iter().flat_map(|(_, baseline)| &baseline.excluded);
    let excluded: BTreeSet<_> = excluded.copied().collect();
    let excluded = excluded.iter().filter_map(|id| state.variants().get(id));
    for variant in excluded.filter(|variant| audience.matches(&variant.traits)) {
        let own = found.iter().filter(|(key, baseline)| {
            key.selector.matches(&variant.traits) && !baseline.excluded.contains(&variant.id)
        });
        let own: Vec<_> = own
            .map(|(key, baseline)| RollbackRule {
                selector: Selector::exactly(&variant.traits),
                release: baseline.release.clone(),
                channel: key.channel.clone(),
            })
            .collect();
        if !are_on_all(own.iter(), &channels) {
            return Err(Rejection::NoRollbackTarget);
        }
        rules.extend(own);
    }
    for (key, baseline) in &found {
        for selector in &audience.selectors {
            rules.extend(key.selector.meet(selector).map(|selector| RollbackRule {
                selector,
                release: baseline.release.clone(),
                channel: key.channel.clone(),
            }));
        }
    }
    check_covered(state, audience, &channels, &rules)?;
    match rules.iter().find(|rule| rule.release == *release.name()) {
        Some(rule) => Err(refused(&rule.release, TargetFault::SameAsBaseline)),
        None => Ok(rules),
    }
}

/// Whether every registered variant of the audience has a target on each channel; where none is
/// registered yet, whether every variant there could be has one.
fn check_covered(
    state: &State,
    audience: &Audience,
    channels: &BTreeSet<Channel>,
    rules: &[RollbackRule],
) -> Result<(), Rejection> {
    let has_target = |variant: &Variant| {
        let own = rules.iter().filter(|r| r.selector.matches(&variant.traits));
        are_on_all(own, channels)
    };
    let covered = |selector: &Selector| {
        let wider = rules.iter().filter(|r| r.selector.covers(selector));
        are_on_all(wider, channels)
    };
    let known = members(state, audience).next().is_some();
    let all = if known {
        members(state, audience).all(has_target)
    } else {
        audience.selectors.iter().all(covered)
    };
    all.then_some(()).ok_or(Rejection::NoRollbackTarget)
}

/// Whether there is a rule for each of these channels.
fn are_on_all<'a>(
    rules: impl Iterator<Item = &'a RollbackRule>,
    channels: &BTreeSet<Channel>,
) -> bool {
    let mut on = BTreeSet::new();
    for rule in rules {
        match &rule.channel {
            None => return true,
            Some(channel) => on.insert(channel),
        };
    }
    channels.iter().all(|channel| on.contains(channel))
}

/// The channels of an audience, as far as they are registered.
fn channels(state: &State, audience: &Audience) -> BTreeSet<Channel> {
    if !audience.channels.is_empty() {
        return audience.channels.clone();
    }
    let default = Channel::new(Channel::DEFAULT).ok();
    let registered = state.channels().iter().map(|(channel, _)| channel.clone());
    default.into_iter().chain(registered).collect()
}
