//! Folds of sessions, budgets and tallies.
//!
//! Every fold costs the same however much history there is: sums, pools and cohorts follow each
//! tally by its difference to the one before.
use super::{Inconsistent, revision, row, sums};
use crate::{
    derived::aged,
    event::Event,
    id::SessionId,
    node::{Anchor, Budget, BudgetKey, PoolKey, Session, SessionStatus},
    state::State,
    tally::{Arm, Counts, SessionTally, SessionTallyKey, TallyKey},
    wave::Paced,
};
use std::ops::Bound;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`evolve` sends no other event here"
)]
pub(super) fn fold(state: &mut State, event: &Event) -> Result<(), Inconsistent> {
    match event {
        Event::SessionOpened(session) => opened(state, session),
        Event::SessionClosed { session } => {
            let at = state.meta().time;
            ended(state, *session, SessionStatus::Closed { at })
        }
        Event::SessionWrittenOff { session, reason: _ } => {
            let at = state.meta().time;
            ended(state, *session, SessionStatus::WrittenOff { at })
        }
        Event::BudgetGranted {
            session,
            pool,
            count,
        } => granted(state, *session, pool, *count),
        Event::BudgetReturned {
            session,
            pool,
            count,
        } => returned(state, *session, pool, *count),
        Event::BudgetLost {
            session,
            pool,
            count,
        } => lost(state, *session, pool, *count),
        Event::Reported {
            session,
            seq,
            anchor,
        } => reported(state, *session, *seq, anchor.as_ref()),
        Event::Tallied {
            session,
            key,
            counts,
        } => tallied(state, *session, key, counts),
        Event::CohortMatured { key } => matured(state, key),
        Event::CreditGrown { pool, credit } => {
            row(&mut state.pools, pool, "pool")?.credit = *credit;
            Ok(())
        }
        _ => Err(Inconsistent::Missing("fold of this event")),
    }
}

fn opened(state: &mut State, session: &Session) -> Result<(), Inconsistent> {
    if session.id <= state.meta().last_session {
        return Err(Inconsistent::Conflict("the session is open"));
    }
    state.meta.get_mut().last_session = session.id;
    state.sessions.insert(session.id, session.clone());
    Ok(())
}

fn ended(state: &mut State, id: SessionId, status: SessionStatus) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let session = row(&mut state.sessions, &id, "session")?;
    session.status = status;
    session.revision = revision;
    state.derived.ended_sessions.insert(id);
    for key in budgets_of(state, id).cloned().collect::<Vec<_>>() {
        forget_budget_if_settled(state, &key);
    }
    forget_if_settled(state, id);
    Ok(())
}

fn granted(
    state: &mut State,
    session: SessionId,
    pool: &PoolKey,
    count: u64,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let hour = state.meta().time.cohort();
    let credit = stratum_credit(state, pool);
    let key = budget_key(session, pool);
    let budget = state.budgets.entry(key.clone());
    budget.granted = budget.granted.saturating_add(count);
    budget.revision = revision;
    state.derived.follow_budget(&key, budget);
    let row = state.pools.entry(pool.clone());
    row.admitted = row.admitted.saturating_add(count);
    row.credit = row.credit.max(credit);
    with_wave(state, pool, |wave| {
        wave.admitted = wave.admitted.saturating_add(count);
        let paced = wave.paced.filter(|paced| paced.hour == hour);
        let before = paced.map_or(0, |paced| paced.granted);
        wave.paced = Some(Paced {
            hour,
            granted: before.saturating_add(count),
        });
    })
}

/// Changes the wave that a pool of offers belongs to; returns have no wave of their own.
fn with_wave(
    state: &mut State,
    pool: &PoolKey,
    f: impl FnOnce(&mut crate::wave::WaveState),
) -> Result<(), Inconsistent> {
    if pool.arm != Arm::Treatment {
        return Ok(());
    }
    let rollout = row(&mut state.rollouts, &pool.rollout, "rollout")?;
    let wave = rollout.waves.get_mut(usize::from(pool.wave.0));
    f(wave.ok_or(Inconsistent::Missing("wave"))?);
    Ok(())
}

/// The credit of a stratum: what any of its waves has reached, and at least where it began.
pub(crate) fn stratum_credit(state: &State, pool: &PoolKey) -> u64 {
    let Some(rollout) = state.rollouts.get(&pool.rollout) else {
        return 0;
    };
    let first = match pool.arm {
        Arm::Treatment | Arm::Control => rollout.spec.credit,
        Arm::Return => rollout.rollback.credit,
    };
    let pools = waves_of(state, pool).map(|(_, pool)| pool.credit);
    pools.max().unwrap_or(0).max(first)
}

