//! What guards the fleet whatever rollouts say: floors, stops, holds, region policies, baselines,
//! recovery images.
use crate::{
    id::{
        Channel, Component, LogTime, Pseudonym, Reason, Region, ReleaseName, Revision,
        SecurityVersion, StopId,
    },
    rollout::{Freeze, MaintenanceWindow},
    variant::{Selector, VariantTraits},
};
use minicbor::{Decode, Encode};

/// Key of rows that belong to a component on a set of variants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Scope {
    /// The component.
    #[n(0)]
    pub component: Component,
    /// The variants.
    #[n(1)]
    pub selector: Selector,
}

/// A floor: the least security version that a scope may run. Only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Floor {
    /// The least security version.
    #[n(0)]
    pub security_version: SecurityVersion,
    /// When it was last raised.
    #[n(1)]
    pub since: LogTime,
    /// The entry that last raised it.
    #[n(2)]
    pub revision: Revision,
}

/// Key of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct BaselineKey {
    /// The component.
    #[n(0)]
    pub component: Component,
    /// The variants.
    #[n(1)]
    pub selector: Selector,
    /// The release channel; absent means all, those that come to be later too.
    #[n(2)]
    pub channel: Option<Channel>,
}

impl BaselineKey {
    /// Whether a device of this variant and channel is meant.
    pub fn matches(&self, variant: &VariantTraits, channel: &Channel) -> bool {
        self.selector.matches(variant) && self.channel.as_ref().is_none_or(|own| own == channel)
    }
}

/// The release that variants on a channel have settled on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Baseline {
    /// The release.
    #[n(0)]
    pub release: ReleaseName,
    /// Since when.
    #[n(1)]
    pub since: LogTime,
    /// The entry that set it. Of two baselines that match a device, the later counts.
    #[n(2)]
    pub revision: Revision,
    /// Variants that were excluded from the rollout that set it: the baseline is not theirs.
    #[n(3)]
    pub excluded: std::collections::BTreeSet<crate::id::VariantId>,
}

/// An image that devices of a scope fall back to when nothing else boots. Floors never pass it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecoveryImage {
    /// Its name, for people.
    #[n(0)]
    pub release: ReleaseName,
    /// Its security version.
    #[n(1)]
    pub security_version: SecurityVersion,
    /// The entry that declared it.
    #[n(2)]
    pub revision: Revision,
}

/// Whom an emergency stop covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum StopScope {
    /// Everyone.
    #[n(0)]
    Fleet,
    /// One region.
    #[n(1)]
    Region(#[n(0)] Region),
    /// Some variants.
    #[n(2)]
    Variants(#[n(0)] Selector),
}

/// Which answers an emergency stop bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StopCovers {
    /// Offers only: devices may still go back.
    #[n(0)]
    Offers,
    /// Returns only.
    #[n(1)]
    Returns,
    /// Offers and returns.
    #[n(2)]
    Both,
}

impl StopCovers {
    /// Whether offers are barred.
    pub const fn offers(self) -> bool {
        matches!(self, Self::Offers | Self::Both)
    }

    /// Whether returns are barred.
    pub const fn returns(self) -> bool {
        matches!(self, Self::Returns | Self::Both)
    }
}

/// An emergency stop.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stop {
    /// Its number.
    #[n(0)]
    pub id: StopId,
    /// Whom it covers.
    #[n(1)]
    pub scope: StopScope,
    /// What it bars.
    #[n(2)]
    pub covers: StopCovers,
    /// Why.
    #[n(3)]
    pub reason: Reason,
    /// Since when.
    #[n(4)]
    pub since: LogTime,
    /// The entry that raised it.
    #[n(5)]
    pub revision: Revision,
}

/// What is held for one device and component.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum HoldKind {
    /// Nothing changes on it: a legal hold.
    #[n(0)]
    Legal,
    /// It stays on one release, and is offered no other.
    #[n(1)]
    Pin(#[n(0)] ReleaseName),
}

/// Key of a hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct HoldKey {
    /// The device.
    #[n(0)]
    pub device: Pseudonym,
    /// The component; absent means all of them.
    #[n(1)]
    pub component: Option<Component>,
}

/// A hold on one device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hold {
    /// What is held.
    #[n(0)]
    pub kind: HoldKind,
    /// Why.
    #[n(1)]
    pub reason: Reason,
    /// The first instant at which it holds no more.
    #[n(2)]
    pub expires: LogTime,
    /// The entry that set it.
    #[n(3)]
    pub revision: Revision,
}

/// What a region allows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RegionPolicy {
    /// Whether anything at all is offered there.
    #[n(0)]
    pub offers_allowed: bool,
    /// Whether devices may fetch over a metered network.
    #[n(1)]
    pub metered_allowed: bool,
    /// Least battery charge in percent at which devices may install, 0 to 100.
    #[n(2)]
    pub battery_min_percent: u8,
    /// When devices may install; empty means at any time.
    #[n(3)]
    pub maintenance: Vec<MaintenanceWindow>,
    /// When nothing new is offered.
    #[n(4)]
    pub freezes: Vec<Freeze>,
    /// The entry that set it.
    #[n(5)]
    pub revision: Revision,
}

impl RegionPolicy {
    /// Most maintenance windows, and most freezes, of one region.
    pub const WINDOWS_MAX: usize = 64;
}
