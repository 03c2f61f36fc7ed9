//! Is it this device's turn? Holdout, control, waves, retries, risk, and admissions.
use super::{Asked, Budgets, Considered, Draw, Exposure, Grant, Pass, Pool, eligibility::Way};
use crate::engine::{
    index::{LineKind, RolloutEntry},
    reason::{Reason, Reasons, Verdict},
    risk::{self, Features, RiskModel},
    token::Token,
};
use tidegate_domain::{
    bucket::{self, Place},
    id::{LogTime, Millis, Pseudonym, WaveIndex},
    rollout::RetryPolicy,
    tally::Arm,
};
use tidegate_mutant::{Mutant, is_on};

/// How baselines and returns are retried: they have no rollout file of their own to say so.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: 5,
    backoff: Millis(3_600_000),
};

/// Lets a device in, or says why not yet.
pub(super) fn admit<'a>(
    asked: &mut Asked<'a>,
    considered: &Considered<'a>,
    way: Way<'a>,
    risk: &impl RiskModel,
    budgets: &mut impl Budgets,
    reasons: &mut Reasons,
) -> Result<Grant, Pass> {
    let attempt = attempt(asked, considered, way)?;
    let arm = match considered.line.kind {
        LineKind::Return => Arm::Return,
        LineKind::Offer | LineKind::Baseline => Arm::Treatment,
    };
    if arm == Arm::Treatment {
        no_other_exposure(asked, considered)?;
    }
    let echo = echo(asked, considered, arm, attempt);
    let turn = match considered.rollout {
        Some(entry) => Turn::of(asked, entry, arm, echo)?,
        None => Turn::Baseline,
    };
    if arm == Arm::Treatment {
        check_risk(asked, way, turn.wave(), attempt, risk)?;
    }
    let exposure = match echo {
        Some((position, token)) => {
            reasons.push(Reason::Echoed);
            Exposure {
                rollout: token.rollout,
                wave: token.wave,
                arm,
                cohort: token.cohort,
                attempt,
                echo: Some(position),
            }
        }
        None => Exposure {
            rollout: considered.rollout.map(|entry| entry.rollout.id),
            wave: turn.draw(asked, arm, budgets)?,
            arm,
            cohort: asked.now.cohort(),
            attempt,
            echo: None,
        },
    };
    explain(considered, way, exposure, reasons);
    let ttl = considered
        .rollout
        .map_or(asked.index.settings.offer_ttl, |entry| {
            entry.rollout.spec.offer_ttl
        });
    Ok(Grant {
        release: way.slot,
        payload: way.payload_slot,
        stepping_stone: way.stepping_stone,
        exposure,
        expires: asked.now.after(ttl),
        floor: way.floor,
    })
}

fn explain(considered: &Considered<'_>, way: Way<'_>, exposure: Exposure, reasons: &mut Reasons) {
    reasons.push(match considered.line.kind {
        LineKind::Return => Reason::RollingBack,
        LineKind::Baseline => Reason::CatchUp,
        LineKind::Offer => Reason::InWave {
            wave: exposure.wave,
        },
    });
    if way.stepping_stone {
        reasons.push(Reason::SteppingStone);
    }
    if way.release.critical_security {
        reasons.push(Reason::CriticalSecurity);
    }
}

/// Which attempt this would be, after the failures that the device tells of.
fn attempt(asked: &Asked<'_>, considered: &Considered<'_>, way: Way<'_>) -> Result<u16, Reason> {
    let Some(past) = asked
        .check_in
        .attempts_of(&way.release.name)
        .filter(|p| p.failures > 0)
    else {
        return Ok(1);
    };
    let retry = match (considered.line.kind, considered.rollout) {
        (LineKind::Offer, Some(entry)) => entry.rollout.spec.retry,
        (LineKind::Offer | LineKind::Return | LineKind::Baseline, _) => RETRY,
    };
    let failures = past.failures;
    if failures >= retry.attempts {
        return Err(Reason::AttemptsExhausted {
            failures,
            limit: retry.attempts,
        });
    }
    let doubled = 1_u64
        .checked_shl(u32::from(failures - 1))
        .unwrap_or(u64::MAX);
    let until = past
        .last_failed
        .after(Millis(retry.backoff.0.saturating_mul(doubled)));
    if asked.now < until {
        return Err(Reason::BackingOff { until });
    }
    Ok(failures.saturating_add(1))
}