/// The pools of a stratum and arm over all waves of its rollout.
pub(crate) fn waves_of<'a>(
    state: &'a State,
    pool: &'a PoolKey,
) -> impl Iterator<Item = (PoolKey, &'a crate::node::Pool)> {
    let waves = state
        .rollouts
        .get(&pool.rollout)
        .map_or(0, |r| r.waves.len());
    let waves = (0_u16..).map(crate::id::WaveIndex).take(waves);
    waves.filter_map(move |wave| {
        let key = PoolKey {
            wave,
            ..pool.clone()
        };
        let row = state.pools.get(&key)?;
        Some((key, row))
    })
}

fn returned(
    state: &mut State,
    session: SessionId,
    pool: &PoolKey,
    count: u64,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let key = budget_key(session, pool);
    let budget = row(&mut state.budgets, &key, "budget")?;
    if count > budget.held() {
        return Err(Inconsistent::Conflict("the budget came back"));
    }
    budget.returned = budget.returned.saturating_add(count);
    budget.revision = revision;
    state.derived.follow_budget(&key, budget);
    let row = row(&mut state.pools, pool, "pool")?;
    row.admitted = row.admitted.saturating_sub(count);
    with_wave(state, pool, |wave| {
        wave.admitted = wave.admitted.saturating_sub(count);
    })?;
    forget_budget_if_settled(state, &key);
    Ok(())
}

fn lost(
    state: &mut State,
    session: SessionId,
    pool: &PoolKey,
    count: u64,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let key = budget_key(session, pool);
    let budget = row(&mut state.budgets, &key, "budget")?;
    if count > budget.held() {
        return Err(Inconsistent::Conflict("the budget is lost"));
    }
    budget.spent = budget.spent.saturating_add(count);
    budget.resolved = budget.resolved.saturating_add(count);
    budget.revision = revision;
    state.derived.follow_budget(&key, budget);
    let row = row(&mut state.pools, pool, "pool")?;
    row.resolved = row.resolved.saturating_add(count);
    // Exposed as far as anybody knows, but with no fate: gates look at fates only, and a rollback
    // does not end by itself while such devices may be out there.
    let unknown = Counts {
        exposed: count,
        ..Counts::default()
    };
    let tally = TallyKey {
        rollout: pool.rollout,
        wave: pool.wave,
        stratum: pool.stratum.clone(),
        cohort: state.meta().time.cohort(),
        arm: pool.arm,
    };
    sums::change(state, &tally, |sum| sum.mature = sum.mature.plus(&unknown));
    forget_budget_if_settled(state, &key);
    Ok(())
}

fn reported(
    state: &mut State,
    session: SessionId,
    seq: u64,
    anchor: Option<&Anchor>,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let session = row(&mut state.sessions, &session, "session")?;
    if seq <= session.report_seq {
        return Err(Inconsistent::Conflict("the report is folded"));
    }
    session.report_seq = seq;
    session.revision = revision;
    if anchor.is_some() {
        session.anchor = anchor.cloned();
    }
    Ok(())
}

fn tallied(
    state: &mut State,
    session: SessionId,
    key: &TallyKey,
    counts: &Counts,
) -> Result<(), Inconsistent> {
    let revision = revision(state);
    let own = SessionTallyKey {
        session,
        tally: key.clone(),
    };
    let before = state.tallies.get(&own).map(|row| row.counts.clone());
    let before = before.unwrap_or_default();
    if !counts.is_at_least(&before) {
        return Err(Inconsistent::Conflict("a greater tally is there"));
    }
    let more = counts.minus(&before);
    let row = SessionTally {
        counts: counts.clone(),
        revision,
    };
    state.tallies.insert(own, row);
    let by_cohort = &mut state.derived.tallies_by_cohort;
    by_cohort.insert((key.clone(), session));
    let cohort = state.cohorts.entry(key.clone());
    *cohort = cohort.plus(&more);
    let aged = aged(state, key).ok_or(Inconsistent::Missing("rollout"))?;
    state.derived.cohorts_by_age.insert(aged);
    sums::change(state, key, |sum| sum.young = sum.young.plus(&more));
    let Some(pool) = key.pool() else {
        return Ok(());
    };
    let own = counts.own_spoken().saturating_sub(before.own_spoken());
    spent(state, session, &pool, more.exposed, own)?;
    if let Some(row) = state.pools.get_mut(&pool) {
        row.resolved = row.resolved.saturating_add(more.spoken());
    }
    Ok(())
}

