//! Builds the index from a state, in one pass over each table.
use super::{
    Cited, ComponentSlot, Held, Index, PayloadSlot, RegionEntry, ReleaseEntry, ReleaseSlot,
    SessionEntry, Settings, Stops, StratumSlot, VariantEntry,
    names::{NameMap, Names},
    paths,
    selection::Selection,
};
use crate::engine::reason::Reason;
use std::collections::{BTreeMap, HashMap};
use tidegate_domain::{
    bucket,
    guard::{Stop, StopScope},
    id::{Channel, Component, Region, ReleaseName, Revision, SecurityVersion, StopId},
    key::{KeyStatus, Role},
    node::SessionStatus,
    release::{NotOfferable, Release, ReleaseStatus, offerable},
    state::State,
};

pub(super) fn build(state: &State) -> Index {
    let selection = Selection::of(state);
    let config = state.config();
    let mut building = Building {
        state,
        slots: HashMap::new(),
        index: Index {
            cited: cited(state),
            settings: Settings {
                lease: config.lease,
                drift_margin: config.drift_margin,
                stale_max: config.stale_max,
                report_interval: config.report_interval,
                offer_ttl: config.offer_ttl,
                credit: config.credit,
                holdout: config.holdout,
                poll_interval: config.poll_interval,
                report_tallies_max: usize::try_from(config.limits.report_tallies_max)
                    .unwrap_or(usize::MAX),
            },
            holdout_salt: bucket::holdout_salt(&state.meta().origin),
            variants: Vec::new(),
            variant_by_traits: NameMap::default(),
            variant_by_id: BTreeMap::new(),
            components: Names::default(),
            channels: Names::default(),
            region_slots: NameMap::default(),
            regions: Vec::new(),
            rollouts: Vec::new(),
            releases: Vec::new(),
            lines: Vec::new(),
            strata: Vec::new(),
            floors: Vec::new(),
            bars: HashMap::new(),
            holds: holds(state),
            sessions: sessions(state),
        },
        selection,
    };
    building.regions();
    building.variants();
    building.channels();
    let settled = building.baselines();
    building.lines(&settled);
    paths::find(state, &mut building);
    building.bars();
    building.floors();
    building.candidates(&settled);
    building.index
}

/// The strata that have settled on each release, as the latest baseline says.
pub(super) type Settled = BTreeMap<(ComponentSlot, ReleaseSlot), Vec<StratumSlot>>;

pub(super) struct Building<'a> {
    pub(super) state: &'a State,
    pub(super) index: Index,
    pub(super) selection: Selection<'a>,
    pub(super) slots: HashMap<ReleaseName, ReleaseSlot>,
}

fn cited(state: &State) -> Cited {
    let meta = state.meta();
    Cited {
        origin: meta.origin.clone(),
        incarnation: meta.incarnation,
        entries: meta.next,
        time: meta.time,
        epoch: state.keys().epoch,
        last_session: meta.last_session,
    }
}

/// In the order of the table, which is by device.
fn holds(state: &State) -> Vec<(tidegate_domain::id::Pseudonym, Held)> {
    let held = |(key, hold): (
        &tidegate_domain::guard::HoldKey,
        &tidegate_domain::guard::Hold,
    )| {
        let held = Held {
            component: key.component.clone(),
            kind: hold.kind.clone(),
            until: hold.expires,
        };
        (key.device, held)
    };
    state.holds().iter().map(held).collect()
}

/// Those whose key still stands: a session of a revoked one is over here, and nothing that it signed
/// is believed.
fn sessions(state: &State) -> BTreeMap<tidegate_domain::id::SessionId, SessionEntry> {
    let keys = state.keys().role(Role::Decision);
    let stands = |session: &tidegate_domain::node::Session| {
        let status = keys.and_then(|keys| keys.status(&session.key));
        status != Some(KeyStatus::Revoked)
    };
    let entry = |session: &tidegate_domain::node::Session| SessionEntry {
        key: session.key,
        address: session.address.as_str().into(),
        open: session.status == SessionStatus::Open,
    };
    state
        .sessions()
        .iter()
        .filter(|(_, session)| stands(session))
        .map(|(id, session)| (*id, entry(session)))
        .collect()
}

