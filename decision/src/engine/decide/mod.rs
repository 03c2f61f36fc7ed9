//! `decide`: what one device is told, from a snapshot's index and what the device says.
//!
//! A function of its arguments and of nothing else (DEC-1). Four stages, each adding reasons:
//! retrieval walks the candidates of the device's stratum, eligibility asks whether the device may
//! have a candidate at all, risk how likely it is to fail, and policy whether it is its turn.
mod eligibility;
mod policy;

use super::{
    checkin::{CheckIn, Running},
    index::{
        Candidate, ComponentSlot, Index, Line, LineKind, PayloadSlot, RegionEntry, ReleaseEntry,
        ReleaseSlot, RolloutEntry, StratumSlot, VariantEntry,
    },
    reason::{Because, Reason, Reasons, Verdict},
    risk::RiskModel,
};
use tidegate_domain::{
    bucket,
    id::{
        Channel, Cohort, LogTime, Millis, Pseudonym, RolloutId, SecurityVersion, VariantId,
        WaveIndex,
    },
    tally::Arm,
};

/// How much the node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Its lease is valid: nothing that was acknowledged before it began is missing.
    Fresh,
    /// The lease ran out: only critical security releases that may go on do.
    Stale,
    /// Nothing that may be answered from.
    Blind,
}

impl Mode {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Blind => "blind",
        }
    }
}

/// Where an admission is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool<'a> {
    /// The rollout; absent for the catch-up credit of baselines.
    pub rollout: Option<RolloutId>,
    /// The wave; 0 for baselines.
    pub wave: WaveIndex,
    /// The variant.
    pub variant: VariantId,
    /// The channel.
    pub channel: &'a Channel,
    /// Offers or returns.
    pub arm: Arm,
}

/// What came of asking for one admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Admitted: the admission is used up.
    Granted,
    /// None is held; more have been asked for.
    Pending,
    /// None is held, and none are to be had for now: credit, pacing, or no store to ask.
    Exhausted,
    /// None is held, and the wave's cap is reached: a later wave may have more.
    CapReached,
}

/// The admissions that a node holds. Called at most once for each wave, and only for a device that
/// would be offered the release otherwise.
pub trait Budgets {
    /// Takes one admission from a pool.
    fn draw(&mut self, pool: Pool<'_>, now: LogTime) -> Draw;
}

/// No admissions at all: what an explanation asks with, so that asking changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBudgets;

impl Budgets for NoBudgets {
    fn draw(&mut self, _: Pool<'_>, _: LogTime) -> Draw {
        Draw::Exhausted
    }
}

/// An exposure that a decision makes, renews, or finds open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The rollout; absent for a baseline.
    pub rollout: Option<RolloutId>,
    /// The wave that it counts for.
    pub wave: WaveIndex,
    /// The side.
    pub arm: Arm,
    /// The hour that it counts in.
    pub cohort: Cohort,
    /// Which attempt of the device, from 1.
    pub attempt: u16,
    /// Position among the check-in's echoes, when it is not new.
    pub echo: Option<usize>,
}

/// What a device is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The release.
    pub release: ReleaseSlot,
    /// Its payload for the variant.
    pub payload: PayloadSlot,
    /// Whether it only lies on the way to the rollout's release.
    pub stepping_stone: bool,
    /// The exposure.
    pub exposure: Exposure,
    /// The offer stands before this time.
    pub expires: LogTime,
    /// The floor of the device's variant and component.
    pub floor: SecurityVersion,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// How much the node knew.
    pub mode: Mode,
    /// Why; never empty.
    pub reasons: Reasons,
    /// What is given, with the verdicts `Offer` and `Return`.
    pub grant: Option<Grant>,
    /// The device's variant, if it is known.
    pub variant: Option<VariantId>,
    /// When to check in again.
    pub retry_after: Millis,
}

impl Decision {
    /// An answer that looks at nothing but the reason.
    pub fn without_looking(mode: Mode, reason: Reason, poll: Millis, seed: &Pseudonym) -> Self {
        let mut reasons = Reasons::new();
        reasons.push(reason);
        Self {
            verdict: reason.verdict(),
            mode,
            reasons,
            grant: None,
            variant: None,
            retry_after: policy::retry_after(&reasons, reason.verdict(), LogTime(0), poll, seed),
        }
    }
}

/// Why a candidate is passed over.
enum Pass {
    /// It does not concern the device.
    Silent,
    /// The device has it.
    Has,
    /// The device has something newer.
    HasNewer,
    /// For this reason.
    For(Reason),
}

impl From<Reason> for Pass {
    fn from(reason: Reason) -> Self {
        Self::For(reason)
    }
}

/// What all stages look at.
struct Asked<'a> {
    index: &'a Index,
    now: LogTime,
    mode: Mode,
    check_in: &'a CheckIn,
    at: StratumSlot,
    variant: &'a VariantEntry,
    channel: &'a Channel,
    /// The region of the variant and the one that the device names: both bind.
    regions: [Option<&'a RegionEntry>; 2],
    /// By position in the check-in: the rollout that the component follows.
    follows: [Option<RolloutId>; super::checkin::COMPONENTS_MAX],
    /// Looked up once, when it is first needed.
    holdout: Option<bool>,
}

/// A candidate with everything that it refers to.
#[derive(Clone, Copy)]
struct Considered<'a> {
    candidate: &'a Candidate,
    line: &'a Line,
    rollout: Option<&'a RolloutEntry>,
    /// The release that the line is about.
    subject: &'a ReleaseEntry,
    /// What runs on the device, and where in the check-in it stands.
    running: &'a Running,
    position: usize,
}