/// Follows exposures, and fates that devices told of them, in the budget they draw on. A session
/// that speaks of others' exposures only has no budget there.
fn spent(
    state: &mut State,
    session: SessionId,
    pool: &PoolKey,
    exposed: u64,
    resolved: u64,
) -> Result<(), Inconsistent> {
    if exposed == 0 && resolved == 0 {
        return Ok(());
    }
    let key = budget_key(session, pool);
    let budget = row(&mut state.budgets, &key, "budget")?;
    if exposed > budget.held() {
        return Err(Inconsistent::Conflict("the budget is spent"));
    }
    budget.spent = budget.spent.saturating_add(exposed);
    budget.resolved = budget.resolved.saturating_add(resolved);
    state.derived.follow_budget(&key, budget);
    forget_budget_if_settled(state, &key);
    Ok(())
}

/// A cohort is past the horizon: silence is known, and the rows that made it are folded away.
fn matured(state: &mut State, key: &TallyKey) -> Result<(), Inconsistent> {
    let aged = aged(state, key);
    let young = state.cohorts.remove(key);
    let young = young.ok_or(Inconsistent::Missing("cohort"))?;
    if let Some(aged) = aged {
        state.derived.cohorts_by_age.remove(&aged);
    }
    let silent = Counts {
        silent: young.unresolved(),
        ..Counts::default()
    };
    let mature = young.plus(&silent);
    sums::change(state, key, |sum| {
        sum.young = sum.young.minus(&young);
        sum.mature = sum.mature.plus(&mature);
        sum.cohorts_resolved = sum.cohorts_resolved.saturating_add(1);
    });
    let pool = key.pool();
    if let Some(pool) = pool.as_ref().and_then(|pool| state.pools.get_mut(pool)) {
        pool.resolved = pool.resolved.saturating_add(silent.silent);
    }
    for session in sessions_of(state, key) {
        let own = SessionTallyKey {
            session,
            tally: key.clone(),
        };
        let by_cohort = &mut state.derived.tallies_by_cohort;
        by_cohort.remove(&(key.clone(), session));
        let Some(row) = state.tallies.remove(&own) else {
            continue;
        };
        if let Some(pool) = &pool {
            let budget = budget_key(session, pool);
            if let Some(budget) = state.budgets.get_mut(&budget) {
                let silent = row.counts.unresolved();
                budget.resolved = budget.resolved.saturating_add(silent);
            }
            forget_budget_if_settled(state, &budget);
        }
        forget_if_settled(state, session);
    }
    Ok(())
}

/// The sessions with a row for a cohort; at most as many as there are sessions.
pub(crate) fn sessions_of(state: &State, key: &TallyKey) -> Vec<SessionId> {
    let by_cohort = &state.derived.tallies_by_cohort;
    let from = Bound::Included((key.clone(), SessionId(0)));
    let to = Bound::Included((key.clone(), SessionId(u64::MAX)));
    by_cohort.range((from, to)).map(|(_, id)| *id).collect()
}

/// Drops a settled budget of a session that is over. An open session goes by the sums of its rows:
/// one that began again at nothing would hide the next grant.
pub(super) fn forget_budget_if_settled(state: &mut State, key: &BudgetKey) {
    let over = state.derived.ended_sessions.contains(&key.session);
    if over && state.budgets.get(key).is_some_and(Budget::is_settled) {
        state.budgets.remove(key);
        state.derived.forget_budget(key);
        forget_if_settled(state, key.session);
    }
}

/// Drops a session that is over, once it has neither budgets nor tallies.
pub(super) fn forget_if_settled(state: &mut State, id: SessionId) {
    if state.derived.ended_sessions.contains(&id)
        && budgets_of(state, id).next().is_none()
        && !has_tallies(state, id)
    {
        state.sessions.remove(&id);
        state.derived.ended_sessions.remove(&id);
    }
}

fn budgets_of(state: &State, session: SessionId) -> impl Iterator<Item = &BudgetKey> {
    let pool = PoolKey::first(crate::id::RolloutId(0));
    let rows = state.budgets.range(BudgetKey { session, pool }..);
    rows.map(|(key, _)| key)
        .take_while(move |key| key.session == session)
}

fn has_tallies(state: &State, session: SessionId) -> bool {
    let tally = TallyKey::first(crate::id::RolloutId(0));
    let mut rows = state.tallies.range(SessionTallyKey { session, tally }..);
    rows.next().is_some_and(|(key, _)| key.session == session)
}

fn budget_key(session: SessionId, pool: &PoolKey) -> BudgetKey {
    BudgetKey {
        session,
        pool: pool.clone(),
    }
}
