//! Decisions on reports: what nodes say of exposures, and what of it counts.
use super::{
    Decision,
    budgets::{budget_of, open_one},
    heirs, invalid,
};
use crate::{
    apply::Context,
    command::Report,
    derived::kind_of,
    event::Event,
    id::SessionId,
    node::{Anchor, PoolKey},
    rejection::Rejection,
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
            what: "tallies in one report".to_owned(),
            max: u64::from(max),
        });
    }
    if !tallies.is_sorted_by(|a, b| a.key < b.key) {
        return Err(invalid("tallies", "sorted by key, each key once"));
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
    if anchor.origin.is_empty() || anchor.origin.len() > ORIGIN_BYTES_MAX {
        let detail = format!("1 to {ORIGIN_BYTES_MAX} bytes");
        return Err(invalid("anchor.origin", detail));
    }
    let Some(before) = before else {
        return Ok(());
    };
    if anchor.origin != before.origin {
        return Err(invalid("anchor.origin", "a session has one journal"));
    }
    if anchor.size < before.size {
        return Err(Rejection::AnchorGoesBack {
            existing: before.size,
            requested: anchor.size,
        });
    }
    if anchor.size == before.size && anchor != before {
        return Err(invalid(
            "anchor.root",
            "the journal of this size had another",
        ));
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
    let refused = |detail: &str| Rejection::TallyInconsistent {
        rollout: key.rollout,
        detail: detail.to_owned(),
    };
    if let Some(detail) = does_not_add_up(counts) {
        return Err(refused(detail));
    }
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
        None => return Err(refused("there is no such wave")),
        Some((_, wave)) if wave.opened.is_none() && key.arm != Arm::Control => {
            return Err(refused("the wave is not open"));
        }
        Some(_) => {}
    }
    if !state.variants().contains(&key.stratum.variant) {
        return Err(refused("there is no such variant"));
    }
    if key.cohort.0 > context.time.cohort().0.saturating_add(1) {
        return Err(refused("the cohort lies in the future"));
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
        return Err(refused("a counter falls"));
    }
    let counts = heirs::without_strangers(state, session, key, counts, &before);
    let more = counts.minus(&before);
    Ok(Some(Said { counts, more }))
}

fn does_not_add_up(counts: &Counts) -> Option<&'static str> {
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
    if greatest.is_some_and(|greatest| *greatest > COUNT_MAX) {
        return Some("a counter is beyond 2^52");
    }
    if *silent != 0 {
        return Some("silence is derived, never reported");
    }
    if downloaded > exposed || installed > exposed {
        return Some("more steps than exposures");
    }
    if errors > operations || correct > predictions {
        return Some("a part is greater than its whole");
    }
    if !latency.is_empty() && latency.len() != LATENCY_BUCKETS {
        return Some("the latency histogram has another number of buckets");
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
