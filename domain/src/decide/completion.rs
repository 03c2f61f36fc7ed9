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
/// Most baselines that excluded variants keep beside them.
const KEPT_MAX: u32 = 10_000;

/// The completion of a rollout: its release becomes the baseline of its audience.
pub(crate) fn completed(state: &State, rollout: &Rollout, context: &Context) -> Decision {
    // Asked first: it would all be made only to be refused.
    let (named, kept) = exceptions(rollout);
    check_limit(Limit::Exceptions, named, EXCEPTIONS_MAX)?;
    check_limit(Limit::Exceptions, kept, KEPT_MAX)?;
    let baselines = new_baselines(state, rollout, context);
    let added = baselines
        .keys()
        .filter(|key| !state.baselines().contains(key));
    let after = state.baselines().len().saturating_add(added.count());
    let max = state.config().limits.scopes_max;
    check_limit(Limit::Baselines, after.saturating_sub(1), max)?;
    let set = baselines
        .into_iter()
        .map(|(key, baseline)| Event::BaselineSet { key, baseline });
    let done = Event::RolloutCompleted {
        rollout: rollout.id,
    };
    Ok(set.chain([done]).collect())
}

/// How often excluded variants are named in what a completion sets, at most: in the baseline of each
/// selector on each channel; and how many baselines they keep.
fn exceptions(rollout: &Rollout) -> (usize, usize) {
    let audience = &rollout.spec.audience;
    let channels = audience.channels.len().max(1);
    let parts = audience.selectors.len().saturating_mul(channels);
    let excluded = rollout.excluded.len();
    (
        excluded.saturating_mul(parts),
        excluded.saturating_mul(channels),
    )
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
        for (channel, kept) in kept(state, component, variant) {
            if channels.contains(&channel) {
                baselines.insert(key(&exact, channel), kept);
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

/// What a variant has settled on, for all channels and for each. New baselines may take the place
/// of those for the same.
fn kept<'a>(
    state: &'a State,
    component: &Component,
    variant: &Variant,
) -> BTreeMap<Option<&'a Channel>, Baseline> {
    let own = baselines(state, component).filter(|(key, baseline)| {
        key.selector.matches(&variant.traits) && !baseline.excluded.contains(&variant.id)
    });
    let mut latest: BTreeMap<Option<&Channel>, &Baseline> = BTreeMap::new();
    for (key, baseline) in own {
        let best = latest.entry(key.channel.as_ref()).or_insert(baseline);
        if baseline.revision > best.revision {
            *best = baseline;
        }
    }
    let without_exceptions = |baseline: &Baseline| Baseline {
        release: baseline.release.clone(),
        excluded: BTreeSet::new(),
        ..*baseline
    };
    let kept = latest.into_iter();
    kept.map(|(channel, baseline)| (channel, without_exceptions(baseline)))
        .collect()
}

/// Whether a selector names exactly one variant, and that one is out.
fn selector_is_out(state: &State, rollout: &Rollout, selector: &Selector) -> bool {
    let mut out = rollout
        .excluded
        .keys()
        .filter_map(|id| state.variants().get(id));
    out.any(|variant| *selector == Selector::exactly(&variant.traits))
}
