//! Why a decision is what it is: one catalogue of reasons with stable codes.
use super::index::ComponentSlot;
use std::fmt;
use tidegate_domain::id::{LogTime, Ppm, RolloutId, SecurityVersion, StopId, WaveIndex};

/// What the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Install this release.
    Offer,
    /// There may be something later.
    Wait,
    /// There is nothing for this device.
    None,
    /// Go back to this release.
    Return,
}

impl Verdict {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Wait => "wait",
            Self::None => "none",
            Self::Return => "return",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Declares the reasons: one line says the code, the verdict that it argues for, and what it names.
macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident $({ $($field:ident: $type:ty),+ })? = $code:literal, $verdict:ident;)+) => {
        /// Why. The codes are stable: agents and dashboards match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "fields are named after what they say")]
        pub enum Reason { $($(#[$meta])* $name $({ $($field: $type),+ })?,)+ }

        impl Reason {
            /// The stable, machine-readable code.
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)+ }
            }

            /// The verdict that it argues for.
            pub const fn verdict(&self) -> Verdict {
                match self { $(Self::$name { .. } => Verdict::$verdict,)+ }
            }

            /// Calls `each` with the name and value of everything that the reason speaks of.
            pub fn params(&self, mut each: impl FnMut(&'static str, &dyn fmt::Display)) {
                let _ = &mut each;
                match self {
                    $(Self::$name $({ $($field),+ })? => { $($(each(stringify!($field), $field);)+)? })+
                }
            }

            /// Every code, for documentation and tests.
            pub const CODES: &'static [&'static str] = &[$($code,)+];
        }
    };
}

reasons! {
    /// The device's wave is open and it was admitted.
    InWave { wave: WaveIndex } = "in_wave", Offer;
    /// The device holds the exposure already; nothing was drawn for it.
    Echoed = "exposure_echoed", Offer;
    /// The release is what its variant has settled on.
    CatchUp = "catch_up", Offer;
    /// The release lies on the way to the rollout's.
    SteppingStone = "stepping_stone", Offer;
    /// It closes a hole that is being used.
    CriticalSecurity = "critical_security", Offer;
    /// The rollout is rolled back.
    RollingBack = "rolling_back", Return;

    /// Everything on the device is as it should be.
    UpToDate = "up_to_date", None;
    /// No rollout and no baseline is for this variant and channel.
    NothingForStratum = "nothing_for_stratum", None;
    /// No such variant is registered.
    UnknownVariant = "unknown_variant", None;
    /// Nobody registered this release channel.
    UnknownChannel = "unknown_channel", None;
    /// The device id is longer than the limit.
    DeviceIdTooLong { bytes: usize, limit: usize } = "device_id_too_long", None;
    /// The device id is empty or has characters that are not printable ASCII.
    DeviceIdMalformed = "device_id_malformed", None;
    /// A version that is no semantic version.
    VersionMalformed = "version_malformed", None;
    /// Some other field is malformed or over its limit.
    CheckInMalformed { field: &'static str } = "check_in_malformed", None;
    /// More components or attempts than one check-in may have.
    TooManyItems { field: &'static str, limit: usize } = "too_many_items", None;
    /// The variant was taken out of the rollout.
    VariantExcluded = "variant_excluded", None;
    /// The release has no payload for the variant.
    NoPayload = "no_payload_for_variant", None;
    /// The rollout is halted.
    RolloutHalted = "rollout_halted", None;
    /// The release is barred by the halt of a rollout.
    Barred { halted: RolloutId } = "release_barred", None;
    /// The release was revoked.
    ReleaseRevoked = "release_revoked", None;
    /// The release was retired by a raised floor.
    ReleaseRetired = "release_retired", None;
    /// Too few trusted keys signed the release.
    ReleaseUntrusted { needed: u16, found: u16 } = "release_untrusted", None;
    /// The release is below the floor of the snapshot.
    BelowFloor { release: SecurityVersion, floor: SecurityVersion } = "below_floor", None;
    /// The release is below the floor that the device reports.
    BelowDeviceFloor { release: SecurityVersion, floor: SecurityVersion } = "below_device_floor", None;
    /// The release is below what runs.
    BelowRunning { release: SecurityVersion, running: SecurityVersion } = "below_running_security_version", None;
    /// What runs is newer.
    RunningNewer = "running_newer", None;
    /// The rollout is for other running versions.
    FromVersionNotMatched = "from_version_not_matched", None;
    /// No path of releases leads from what runs to the release.
    NoPath = "no_upgrade_path", None;
    /// Another component must change first.
    RequirementUnmet { requirement: u16 } = "requirement_unmet", Wait;
    /// The device follows a rollout of higher priority.
    FollowsOther { other: RolloutId } = "follows_other_rollout", None;
    /// The device is in the fleet's holdout.
    Holdout = "holdout", None;
    /// The device is in the rollout's control arm.
    Control = "control_arm", None;
    /// A legal hold.
    LegalHold { until: LogTime } = "legal_hold", None;
    /// The device is pinned to another release.
    Pinned { until: LogTime } = "pinned", None;
    /// It failed too often on this device.
    AttemptsExhausted { failures: u16, limit: u16 } = "attempts_exhausted", None;

    /// An emergency stop covers the device.
    Stopped { stop: StopId } = "stopped", Wait;
    /// Nothing is offered in the region.
    RegionClosed = "region_closed", Wait;
    /// The rollout is paused.
    RolloutPaused = "rollout_paused", Wait;
    /// Nothing new is offered until then.
    Frozen { until: LogTime } = "frozen", Wait;
    /// No maintenance window is open.
    OutsideMaintenance = "outside_maintenance_window", Wait;
    /// Too little charge.
    BatteryLow { percent: u8, required: u8 } = "battery_low", Wait;
    /// Too little space.
    StorageLow { free: u64, required: u64 } = "storage_low", Wait;
    /// Downloads over a metered network are not allowed.
    NetworkMetered = "network_metered", Wait;
    /// It failed a while ago and may try again then.
    BackingOff { until: LogTime } = "backing_off", Wait;
    /// The device holds an open exposure of the same component.
    ExposureOpen { other: RolloutId } = "exposure_open", Wait;
    /// The device's wave is not open yet.
    WaveNotOpen { wave: WaveIndex } = "wave_not_open", Wait;
    /// The install is too likely to fail.
    RiskTooHigh { risk: Ppm, limit: Ppm } = "risk_too_high", Wait;
    /// Admissions have been asked for and have not come.
    BudgetPending = "budget_pending", Wait;
    /// No admissions are to be had at present.
    BudgetExhausted = "budget_exhausted", Wait;
    /// The snapshot is stale and the rollout does not go on then.
    SnapshotStale = "snapshot_stale", Wait;
    /// The node knows nothing that it may answer from.
    Blind = "blind", Wait;
    /// The node has too many check-ins in flight.
    Overloaded = "overloaded", Wait;
    /// The lease ran out, or a halt arrived, while the offer was being made.
    LeaseLost = "lease_lost", Wait;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        let mut result = Ok(());
        self.params(|name, value| {
            if result.is_ok() {
                result = write!(f, " {name}={value}");
            }
        });
        result
    }
}

/// A reason and what it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Because {
    /// Why.
    pub reason: Reason,
    /// The rollout, if it is about one.
    pub rollout: Option<RolloutId>,
    /// The component, if it is about one.
    pub component: Option<ComponentSlot>,
}