/// One open exposure per device and component, as long as its rollout still offers.
fn no_other_exposure(asked: &Asked<'_>, considered: &Considered<'_>) -> Result<(), Reason> {
    let own = considered.rollout.map(|entry| entry.rollout.id);
    for token in &asked.check_in.echoes {
        let Some(other) = token.rollout.filter(|other| Some(*other) != own) else {
            continue;
        };
        let open = token.arm == Arm::Treatment
            && token.component == considered.running.component
            && asked.now < token.expires
            && asked
                .check_in
                .attempts_of(&token.release)
                .is_none_or(|p| p.failures < token.attempt)
            && asked
                .index
                .rollout(other)
                .is_some_and(|entry| entry.rollout.life.is_underway());
        if open {
            return Err(Reason::ExposureOpen { other });
        }
    }
    Ok(())
}

/// The token of this very exposure, if the device holds it.
fn echo<'a>(
    asked: &Asked<'a>,
    considered: &Considered<'_>,
    arm: Arm,
    attempt: u16,
) -> Option<(usize, &'a Token)> {
    let rollout = considered.rollout.map(|entry| entry.rollout.id);
    let mut echoes = asked.check_in.echoes.iter().enumerate();
    let (position, token) = echoes.find(|(_, token)| {
        token.rollout == rollout
            && token.component == considered.running.component
            && token.arm == arm
            && token.attempt == attempt
            && token.stratum.variant == asked.variant.id
            && token.stratum.channel == *asked.channel
            && (rollout.is_some() || token.release == considered.subject.name)
    })?;
    Some((position, token))
}

/// Where an admission would come from.
enum Turn<'a> {
    /// A wave of a rollout, by its position; later waves that are open may follow.
    Wave(&'a RolloutEntry, usize, Option<Place>),
    /// The catch-up credit.
    Baseline,
}

impl<'a> Turn<'a> {
    fn of(
        asked: &mut Asked<'a>,
        entry: &'a RolloutEntry,
        arm: Arm,
        echo: Option<(usize, &Token)>,
    ) -> Result<Self, Reason> {
        let rollout = &entry.rollout;
        let mut place = bucket::bucket(&rollout.salt, asked.check_in.device.as_str());
        if is_on(Mutant::WavesShuffled) {
            let other = format!("{}/{}", asked.check_in.device.as_str(), entry.opened);
            place = bucket::bucket(&rollout.salt, &other);
        }
        let waves = &rollout.spec.waves;
        let traits = &asked.variant.traits;
        let wave = waves
            .iter()
            .position(|wave| bucket::is_in(wave, traits, place));
        if arm == Arm::Return {
            // Whoever runs it goes back, in a wave or not.
            let last = entry.opened.saturating_sub(1);
            let wave = wave.map_or(last, |wave| wave.min(last));
            return Ok(Self::Wave(entry, wave, None));
        }
        if let Some((_, token)) = echo {
            // Let in once, in for good: amendments don't throw a device out half-way (WAVE-2).
            return Ok(Self::Wave(entry, usize::from(token.wave.0), None));
        }
        let Some(wave) = wave.filter(|wave| *wave < entry.opened) else {
            let next = wave.unwrap_or(waves.len());
            return Err(Reason::WaveNotOpen { wave: index(next) });
        };
        if asked.in_holdout() {
            return Err(Reason::Holdout);
        }
        if bucket::in_control(place, rollout.spec.control) {
            return Err(Reason::Control);
        }
        Ok(Self::Wave(entry, wave, Some(place)))
    }

