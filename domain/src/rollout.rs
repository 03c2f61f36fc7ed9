//! Rollouts: one release brought to an audience in ordered waves.
use crate::{
    id::{
        Channel, Hash, LogTime, Millis, Ppm, Reason, ReleaseName, Revision, RolloutId, VariantId,
        WaveIndex, WaveName,
    },
    release::VersionRange,
    variant::Selector,
    wave::{WaveSpec, WaveState},
};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

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

/// Why a rollout was halted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum HaltCause {
    /// An operator said so.
    #[n(0)]
    Operator(#[n(0)] Reason),
    /// A gate failed over all variants.
    #[n(1)]
    Gate(#[n(0)] Box<crate::wave::Evidence>),
    /// Its release was revoked.
    #[n(2)]
    ReleaseRevoked,
    /// A floor was raised over its release, or over its rollback target.
    #[n(3)]
    FloorRaised,
    /// A revoked key left its release without enough signatures.
    #[n(4)]
    KeyRevoked,
}

/// Where a rollout stands in its life.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Life {
    /// Written down; nobody has approved it.
    #[n(0)]
    Draft,
    /// Approved; waits for its start.
    #[n(1)]
    Approved,
    /// Under way; [`Rollout::waves`] says where.
    #[n(2)]
    Running,
    /// Under way, but nothing new is offered and soak stands still.
    #[n(3)]
    Paused {
        /// Since when.
        #[n(0)]
        since: LogTime,
    },
    /// Stopped. Devices that have it keep it until a rollback.
    #[n(4)]
    Halted {
        /// Since when.
        #[n(0)]
        since: LogTime,
        /// Why.
        #[n(1)]
        cause: HaltCause,
    },
    /// Stopped, and devices return to the target.
    #[n(5)]
    RollingBack {
        /// Since when.
        #[n(0)]
        since: LogTime,
        /// Why it was halted.
        #[n(1)]
        cause: HaltCause,
    },
    /// Devices have returned. Final.
    #[n(6)]
    RolledBack {
        /// Since when.
        #[n(0)]
        at: LogTime,
    },
    /// Another rollout took its place. Final.
    #[n(7)]
    Superseded {
        /// Which.
        #[n(0)]
        by: RolloutId,
    },
    /// All waves passed; its release is the baseline. Final.
    #[n(8)]
    Completed {
        /// Since when.
        #[n(0)]
        at: LogTime,
    },
}

impl Life {
    /// Its name, as people read it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Halted { .. } => "halted",
            Self::RollingBack { .. } => "rolling back",
            Self::RolledBack { .. } => "rolled back",
            Self::Superseded { .. } => "superseded",
            Self::Completed { .. } => "completed",
        }
    }

    /// Whether the rollout can still change.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::RolledBack { .. } | Self::Superseded { .. } | Self::Completed { .. }
        )
    }

    /// Whether the rollout occupies its audience: another one may not overlap it silently.
    pub const fn is_underway(&self) -> bool {
        matches!(
            self,
            Self::Running | Self::Paused { .. } | Self::RollingBack { .. }
        )
    }
}

/// Why a variant is out of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ExclusionCause {
    /// An operator said so.
    #[n(0)]
    Operator(#[n(0)] Reason),
    /// Its gate failed.
    #[n(1)]
    Gate(#[n(0)] Box<crate::wave::Evidence>),
}

/// The way back of a rollout: which release each variant returns to, and how that goes.
/// Returning has its own credit and its own halt (a stop that covers `returns`).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RollbackPlan {
    /// The target of each part of the audience, frozen at creation: the first selector that
    /// matches counts. Empty for `FixForwardOnly`.
    #[n(0)]
    pub targets: Vec<RollbackRule>,
    /// Most unresolved returns of one stratum.
    #[n(1)]
    pub credit: u64,
}

impl RollbackPlan {
    /// Where a variant returns to.
    pub fn target(&self, variant: &crate::variant::VariantTraits) -> Option<&ReleaseName> {
        self.targets
            .iter()
            .find(|r| r.selector.matches(variant))
            .map(|r| &r.release)
    }
}

/// One rule of a rollback plan.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RollbackRule {
    /// For these variants …
    #[n(0)]
    pub selector: Selector,
    /// … this release.
    #[n(1)]
    pub release: ReleaseName,
}

