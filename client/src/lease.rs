//! How long a view may be called fresh.
//!
//! HALT-1 rests on this file: after a halt commits, a node that honours its lease offers the halted
//! release for at most the lease's length, whatever the network and its clock's offset do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_domain::config::ClusterConfig;
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::BootInstant;

use crate::Position;

/// How long a confirmed read keeps a view fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// From the moment the renewal was sent.
    pub length: Duration,
    /// Taken off for the drift of this machine's clock.
    pub drift_margin: Duration,
}

impl From<&ClusterConfig> for LeaseTerms {
    fn from(config: &ClusterConfig) -> Self {
        Self {
            length: Duration::from_millis(config.lease.0),
            drift_margin: Duration::from_millis(config.drift_margin.0),
        }
    }
}

impl LeaseTerms {
    /// How long the lease is counted: its length less the margin.
    #[must_use]
    pub const fn counted(&self) -> Duration {
        self.length.saturating_sub(self.drift_margin)
    }

    /// Terms of another length for the same clock: the margin is the same share of it.
    #[must_use]
    pub fn stretched(&self, length: Duration) -> Self {
        let share = length.as_nanos() * self.drift_margin.as_nanos();
        // Without a length there is nothing that would last.
        let margin = share.checked_div(self.length.as_nanos());
        let margin = margin.and_then(|nanos| u64::try_from(nanos).ok());
        Self {
            length,
            drift_margin: margin.map_or(length, Duration::from_nanos),
        }
    }
}

/// A renewal: a quorum confirmed, after `sent`, that nothing newer than `needs` was committed
/// before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Renewal {
    sent: BootInstant,
    needs: Position,
}

/// The lease of one view. Pure: time is an argument.
///
/// A renewal counts from the moment it was *sent*, on a clock that runs through suspend: whatever
/// was committed before then is covered by the answer, and nothing after then is promised. It
/// counts only once the view has reached the position that the answer names.
#[derive(Debug, Default)]
pub struct Lease {
    /// The newest renewal that counts.
    counts_from: Option<BootInstant>,
    /// Renewals that the view has not reached, oldest first.
    waiting: VecDeque<Renewal>,
    view: Option<Position>,
}

/// Most renewals that wait for the view; when more come, newer ones replace the last.
const WAITING_MAX: usize = 64;

impl Lease {
    /// Notes a quorum's answer `needs` to a question sent at `sent`.
    pub fn confirmed(&mut self, sent: BootInstant, needs: Position) {
        if self
            .view
            .is_some_and(|view| view >= needs || is_on(Mutant::LeaseBeforeView))
        {
            self.count(Renewal { sent, needs });
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_back();
        }
        self.waiting.push_back(Renewal { sent, needs });
    }

    /// Notes that the view now stands at `position`.
    pub fn reached(&mut self, position: Position) {
        if self
            .view
            .is_some_and(|view| view.incarnation != position.incarnation)
        {
            // What a quorum of another life confirmed says nothing of this one.
            self.counts_from = None;
            let life = position.incarnation;
            self.waiting
                .retain(|renewal| renewal.needs.incarnation == life);
        }
        self.view = Some(position);
        while let Some(renewal) = self.waiting.front().copied() {
            if renewal.needs > position {
                break;
            }
            self.waiting.pop_front();
            self.count(renewal);
        }
    }

    /// When the oldest renewal was sent that the view has not reached: a quorum knows more than the
    /// view for that long at least.
    #[must_use]
    pub fn behind_since(&self) -> Option<BootInstant> {
        self.waiting.front().map(|renewal| renewal.sent)
    }

    /// Forgets the view: until another is there and renewed, nothing is fresh.
    pub fn lost(&mut self) {
        *self = Self::default();
    }

    /// The first moment at which the view is no longer fresh; `None` if it never was.
    #[must_use]
    pub fn ends(&self, terms: &LeaseTerms) -> Option<BootInstant> {
        Some(self.counts_from?.after(terms.counted()))
    }

    /// How much longer the view is fresh; zero if it is not.
    #[must_use]
    pub fn left(&self, terms: &LeaseTerms, now: BootInstant) -> Duration {
        self.ends(terms)
            .map_or(Duration::ZERO, |ends| ends.since(now))
    }

    /// An answer that overtook a later one never shortens the lease.
    fn count(&mut self, renewal: Renewal) {
        let of_this_life = |view: Position| view.incarnation == renewal.needs.incarnation;
        if self.view.is_some_and(of_this_life) {
            self.counts_from = self.counts_from.max(Some(renewal.sent));
        }
    }
}

/// A lease that the follower renews and others read.
#[derive(Clone, Debug, Default)]
pub struct SharedLease(Arc<Mutex<Lease>>);