    fn wave(&self) -> WaveIndex {
        match self {
            Self::Wave(_, wave, _) => index(*wave),
            Self::Baseline => WaveIndex(0),
        }
    }

    /// Draws an admission from the first wave that has one: a later wave may only when the cap of
    /// the earlier is reached, never when its credit is.
    fn draw(
        self,
        asked: &Asked<'_>,
        arm: Arm,
        budgets: &mut impl Budgets,
    ) -> Result<WaveIndex, Reason> {
        let mut pool = Pool {
            rollout: None,
            wave: self.wave(),
            variant: asked.variant.id,
            channel: asked.channel,
            arm,
        };
        let Self::Wave(entry, first, place) = self else {
            return answer(budgets.draw(pool, asked.now), pool.wave);
        };
        pool.rollout = Some(entry.rollout.id);
        let open = entry
            .rollout
            .spec
            .waves
            .iter()
            .enumerate()
            .take(entry.opened)
            .skip(first);
        let mut last = Draw::Exhausted;
        for (at, wave) in open {
            let later = at > first;
            let belongs = place.is_some_and(|p| bucket::is_in(wave, &asked.variant.traits, p));
            if later && (!belongs || last != Draw::CapReached) {
                break;
            }
            pool.wave = index(at);
            last = budgets.draw(pool, asked.now);
            if last == Draw::Granted {
                break;
            }
        }
        answer(last, pool.wave)
    }
}

fn answer(draw: Draw, wave: WaveIndex) -> Result<WaveIndex, Reason> {
    match draw {
        Draw::Granted => Ok(wave),
        Draw::Pending => Err(Reason::BudgetPending),
        Draw::Exhausted | Draw::CapReached => Err(Reason::BudgetExhausted),
    }
}

/// A model's score if there is one, the table's else. What closes a hole that is being used is not
/// held back by either.
fn check_risk(
    asked: &Asked<'_>,
    way: Way<'_>,
    wave: WaveIndex,
    attempt: u16,
    model: &impl RiskModel,
) -> Result<(), Reason> {
    if way.release.critical_security {
        return Ok(());
    }
    let failures = attempt.saturating_sub(1);
    let (kind, size) = (way.release.kind, way.payload.size);
    let features = Features::of(asked.check_in, kind, size, false, wave, failures);
    let risk = model
        .score(&features)
        .unwrap_or_else(|| risk::table(&features));
    let limit = risk::limit(wave);
    if risk > limit {
        Err(Reason::RiskTooHigh { risk, limit })
    } else {
        Ok(())
    }
}

fn index(position: usize) -> WaveIndex {
    WaveIndex(u16::try_from(position).unwrap_or(u16::MAX))
}

/// When to check in again: the poll interval, or what the first reason asks for, spread over the
/// fleet by the device's pseudonym, so that devices that wait for the same thing don't come at once.
pub(super) fn retry_after(
    reasons: &Reasons,
    verdict: Verdict,
    now: LogTime,
    poll: Millis,
    seed: &Pseudonym,
) -> Millis {
    const SOON: u64 = 15_000;
    const MINUTE: u64 = 60_000;
    let spread = u64::from(u16::from_be_bytes([seed.0[0], seed.0[1]]));
    let part = |of: u64| u64::try_from((u128::from(of) * u128::from(spread)) >> 16).unwrap_or(of);
    let waiting = reasons
        .as_slice()
        .first()
        .filter(|_| verdict == Verdict::Wait);
    let asked_for = waiting.map(|because| match because.reason {
        Reason::BudgetPending | Reason::LeaseLost => SOON,
        Reason::Overloaded | Reason::Blind | Reason::SnapshotStale => MINUTE,
        Reason::BackingOff { until } | Reason::Frozen { until } => until.since(now).0,
        _ => poll.0,
    });
    match asked_for {
        Some(length) if length < poll.0 => Millis(length.saturating_add(part(length / 2)).max(1)),
        _ => Millis(
            (poll.0 - poll.0 / 8)
                .saturating_add(part(poll.0 / 4))
                .max(1),
        ),
    }
}