impl From<Reason> for Because {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            rollout: None,
            component: None,
        }
    }
}

/// The reasons of one decision, at most [`Reasons::MAX`], without an allocation.
#[derive(Clone, Copy)]
pub struct Reasons {
    items: [Because; Self::MAX],
    len: u8,
}

impl Reasons {
    /// How many reasons are kept; later ones are left out.
    pub const MAX: usize = 8;

    /// No reasons yet.
    pub const fn new() -> Self {
        const UNUSED: Because = Because {
            reason: Reason::UpToDate,
            rollout: None,
            component: None,
        };
        Self {
            items: [UNUSED; Self::MAX],
            len: 0,
        }
    }

    /// Adds one, unless it is there or there are too many.
    pub fn push(&mut self, because: impl Into<Because>) {
        let because = because.into();
        if self.as_slice().contains(&because) {
            return;
        }
        if let Some(place) = self.items.get_mut(usize::from(self.len)) {
            *place = because;
            self.len = self.len.saturating_add(1);
        }
    }

    /// The reasons in order.
    pub fn as_slice(&self) -> &[Because] {
        self.items.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Puts those that argue for `verdict` first, each group in its order.
    pub(super) fn most_important_first(&mut self, verdict: Verdict) {
        let len = usize::from(self.len);
        if let Some(items) = self.items.get_mut(..len) {
            items.sort_by_key(|because| because.reason.verdict() != verdict);
        }
    }
}

impl Default for Reasons {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Reasons {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Reasons {}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_in_snake_case() {
        let distinct: BTreeSet<_> = Reason::CODES.iter().collect();
        assert_eq!(distinct.len(), Reason::CODES.len());
        for code in Reason::CODES {
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
        }
    }

    #[test]
    fn a_reason_reads_with_what_it_speaks_of() {
        let reason = Reason::BatteryLow {
            percent: 12,
            required: 40,
        };
        assert_eq!(reason.to_string(), "battery_low percent=12 required=40");
        assert_eq!(Reason::Holdout.to_string(), "holdout");
    }

    #[test]
    fn reasons_keep_the_first_of_equals_and_stop_at_the_limit() {
        let mut reasons = Reasons::new();
        for percent in 0..20 {
            reasons.push(Reason::BatteryLow {
                percent,
                required: 40,
            });
            reasons.push(Reason::BatteryLow {
                percent: 0,
                required: 40,
            });
        }
        assert_eq!(reasons.as_slice().len(), Reasons::MAX);
        assert_eq!(
            reasons.as_slice()[1].reason,
            Reason::BatteryLow {
                percent: 1,
                required: 40
            }
        );
    }

    #[test]
    fn what_argues_for_the_verdict_comes_first() {
        let mut reasons = Reasons::new();
        reasons.push(Reason::Holdout);
        reasons.push(Reason::RegionClosed);
        reasons.most_important_first(Verdict::Wait);
        let codes: Vec<_> = reasons.as_slice().iter().map(|b| b.reason.code()).collect();
        assert_eq!(codes, ["region_closed", "holdout"]);
    }
}
