//! Baselines: what a variant has settled on, per component.
use crate::{
    guard::{Baseline, Scope},
    id::{Component, VariantId},
    state::State,
    variant::{Selector, VariantTraits},
};

/// The baseline of a variant: of all whose selector matches it and whose rollout did not exclude
/// it, the latest. Whether its release may still be offered is another question.
pub fn baseline_of<'a>(
    state: &'a State,
    component: &Component,
    variant: VariantId,
    traits: &VariantTraits,
) -> Option<(&'a Scope, &'a Baseline)> {
    baselines(state, component)
        .filter(|(scope, baseline)| {
            scope.selector.matches(traits) && !baseline.excluded.contains(&variant)
        })
        .max_by_key(|(_, baseline)| baseline.revision)
}

/// The baselines of one component.
pub fn baselines<'a>(
    state: &'a State,
    component: &Component,
) -> impl Iterator<Item = (&'a Scope, &'a Baseline)> {
    let component = component.clone();
    // Of one component, the scope of the whole fleet is the least: nothing sorts before absent.
    let first = Scope {
        component: component.clone(),
        selector: Selector::ALL,
    };
    state
        .baselines()
        .range(first..)
        .take_while(move |(scope, _)| scope.component == component)
}
