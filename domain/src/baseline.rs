//! Baselines: what devices have settled on, per component, variants and channel.
use crate::{
    guard::{Baseline, BaselineKey},
    id::Component,
    state::State,
    variant::Selector,
};

/// The baselines of one component. Of those that match a device and whose rollout did not exclude
/// its variant, the latest counts.
pub fn baselines<'a>(
    state: &'a State,
    component: &Component,
) -> impl Iterator<Item = (&'a BaselineKey, &'a Baseline)> {
    let component = component.clone();
    // Of one component, that of the whole fleet is the least: nothing sorts before absent.
    let first = BaselineKey {
        component: component.clone(),
        selector: Selector::ALL,
        channel: None,
    };
    state
        .baselines()
        .range(first..)
        .take_while(move |(key, _)| key.component == component)
}
