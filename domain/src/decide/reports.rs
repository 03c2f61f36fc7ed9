//! Decisions on reports: what nodes say of exposures, and what of it counts.
use super::{
    Decision,
    budgets::{budget_of, open_one},
    check_text, heirs, invalid,
};
use crate::{
    apply::Context,
    command::Report,
    derived::kind_of,
    event::Event,
    id::SessionId,
    node::{Anchor, PoolKey},
    rejection::{Field, Limit, Rejection, TallyFault, ValueFault},
    state::State,
    tally::{Arm, COUNT_MAX, Counts, LATENCY_BUCKETS, SessionTallyKey, TallyKey},
};
use std::collections::BTreeMap;

/// Longest origin of a journal, in bytes.
const ORIGIN_BYTES_MAX: usize = 256;

/// A report: each tally is cumulative in its session, so that a retry says the same and a greater
/// one replaces a smaller.
///
/// Tallies of rollouts that are forgotten, and of cohorts that are past the silence horizon and
/// folded away, are passed over: their exposures are resolved as silent. Exposures that a node
/// could not report in time (it was cut off for longer than the horizon) it counts in the cohort
/// of the hour in which it reports them.
pub(super) fn report(state: &State, report: &Report, context: &Context) -> Decision {
    let Report {
        session: id,
        seq,
        tallies,
        anchor,
    } = report;
    let session = open_one(state, *id)?;
    if *seq <= session.report_seq {
        return Err(Rejection::ReportNotNewer {
            existing: session.report_seq,
            requested: *seq,
        });
    }
    if let Some(anchor) = anchor {
        check_anchor(session.anchor.as_ref(), anchor)?;
    }
    let max = state.config().limits.report_tallies_max;
    if tallies.len() as u64 > u64::from(max) {
        return Err(Rejection::LimitReached {
            what: Limit::ReportTallies,
            max: u64::from(max),
        });
    }
    if !tallies.is_sorted_by(|a, b| a.key < b.key) {
        return Err(invalid(Field::Tallies, ValueFault::Unsorted));
    }
    let mut exposed: BTreeMap<PoolKey, u64> = BTreeMap::new();
    let mut events = vec![Event::Reported {
        session: *id,
        seq: *seq,
        anchor: anchor.clone(),
    }];
    for tally in tallies {
        let said = check_tally(state, *id, &tally.key, &tally.counts, context)?;
        let Some(Said { counts, more }) = said.filter(|said| said.more != Counts::default()) else {
            continue;
        };
        if let Some(pool) = tally.key.pool() {
            let sum = exposed.entry(pool).or_default();
            *sum = sum.saturating_add(more.exposed);
        }
        events.push(Event::Tallied {
            session: *id,
            key: tally.key.clone(),
            counts: Box::new(counts),
        });
    }
    check_grants(state, *id, &exposed)?;
    Ok(events)
}

/// A journal only grows, and what it said stays said.
fn check_anchor(before: Option<&Anchor>, anchor: &Anchor) -> Result<(), Rejection> {
    check_text(Field::AnchorOrigin, &anchor.origin, ORIGIN_BYTES_MAX)?;
    let Some(before) = before else {
        return Ok(());
    };
    if anchor.origin != before.origin {
        return Err(invalid(Field::AnchorOrigin, ValueFault::OtherJournal));
    }
    if anchor.size < before.size {
        return Err(Rejection::AnchorGoesBack {
            existing: before.size,
            requested: anchor.size,
        });
    }
    if anchor.size == before.size && anchor != before {
        return Err(invalid(Field::AnchorRoot, ValueFault::OtherRoot));
    }
    Ok(())
}

/// What counts of a tally.
struct Said {
    /// All of it, cumulative.
    counts: Counts,
    /// What it adds to what the session said before.
    more: Counts,
}

/// What counts of a tally; `None` if it is passed over.
fn check_tally(
    state: &State,
    session: SessionId,
    key: &TallyKey,
    counts: &Counts,
    context: &Context,
) -> Result<Option<Said>, Rejection> {
    let refused = |fault| Rejection::TallyInconsistent {
        rollout: key.rollout,
        fault,
    };
    if let Some(fault) = does_not_add_up(counts) {
        return Err(refused(fault));
    }
    let wave = key.wave;
    let Some(rollout) = state.rollouts().get(&key.rollout) else {
        if key.rollout <= state.meta().last_rollout {
            return Ok(None);
        }
        return Err(Rejection::UnknownRollout {
            rollout: key.rollout,
        });
    };
    if rollout.folded {
        return Ok(None);
    }
    match rollout.wave(key.wave) {
        None => return Err(refused(TallyFault::UnknownWave { wave })),
        Some((_, state)) if state.opened.is_none() && key.arm != Arm::Control => {
            return Err(refused(TallyFault::WaveClosed { wave }));
        }
        Some(_) => {}
    }
    if !state.variants().contains(&key.stratum.variant) {
        return Err(refused(TallyFault::UnknownVariant));
    }
    if key.cohort.0 > context.time.cohort().0.saturating_add(1) {
        return Err(refused(TallyFault::FutureCohort));
    }
    if !state.cohorts().contains(key) && is_mature(state, key, context) {
        return Ok(None);
    }
    let own = SessionTallyKey {
        session,
        tally: key.clone(),
    };
    let before = state.tallies().get(&own).map(|row| row.counts.clone());
    let before = before.unwrap_or_default();
    if !counts.is_at_least(&before) {
        return Err(refused(TallyFault::Falls));
    }
    let counts = heirs::without_strangers(state, session, key, counts, &before);
    let more = counts.minus(&before);
    Ok(Some(Said { counts, more }))
}

fn does_not_add_up(counts: &Counts) -> Option<TallyFault> {
    let Counts {
        exposed,
        downloaded,
        installed,
        verified,
        failed,
        reverted,
        silent,
        errors,
        operations,
        correct,
        predictions,
        latency,
    } = counts;
    let greatest = [exposed, operations, predictions, verified, failed, reverted]
        .into_iter()
        .chain(latency)
        .max();
    if let Some(value) = greatest.copied().filter(|greatest| *greatest > COUNT_MAX) {
        let max = COUNT_MAX;
        return Some(TallyFault::TooGreat { value, max });
    }
    if *silent != 0 {
        return Some(TallyFault::Silence);
    }
    if downloaded > exposed || installed > exposed {
        return Some(TallyFault::StepsBeyondExposures);
    }
    if errors > operations || correct > predictions {
        return Some(TallyFault::PartBeyondWhole);
    }
    if !latency.is_empty() && latency.len() != LATENCY_BUCKETS {
        return Some(TallyFault::Buckets {
            found: latency.len() as u64,
            needed: LATENCY_BUCKETS as u64,
        });
    }
    None
}

/// Whether a cohort is past the silence horizon of its rollout's kind.
pub(crate) fn is_mature(state: &State, key: &TallyKey, context: &Context) -> bool {
    let kind = kind_of(state, key.rollout);
    kind.is_none_or(|kind| {
        let horizon = state.config().silence.of(kind);
        key.cohort.end().after(horizon) <= context.time
    })
}

/// WAVE-3: a node may report no exposure that it was not granted.
fn check_grants(
    state: &State,
    session: SessionId,
    exposed: &BTreeMap<PoolKey, u64>,
) -> Result<(), Rejection> {
    for (pool, more) in exposed {
        let budget = budget_of(state, session, pool);
        if *more > budget.held() {
            return Err(Rejection::ReportExceedsGrants {
                existing: budget.granted.saturating_sub(budget.returned),
                requested: budget.spent.saturating_add(*more),
            });
        }
    }
    Ok(())
}
