//! Rollouts: one release brought to an audience in ordered waves.
mod spec;
mod stage;

pub use spec::{
    Audience, Freeze, GateScope, MaintenanceWindow, OnInconclusive, OnStale, RetryPolicy,
    RollbackSpec, RollbackTarget, RolloutSpec,
};
pub use stage::LifeStage;

use crate::{
    id::{
        Channel, Hash, LogTime, Millis, Reason, ReleaseName, Revision, RolloutId, VariantId,
        WaveIndex, WaveName,
    },
    variant::{Selector, VariantTraits},
    wave::{WaveSpec, WaveState},
};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

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
    /// Where it is, without since when and why.
    pub const fn stage(&self) -> LifeStage {
        match self {
            Self::Draft => LifeStage::Draft,
            Self::Approved => LifeStage::Approved,
            Self::Running => LifeStage::Running,
            Self::Paused { .. } => LifeStage::Paused,
            Self::Halted { .. } => LifeStage::Halted,
            Self::RollingBack { .. } => LifeStage::RollingBack,
            Self::RolledBack { .. } => LifeStage::RolledBack,
            Self::Superseded { .. } => LifeStage::Superseded,
            Self::Completed { .. } => LifeStage::Completed,
        }
    }

    /// Its name, as people read it.
    pub const fn name(&self) -> &'static str {
        self.stage().name()
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
    /// The target of each part of the audience, frozen at creation: the first rule that
    /// matches counts. Empty for `FixForwardOnly`.
    #[n(0)]
    pub targets: Vec<RollbackRule>,
    /// Most unresolved returns of one stratum.
    #[n(1)]
    pub credit: u64,
}

impl RollbackPlan {
    /// Where the devices of a variant on a channel return to.
    pub fn target(&self, variant: &VariantTraits, channel: &Channel) -> Option<&ReleaseName> {
        self.targets
            .iter()
            .find(|rule| rule.is_on(channel) && rule.selector.matches(variant))
            .map(|rule| &rule.release)
    }
}

/// One rule of a rollback plan.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RollbackRule {
    /// For these variants …
    #[n(0)]
    pub selector: Selector,
    /// … this release …
    #[n(1)]
    pub release: ReleaseName,
    /// … on this channel; absent means all.
    #[n(2)]
    pub channel: Option<Channel>,
}

impl RollbackRule {
    /// Whether it is for devices on a channel.
    pub fn is_on(&self, channel: &Channel) -> bool {
        self.channel.as_ref().is_none_or(|own| own == channel)
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
