//! What a rollout leaves behind: the baselines of its audience.
use super::{Decision, check_limit};
use crate::{
    apply::Context,
    baseline::baseline_of,
    event::Event,
    guard::{Baseline, Scope},
    id::Ppm,
    rejection::Limit,
    rollout::Rollout,
    state::State,
    variant::Selector,
};
use std::collections::{BTreeMap, BTreeSet};

/// The completion of a rollout: its release becomes the baseline of its audience.
pub(crate) fn completed(state: &State, rollout: &Rollout, context: &Context) -> Decision {
    let baselines = new_baselines(state, rollout, context);
    let added = baselines
        .keys()
        .filter(|scope| !state.baselines().contains(scope));
    let after = state.baselines().len().saturating_add(added.count());
    let max = state.config().limits.scopes_max;
    check_limit(Limit::Baselines, after.saturating_sub(1), max)?;
    let set = baselines
        .into_iter()
        .map(|(scope, baseline)| Event::BaselineSet { scope, baseline });
    let done = Event::RolloutCompleted {
        rollout: rollout.id,
    };
    Ok(set.chain([done]).collect())
}

/// The baselines that a completion sets: one for each selector of the audience. None if the rollout
/// did not reach everyone there (one channel, a last wave below 100 % or with a cap): a baseline
/// is offered to all. Variants that were excluded keep what they had.
fn new_baselines(state: &State, rollout: &Rollout, context: &Context) -> BTreeMap<Scope, Baseline> {
    let spec = &rollout.spec;
    let last = spec.waves.last();
    let everyone = last.is_some_and(|wave| wave.target == Ppm::ALL && wave.cap.is_none());
    let release = state.releases().get(&spec.release);
    let (true, true, Some(release)) = (everyone, spec.audience.channels.is_empty(), release) else {
        return BTreeMap::new();
    };
    let component = &release.manifest.component;
    let scope = |selector: &Selector| Scope {
        component: component.clone(),
        selector: selector.clone(),
    };
    let excluded: BTreeSet<_> = rollout.excluded.keys().copied().collect();
    let mut baselines = BTreeMap::new();
    // First, so that a selector of the audience that names the excluded variant alone prevails.
    for id in &excluded {
        let Some(variant) = state.variants().get(id) else {
            continue;
        };
        if let Some((_, kept)) = baseline_of(state, component, *id, &variant.traits) {
            let exact = Selector::exactly(&variant.traits);
            let kept = Baseline {
                excluded: BTreeSet::new(),
                ..kept.clone()
            };
            baselines.insert(scope(&exact), kept);
        }
    }
    for selector in &spec.audience.selectors {
        let only_excluded = selector_is_out(state, rollout, selector);
        let new = Baseline {
            release: spec.release.clone(),
            since: context.time,
            revision: context.revision(),
            excluded: excluded.clone(),
        };
        if !only_excluded {
            baselines.insert(scope(selector), new);
        }
    }
    baselines
}

/// Whether a selector names exactly one variant, and that one is out.
fn selector_is_out(state: &State, rollout: &Rollout, selector: &Selector) -> bool {
    let mut out = rollout
        .excluded
        .keys()
        .filter_map(|id| state.variants().get(id));
    out.any(|variant| *selector == Selector::exactly(&variant.traits))
}
