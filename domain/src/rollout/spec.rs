//! What an operator asks of a rollout: whom it is for, its waves, and how it goes back.
use crate::{
    id::{Channel, LogTime, Millis, Ppm, ReleaseName, RolloutId},
    release::VersionRange,
    variant::Selector,
    wave::WaveSpec,
};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// Whom a rollout is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Audience {
    /// The variants: those that any of these selectors matches. 1 to [`Audience::SELECTORS_MAX`];
    /// the whole fleet is [`Selector::ALL`] alone.
    #[n(0)]
    pub selectors: BTreeSet<Selector>,
    /// The release channels; empty means all.
    #[n(1)]
    pub channels: BTreeSet<Channel>,
    /// The running versions that take part; absent means any.
    #[n(2)]
    pub from_versions: Option<VersionRange>,
}

impl Audience {
    /// Most selectors of one audience: 4 models in 16 regions, written out.
    pub const SELECTORS_MAX: usize = 64;

    /// Whether a variant belongs to it.
    pub fn matches(&self, variant: &crate::variant::VariantTraits) -> bool {
        self.selectors.iter().any(|s| s.matches(variant))
    }

    /// Whether some variant, registered or not, belongs to it and to the selector.
    pub fn meets(&self, selector: &Selector) -> bool {
        self.selectors.iter().any(|s| s.overlaps(selector))
    }

    /// Whether some device can belong to both. Running versions don't separate audiences: they
    /// change under way.
    pub fn overlaps(&self, other: &Self) -> bool {
        let channels = self.channels.is_empty()
            || other.channels.is_empty()
            || !self.channels.is_disjoint(&other.channels);
        channels && self.selectors.iter().any(|s| other.meets(s))
    }
}

/// Where devices return to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RollbackTarget {
    /// The baseline of each variant as it stands when the rollout is created.
    #[n(0)]
    Baseline,
    /// One release for all.
    #[n(1)]
    Release(#[n(0)] ReleaseName),
    /// Nowhere: faults are mended by a newer release.
    #[n(2)]
    FixForwardOnly,
}

/// What a rollout does when a gate fails.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RollbackSpec {
    /// Whether a failed gate starts the rollback at once.
    #[n(0)]
    pub auto: bool,
    /// How often gates are judged at least.
    #[n(1)]
    pub health_check_interval: Millis,
    /// Where devices return to.
    #[n(2)]
    pub target: RollbackTarget,
}

/// What gates look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum GateScope {
    /// Each variant, then all that are left together.
    #[n(0)]
    VariantAndPooled,
    /// All variants together only.
    #[n(1)]
    Pooled,
}

/// What a gate does with a variant that has too few samples when the pool has enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OnInconclusive {
    /// Wait for more.
    #[n(0)]
    Hold,
    /// Let the pool speak for it.
    #[n(1)]
    Pool,
}

/// What a decision node does with this rollout while its snapshot is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OnStale {
    /// Devices wait.
    #[n(0)]
    Wait,
    /// Offers go on; only for critical security releases.
    #[n(1)]
    Continue,
}

/// How often one device may fail before it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RetryPolicy {
    /// Most offers to one device, the first included. At least 1.
    #[n(0)]
    pub attempts: u16,
    /// Least time between a failure and the next offer; doubles each time.
    #[n(1)]
    pub backoff: Millis,
}

/// A weekly window in which devices may install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct MaintenanceWindow {
    /// Days on which it opens: bit 0 is Monday, bit 6 Sunday.
    #[n(0)]
    pub days: u8,
    /// Minute of the day at which it opens, in UTC, 0 to 1,439.
    #[n(1)]
    pub opens_minute: u16,
    /// How long it stays open, in minutes, 1 to 1,440.
    #[n(2)]
    pub length_minutes: u16,
}

impl MaintenanceWindow {
    /// Whether its fields are in their ranges, and it opens on some day.
    pub fn is_valid(&self) -> bool {
        (1..=127).contains(&self.days)
            && self.opens_minute < 1_440
            && (1..=1_440).contains(&self.length_minutes)
    }

