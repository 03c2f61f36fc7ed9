//! Admissions that a session holds: granted by the store, spent one by one, returned when of no
//! more use.
//!
//! WAVE-3 rests on two rules. What may be spent is what the *view* shows as granted, never what was
//! only asked for; so a lost reply, a retry or a second grant cannot be counted wrongly. And what is
//! on its way back is deducted before the command leaves, so that it cannot be spent meanwhile.
use super::refused::{Refused, answer_to};
use crate::engine::{Budgets, Draw, Pool};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tidegate_domain::{
    State,
    id::{Channel, Cohort, LogTime, RolloutId, SessionId, VariantId, WaveIndex},
    node::{BudgetKey, PoolKey, SessionStatus},
    rejection::Rejection,
    rollout::Life,
    tally::{Arm, Stratum},
};
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::BootInstant;

/// Locks that pools are spread over.
const SHARDS: usize = 16;

/// How a purse asks and gives back.
#[derive(Clone, Copy, Debug)]
pub struct PurseLimits {
    /// Most admissions asked for at once beyond those that devices wait for.
    pub prefetch_max: u64,
    /// Most pools asked for in one go.
    pub asks_max: usize,
    /// Admissions that lasted less than this before more were needed: the next ask doubles.
    pub brisk: Duration,
    /// How long an ask without an answer stands before it is made again.
    pub answer: Duration,
    /// The first wait after a refusal; doubles up to [`Self::backoff_max`].
    pub backoff: Duration,
    /// The longest wait after refusals.
    pub backoff_max: Duration,
    /// Admissions that nobody asked for during this time are given back: while held, they occupy
    /// credit that another node may need.
    pub idle: Duration,
}

impl Default for PurseLimits {
    fn default() -> Self {
        Self {
            prefetch_max: 256,
            asks_max: 256,
            brisk: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            idle: Duration::from_secs(120),
        }
    }
}

/// The admissions of one session. Shared by all that answer devices: `&Purse` is the engine's
/// [`Budgets`].
#[derive(Debug)]
pub struct Purse {
    session: SessionId,
    limits: PurseLimits,
    over: AtomicBool,
    catch_up_max: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    accounts: BTreeMap<PoolKey, Account>,
    /// Catch-up offers of baselines in one hour: each node has a credit of its own.
    catch_up: BTreeMap<(VariantId, Channel), (Cohort, u64)>,
}

/// One pool. Invariant: `gone <= granted`.
#[derive(Debug, Default)]
struct Account {
    /// Granted so far, as the view shows.
    granted: u64,
    /// Spent, or on its way back.
    gone: u64,
    /// Draws that found nothing since the last ask.
    demand: u64,
    /// Draws since the last look for idle admissions, and since when there were none.
    draws: u64,
    idle_since: Option<BootInstant>,
    prefetch: u64,
    granted_at: Option<BootInstant>,
    asked_at: Option<BootInstant>,
    refused: Option<Refused>,
}

impl Account {
    const fn balance(&self) -> u64 {
        self.granted.saturating_sub(self.gone)
    }

    fn draw(&mut self) -> Draw {
        self.draws = self.draws.saturating_add(1);
        if self.balance() > 0 {
            let drawn = u64::from(!is_on(Mutant::BudgetNotDrawn));
            self.gone = self.gone.saturating_add(drawn);
            return Draw::Granted;
        }
        self.demand = self.demand.saturating_add(1);
        self.refused.map_or(Draw::Pending, |refused| refused.answer)
    }

    /// How many admissions to ask for now, if any.
    fn ask(&mut self, limits: &PurseLimits, now: BootInstant) -> Option<u64> {
        let waits = self
            .asked_at
            .is_some_and(|at| now.since(at) < limits.answer)
            || self.refused.is_some_and(|refused| now < refused.until);
        if self.demand == 0 || waits {
            return None;
        }
        let short = self.demand.saturating_sub(self.balance());
        self.demand = 0;
        if short == 0 {
            return None;
        }
        let brisk = self
            .granted_at
            .is_some_and(|at| now.since(at) < limits.brisk);
        self.prefetch = if brisk {
            self.prefetch
                .saturating_mul(2)
                .clamp(1, limits.prefetch_max)
        } else {
            0
        };
        self.asked_at = Some(now);
        Some(short.saturating_add(self.prefetch))
    }

