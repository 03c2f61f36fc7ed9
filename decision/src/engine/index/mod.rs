//! The retrieval index: everything that a decision looks at, laid out by stratum, built once for
//! each snapshot, so that a check-in never scans.
mod build;
mod candidates;
mod names;
mod paths;
mod selection;

use super::reason::Reason;
use names::{NameMap, Names};
use selection::{Coded, Members};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tidegate_domain::{
    guard::{HoldKind, RegionPolicy},
    id::{
        Channel, Component, Epoch, Hash, Incarnation, Index as Entries, LogTime, Millis, Ppm,
        Pseudonym, PublicKey, Region, ReleaseName, RolloutId, SecurityVersion, SessionId,
        SignatureBytes, StopId, VariantId,
    },
    release::{ArtifactKind, Payload, Version, VersionRange},
    rollout::Rollout,
    state::State,
    variant::VariantTraits,
};

/// Number of a component in one index. Means nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentSlot(pub(super) u16);

/// Number of a release in one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseSlot(u32);

/// Number of a release's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadSlot(u32);

/// The snapshot that decisions cite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cited {
    /// The cluster.
    pub origin: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// Number of audit entries that the snapshot covers.
    pub entries: Entries,
    /// Log time of the last of them.
    pub time: LogTime,
    /// The key epoch.
    pub epoch: Epoch,
    /// The newest session that there ever was.
    pub last_session: SessionId,
}

/// The replicated settings that decisions follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a lease lasts, drift included.
    pub lease: Millis,
    /// What is taken off it for drift.
    pub drift_margin: Millis,
    /// How long a stale snapshot may be used at all.
    pub stale_max: Millis,
    /// How often sessions report.
    pub report_interval: Millis,
    /// How long an offer of a baseline stands.
    pub offer_ttl: Millis,
    /// Most catch-up offers of one stratum in an hour, per node.
    pub credit: u64,
    /// Share of the fleet that is in no rollout.
    pub holdout: Ppm,
    /// How often devices check in, on average.
    pub poll_interval: Millis,
    /// Most tallies in one report.
    pub report_tallies_max: usize,
}

/// A session as the snapshot knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    /// Its key.
    pub key: PublicKey,
    /// Where other nodes reach it.
    pub address: Box<str>,
    /// Whether it can still admit and own.
    pub open: bool,
}

/// The retrieval index of one snapshot.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Index {
    pub(super) cited: Cited,
    pub(super) settings: Settings,
    pub(super) holdout_salt: Hash,
    pub(super) variants: Vec<VariantEntry>,
    variant_by_traits: NameMap<u32>,
    variant_by_id: BTreeMap<VariantId, u32>,
    pub(super) components: Names<Component>,
    channels: Names<Channel>,
    region_slots: NameMap<u16>,
    regions: Vec<RegionEntry>,
    pub(super) rollouts: Vec<RolloutEntry>,
    pub(super) releases: Vec<ReleaseEntry>,
    pub(super) lines: Vec<Line>,
    /// By variant, then by channel; each in the order in which candidates are tried.
    strata: Vec<Vec<Candidate>>,
    /// By variant, then by component.
    floors: Vec<SecurityVersion>,
    bars: HashMap<u32, Vec<Bar>>,
    /// Sorted by device.
    holds: Vec<(Pseudonym, Held)>,
    sessions: BTreeMap<SessionId, SessionEntry>,
}

/// A variant.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct VariantEntry {
    pub(super) id: VariantId,
    pub(super) traits: VariantTraits,
    coded: Coded,
    pub(super) region: Option<u16>,
    pub(super) stops: Stops,
}

/// The emergency stops that cover somebody.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Stops {
    pub(super) offers: Option<StopId>,
    pub(super) returns: Option<StopId>,
}

/// What is known of a region.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct RegionEntry {
    pub(super) policy: Option<RegionPolicy>,
    pub(super) stops: Stops,
}

