//! Folds of budgets and tallies.
//!
//! Every fold costs the same however much history there is: sums, pools and cohorts follow each
//! tally by what it adds.
use super::{
    Inconsistent, exposures, revision, row,
    sessions::{forget_budget_if_settled, forget_if_settled},
    sums,
};
use crate::{
    derived::aged,
    event::Event,
    id::SessionId,
    node::{BudgetKey, PoolKey},
    state::State,
    tally::{Arm, Counts, TallyKey},
    wave::Paced,
};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`evolve` sends no other event here"
)]
pub(super) fn fold(state: &mut State, event: &Event) -> Result<(), Inconsistent> {
    match event {
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

fn tallied(
    state: &mut State,
    session: SessionId,
    key: &TallyKey,
    counts: &Counts,
) -> Result<(), Inconsistent> {
    let cohort = state.cohorts.entry(key.clone());
    *cohort = cohort.plus(counts);
    let aged = aged(state, key).ok_or(Inconsistent::Missing("rollout"))?;
    state.derived.cohorts_by_age.insert(aged);
    sums::change(state, key, |sum| sum.young = sum.young.plus(counts));
    let pool = key.pool();
    if let Some(pool) = &pool {
        spent(state, session, pool, counts.exposed)?;
    }
    for (of, told) in exposures::count(state, session, key, counts)? {
        if let Some(pool) = &pool {
            resolved(state, of, pool, told)?;
        }
        forget_if_settled(state, of);
    }
    if let Some(row) = pool.and_then(|pool| state.pools.get_mut(&pool)) {
        row.resolved = row.resolved.saturating_add(counts.spoken());
    }
    Ok(())
}

/// Follows exposures in the budget that they draw on.
fn spent(
    state: &mut State,
    session: SessionId,
    pool: &PoolKey,
    exposed: u64,
) -> Result<(), Inconsistent> {
    if exposed == 0 {
        return Ok(());
    }
    let key = budget_key(session, pool);
    let budget = row(&mut state.budgets, &key, "budget")?;
    if exposed > budget.held() {
        return Err(Inconsistent::Conflict("the budget is spent"));
    }
    budget.spent = budget.spent.saturating_add(exposed);
    state.derived.follow_budget(&key, budget);
    Ok(())
}

/// Follows the fates of a session's exposures in the budget that they drew on.
fn resolved(
    state: &mut State,
    session: SessionId,
    pool: &PoolKey,
    count: u64,
) -> Result<(), Inconsistent> {
    let key = budget_key(session, pool);
    let budget = row(&mut state.budgets, &key, "budget")?;
    budget.resolved = budget.resolved.saturating_add(count);
    forget_budget_if_settled(state, &key);
    Ok(())
}

/// A cohort is past the horizon: silence is known, and its rows are folded away.
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
    for (session, silent) in exposures::forget(state, key) {
        if let Some(pool) = &pool {
            resolved(state, session, pool, silent)?;
        }
        forget_if_settled(state, session);
    }
    Ok(())
}

fn budget_key(session: SessionId, pool: &PoolKey) -> BudgetKey {
    BudgetKey {
        session,
        pool: pool.clone(),
    }
}