    /// Takes admissions that are of no more use here.
    fn useless(&mut self, open: bool, limits: &PurseLimits, now: BootInstant) -> u64 {
        let drawn = std::mem::take(&mut self.draws) > 0;
        if drawn || self.balance() == 0 {
            self.idle_since = None;
        }
        let since = *self.idle_since.get_or_insert(now);
        if open && now.since(since) < limits.idle {
            return 0;
        }
        let unused = self.balance();
        self.gone = self.granted;
        unused
    }
}

impl Purse {
    /// An empty purse for a session.
    pub fn new(session: SessionId, limits: PurseLimits) -> Self {
        Self {
            session,
            limits,
            over: AtomicBool::new(false),
            catch_up_max: AtomicU64::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Takes one admission of a pool, if one is held.
    pub fn try_spend(&self, pool: &PoolKey) -> Draw {
        if self.over.load(Ordering::Acquire) {
            return Draw::Exhausted;
        }
        let mut shard = self.shard(pool.rollout, pool.stratum.variant);
        match shard.accounts.get_mut(pool) {
            Some(account) => account.draw(),
            None => shard.accounts.entry(pool.clone()).or_default().draw(),
        }
    }

    /// Puts an admission back that was drawn for an answer which surely never left.
    pub fn refund(&self, pool: &PoolKey) {
        self.give_back(pool, 1);
    }

    /// Follows what the view shows as granted. Call it when the view has moved.
    pub fn follow(&self, state: &State, now: BootInstant) {
        let session = state.sessions().get(&self.session);
        if session.is_some_and(|session| session.status != SessionStatus::Open) {
            self.over.store(true, Ordering::Release);
        }
        self.allow_catch_up(state.config().credit);
        for (key, budget) in budgets_of(state, self.session) {
            let pool = &key.pool;
            let mut shard = self.shard(pool.rollout, pool.stratum.variant);
            let account = shard.accounts.entry(pool.clone()).or_default();
            if budget.granted > account.granted {
                account.granted = budget.granted;
                account.granted_at = Some(now);
                account.asked_at = None;
                account.refused = None;
                account.idle_since = None;
            }
        }
    }

    /// Sets how many offers of baselines this node makes in one stratum in one hour.
    pub fn allow_catch_up(&self, credit: u64) {
        self.catch_up_max.store(credit, Ordering::Relaxed);
    }

    /// What to ask the store for now: a grant for each, in pool order.
    pub fn wanted(&self, now: BootInstant) -> Vec<(PoolKey, u64)> {
        let mut wanted = Vec::new();
        for shard in &self.shards {
            for (pool, account) in &mut lock(shard).accounts {
                if wanted.len() == self.limits.asks_max {
                    break;
                }
                let count = account.ask(&self.limits, now);
                wanted.extend(count.map(|count| (pool.clone(), count)));
            }
        }
        wanted.sort();
        wanted
    }

    /// The store refused to grant: devices are told why, and it is asked again after a while.
    pub fn refused(&self, pool: &PoolKey, rejection: &Rejection, now: BootInstant) {
        let mut shard = self.shard(pool.rollout, pool.stratum.variant);
        let account = shard.accounts.entry(pool.clone()).or_default();
        account.asked_at = None;
        let (first, most) = (self.limits.backoff, self.limits.backoff_max);
        let doubled = |refused: Refused| refused.delay.saturating_mul(2).min(most);
        let delay = account.refused.map_or(first, doubled);
        account.refused = Some(Refused {
            answer: answer_to(rejection),
            until: now.after(delay),
            delay,
        });
    }

    /// Takes what is of no more use here, for one return each, in pool order: everything in
    /// pools that are closed, and what lay idle. It cannot be spent any more from now on. A session
    /// that ends need not return anything: closing it does.
    pub fn take_returns(&self, state: &State, now: BootInstant) -> Vec<(PoolKey, u64)> {
        let mut returns = Vec::new();
        for shard in &self.shards {
            lock(shard).accounts.retain(|pool, account| {
                let open = is_open(state, pool);
                let unused = account.useless(open, &self.limits, now);
                if unused > 0 {
                    returns.push((pool.clone(), unused));
                }
                let budget = BudgetKey {
                    session: self.session,
                    pool: pool.clone(),
                };
                // What is gone must be remembered as long as the view shows what was granted.
                let shown = state.budgets().contains(&budget) || (account.granted > 0 && open);
                shown || (account.demand > 0 && open)
            });
        }
        returns.sort();
        returns
    }

    /// Puts back what [`Self::take_returns`] took, after the store refused the return. Not while its
    /// outcome is unknown: until then it stays gone.
    pub fn give_back(&self, pool: &PoolKey, count: u64) {
        let mut shard = self.shard(pool.rollout, pool.stratum.variant);
        if let Some(account) = shard.accounts.get_mut(pool) {
            account.gone = account.gone.saturating_sub(count);
        }
    }

    /// Admissions held now, over all pools.
    pub fn held(&self) -> u64 {
        let of_shard = |shard: &Mutex<Shard>| {
            lock(shard)
                .accounts
                .values()
                .map(Account::balance)
                .sum::<u64>()
        };
        self.shards.iter().map(of_shard).sum()
    }

    fn catch_up(&self, variant: VariantId, channel: &Channel, now: LogTime) -> Draw {
        let hour = now.cohort();
        let max = self.catch_up_max.load(Ordering::Relaxed);
        let mut shard = self.shard(RolloutId(0), variant);
        let used = shard.catch_up.entry((variant, channel.clone()));
        let used = used.or_insert((hour, 0));
        if used.0 != hour {
            *used = (hour, 0);
        }
        if used.1 >= max {
            return Draw::Exhausted;
        }
        used.1 = used.1.saturating_add(1);
        Draw::Granted
    }

    fn shard(&self, rollout: RolloutId, variant: VariantId) -> MutexGuard<'_, Shard> {
        let spread = rollout
            .0
            .wrapping_mul(31)
            .wrapping_add(u64::from(variant.0));
        let at = usize::try_from(spread % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[at])
    }
}

impl Budgets for &Purse {
    fn draw(&mut self, pool: Pool<'_>, now: LogTime) -> Draw {
        let Pool {
            rollout,
            wave,
            variant,
            channel,
            arm,
        } = pool;
        let Some(rollout) = rollout else {
            return self.catch_up(variant, channel, now);
        };
        self.try_spend(&PoolKey {
            rollout,
            wave,
            stratum: Stratum {
                variant,
                channel: channel.clone(),
            },
            arm,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under the lock is a plain assignment: a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The budgets of one session.
pub(super) fn budgets_of(
    state: &State,
    session: SessionId,
) -> impl Iterator<Item = (&BudgetKey, &tidegate_domain::node::Budget)> {
    let first = Channel::new("+").ok().map(|channel| BudgetKey {
        session,
        pool: PoolKey {
            // Numbers of rollouts begin at 1: nothing sorts before.
            rollout: RolloutId(0),
            wave: WaveIndex(0),
            stratum: Stratum {
                variant: VariantId(0),
                channel,
            },
            arm: Arm::Treatment,
        },
    });
    let rows = first.map(|first| state.budgets().range(first..));
    rows.into_iter()
        .flatten()
        .take_while(move |(key, _)| key.session == session)
}

/// Whether a pool may still admit somebody. Stops and freezes pass; what is held waits for them.
fn is_open(state: &State, pool: &PoolKey) -> bool {
    let Some(rollout) = state.rollouts().get(&pool.rollout) else {
        return false;
    };
    let variant = pool.stratum.variant;
    match pool.arm {
        Arm::Treatment => {
            matches!(rollout.life, Life::Running | Life::Paused { .. })
                && !rollout.excluded.contains_key(&variant)
        }
        Arm::Return => rollout.returns(variant),
        Arm::Control => false,
    }
}