/// A rollout that is under way, halted, or rolled back with its bar still standing.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct RolloutEntry {
    /// Without its progress.
    pub(super) rollout: Rollout,
    /// How many of its waves are open.
    pub(super) opened: usize,
}

/// A release that may come up.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct ReleaseEntry {
    pub(super) name: ReleaseName,
    pub(super) component: ComponentSlot,
    pub(super) kind: ArtifactKind,
    pub(super) version: Version,
    pub(super) security_version: SecurityVersion,
    pub(super) critical_security: bool,
    pub(super) upgradable_from: Option<VersionRange>,
    pub(super) requires: Vec<(ComponentSlot, VersionRange)>,
    /// Why it may not be offered at all.
    pub(super) barred: Option<Reason>,
    /// Releases on the way to this one: fewest hops to go first, then the newest.
    pub(super) stones: Vec<ReleaseSlot>,
    manifest: Arc<[u8]>,
    signatures: Vec<(PublicKey, SignatureBytes)>,
    exact: HashMap<Coded, u32>,
    patterns: Vec<(Coded, u32)>,
    payloads: HashMap<u32, Payload>,
}

/// What a line of candidates is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// A rollout's release for those who don't have it.
    Offer,
    /// A rolled back release's target for those who have it.
    Return,
    /// What a variant has settled on, for those who are behind.
    Baseline,
}

/// One reason to change something on devices, whatever their stratum.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Line {
    pub(super) kind: LineKind,
    pub(super) component: ComponentSlot,
    /// The release that it is about: that devices return *from*, when they return.
    pub(super) release: ReleaseSlot,
    /// Position of the rollout; none for a baseline.
    pub(super) rollout: Option<u32>,
}

/// A line in one stratum.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Candidate {
    pub(super) line: u32,
    /// What devices would get.
    pub(super) release: ReleaseSlot,
    /// Its payload for the variant.
    pub(super) payload: Option<PayloadSlot>,
    /// The halted rollout whose bar covers it.
    pub(super) barred: Option<RolloutId>,
    /// The variant was taken out of the rollout.
    pub(super) excluded: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
struct Bar {
    rollout: RolloutId,
    members: Members,
    /// Empty means all channels.
    channels: Vec<u16>,
}

/// What is held for a device.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Held {
    pub(super) component: Option<Component>,
    pub(super) kind: HoldKind,
    pub(super) until: LogTime,
}

/// Where a check-in looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StratumSlot {
    pub(super) variant: u32,
    pub(super) channel: u16,
}

impl Index {
    /// Builds the index of a snapshot.
    pub fn build(state: &State) -> Self {
        build::build(state)
    }

    /// What of it a decision could notice at `now`, wherever it was built.
    #[cfg(test)]
    pub(crate) fn noticed(mut self, now: LogTime) -> Self {
        (self.cited.entries, self.cited.time) = (Entries(0), LogTime(0));
        self.holds.retain(|(_, held)| now < held.until);
        self
    }

    /// The snapshot that it was built from.
    pub const fn cited(&self) -> &Cited {
        &self.cited
    }

    /// The settings of that snapshot.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The session with a number, if the snapshot still knows it.
    pub fn session(&self, id: SessionId) -> Option<&SessionEntry> {
        self.sessions.get(&id)
    }

    /// Open sessions in ascending order.
    pub fn open_sessions(&self) -> impl Iterator<Item = (SessionId, &SessionEntry)> {
        self.sessions
            .iter()
            .filter(|(_, s)| s.open)
            .map(|(id, s)| (*id, s))
    }

    /// The name of a component.
    pub fn component(&self, slot: ComponentSlot) -> Option<&Component> {
        self.components.name(slot.0)
    }