/// A rollout and all that is known of its progress, tallies apart.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rollout {
    /// Its number.
    #[n(0)]
    pub id: RolloutId,
    /// What the operator asked for, as amended.
    #[n(1)]
    pub spec: RolloutSpec,
    /// Where it stands.
    #[n(2)]
    pub life: Life,
    /// Salt of its buckets, derived from the chain: nobody can pick it.
    #[n(3)]
    pub salt: Hash,
    /// The progress of each wave, as many as the spec has.
    #[n(4)]
    pub waves: Vec<WaveState>,
    /// Variants that are out.
    #[cbor(n(5), with = "crate::canonical::pairs")]
    pub excluded: BTreeMap<VariantId, ExclusionCause>,
    /// The way back.
    #[n(6)]
    pub rollback: RollbackPlan,
    /// When it was created.
    #[n(7)]
    pub created_at: LogTime,
    /// When gates were last judged on time alone.
    #[n(8)]
    pub judged_at: LogTime,
    /// Whether soak is shortened for an emergency (a quorum said so).
    #[n(9)]
    pub expedited: bool,
    /// The entry that last changed it; what `--if-revision` compares.
    #[n(10)]
    pub revision: Revision,
    /// When its life ended; set when it becomes final.
    #[n(11)]
    pub ended: Option<LogTime>,
    /// Whether its budgets, cohorts and sums per stratum were folded away, long after its end.
    #[n(12)]
    pub folded: bool,
}

impl Rollout {
    /// Whether devices of a variant are sent back: all of them while the rollout rolls back, and
    /// those that a gate excluded as soon as it did, if failed gates start the rollback.
    pub fn returns(&self, variant: VariantId) -> bool {
        match &self.life {
            Life::RollingBack { .. } => true,
            Life::Running | Life::Paused { .. } => {
                let excluded = self.excluded.get(&variant);
                self.spec.rollback.auto && matches!(excluded, Some(ExclusionCause::Gate(_)))
            }
            Life::Draft
            | Life::Approved
            | Life::Halted { .. }
            | Life::RolledBack { .. }
            | Life::Superseded { .. }
            | Life::Completed { .. } => false,
        }
    }

    /// The success criteria of a wave: its own, or those of the nearest wave before it that has
    /// some. Without any, only silence and failed installs count.
    pub fn criteria(&self, wave: WaveIndex) -> crate::wave::Criteria {
        let upto = usize::from(wave.0).saturating_add(1);
        let waves = self.spec.waves.iter().take(upto);
        let own = waves.rev().find_map(|wave| wave.criteria.clone());
        own.unwrap_or_default()
    }

    /// How long a wave has soaked: the time since it opened, pauses and halts not counted.
    pub fn soaked(&self, wave: WaveIndex, now: LogTime) -> Millis {
        let Some((_, state)) = self.wave(wave) else {
            return Millis(0);
        };
        let Some(opened) = &state.opened else {
            return Millis(0);
        };
        let until = match &self.life {
            Life::Paused { since }
            | Life::Halted { since, .. }
            | Life::RollingBack { since, .. } => *since,
            Life::Draft
            | Life::Approved
            | Life::Running
            | Life::RolledBack { .. }
            | Life::Superseded { .. }
            | Life::Completed { .. } => now,
        };
        let open = until.since(opened.at);
        Millis(open.0.saturating_sub(state.paused.0))
    }

    /// Waves that were opened, in order.
    pub fn opened(&self) -> impl Iterator<Item = (WaveIndex, &WaveState)> {
        let waves = self.waves.iter().take_while(|wave| wave.opened.is_some());
        (0_u16..).map(WaveIndex).zip(waves)
    }

    /// The wave that is under way: the last that was opened.
    pub fn current_wave(&self) -> Option<WaveIndex> {
        let opened = self
            .waves
            .iter()
            .take_while(|wave| wave.opened.is_some())
            .count();
        let last = opened.checked_sub(1)?;
        u16::try_from(last).ok().map(WaveIndex)
    }

    /// The progress of one wave.
    pub fn wave(&self, index: WaveIndex) -> Option<(&WaveSpec, &WaveState)> {
        let at = usize::from(index.0);
        self.spec.waves.get(at).zip(self.waves.get(at))
    }

    /// The index of the wave with a name.
    pub fn wave_named(&self, name: &WaveName) -> Option<WaveIndex> {
        let at = self.spec.waves.iter().position(|wave| wave.name == *name)?;
        u16::try_from(at).ok().map(WaveIndex)
    }
}

/// The release barred from an audience by a halt, until a quorum lifts it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HaltBar {
    /// The halted rollout, which is the bar's key.
    #[n(0)]
    pub rollout: RolloutId,
    /// The barred release.
    #[n(1)]
    pub release: ReleaseName,
    /// From whom it is barred.
    #[n(2)]
    pub audience: Audience,
    /// Since when.
    #[n(3)]
    pub since: LogTime,
}
