//! What the node knows, and for how long it may say so.
use crate::{
    engine::{Index, Mode},
    ledger::Comparisons,
};
use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};
use tidegate_client::{LeaseTerms, SharedLease, View};
use tidegate_domain::{Event, State, command::Base, id::LogTime};
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::{BootInstant, Clock};

/// One snapshot, laid out for answering.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) index: Index,
    pub(crate) comparisons: Comparisons,
    /// What commands that are signed on it name as their base.
    pub(crate) base: Base,
    /// How many sessions the state has.
    pub(crate) sessions: usize,
}

impl Snapshot {
    pub(crate) fn of(view: &View) -> Self {
        Self {
            index: Index::build(view.state()),
            comparisons: Comparisons::of(view.state()),
            base: view.base(),
            sessions: view.state().sessions().len(),
        }
    }
}

/// Whether a snapshot of a state with so many sessions would be another one, now that these events
/// have led to this state. Of sessions that are forgotten with time no event tells: those that open
/// do so by event, so that their number tells.
pub(crate) fn is_outdated(sessions: usize, state: &State, events: &[Event]) -> bool {
    sessions != state.sessions().len() || events.iter().any(changes_snapshot)
}

/// Whether an event changes anything that a snapshot holds. What is not known here does.
fn changes_snapshot(event: &Event) -> bool {
    !matches!(
        event,
        Event::EntryRecorded { .. }
            | Event::BudgetGranted { .. }
            | Event::BudgetReturned { .. }
            | Event::BudgetLost { .. }
            | Event::SessionAdvanced(_)
            | Event::OperationRefused(_)
            | Event::JournalAnchored(_)
            | Event::Tallied { .. }
            | Event::CohortMatured { .. }
            | Event::CreditGrown { .. }
            | Event::GateJudged { .. }
            | Event::MembershipChanged { .. }
    )
}

/// The newest snapshot and the lease on it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    lease: OnceLock<SharedLease>,
}

/// What one answer may be made from, as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) mode: Mode,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// The first moment at which an answer in this mode may no longer be sent; `None` without one.
    until: Option<BootInstant>,
    /// Log time as this node reckons.
    pub(crate) now: LogTime,
}

impl Standing {
    /// Whether an offer may still leave (HALT-1): asked at the moment of sending.
    pub(crate) fn holds(&self, clock: &dyn Clock) -> bool {
        is_on(Mutant::LeaseIgnored) || self.until.is_some_and(|until| clock.boot() < until)
    }

    /// The first moment at which an offer made now may no longer be sent.
    pub(crate) const fn ends(&self) -> Option<BootInstant> {
        self.until
    }
}

impl Known {
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn show(&self, snapshot: Arc<Snapshot>) {
        *self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    pub(crate) fn hold(&self, lease: SharedLease) {
        // There is one follower in a node's life.
        let _ = self.lease.set(lease);
    }

    /// How much the node knows now.
    ///
    /// The end of the lease is read before the snapshot is: the snapshot is then at least the one
    /// that the lease was counted for, and whoever checks that end again before an answer leaves
    /// has checked it for what the answer was made from.
    pub(crate) fn standing(&self, clock: &dyn Clock) -> Standing {
        let before = self.snapshot();
        let lease = before.as_deref().zip(self.lease.get());
        let ends = lease.and_then(|(snapshot, lease)| {
            let fresh = terms(snapshot);
            let stale = fresh.stretched(stale_max(snapshot));
            Some((lease.ends(&fresh)?, lease.ends(&stale)?))
        });
        let snapshot = self.snapshot();
        let wall = LogTime(clock.wall().0);
        let now = snapshot
            .as_ref()
            .map_or(wall, |s| s.index.cited().time.max(wall));
        let blind = Standing {
            mode: Mode::Blind,
            snapshot: None,
            until: None,
            now,
        };
        let (Some(snapshot), Some((fresh_ends, stale_ends))) = (snapshot, ends) else {
            return blind;
        };
        let boot = clock.boot();
        let (mode, until) = if boot < fresh_ends || is_on(Mutant::LeaseIgnored) {
            (Mode::Fresh, fresh_ends)
        } else if boot < stale_ends {
            (Mode::Stale, stale_ends)
        } else {
            return blind;
        };
        Standing {
            mode,
            snapshot: Some(snapshot),
            until: Some(until),
            now,
        }
    }

    /// How much longer the snapshot is fresh.
    pub(crate) fn lease_left(&self, clock: &dyn Clock) -> Duration {
        let snapshot = self.snapshot();
        let lease = snapshot.zip(self.lease.get());
        lease.map_or(Duration::ZERO, |(snapshot, lease)| {
            lease.left(&terms(&snapshot), clock.boot())
        })
    }
}

/// How long after its last renewal the node may go on with what goes on while stale.
fn stale_max(snapshot: &Snapshot) -> Duration {
    if is_on(Mutant::StaleForEver) {
        return Duration::from_secs(86_400);
    }
    Duration::from_millis(snapshot.index.settings().stale_max.0)
}

fn terms(snapshot: &Snapshot) -> LeaseTerms {
    let settings = snapshot.index.settings();
    LeaseTerms {
        length: Duration::from_millis(settings.lease.0),
        drift_margin: Duration::from_millis(settings.drift_margin.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_domain::testing::{Fleet, Step};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        /// A snapshot that is kept answers as the one that would have been built.
        #[test]
        fn what_is_not_built_anew_would_be_the_same(
            steps in prop::collection::vec((any::<u8>(), any::<u64>()), 1..60),
        ) {
            let mut fleet = Fleet::furnished();
            let mut kept = fleet.state.clone();
            for (what, dice) in steps {
                let log = fleet.log.len();
                fleet.take(Step { what, dice });
                let events: Vec<Event> = fleet.log[log..]
                    .iter()
                    .flat_map(|(.., applied)| applied.events().cloned())
                    .collect();
                if is_outdated(kept.sessions().len(), &fleet.state, &events) {
                    kept = fleet.state.clone();
                    continue;
                }
                let now = fleet.state.meta().time;
                let index = |state| Index::build(state).noticed(now);
                prop_assert!(index(&kept) == index(&fleet.state), "the index: {:?}", events);
                let compared = [&kept, &fleet.state].map(Comparisons::of);
                prop_assert!(compared[0] == compared[1], "what is compared: {:?}", events);
            }
        }
    }
}