    pub(super) fn variant_slot(&self, claim: &super::checkin::VariantClaim) -> Option<u32> {
        match claim {
            super::checkin::VariantClaim::Id(id) => self.variant_by_id.get(id).copied(),
            super::checkin::VariantClaim::Traits(text) => {
                self.variant_by_traits.get(text.as_ref()).copied()
            }
        }
    }

    pub(super) fn channel_slot(&self, channel: &Channel) -> Option<u16> {
        self.channels.slot(channel.as_str())
    }

    pub(super) fn channel(&self, slot: u16) -> Option<&Channel> {
        self.channels.name(slot)
    }

    pub(super) fn component_slot(&self, name: &Component) -> Option<ComponentSlot> {
        self.components.slot(name.as_str()).map(ComponentSlot)
    }

    pub(super) fn region(&self, name: &Region) -> Option<&RegionEntry> {
        let slot = self.region_slots.get(name.as_str())?;
        self.regions.get(usize::from(*slot))
    }

    pub(super) fn region_at(&self, slot: u16) -> Option<&RegionEntry> {
        self.regions.get(usize::from(slot))
    }

    pub(super) fn candidates(&self, at: StratumSlot) -> &[Candidate] {
        let place = at.variant as usize * self.channels.len() + usize::from(at.channel);
        self.strata.get(place).map_or(&[], Vec::as_slice)
    }

    pub(super) fn release(&self, slot: ReleaseSlot) -> Option<&ReleaseEntry> {
        self.releases.get(slot.0 as usize)
    }

    /// The floor of a component on a variant (FLOOR-2).
    pub(super) fn floor(&self, variant: u32, component: ComponentSlot) -> SecurityVersion {
        let place = variant as usize * self.components.len() + usize::from(component.0);
        self.floors.get(place).copied().unwrap_or_default()
    }

    /// The halted rollout that bars a release from a stratum.
    pub(super) fn bar(&self, release: ReleaseSlot, at: StratumSlot) -> Option<RolloutId> {
        let covers = |bar: &&Bar| {
            bar.members.contains(at.variant)
                && (bar.channels.is_empty() || bar.channels.contains(&at.channel))
        };
        let bars = self.bars.get(&release.0)?;
        bars.iter().find(covers).map(|bar| bar.rollout)
    }

    /// What is held for a device.
    pub(super) fn holds_of(&self, device: &Pseudonym) -> impl Iterator<Item = &Held> {
        let from = self.holds.partition_point(|(held, _)| held < device);
        let rest = self.holds.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |(held, _)| held == device)
            .map(|(_, held)| held)
    }

    /// The rollout with a number, if it is in the index.
    pub(super) fn rollout(&self, id: RolloutId) -> Option<&RolloutEntry> {
        let at = self
            .rollouts
            .binary_search_by_key(&id, |entry| entry.rollout.id);
        self.rollouts.get(at.ok()?)
    }
}

impl ReleaseEntry {
    /// The payload for a variant: the first whose selector matches, as in the domain.
    pub(super) fn payload_for(&self, variant: &VariantEntry) -> Option<PayloadSlot> {
        self.payload_of(variant.coded)
    }

    fn payload_of(&self, variant: Coded) -> Option<PayloadSlot> {
        let exact = self.exact.get(&variant).copied();
        let pattern = self
            .patterns
            .iter()
            .find(|(p, _)| p.matches(variant))
            .map(|(_, at)| *at);
        match (exact, pattern) {
            (Some(a), Some(b)) => Some(PayloadSlot(a.min(b))),
            (a, b) => a.or(b).map(PayloadSlot),
        }
    }

    /// The payload at a place.
    pub(super) fn payload(&self, slot: PayloadSlot) -> Option<&Payload> {
        self.payloads.get(&slot.0)
    }

    /// The manifest as it was signed.
    pub(super) const fn manifest(&self) -> &Arc<[u8]> {
        &self.manifest
    }

    /// Its signatures.
    pub(super) fn signatures(&self) -> &[(PublicKey, SignatureBytes)] {
        &self.signatures
    }
}