impl Building<'_> {
    fn region_slot(&mut self, region: &Region) -> u16 {
        if let Some(slot) = self.index.region_slots.get(region.as_str()) {
            return *slot;
        }
        let slot = u16::try_from(self.index.regions.len()).unwrap_or(u16::MAX);
        self.index.regions.push(RegionEntry::default());
        self.index.region_slots.insert(region.as_str().into(), slot);
        slot
    }

    fn regions(&mut self) {
        for (region, policy) in self.state.region_policies().iter() {
            let slot = self.region_slot(region);
            if let Some(entry) = self.index.regions.get_mut(usize::from(slot)) {
                entry.policy = Some(policy.clone());
            }
        }
        for (_, stop) in self.state.stops().iter() {
            if let StopScope::Region(region) = &stop.scope {
                let slot = self.region_slot(region);
                if let Some(entry) = self.index.regions.get_mut(usize::from(slot)) {
                    cover(&mut entry.stops, stop);
                }
            }
        }
    }

    fn variants(&mut self) {
        for (slot, (id, variant)) in (0_u32..).zip(self.state.variants().iter()) {
            let Some(coded) = self.selection.variant(slot) else {
                continue;
            };
            let mut stops = Stops::default();
            for (_, stop) in self.state.stops().iter() {
                let covered = match &stop.scope {
                    StopScope::Fleet => true,
                    StopScope::Region(region) => *region == variant.traits.region,
                    StopScope::Variants(selector) => selector.matches(&variant.traits),
                };
                if covered {
                    cover(&mut stops, stop);
                }
            }
            let region = self
                .index
                .region_slots
                .get(variant.traits.region.as_str())
                .copied();
            self.index.variants.push(VariantEntry {
                id: *id,
                traits: variant.traits.clone(),
                coded,
                region,
                stops,
            });
            self.index.variant_by_id.insert(*id, slot);
            let text = variant.traits.to_string().into_boxed_str();
            self.index.variant_by_traits.insert(text, slot);
        }
    }

    /// Only channels that were registered, besides the default one: a device that could make up
    /// channels could make up strata, each with a credit of its own.
    fn channels(&mut self) {
        if let Ok(default) = Channel::new(Channel::DEFAULT) {
            self.index.channels.add(&default);
        }
        for (channel, _) in self.state.channels().iter() {
            self.index.channels.add(channel);
        }
    }

    pub(super) fn component(&mut self, component: &Component) -> ComponentSlot {
        ComponentSlot(self.index.components.add(component))
    }

    /// The slot of a release; `None` if it is not registered.
    pub(super) fn release(&mut self, name: &ReleaseName) -> Option<ReleaseSlot> {
        if let Some(slot) = self.slots.get(name) {
            return Some(*slot);
        }
        let release = self.state.releases().get(name)?;
        let entry = self.release_entry(release);
        let slot = ReleaseSlot(u32::try_from(self.index.releases.len()).ok()?);
        self.index.releases.push(entry);
        self.slots.insert(name.clone(), slot);
        Some(slot)
    }

    fn release_entry(&mut self, release: &Release) -> ReleaseEntry {
        let manifest = &release.manifest;
        let (mut exact, mut patterns) = (HashMap::new(), Vec::new());
        for (at, payload) in (0_u32..).zip(&manifest.payloads) {
            let coded = self.selection.code(&payload.selector);
            if coded.is_exact() {
                exact.entry(coded).or_insert(at);
            } else {
                patterns.push((coded, at));
            }
        }
        let requires = manifest.requires.iter();
        let requires = requires
            .map(|r| (self.component(&r.component), r.range.clone()))
            .collect();
        ReleaseEntry {
            name: manifest.name.clone(),
            component: self.component(&manifest.component),
            kind: manifest.kind,
            version: manifest.version.clone(),
            security_version: manifest.security_version,
            critical_security: manifest.critical_security,
            upgradable_from: manifest.upgradable_from.clone(),
            requires,
            barred: not_offerable(self.state, release),
            stones: Vec::new(),
            manifest: release.manifest_bytes.as_slice().into(),
            signatures: release.signatures.iter().map(|(k, s)| (*k, *s)).collect(),
            exact,
            patterns,
            payloads: HashMap::new(),
        }
    }

    /// Copies a payload into the index, since a candidate refers to it.
    pub(super) fn keep_payload(&mut self, release: ReleaseSlot, payload: PayloadSlot) {
        let Some(entry) = self.index.releases.get_mut(release.0 as usize) else {
            return;
        };
        let kept = entry.payloads.contains_key(&payload.0);
        if let (false, Some(row)) = (kept, self.state.releases().get(&entry.name))
            && let Some(found) = row.manifest.payloads.get(payload.0 as usize)
        {
            entry.payloads.insert(payload.0, found.payload.clone());
        }
    }

    fn baselines(&mut self) -> Settled {
        let width = u16::try_from(self.index.channels.len()).unwrap_or(u16::MAX);
        let mut latest: BTreeMap<(ComponentSlot, StratumSlot), (Revision, ReleaseSlot)> =
            BTreeMap::new();
        for (key, baseline) in self.state.baselines().iter() {
            let Some(release) = self.release(&baseline.release) else {
                continue;
            };
            let component = self.component(&key.component);
            let channels = match &key.channel {
                None => 0..width,
                Some(channel) => match self.index.channels.slot(channel.as_str()) {
                    Some(slot) => slot..slot.saturating_add(1),
                    None => continue,
                },
            };
            for variant in self.selection.members([&key.selector]).iter() {
                let id = self
                    .index
                    .variants
                    .get(variant as usize)
                    .map(|entry| entry.id);
                if id.is_some_and(|id| baseline.excluded.contains(&id)) {
                    continue;
                }
                for channel in channels.clone() {
                    let best = latest
                        .entry((component, StratumSlot { variant, channel }))
                        .or_insert((baseline.revision, release));
                    *best = (*best).max((baseline.revision, release));
                }
            }
        }
        let mut settled = Settled::new();
        for ((component, stratum), (_, release)) in latest {
            settled
                .entry((component, release))
                .or_default()
                .push(stratum);
        }
        settled
    }

    fn floors(&mut self) {
        for (scope, _) in self.state.floors().iter() {
            self.component(&scope.component);
        }
        let width = self.index.components.len();
        let mut floors = vec![SecurityVersion(0); width * self.index.variants.len()];
        for (scope, floor) in self.state.floors().iter() {
            let component = usize::from(self.component(&scope.component).0);
            for variant in self.selection.members([&scope.selector]).iter() {
                if let Some(highest) = floors.get_mut(variant as usize * width + component) {
                    *highest = floor.security_version.max(*highest);
                }
            }
        }
        self.index.floors = floors;
    }
}

fn cover(stops: &mut Stops, stop: &Stop) {
    let first = |slot: &mut Option<StopId>| *slot = Some(slot.unwrap_or(stop.id));
    if stop.covers.offers() {
        first(&mut stops.offers);
    }
    if stop.covers.returns() {
        first(&mut stops.returns);
    }
}

/// Why a release may not be offered to anybody (EPOCH-2).
fn not_offerable(state: &State, release: &Release) -> Option<Reason> {
    Some(match offerable(state, release).err()? {
        NotOfferable::Withdrawn(ReleaseStatus::Retired) => Reason::ReleaseRetired,
        NotOfferable::Withdrawn(ReleaseStatus::Revoked | ReleaseStatus::Registered) => {
            Reason::ReleaseRevoked
        }
        NotOfferable::UnderSigned { needed, found } => Reason::ReleaseUntrusted { needed, found },
    })
}
