//! Decisions on reports: what nodes say of exposures, and what of it counts.
use super::{
    Decision,
    budgets::budget_of,
    check_text, heirs, invalid,
    measured::{Measured, is_compared},
    releases::is_registered,
    sessions::open_one,
};
use crate::{
    apply::Context,
    command::Tally,
    derived::kind_of,
    event::{AnchoredJournal, Event},
    id::SessionId,
    node::{Anchor, PoolKey},
    rejection::{Field, Limit, Rejection, TallyFault, ValueFault},
    state::State,
    tally::{Arm, COUNT_MAX, Counts, LATENCY_BUCKETS, TallyKey},
};
use std::collections::BTreeMap;

/// Longest origin of a journal, in bytes.
const ORIGIN_BYTES_MAX: usize = 256;

/// Bounds the tallies of all reports in one envelope together.
pub(super) fn check_room(state: &State, tallies: usize) -> Result<(), Rejection> {
    let max = u64::from(state.config().limits.report_tallies_max);
    if tallies as u64 <= max {
        return Ok(());
    }
    Err(Rejection::LimitReached {
        what: Limit::ReportTallies,
        max,
    })
}

/// A report: each tally says what comes to what the session said before.
///
/// Tallies of rollouts that are forgotten, and of cohorts that are past the silence horizon and
/// folded away, are passed over: their exposures are resolved as silent. Exposures that a node
/// could not report in time (it was cut off for longer than the horizon) it counts in the cohort
/// of the hour in which it reports them.
pub(super) fn report(
    state: &State,
    session: SessionId,
    tallies: &[Tally],
    anchor: Option<&Anchor>,
    context: &Context,
) -> Decision {
    let mut events = Vec::new();
    if let Some(anchor) = anchor {
        check_anchor(open_one(state, session)?.anchor.as_ref(), anchor)?;
        events.push(Event::JournalAnchored(AnchoredJournal {
            session,
            anchor: anchor.clone(),
        }));
    }
    if !tallies.is_sorted_by(|a, b| a.key < b.key) {
        return Err(invalid(Field::Tallies, ValueFault::Unsorted));
    }
    let mut exposed: BTreeMap<PoolKey, u64> = BTreeMap::new();
    let mut measured = Measured::default();
    for Tally { key, counts } in tallies {
        let counts = check_tally(state, session, key, counts, &mut measured, context)?;
        let Some(counts) = counts.filter(|counts| *counts != Counts::default()) else {
            continue;
        };
        if let Some(pool) = key.pool() {
            let sum = exposed.entry(pool).or_default();
            *sum = sum.saturating_add(counts.exposed);
        }
        events.push(Event::Tallied {
            session,
            key: key.clone(),
            counts: Box::new(counts),
        });
    }
    check_grants(state, session, &exposed)?;
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

/// What counts of a tally; `None` if it is passed over.
fn check_tally(
    state: &State,
    session: SessionId,
    key: &TallyKey,
    counts: &Counts,
    measured: &mut Measured,
    context: &Context,
) -> Result<Option<Counts>, Rejection> {
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
    if !is_registered(state, &key.stratum.channel) {
        return Err(refused(TallyFault::UnknownChannel));
    }
    if key.cohort.0 > context.time.cohort().0.saturating_add(1) {
        return Err(refused(TallyFault::FutureCohort));
    }
    if !state.cohorts().contains(key) && is_mature(state, key, context) {
        return Ok(None);
    }
    if key.arm == Arm::Control && !is_compared(state, rollout, &key.stratum) {
        return Ok(None);
    }
    let counts = measured.of_exposures(state, key, within_cohort(state, key, counts));
    Ok(Some(heirs::without_strangers(state, session, key, counts)))
}

/// A tally without steps on the way beyond the exposures of its cohort. No gate judges them, and
/// nobody's report is to be refused for what others said.
fn within_cohort(state: &State, key: &TallyKey, counts: &Counts) -> Counts {
    let cohort = state.cohorts().get(key);
    let sum = cohort.map_or_else(|| counts.clone(), |cohort| cohort.plus(counts));
    let beyond = |steps: u64| steps.saturating_sub(sum.exposed);
    let mut counts = counts.clone();
    counts.downloaded = counts.downloaded.saturating_sub(beyond(sum.downloaded));
    counts.installed = counts.installed.saturating_sub(beyond(sum.installed));
    counts
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
    let greatest = [
        exposed,
        downloaded,
        installed,
        verified,
        failed,
        reverted,
        operations,
        predictions,
    ]
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
