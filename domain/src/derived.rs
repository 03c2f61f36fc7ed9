//! Look-ups that follow from the rows: never stored, kept up to date by the fold.
use crate::{
    evolve::{has_rows, kept_until},
    guard::HoldKey,
    id::{Cohort, CommandId, LogTime, ReleaseName, RolloutId, SessionId, VariantId},
    node::{Budget, BudgetKey, PoolKey, SessionStatus},
    release::ArtifactKind,
    state::State,
    tally::TallyKey,
    variant::VariantTraits,
};
use std::collections::{BTreeMap, BTreeSet};

/// Look-ups that follow from the rows and are never stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Derived {
    /// Spent ids by the time at which they may be forgotten.
    pub(crate) spent_by_end: BTreeSet<(LogTime, CommandId)>,
    /// Holds by expiry.
    pub(crate) holds_by_end: BTreeSet<(LogTime, HoldKey)>,
    /// Variants by what they are.
    pub(crate) variant_by_traits: BTreeMap<VariantTraits, VariantId>,
    /// Open cohorts by hour; kinds apart, since each has its own silence horizon.
    pub(crate) cohorts_by_age: BTreeSet<(ArtifactKind, Cohort, TallyKey)>,
    /// Rollouts that are not final: what `Tick` and overlap checks look at.
    pub(crate) live_rollouts: BTreeSet<RolloutId>,
    /// Rollouts that are final and still have rows to fold away, by their end.
    pub(crate) unfolded: BTreeSet<(LogTime, RolloutId)>,
    /// Rollouts that are final and folded, by their end.
    pub(crate) folded: BTreeSet<(LogTime, RolloutId)>,
    /// Budgets by pool and session.
    pub(crate) budgets_by_pool: BTreeSet<(PoolKey, SessionId)>,
    /// Budgets of which something is held: granted, and neither returned nor spent.
    pub(crate) held: BTreeSet<BudgetKey>,
    /// Sessions that are over and still have budgets or untold exposures.
    pub(crate) ended_sessions: BTreeSet<SessionId>,
    /// Sessions that are over and have neither, by when nobody may ask about their last envelope.
    pub(crate) settled_sessions: BTreeSet<(LogTime, SessionId)>,
    /// Untold exposures by cohort, so that a matured cohort finds them.
    pub(crate) untold_by_cohort: BTreeSet<(TallyKey, SessionId)>,
    /// Bars by the release that they bar.
    pub(crate) bars_by_release: BTreeSet<(ReleaseName, RolloutId)>,
}

impl Derived {
    /// Derives the look-ups from the rows.
    pub(crate) fn of(state: &State) -> Self {
        let mut derived = Self::of_rollouts(state);
        for (id, spent) in state.spent.iter() {
            derived.spent_by_end.insert((spent.not_after, *id));
        }
        for (key, hold) in state.holds.iter() {
            derived.holds_by_end.insert((hold.expires, key.clone()));
        }
        for (id, variant) in state.variants.iter() {
            let by_traits = &mut derived.variant_by_traits;
            by_traits.insert(variant.traits.clone(), *id);
        }
        for (key, budget) in state.budgets.iter() {
            derived.follow_budget(key, budget);
        }
        for (key, _) in state.untold.iter() {
            let by_cohort = &mut derived.untold_by_cohort;
            by_cohort.insert((key.tally.clone(), key.session));
        }
        for (key, _) in state.cohorts.iter() {
            if let Some(aged) = aged(state, key) {
                derived.cohorts_by_age.insert(aged);
            }
        }
        for (id, session) in state.sessions.iter() {
            if session.status == SessionStatus::Open {
                continue;
            }
            if has_rows(state, *id) {
                derived.ended_sessions.insert(*id);
            } else {
                let kept = kept_until(Some(session));
                derived.settled_sessions.insert((kept, *id));
            }
        }
        derived
    }

    fn of_rollouts(state: &State) -> Self {
        let mut derived = Self::default();
        for (id, rollout) in state.rollouts.iter() {
            match rollout.ended {
                None => derived.live_rollouts.insert(*id),
                Some(at) if rollout.folded => derived.folded.insert((at, *id)),
                Some(at) => derived.unfolded.insert((at, *id)),
            };
        }
        for (id, bar) in state.bars.iter() {
            derived.bars_by_release.insert((bar.release.clone(), *id));
        }
        derived
    }

    /// Sessions that are over.
    pub(crate) fn over(&self) -> usize {
        let Self {
            ended_sessions,
            settled_sessions,
            ..
        } = self;
        ended_sessions.len().saturating_add(settled_sessions.len())
    }

    /// Follows a budget that was made or changed.
    pub(crate) fn follow_budget(&mut self, key: &BudgetKey, budget: &Budget) {
        self.budgets_by_pool.insert((key.pool.clone(), key.session));
        if budget.held() > 0 {
            self.held.insert(key.clone());
        } else {
            self.held.remove(key);
        }
    }

    /// Forgets a budget that is gone.
    pub(crate) fn forget_budget(&mut self, key: &BudgetKey) {
        self.budgets_by_pool
            .remove(&(key.pool.clone(), key.session));
        self.held.remove(key);
    }
}

/// A cohort's place in [`Derived::cohorts_by_age`]; `None` for one of a rollout that is gone.
pub(crate) fn aged(state: &State, key: &TallyKey) -> Option<(ArtifactKind, Cohort, TallyKey)> {
    let kind = kind_of(state, key.rollout)?;
    Some((kind, key.cohort, key.clone()))
}

/// The kind of a rollout's release.
pub(crate) fn kind_of(state: &State, rollout: RolloutId) -> Option<ArtifactKind> {
    let rollout = state.rollouts.get(&rollout)?;
    let release = state.releases.get(&rollout.spec.release)?;
    Some(release.manifest.kind)
}