    /// Whether the window is open at a time.
    pub fn is_open(&self, at: LogTime) -> bool {
        const MINUTE: u64 = 60_000;
        const DAY: u64 = 1_440;
        let minutes = at.0 / MINUTE;
        // 1 January 1970 was a Thursday, day 3 of a week that begins on Monday.
        let weekday = |minutes: u64| (minutes / DAY).saturating_add(3) % 7;
        let opens_on = |weekday: u64| self.days & (1_u8 << weekday.min(6)) != 0;
        let (opens, length) = (u64::from(self.opens_minute), u64::from(self.length_minutes));
        let now = minutes % DAY;
        let today =
            opens_on(weekday(minutes)) && now >= opens && now < opens.saturating_add(length);
        let yesterday = minutes.checked_sub(DAY).is_some_and(|before| {
            opens_on(weekday(before)) && now.saturating_add(DAY) < opens.saturating_add(length)
        });
        today || yesterday
    }
}

/// A span of time in which nothing new is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Freeze {
    /// Its first instant.
    #[n(0)]
    pub from: LogTime,
    /// The first instant after it.
    #[n(1)]
    pub until: LogTime,
}

impl Freeze {
    /// Whether the freeze holds at a time.
    pub fn holds(&self, at: LogTime) -> bool {
        self.from <= at && at < self.until
    }
}

/// Everything that an operator says about a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RolloutSpec {
    /// The release to bring.
    #[n(0)]
    pub release: ReleaseName,
    /// To whom.
    #[n(1)]
    pub audience: Audience,
    /// In which waves. 1 to `Limits::waves_max`.
    #[n(2)]
    pub waves: Vec<WaveSpec>,
    /// What happens when it goes wrong.
    #[n(3)]
    pub rollback: RollbackSpec,
    /// Not before this time.
    #[n(4)]
    pub start_at: Option<LogTime>,
    /// The running rollout that this one takes the place of.
    #[n(5)]
    pub supersedes: Option<RolloutId>,
    /// Which of two overlapping rollouts a device follows: the greater.
    #[n(6)]
    pub priority: Option<u32>,
    /// Share of the audience that is tallied but never offered.
    #[n(7)]
    pub control: Ppm,
    /// What gates look at.
    #[n(8)]
    pub gate_scope: GateScope,
    /// What gates do without enough samples of a variant.
    #[n(9)]
    pub on_inconclusive: OnInconclusive,
    /// What stale decision nodes do.
    #[n(10)]
    pub on_stale: OnStale,
    /// How long an offer stands.
    #[n(11)]
    pub offer_ttl: Millis,
    /// How often a device may try.
    #[n(12)]
    pub retry: RetryPolicy,
    /// Largest share of resolved exposures that may be silent.
    #[n(13)]
    pub silent_max: Ppm,
    /// Fewest resolved exposures (and metric samples) that a gate judges on.
    #[n(14)]
    pub sample_min: u64,
    /// Most unresolved exposures of one stratum in the first wave; later waves double it as
    /// cohorts are resolved. At least 1.
    #[n(15)]
    pub credit: u64,
    /// When devices may install; empty means at any time.
    #[n(16)]
    pub maintenance: Vec<MaintenanceWindow>,
    /// When nothing new is offered.
    #[n(17)]
    pub freezes: Vec<Freeze>,
    /// How long after its last wave has passed the rollout completes by itself.
    #[n(18)]
    pub complete_after: Option<Millis>,
}

impl RolloutSpec {
    /// Whether its completion makes its release the baseline: its last wave reaches everybody in the
    /// audience. Of a last wave below 100 %, or with a cap, nobody knows whom it did not reach.
    pub fn sets_baselines(&self) -> bool {
        let last = self.waves.last();
        last.is_some_and(|wave| wave.target == Ppm::ALL && wave.cap.is_none())
    }
}
