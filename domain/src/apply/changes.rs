//! What an entry is applied in, and what it has changed so far.
use super::Stamp;
use crate::{
    event::Event,
    evolve::evolve,
    id::{Hash, Index, LogTime, Revision},
    state::State,
};

/// What decisions may know besides the state and the command: the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Log time of the entry: the greatest stamp so far.
    pub time: LogTime,
    /// The index of the entry.
    pub index: Index,
    /// The chain head before the entry: the source of what nobody may pick.
    pub chain: Hash,
}

impl Context {
    /// The context of the entry that is stamped.
    pub(crate) fn new(state: &State, stamp: Stamp) -> Self {
        Self {
            time: state.meta().time.max(stamp.time),
            index: stamp.index,
            chain: stamp.chain,
        }
    }

    /// The revision that whatever this entry changes gets.
    pub const fn revision(&self) -> Revision {
        Revision(self.index.0)
    }
}

/// Bytes of events after which an entry takes no further rollout's steps. What one of them adds at
/// most, and the command, fit in an entry's body all the same (16 MiB).
const EVENTS_BYTES: usize = 4 << 20;
/// Bytes that count for each event, and for each variant that a baseline leaves out: more than they
/// take.
const EVENT_BYTES: usize = 640;
const EXCEPTION_BYTES: usize = 5;

/// The changes of one entry. Each event is folded at once, so that what follows sees it.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    state: &'a mut State,
    events: Vec<Event>,
    /// At most so many bytes of events, those apart that are as long as the command itself.
    bytes: usize,
    context: Context,
}

impl<'a> Changes<'a> {
    pub(crate) const fn new(state: &'a mut State, context: Context) -> Self {
        Self {
            state,
            events: Vec::new(),
            bytes: 0,
            context,
        }
    }

    /// The state with all changes so far.
    pub(crate) const fn state(&self) -> &State {
        self.state
    }

    /// The events so far, without [`Event::EntryRecorded`].
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// What the entry is applied in.
    pub(crate) const fn context(&self) -> Context {
        self.context
    }

    /// Folds an event and records it.
    ///
    /// # Panics
    /// The event does not fit the state: a fault of this build that no replica may go on from.
    pub(crate) fn emit(&mut self, event: Event) {
        fold(self.state, &event);
        let exceptions = if let Event::BaselineSet { baseline, .. } = &event {
            baseline.excluded.len()
        } else {
            0
        };
        let bytes = exceptions.saturating_mul(EXCEPTION_BYTES);
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(EVENT_BYTES);
        self.events.push(event);
    }

    /// Whether the entry may do more of what can as well be done by the next one.
    pub(crate) const fn have_room(&self) -> bool {
        self.bytes < EVENTS_BYTES
    }

    /// All events that were emitted.
    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

/// Folds an event that this very entry decided.
pub(super) fn fold(state: &mut State, event: &Event) {
    if let Err(inconsistent) = evolve(state, event) {
        panic!("a decided event does not fit the state: {inconsistent}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        canonical,
        guard::{Baseline, BaselineKey},
        id::{Channel, Ppm, RolloutId, VariantId},
        rollout::ExclusionCause,
        tally::{COUNT_MAX, Counts, LATENCY_BUCKETS},
        testing::component,
        wave::{Breach, Evidence},
    };

    /// What gates say, with every count as great as it may be.
    fn exclusion() -> Event {
        let counts = Counts {
            exposed: COUNT_MAX,
            downloaded: COUNT_MAX,
            installed: COUNT_MAX,
            verified: COUNT_MAX,
            failed: COUNT_MAX,
            reverted: COUNT_MAX,
            silent: COUNT_MAX,
            errors: COUNT_MAX,
            operations: COUNT_MAX,
            correct: COUNT_MAX,
            predictions: COUNT_MAX,
            latency: vec![COUNT_MAX; LATENCY_BUCKETS],
        };
        let evidence = Evidence {
            variant: Some(VariantId(u32::MAX)),
            at: LogTime(u64::MAX),
            index: Index(u64::MAX),
            counts: counts.clone(),
            control: Some(counts),
            breach: Some(Breach::Failures {
                rate: Ppm::ALL,
                max: Ppm::ALL,
            }),
        };
        Event::VariantExcluded {
            rollout: RolloutId(u64::MAX),
            variant: VariantId(u32::MAX),
            cause: Box::new(ExclusionCause::Gate(Box::new(evidence))),
        }
    }

    /// A baseline with the longest names, and so many exceptions.
    fn baseline(exceptions: u32) -> Event {
        let long = |bytes: usize| "n".repeat(bytes);
        let selector = [long(48), long(32), long(32), long(32)].join("/");
        Event::BaselineSet {
            key: BaselineKey {
                component: component(&long(48)),
                selector: selector.parse().unwrap(),
                channel: Some(Channel::new(long(32)).unwrap()),
            },
            baseline: Baseline {
                release: long(96).parse().unwrap(),
                since: LogTime(u64::MAX),
                revision: Revision(u64::MAX),
                excluded: (0..exceptions).map(|at| VariantId(u32::MAX - at)).collect(),
            },
        }
    }

    #[test]
    fn events_that_come_in_numbers_are_no_longer_than_they_count() {
        let bytes = |event: &Event| canonical::encode(event).len();
        assert!(
            bytes(&exclusion()) <= EVENT_BYTES,
            "{}",
            bytes(&exclusion())
        );
        let (none, many) = (bytes(&baseline(0)), bytes(&baseline(1_000)));
        assert!(none + 8 <= EVENT_BYTES, "{none}");
        assert!(many - none <= 1_000 * EXCEPTION_BYTES + 8, "{many}");
    }
}
