//! What a rollout leaves behind: the baselines of its audience.
use super::{Decision, check_limit};
use crate::{
    apply::Context,
    baseline::baselines,
    event::Event,
    guard::{Baseline, BaselineKey},
    id::{Channel, Component},
    rejection::Limit,
    rollout::Rollout,
    state::State,
    variant::{Selector, Variant},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most exceptions of the baselines that one completion sets, in all: an entry holds them.
const EXCEPTIONS_MAX: u32 = 1_000_000;

/// The completion of a rollout: its release becomes the baseline of its audience.
pub(crate) fn completed(state: &State, rollout: &Rollout, context: &Context) -> Decision {
    let baselines = new_baselines(state, rollout, context);
    let added = baselines
        .keys()
        .filter(|key| !state.baselines().contains(key));
    let after = state.baselines().len().saturating_add(added.count());
    let max = state.config().limits.scopes_max;
    check_limit(Limit::Baselines, after.saturating_sub(1), max)?;
    let exceptions = baselines.values().map(|new| new.excluded.len()).sum();
    check_limit(Limit::Exceptions, exceptions, EXCEPTIONS_MAX)?;
    let set = baselines
        .into_iter()
        .map(|(key, baseline)| Event::BaselineSet { key, baseline });
    let done = Event::RolloutCompleted {
        rollout: rollout.id,
    };
    Ok(set.chain([done]).collect())
}

/// The baselines that a completion sets: one for each selector of the audience, on each channel
/// that it names, or on all. Variants that were excluded keep what they had.
fn new_baselines(
    state: &State,
    rollout: &Rollout,
    context: &Context,
) -> BTreeMap<BaselineKey, Baseline> {
    let spec = &rollout.spec;
    let release = state.releases().get(&spec.release);
    let (true, Some(release)) = (spec.sets_baselines(), release) else {
        return BTreeMap::new();
    };
    let component = &release.manifest.component;
    let channels = &spec.audience.channels;
    let channels: Vec<Option<&Channel>> = if channels.is_empty() {
        vec![None]
    } else {
        channels.iter().map(Some).collect()
    };
    let key = |selector: &Selector, channel: Option<&Channel>| BaselineKey {
        component: component.clone(),
        selector: selector.clone(),
        channel: channel.cloned(),
    };
    let excluded: BTreeSet<_> = rollout.excluded.keys().copied().collect();
    let mut baselines = BTreeMap::new();
    // First, so that a selector of the audience that names the excluded variant alone prevails.
    for variant in excluded.iter().filter_map(|id| state.variants().get(id)) {
        let exact = Selector::exactly(&variant.traits);
        for channel in &channels {
            if let Some(kept) = kept(state, component, variant, *channel) {
                baselines.insert(key(&exact, *channel), kept);
            }
        }
    }
    for selector in &spec.audience.selectors {
        if selector_is_out(state, rollout, selector) {
            continue;
        }
        for channel in &channels {
            let new = Baseline {
                release: spec.release.clone(),
                since: context.time,
                revision: context.revision(),
                excluded: excluded.clone(),
            };
            baselines.insert(key(selector, *channel), new);
        }
    }
    baselines
}

/// What an excluded variant keeps of the baselines that new ones may take the place of: those of
/// the same channel.
fn kept(
    state: &State,
    component: &Component,
    variant: &Variant,
    channel: Option<&Channel>,
) -> Option<Baseline> {
    let own = baselines(state, component).filter(|(key, baseline)| {
        key.channel.as_ref() == channel
            && key.selector.matches(&variant.traits)
            && !baseline.excluded.contains(&variant.id)
    });
    let (_, latest) = own.max_by_key(|(_, baseline)| baseline.revision)?;
    Some(Baseline {
        excluded: BTreeSet::new(),
        ..latest.clone()
    })
}

/// Whether a selector names exactly one variant, and that one is out.
fn selector_is_out(state: &State, rollout: &Rollout, selector: &Selector) -> bool {
    let mut out = rollout
        .excluded
        .keys()
        .filter_map(|id| state.variants().get(id));
    out.any(|variant| *selector == Selector::exactly(&variant.traits))
}