impl SharedLease {
    /// The first moment at which the view is no longer fresh; `None` if it never was.
    ///
    /// Whoever answers a device must read the clock after it took the view, and compare both with
    /// this before the answer leaves.
    #[must_use]
    pub fn ends(&self, terms: &LeaseTerms) -> Option<BootInstant> {
        self.with(|lease| lease.ends(terms))
    }

    /// How much longer the view is fresh; zero if it is not.
    #[must_use]
    pub fn left(&self, terms: &LeaseTerms, now: BootInstant) -> Duration {
        self.with(|lease| lease.left(terms, now))
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Lease) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::id::Incarnation;

    const TERMS: LeaseTerms = LeaseTerms {
        length: Duration::from_secs(10),
        drift_margin: Duration::from_millis(100),
    };

    fn at(ms: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_millis(ms))
    }

    fn position(life: u64, entries: u64) -> Position {
        Position {
            incarnation: Incarnation(life),
            entries,
        }
    }

    fn left_ms(lease: &Lease, now: u64) -> u128 {
        lease.left(&TERMS, at(now)).as_millis()
    }

    #[test]
    fn it_counts_from_sending_less_the_margin() {
        let mut lease = Lease::default();
        lease.reached(position(1, 5));
        lease.confirmed(at(1_000), position(1, 5));
        assert_eq!(lease.ends(&TERMS), Some(at(10_900)));
        assert_eq!(left_ms(&lease, 10_899), 1);
        assert_eq!(left_ms(&lease, 10_900), 0);
    }

    #[test]
    fn the_margin_grows_with_the_length() {
        let day = Duration::from_secs(86_400);
        let stretched = TERMS.stretched(day);
        assert_eq!(stretched.drift_margin, day / 100);
        assert_eq!(TERMS.stretched(TERMS.length), TERMS);
        let nothing = TERMS.stretched(Duration::ZERO);
        assert_eq!(nothing.stretched(day).counted(), Duration::ZERO);
    }

    #[test]
    fn a_renewal_does_not_count_before_the_view_reached_it() {
        let mut lease = Lease::default();
        lease.reached(position(1, 5));
        lease.confirmed(at(1_000), position(1, 7));
        lease.reached(position(1, 6));
        assert_eq!(lease.ends(&TERMS), None);
        assert_eq!(lease.behind_since(), Some(at(1_000)));
        lease.reached(position(1, 7));
        assert_eq!(lease.behind_since(), None);
        assert_eq!(lease.ends(&TERMS), Some(at(10_900)));
    }

    #[test]
    fn a_view_that_lags_behind_is_renewed_as_far_as_it_got() {
        let mut lease = Lease::default();
        lease.reached(position(1, 0));
        for (sent, entries) in [(1_000, 10), (3_000, 20), (5_000, 30)] {
            lease.confirmed(at(sent), position(1, entries));
        }
        lease.reached(position(1, 25));
        assert_eq!(lease.ends(&TERMS), Some(at(12_900)));
    }

    #[test]
    fn an_answer_that_was_overtaken_does_not_shorten_it() {
        let mut lease = Lease::default();
        lease.reached(position(1, 5));
        lease.confirmed(at(3_000), position(1, 5));
        lease.confirmed(at(1_000), position(1, 4));
        assert_eq!(lease.ends(&TERMS), Some(at(12_900)));
    }

    #[test]
    fn nothing_is_fresh_without_a_view() {
        let mut lease = Lease::default();
        lease.confirmed(at(1_000), position(1, 0));
        assert_eq!(lease.ends(&TERMS), None);
        lease.reached(position(1, 0));
        assert_eq!(lease.ends(&TERMS), Some(at(10_900)));
        lease.lost();
        assert_eq!(lease.ends(&TERMS), None);
    }

    #[test]
    fn a_quorum_of_another_life_promises_nothing() {
        let mut lease = Lease::default();
        lease.reached(position(1, 50));
        lease.confirmed(at(1_000), position(1, 50));
        lease.confirmed(at(2_000), position(1, 60));
        lease.reached(position(2, 1));
        assert_eq!(lease.ends(&TERMS), None, "life 1 was restored away");
        lease.confirmed(at(3_000), position(1, 60));
        assert_eq!(lease.ends(&TERMS), None, "a late answer of life 1");
        lease.confirmed(at(4_000), position(2, 1));
        assert_eq!(lease.ends(&TERMS), Some(at(13_900)));
    }

    #[test]
    fn a_stuck_view_does_not_collect_renewals_without_bound() {
        let mut lease = Lease::default();
        lease.reached(position(1, 0));
        for n in 1..1_000 {
            lease.confirmed(at(n), position(1, n));
        }
        assert_eq!(lease.waiting.len(), WAITING_MAX);
        lease.reached(position(1, 1_000));
        assert_eq!(lease.counts_from, Some(at(999)));
    }
}
