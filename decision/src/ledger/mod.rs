//! What a session holds and counts: admissions, exposures, outcomes, measurements.
//!
//! Pure: no IO, and clocks are arguments. Two clocks are kept apart: `LogTime` says in which hour
//! something counts, [`BootInstant`](tidegate_runtime::BootInstant) when to try again.
//!
//! - A [`Purse`] holds what the store granted. The engine draws from it; a task of the node sends
//!   what it [wants](Purse::wanted) and [returns](Purse::take_returns).
//! - A [`Ledger`] counts: an exposure when its offer is sent, an outcome once, measurements once.
//!   A task of the node sends its [reports](Ledger::report).
//! - [`Owners`] say whose an outcome is; [`Forwarding`] keeps what is others' until they have it.
//!
//! Both belong to one session. A new session begins with new ones; see [`Owners`] for who
//! inherits the exposures that the old one leaves.
//!
//! Architecture invariant: the store never refuses a report of an open session. What may stand in
//! one is bounded here the way `domain::decide` bounds it there.
mod forwarding;
mod metrics;
mod outcomes;
mod purse;
mod refused;
mod tallies;

pub use forwarding::{BATCH_MAX, Batch, Forwarding, ForwardingCounters, OutcomeId, Queued};
pub use metrics::{Comparisons, Metrics, MetricsError};
pub use outcomes::{Fate, Fingerprint, Owner, Owners};
pub use purse::{Purse, PurseLimits};

use crate::engine::Token;
use metrics::Seen;
use outcomes::Resolved;
pub use tallies::Carried;
use tallies::Tallies;
use tidegate_domain::{
    State,
    command::Operation,
    id::{Millis, Pseudonym, SessionId},
    node::Anchor,
    tally::TallyKey,
};

/// Most tallies in one report, whatever the store's limit is: an envelope that is too long for the
/// store would keep the session from going on, since no other may take its place.
pub const TALLIES_MAX: usize = 8_192;

/// What a ledger remembers at most.
#[derive(Clone, Copy, Debug)]
pub struct LedgerLimits {
    /// Exposures with an outcome, so that none counts twice.
    pub outcomes_max: usize,
    /// Devices whose last measurements are known by sequence, per generation of two.
    pub devices_max: usize,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            outcomes_max: 1 << 21,
            devices_max: 1 << 20,
        }
    }
}

/// What came of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts.
    Counted,
    /// It counted before, or what it says comes after the end.
    Duplicate,
    /// It is noted nowhere: an offer of a baseline, which no gate judges; a stepping stone, which
    /// ends nothing; a step on the way, when the session that made the exposure is over.
    NotTallied,
    /// The exposure's cohort is folded away: it was resolved as silent.
    Late,
}

/// Everything that one session counts. Methods take `&mut self`: share it behind one mutex, which
/// no call holds for longer than a look-up (reports and [`Self::follow`] aside).
#[derive(Debug)]
pub struct Ledger {
    session: SessionId,
    tallies: Tallies,
    resolved: Resolved,
    seen: Seen,
}

impl Ledger {
    /// A new session's ledger.
    pub fn new(session: SessionId, limits: LedgerLimits) -> Self {
        Self {
            session,
            tallies: Tallies::new(session),
            resolved: Resolved::new(limits.outcomes_max),
            seen: Seen::new(limits.devices_max),
        }
    }

    /// Counts the exposure of an offer that leaves now. Call it for new exposures only, not for
    /// echoed ones, once for each admission drawn: before the answer is sent, so that an answer
    /// which may have arrived is never without its exposure.
    pub fn exposed(&mut self, token: &Token) {
        if let Some(key) = token.tally().filter(|_| token.session == self.session) {
            self.tallies.exposed(&key);
        }
    }

    /// Counts what became of an exposure, with what the device measured. Only for the owner:
    /// see [`Owners::owner`].
    pub fn outcome(&mut self, token: &Token, fate: Fate, metrics: Option<&Metrics>) -> Counted {
        let Some(key) = token.tally() else {
            return Counted::NotTallied;
        };
        let own = token.session == self.session;
        let ends_nothing = token.stepping_stone && fate == Fate::Verified;
        if ends_nothing || !(own || fate.is_final()) {
            return Counted::NotTallied;
        }
        let exposure = Fingerprint::of(token);
        if !self.resolved.mark(token.cohort, exposure, fate) {
            return Counted::Duplicate;
        }
        if !self.tallies.fate(&key, fate, own) {
            return Counted::Late;
        }
        if let Some(metrics) = metrics.filter(|metrics| !metrics.is_empty()) {
            self.tallies.measured(&key, metrics);
        }
        Counted::Counted
    }

    /// Counts what a device measured since its last check-in, component by component, under the
    /// tallies that [`Comparisons::tallied_under`] names. `sequence` counts the device's check-ins;
    /// says whether this one is new to this session. Sessions know nothing of each other's: what a
    /// device repeats elsewhere counts there again, and weighs for one device twice, no more.
    pub fn measured<'a>(
        &mut self,
        device: Pseudonym,
        sequence: u64,
        measured: impl IntoIterator<Item = (&'a TallyKey, &'a Metrics)>,
    ) -> bool {
        if !self.seen.is_new(device, sequence) {
            return false;
        }
        for (key, metrics) in measured {
            self.tallies.measured(key, metrics);
        }
        true
    }

    /// Follows the view; call it once per report interval, before [`Self::report`].
    pub fn follow(&mut self, state: &State) {
        self.tallies.follow(state);
        let silence = &state.config().silence;
        let horizon: Millis = silence.firmware.max(silence.model).max(silence.config);
        self.resolved.expire(state.meta().time, horizon);
    }

    /// The next report, if there is anything to say and none is on its way. `anchor`: where the
    /// journal stands, if it has grown since the last report. Say which envelope
    /// [carries](Self::carried) it, and then whether it was [taken](Self::acknowledged) or
    /// [refused](Self::refused); while that is unknown with neither: the view will tell.
    pub fn report(&mut self, anchor: Option<Anchor>) -> Option<Operation> {
        self.tallies.report(anchor)
    }

    /// The last report, before [`Operation::Close`]; `None` while it could not say everything. Send
    /// [`Self::report`]s before as long as more tallies are due than the store takes at once; if it
    /// still can't, the store does not take all of them yet, and the session has to stay open.
    pub fn final_report(&mut self, anchor: Option<Anchor>) -> Option<Operation> {
        self.tallies.final_report(anchor)
    }

    /// The report on its way travels in this envelope: so the view can tell what became of it.
    pub fn carried(&mut self, by: Carried) {
        self.tallies.carried(by);
    }

    /// How many tallies changed since the store last knew them.
    pub fn due_len(&self) -> usize {
        self.tallies.due_len()
    }

    /// Whether a failure waits to be reported: don't wait for the interval.
    pub fn urgent(&self) -> bool {
        self.tallies.urgent()
    }

    /// The store took the report that was on its way.
    pub fn acknowledged(&mut self) {
        self.tallies.acknowledged();
    }

    /// The store refused the report that was on its way: it is a bug, or a clock that runs far ahead
    /// of the store's. What it said is due again.
    pub fn refused(&mut self) {
        self.tallies.refused();
    }
}
