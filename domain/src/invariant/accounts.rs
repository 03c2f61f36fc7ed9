//! The accounts behind WAVE-1 and WAVE-3: what is kept up to date by differences is what one gets
//! by adding everything up.
use super::{Transition, Violation, ensure};
use crate::{
    event::Event,
    id::RolloutId,
    node::{PoolKey, SessionStatus},
    state::State,
    tally::{Arm, Counts, MEASURED_MAX, Sum, SumKey, TallyKey},
};
use std::collections::BTreeMap;

/// What is untold in a cohort is what its sessions have untold, young sums are the sum of their
/// cohorts, the pool the sum of the strata that are left.
pub(super) fn sums_add_up(t: &Transition<'_>) -> Result<(), Violation> {
    let state = t.after;
    let mut untold: BTreeMap<TallyKey, u64> = BTreeMap::new();
    for (key, count) in state.untold().iter() {
        let sum = untold.entry(key.tally.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
    let mut young: BTreeMap<SumKey, Counts> = BTreeMap::new();
    for (key, counts) in state.cohorts().iter() {
        let of_sessions = untold.remove(key).unwrap_or(0);
        let told_once = counts.exposed.checked_sub(counts.spoken()) == Some(of_sessions);
        ensure(told_once, "WAVE-1", || {
            format!("cohort {key:?} is {counts:?}, its sessions have {of_sessions} untold")
        })?;
        let sum = young.entry(stratum_sum(key)).or_default();
        *sum = sum.plus(counts);
    }
    ensure(untold.is_empty(), "WAVE-1", || {
        format!("exposures without a cohort: {untold:?}")
    })?;
    let mut pooled: BTreeMap<SumKey, Counts> = BTreeMap::new();
    for (key, sum) in state.sums().iter() {
        let Some(stratum) = &key.stratum else {
            continue;
        };
        let expected = young.remove(key).unwrap_or_default();
        ensure(sum.young == expected, "WAVE-1", || {
            format!("{key:?} is {:?}, its cohorts are {expected:?}", sum.young)
        })?;
        let rollout = state.rollouts().get(&key.rollout);
        let out = rollout.is_some_and(|r| r.excluded.contains_key(&stratum.variant));
        if key.arm == Arm::Return || !out {
            let pool = SumKey {
                stratum: None,
                ..key.clone()
            };
            let counts = pooled.entry(pool).or_default();
            *counts = counts.plus(&sum.all());
        }
    }
    check_pools(state, &pooled)
}

fn stratum_sum(key: &TallyKey) -> SumKey {
    SumKey {
        rollout: key.rollout,
        wave: key.wave,
        arm: key.arm,
        stratum: Some(key.stratum.clone()),
    }
}

/// Sums over all strata; those of rollouts that are folding stay while their strata go.
fn check_pools(state: &State, pooled: &BTreeMap<SumKey, Counts>) -> Result<(), Violation> {
    for (key, sum) in state.sums().iter() {
        let rollout = state.rollouts().get(&key.rollout);
        if key.stratum.is_some() || rollout.is_some_and(|r| r.ended.is_some()) {
            continue;
        }
        let expected = pooled.get(key).cloned().unwrap_or_default();
        ensure(sum.all() == expected, "WAVE-1", || {
            format!("{key:?} is {:?}, its strata are {expected:?}", sum.all())
        })?;
    }
    Ok(())
}

/// What a session that was given up still held is lost, since it may have been spent: it never comes
/// back to be granted again.
pub(super) fn what_was_given_up_is_lost(t: &Transition<'_>) -> Result<(), Violation> {
    for event in t.events() {
        let Event::BudgetReturned { session, pool, .. } = event else {
            continue;
        };
        let before = t.before.sessions().get(session);
        let now = |event: &Event| {
            let Event::SessionWrittenOff { session: lost, .. } = event else {
                return false;
            };
            lost == session
        };
        let given_up = before.is_some_and(|s| matches!(s.status, SessionStatus::WrittenOff { .. }))
            || t.events().iter().any(now);
        ensure(!given_up, "WAVE-3", || {
            format!("{pool:?} gets back what session {session:?} may have spent")
        })?;
    }
    Ok(())
}

/// Pools hold what their budgets do (those that are settled are gone, and were resolved), and a
/// wave what its pools do; exposures never exceed admissions.
pub(super) fn budgets_add_up(t: &Transition<'_>) -> Result<(), Violation> {
    let state = t.after;
    let mut open: BTreeMap<&PoolKey, u64> = BTreeMap::new();
    for (key, budget) in state.budgets().iter() {
        let usable = budget.granted.saturating_sub(budget.returned);
        let unresolved = usable.saturating_sub(budget.resolved);
        let sum = open.entry(&key.pool).or_default();
        *sum = sum.saturating_add(unresolved);
    }
    for (key, pool) in state.pools().iter() {
        let expected = open.get(key).copied().unwrap_or(0);
        let ended = state
            .rollouts()
            .get(&key.rollout)
            .is_some_and(|r| r.ended.is_some());
        let holds = pool.resolved <= pool.admitted && pool.unresolved() == expected;
        ensure(holds || ended, "WAVE-3", || {
            format!("{key:?} is {pool:?}, its budgets have {expected} unresolved")
        })?;
    }
    for (id, rollout) in state.rollouts().iter().filter(|(_, r)| r.ended.is_none()) {
        for (wave, progress) in rollout.opened() {
            let treated =
                |key: &&PoolKey| (key.rollout, key.wave, key.arm) == (*id, wave, Arm::Treatment);
            let pools = state.pools().iter();
            let own = pools.filter(|(key, _)| treated(key));
            let admitted = own.fold(0_u64, |sum, (_, pool)| sum.saturating_add(pool.admitted));
            let sums = state.sums().iter().filter(|(key, _)| {
                key.stratum.is_some()
                    && (key.rollout, key.wave, key.arm) == (*id, wave, Arm::Treatment)
            });
            let exposed = sums.fold(0_u64, |n, (_, sum)| n.saturating_add(sum.all().exposed));
            let holds = progress.admitted == admitted && exposed <= admitted;
            ensure(holds, "WAVE-3", || {
                format!(
                    "rollout {id} wave {wave}: {} admitted, {admitted} in pools, {exposed} exposed",
                    progress.admitted
                )
            })?;
        }
    }
    Ok(())
}

/// What was measured counts as far as somebody was exposed to what it measures, and on channels
/// that somebody registered. In control nobody is: there a wave's measurements grow no further than
/// somebody was exposed to what they are compared with.
pub(super) fn measurements_have_exposures(t: &Transition<'_>) -> Result<(), Violation> {
    for event in t.events() {
        let Event::Tallied { key, counts, .. } = event else {
            continue;
        };
        let channel = &key.stratum.channel;
        let known = channel.is_default() || t.before.channels().contains(channel);
        ensure(known, "WAVE-1", || {
            format!("{key:?} is on no known channel")
        })?;
        let (exposed, before, measured) = if key.arm == Arm::Control {
            if excludes_from(t, key.rollout) {
                // What was exposed and measured left the wave together after it was counted.
                continue;
            }
            let pool = |state, arm| wave_sum(state, key, arm);
            let exposed = pool(t.after, Arm::Treatment).exposed;
            (
                exposed,
                pool(t.before, Arm::Control),
                pool(t.after, Arm::Control),
            )
        } else {
            let cohort = t.after.cohorts().get(key).cloned();
            let cohort = cohort.unwrap_or_else(|| (**counts).clone());
            (cohort.exposed, Counts::default(), cohort)
        };
        let most = most(&measured);
        let bound = most <= exposed.saturating_mul(MEASURED_MAX) || most <= self::most(&before);
        ensure(bound, "WAVE-1", || {
            format!("{measured:?} of {exposed} exposures under {key:?}")
        })?;
    }
    Ok(())
}

/// Whether a variant is taken out of a rollout.
fn excludes_from(t: &Transition<'_>, id: RolloutId) -> bool {
    let mut events = t.events().iter();
    events.any(|event| matches!(event, Event::VariantExcluded { rollout, .. } if *rollout == id))
}

/// The most of anything that was measured.
fn most(counts: &Counts) -> u64 {
    let latency = counts.latency.iter().copied().max().unwrap_or(0);
    counts.operations.max(counts.predictions).max(latency)
}

/// One side of a tally's wave, over all variants that are left.
fn wave_sum(state: &State, of: &TallyKey, arm: Arm) -> Counts {
    let key = SumKey {
        rollout: of.rollout,
        wave: of.wave,
        arm,
        stratum: None,
    };
    state.sums().get(&key).map(Sum::all).unwrap_or_default()
}
