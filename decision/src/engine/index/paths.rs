//! Paths: which releases lead to one that cannot be reached directly from everything that runs.
use super::{PayloadSlot, ReleaseSlot, build::Building};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use tidegate_domain::{
    id::{Component, ReleaseName},
    release::{Release, ReleaseStatus, Version, VersionRange},
    state::State,
};

/// Most hops before the last. A longer path is no path: devices would fail on the way.
const HOPS_MAX: usize = 8;
/// Most releases that are considered for one hop: the newest.
const WIDTH_MAX: usize = 8;

/// Releases that may be stepping stones, by component, the newest first.
type Stock<'a> = BTreeMap<&'a Component, Vec<&'a Release>>;

/// Finds the stepping stones of every release in the index.
pub(super) fn find(state: &State, building: &mut Building<'_>) {
    let wanted = (0..building.index.releases.len()).filter(|at| {
        let entry = &building.index.releases[*at];
        entry.upgradable_from.is_some()
    });
    let wanted: Vec<usize> = wanted.collect();
    if wanted.is_empty() {
        return;
    }
    let stock = stock(state);
    for at in wanted {
        let name = building.index.releases[at].name.clone();
        let stones = state
            .releases()
            .get(&name)
            .map(|target| stones(target, &stock));
        let slots = stones.into_iter().flatten().filter_map(|name| {
            let slot = building.release(&name)?;
            keep_payloads(state, building, slot, &name);
            Some(slot)
        });
        let slots: Vec<ReleaseSlot> = slots.collect();
        building.index.releases[at].stones = slots;
    }
}

fn stock(state: &State) -> Stock<'_> {
    let mut stock = Stock::new();
    for (_, release) in state.releases().iter() {
        if release.status == ReleaseStatus::Registered {
            stock
                .entry(&release.manifest.component)
                .or_default()
                .push(release);
        }
    }
    for releases in stock.values_mut() {
        releases.sort_by_key(|release| Reverse(&release.manifest.version));
    }
    stock
}

/// Breadth first, backwards from the target.
fn stones(target: &Release, stock: &Stock<'_>) -> Vec<ReleaseName> {
    let Some(releases) = stock.get(&target.manifest.component) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([target.name()]);
    let mut frontier = vec![target];
    for _ in 0..HOPS_MAX {
        let mut next = Vec::new();
        for release in releases {
            let leads = |to: &&Release| leads(&release.manifest.version, to);
            if next.len() < WIDTH_MAX
                && !seen.contains(release.name())
                && frontier.iter().any(leads)
            {
                seen.insert(release.name());
                next.push(*release);
            }
        }
        found.extend(next.iter().map(|release| release.name().clone()));
        // From a release without a range everything is reachable: nothing need lie before it.
        next.retain(|release| release.manifest.upgradable_from.is_some());
        if next.is_empty() {
            break;
        }
        frontier = next;
    }
    found
}

fn leads(from: &Version, to: &Release) -> bool {
    let range: Option<&VersionRange> = to.manifest.upgradable_from.as_ref();
    from < &to.manifest.version && range.is_some_and(|range| range.contains(from))
}

/// A stone's payload is looked up when it is offered, for whichever variant: keep them all.
fn keep_payloads(
    state: &State,
    building: &mut Building<'_>,
    slot: ReleaseSlot,
    name: &ReleaseName,
) {
    let count = state
        .releases()
        .get(name)
        .map_or(0, |release| release.manifest.payloads.len());
    for at in 0..u32::try_from(count).unwrap_or(u32::MAX) {
        building.keep_payload(slot, PayloadSlot(at));
    }
}
