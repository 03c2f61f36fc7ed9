//! Outcomes on their way to their owner: uncertain until it has counted them.
use super::outcomes::{Fate, Fingerprint, Owners};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tidegate_domain::id::{LogTime, SessionId};
use tidegate_runtime::BootInstant;

/// Most outcomes in one request to another node (`ForwardOutcomesRequest`).
pub const BATCH_MAX: usize = 1_024;

/// Which outcome: retries of the same agree.
pub type OutcomeId = (Fingerprint, Fate);

/// What came of queueing an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It waits for its owner.
    Waits,
    /// It waits already.
    WaitsAlready,
    /// There is no room: the device must tell it again later.
    Full,
}

/// Outcomes for one session, to be sent in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// For whom.
    pub to: SessionId,
    /// At most [`BATCH_MAX`], oldest first.
    pub outcomes: Vec<(OutcomeId, T)>,
}

/// The queues of one node; `T` is the outcome as it goes over the wire.
#[derive(Debug)]
pub struct Forwarding<T> {
    queues: BTreeMap<SessionId, Queue<T>>,
    waiting: BTreeSet<OutcomeId>,
    max: usize,
    backoff: (Duration, Duration),
    counters: ForwardingCounters,
}

/// What forwarding has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardingCounters {
    /// Counted by their owners.
    pub forwarded: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Given up: nobody could take them within the silence horizon.
    pub expired: u64,
    /// Turned away for want of room.
    pub turned_away: u64,
}

#[derive(Debug)]
struct Queue<T> {
    outcomes: VecDeque<(OutcomeId, T, LogTime)>,
    /// So many, from the front, are in a request without an answer.
    in_flight: usize,
    retry_at: BootInstant,
    delay: Option<Duration>,
}

impl<T: Clone> Forwarding<T> {
    /// Empty queues for at most `max` outcomes together; after a failure a session is left alone
    /// for the first length of `backoff`, doubling up to the second.
    pub const fn new(max: usize, backoff: (Duration, Duration)) -> Self {
        Self {
            queues: BTreeMap::new(),
            waiting: BTreeSet::new(),
            max,
            backoff,
            counters: ForwardingCounters {
                forwarded: 0,
                failures: 0,
                expired: 0,
                turned_away: 0,
            },
        }
    }

    /// Queues an outcome for its owner; of no use to anybody from `expires` on.
    pub fn push(&mut self, to: SessionId, id: OutcomeId, outcome: T, expires: LogTime) -> Queued {
        if self.waiting.contains(&id) {
            return Queued::WaitsAlready;
        }
        if self.waiting.len() >= self.max {
            self.counters.turned_away = self.counters.turned_away.saturating_add(1);
            return Queued::Full;
        }
        self.waiting.insert(id);
        let queue = self.queues.entry(to).or_insert_with(|| Queue {
            outcomes: VecDeque::new(),
            in_flight: 0,
            retry_at: BootInstant::default(),
            delay: None,
        });
        queue.outcomes.push_back((id, outcome, expires));
        Queued::Waits
    }

    /// What to send now: at most one request for each session. Each must be answered by
    /// [`Self::counted`] or [`Self::failed`].
    pub fn due(&mut self, now: BootInstant) -> Vec<Batch<T>> {
        let ready = self.queues.iter_mut().filter(|(_, queue)| {
            queue.in_flight == 0 && queue.retry_at <= now && !queue.outcomes.is_empty()
        });
        let batch = |(to, queue): (&SessionId, &mut Queue<T>)| {
            let outcomes: Vec<_> = queue
                .outcomes
                .iter()
                .take(BATCH_MAX)
                .map(|(id, outcome, _)| (*id, outcome.clone()))
                .collect();
            queue.in_flight = outcomes.len();
            Batch { to: *to, outcomes }
        };
        ready.map(batch).collect()
    }

    /// The owner has answered for all of a batch, whether it counted or refused them.
    pub fn counted(&mut self, to: SessionId) {
        let Some(queue) = self.queues.get_mut(&to) else {
            return;
        };
        for (id, ..) in queue.outcomes.drain(..queue.in_flight) {
            self.waiting.remove(&id);
            self.counters.forwarded = self.counters.forwarded.saturating_add(1);
        }
        queue.in_flight = 0;
        queue.delay = None;
        if queue.outcomes.is_empty() {
            self.queues.remove(&to);
        }
    }

    /// The owner could not be reached, or did not answer: its outcomes stay uncertain.
    pub fn failed(&mut self, to: SessionId, now: BootInstant) {
        self.counters.failures = self.counters.failures.saturating_add(1);
        let (first, longest) = self.backoff;
        if let Some(queue) = self.queues.get_mut(&to) {
            let delay = queue.delay.map_or(first, |delay| delay.saturating_mul(2));
            queue.in_flight = 0;
            queue.delay = Some(delay.min(longest));
            queue.retry_at = now.after(delay.min(longest));
        }
    }

    /// Takes out what waits for sessions that are over, to be judged again: another owns it now.
    /// (What is in a request stays until that is answered.)
    pub fn orphans(&mut self, owners: &Owners) -> Vec<T> {
        let mut orphans = Vec::new();
        for (to, queue) in &mut self.queues {
            if owners.address(*to).is_none() && queue.in_flight == 0 {
                for (id, outcome, _) in queue.outcomes.drain(..) {
                    self.waiting.remove(&id);
                    orphans.push(outcome);
                }
            }
        }
        self.drop_empty();
        orphans
    }

    /// Gives up what is of no more use.
    pub fn expire(&mut self, now: LogTime) {
        for queue in self
            .queues
            .values_mut()
            .filter(|queue| queue.in_flight == 0)
        {
            queue.outcomes.retain(|(id, _, expires)| {
                let keep = now < *expires;
                if !keep {
                    self.waiting.remove(id);
                    self.counters.expired = self.counters.expired.saturating_add(1);
                }
                keep
            });
        }
        self.drop_empty();
    }

    /// Outcomes whose owner has not counted them yet.
    pub fn uncertain(&self) -> usize {
        self.waiting.len()
    }

    /// What was done since the start.
    pub const fn counters(&self) -> ForwardingCounters {
        self.counters
    }

    fn drop_empty(&mut self) {
        self.queues
            .retain(|_, queue| !queue.outcomes.is_empty() || queue.delay.is_some());
    }
}