/// Decides what a device is told.
pub fn decide(
    index: &Index,
    now: LogTime,
    mode: Mode,
    check_in: &CheckIn,
    risk: &impl RiskModel,
    budgets: &mut impl Budgets,
) -> Decision {
    let poll = index.settings.poll_interval;
    let without_looking =
        |reason| Decision::without_looking(mode, reason, poll, &check_in.pseudonym);
    if mode == Mode::Blind {
        return without_looking(Reason::Blind);
    }
    let Some(slot) = index.variant_slot(&check_in.variant) else {
        return without_looking(Reason::UnknownVariant);
    };
    let Some(variant) = index.variants.get(slot as usize) else {
        return without_looking(Reason::UnknownVariant);
    };
    let channel = index.channel_slot(&check_in.channel);
    let Some((channel, name)) = channel.and_then(|c| Some((c, index.channel(c)?))) else {
        return without_looking(Reason::UnknownChannel);
    };
    let mut asked = Asked {
        index,
        now,
        mode,
        check_in,
        at: StratumSlot {
            variant: slot,
            channel,
        },
        variant,
        channel: name,
        regions: [
            variant.region.and_then(|slot| index.region_at(slot)),
            check_in
                .region
                .as_ref()
                .and_then(|region| index.region(region)),
        ],
        follows: [None; super::checkin::COMPONENTS_MAX],
        holdout: None,
    };
    let mut reasons = Reasons::new();
    let grant = walk(&mut asked, risk, budgets, &mut reasons);
    finish(&asked, grant, reasons)
}

/// Tries the candidates of the stratum in order until one is given.
fn walk<'a>(
    asked: &mut Asked<'a>,
    risk: &impl RiskModel,
    budgets: &mut impl Budgets,
    reasons: &mut Reasons,
) -> Option<(Verdict, Grant)> {
    let index = asked.index;
    let slots = component_slots(index, asked.check_in);
    let slots = slots
        .get(..asked.check_in.components.len())
        .unwrap_or(&slots);
    let (mut has, mut has_newer) = (false, false);
    for candidate in index.candidates(asked.at) {
        let Some(considered) = consider(asked, candidate, slots) else {
            continue;
        };
        let mut stage = Reasons::new();
        let passed = eligibility::check(asked, &considered)
            .and_then(|way| policy::admit(asked, &considered, way, risk, budgets, &mut stage));
        let about = |reason| Because {
            reason,
            rollout: considered.rollout.map(|r| r.rollout.id),
            component: Some(considered.line.component),
        };
        match passed {
            Ok(grant) => {
                let verdict = match considered.line.kind {
                    LineKind::Return => Verdict::Return,
                    LineKind::Offer | LineKind::Baseline => Verdict::Offer,
                };
                stage
                    .as_slice()
                    .iter()
                    .for_each(|b| reasons.push(about(b.reason)));
                return Some((verdict, grant));
            }
            Err(Pass::Silent) => {}
            Err(Pass::Has) => has = true,
            Err(Pass::HasNewer) => has_newer = true,
            Err(Pass::For(reason)) => reasons.push(about(reason)),
        }
    }
    if reasons.as_slice().is_empty() {
        reasons.push(match (has, has_newer) {
            (true, _) => Reason::UpToDate,
            (false, true) => Reason::RunningNewer,
            (false, false) => Reason::NothingForStratum,
        });
    }
    None
}

type ComponentSlots = [Option<ComponentSlot>; super::checkin::COMPONENTS_MAX];

fn component_slots(index: &Index, check_in: &CheckIn) -> ComponentSlots {
    let mut slots = [None; super::checkin::COMPONENTS_MAX];
    for (slot, running) in slots.iter_mut().zip(&check_in.components) {
        *slot = index.component_slot(&running.component);
    }
    slots
}

/// Looks a candidate up; `None` when the device has no such component.
fn consider<'a>(
    asked: &Asked<'a>,
    candidate: &'a Candidate,
    slots: &[Option<ComponentSlot>],
) -> Option<Considered<'a>> {
    let index = asked.index;
    let line = index.lines.get(candidate.line as usize)?;
    let position = slots
        .iter()
        .position(|slot| *slot == Some(line.component))?;
    let rollout = match line.rollout {
        Some(at) => Some(index.rollouts.get(at as usize)?),
        None => None,
    };
    Some(Considered {
        candidate,
        line,
        rollout,
        subject: index.release(line.release)?,
        running: asked.check_in.components.get(position)?,
        position,
    })
}

fn finish(asked: &Asked<'_>, grant: Option<(Verdict, Grant)>, mut reasons: Reasons) -> Decision {
    let waits = || {
        reasons
            .as_slice()
            .iter()
            .any(|b| b.reason.verdict() == Verdict::Wait)
    };
    let verdict = match grant {
        Some((verdict, _)) => verdict,
        None if waits() => Verdict::Wait,
        None => Verdict::None,
    };
    reasons.most_important_first(verdict);
    let poll = asked.index.settings.poll_interval;
    Decision {
        verdict,
        mode: asked.mode,
        reasons,
        grant: grant.map(|(_, grant)| grant),
        variant: Some(asked.variant.id),
        retry_after: policy::retry_after(
            &reasons,
            verdict,
            asked.now,
            poll,
            &asked.check_in.pseudonym,
        ),
    }
}

impl Asked<'_> {
    /// Whether the device is held out of all rollouts.
    fn in_holdout(&mut self) -> bool {
        let (index, device) = (self.index, self.check_in.device.as_str());
        *self.holdout.get_or_insert_with(|| {
            bucket::in_holdout(&index.holdout_salt, device, index.settings.holdout)
        })
    }
}
