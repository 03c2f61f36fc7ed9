//! What a session has counted, and what of it the store knows.
//!
//! A report says what came to the counts since the last one that the store took. So there is one on
//! its way at most, and nothing is said anew before it is known what became of it: told by its reply
//! or, when that is lost, by the view.
use super::{metrics::Metrics, outcomes::Fate};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{
    State,
    command::{Operation, Tally},
    id::{Cohort, Hash, LogTime, RolloutId, Sequence, SessionId},
    node::{Anchor, BudgetKey, PoolKey, Session},
    tally::{COUNT_MAX, Counts, TallyKey},
};

/// The tallies of one session.
#[derive(Debug)]
pub(super) struct Tallies {
    session: SessionId,
    rows: BTreeMap<TallyKey, Row>,
    /// Rows of which the store does not know everything.
    changed: BTreeSet<TallyKey>,
    /// Rows with a failure that no report has carried yet.
    urgent: BTreeSet<TallyKey>,
    /// Every exposure of this session, per pool: what the store must come to know.
    exposed: BTreeMap<PoolKey, u64>,
    /// The report of which it is not known whether the store took it.
    outstanding: Option<Report>,
    /// The envelope of the last report that the store took.
    known: Sequence,
    tallies_max: usize,
    /// A report was refused: cohorts ahead of log time wait until it has caught up.
    ahead_waits: bool,
    time: LogTime,
}

/// A report on its way.
#[derive(Debug)]
struct Report {
    /// The counts that it brings the store up to.
    counts: Vec<(TallyKey, Counts)>,
    /// The envelope that carries it, once that is signed.
    carried: Option<Carried>,
}

/// Where a report stands: the envelope that carries it, and its place among the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The number of the envelope.
    pub sequence: Sequence,
    /// Digest of the body that was signed.
    pub digest: Hash,
    /// The place of the report, from 0.
    pub place: u32,
}

#[derive(Debug, Default)]
struct Row {
    counts: Counts,
    /// Of the fates in `counts`, those of exposures that other sessions made.
    inherited: u64,
    /// As the store knows it.
    known: Counts,
}

impl Tallies {
    /// Nothing counted yet.
    pub(super) fn new(session: SessionId) -> Self {
        Self {
            session,
            rows: BTreeMap::new(),
            changed: BTreeSet::new(),
            urgent: BTreeSet::new(),
            exposed: BTreeMap::new(),
            outstanding: None,
            known: Sequence(0),
            tallies_max: 1_000,
            ahead_waits: false,
            time: LogTime(0),
        }
    }

    /// Counts an exposure that this session made.
    pub(super) fn exposed(&mut self, key: &TallyKey) {
        if let Some(pool) = key.pool() {
            let total = self.exposed.entry(pool).or_default();
            *total = total.saturating_add(1);
            self.add(key, |counts| bump(&mut counts.exposed));
        }
    }

    /// Counts what became of an exposure. `own`: this session made it; else the fate is final. Says
    /// whether it counted: of its own, no more than were exposed can.
    pub(super) fn fate(&mut self, key: &TallyKey, fate: Fate, own: bool) -> bool {
        let row = self.rows.get(key);
        let room = row.is_some_and(|row| {
            let resolved = row.counts.spoken().saturating_sub(row.inherited);
            let used = match fate {
                Fate::Downloaded => row.counts.downloaded,
                Fate::Installed => row.counts.installed,
                Fate::Verified | Fate::Failed | Fate::Reverted => resolved,
            };
            used < row.counts.exposed
        });
        if own && !room {
            return false;
        }
        if matches!(fate, Fate::Failed | Fate::Reverted) {
            self.urgent.insert(key.clone());
        }
        self.add(key, |counts| match fate {
            Fate::Downloaded => bump(&mut counts.downloaded),
            Fate::Installed => bump(&mut counts.installed),
            Fate::Verified => bump(&mut counts.verified),
            Fate::Failed => bump(&mut counts.failed),
            Fate::Reverted => bump(&mut counts.reverted),
        });
        if let Some(row) = self.rows.get_mut(key).filter(|_| !own) {
            row.inherited = row.inherited.saturating_add(1);
        }
        true
    }

    /// Counts what a device measured.
    pub(super) fn measured(&mut self, key: &TallyKey, metrics: &Metrics) {
        self.add(key, |counts| *counts = counts.plus(metrics.counts()));
    }

    /// The next report: all that the store is not known to know, what failed first if it is too
    /// much for one. `None` when there is nothing to say, or while another is on its way; an anchor
    /// alone is something.
    pub(super) fn report(&mut self, anchor: Option<Anchor>) -> Option<Operation> {
        if self.outstanding.is_some() {
            return None;
        }
        let due = self.due();
        if due.is_empty() && anchor.is_none() {
            return None;
        }
        Some(self.send(due, anchor))
    }

    /// The session's last report; may be empty. `None` when it would leave something out, which the
    /// store would take for admissions that nobody used (WAVE-3): send [`Self::report`]s first
    /// while more is due than one can carry, or one is on its way.
    pub(super) fn final_report(&mut self, anchor: Option<Anchor>) -> Option<Operation> {
        if self.outstanding.is_some() {
            return None;
        }
        let due = self.due();
        let is_all = due.len() == self.changed.len();
        is_all.then(|| self.send(due, anchor))
    }

    /// The report on its way travels in this envelope.
    pub(super) fn carried(&mut self, by: Carried) {
        if let Some(report) = &mut self.outstanding {
            report.carried = Some(by);
        }
    }

    /// How many tallies are due; more than [`Self::report`] may carry at once.
    pub(super) fn due_len(&self) -> usize {
        self.changed.len()
    }

    /// Whether a failure arrived that no report has carried yet: the next should not wait.
    pub(super) fn urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// The store took the report that was on its way.
    pub(super) fn acknowledged(&mut self) {
        let Some(report) = self.outstanding.take() else {
            return;
        };
        self.ahead_waits = false;
        if let Some(carried) = report.carried {
            self.known = carried.sequence;
        }
        for (key, counts) in report.counts {
            let Some(row) = self.rows.get_mut(&key) else {
                continue;
            };
            row.known = counts;
            if row.known == row.counts {
                self.changed.remove(&key);
                self.urgent.remove(&key);
            }
        }
    }

    /// The store refused the report that was on its way: what it said is due again.
    pub(super) fn refused(&mut self) {
        let Some(report) = self.outstanding.take() else {
            return;
        };
        self.ahead_waits = true;
        for (key, counts) in report.counts {
            let failed = counts.failed > 0 || counts.reverted > 0;
            if failed && self.changed.contains(&key) {
                self.urgent.insert(key);
            }
        }
    }

    /// Learns from the session's row what became of the report on its way.
    fn learn(&mut self, session: &Session) {
        let report = self.outstanding.as_ref();
        let Some(carried) = report.and_then(|report| report.carried) else {
            return;
        };
        let last = session
            .last
            .as_ref()
            .filter(|last| session.sequence == carried.sequence && last.digest == carried.digest);
        match last {
            Some(last) if last.refused.contains(&carried.place) => self.refused(),
            Some(_) => self.acknowledged(),
            None => {}
        }
    }

    /// Follows the view: learns which reports arrived, and forgets what the store has folded away.
    /// Costs one look at each row; call it once per report interval.
    ///
    /// A cohort may be folded before its exposures were reported, when the node was cut off for
    /// longer than the silence horizon. The budget shows what the store never heard of; it is
    /// counted in the present hour instead, so that no admission is used without a trace.
    pub(super) fn follow(&mut self, state: &State) {
        self.time = state.meta().time;
        let limit = state.config().limits.report_tallies_max;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.tallies_max = limit.min(super::TALLIES_MAX);
        let Some(session) = state.sessions().get(&self.session) else {
            return;
        };
        self.learn(session);
        // Until it is known what the store knows, nobody can tell what it does not. The view may
        // also be behind a reply that is already here.
        if self.outstanding.is_some() || session.sequence < self.known {
            return;
        }
        let folded: Vec<TallyKey> = self
            .rows
            .keys()
            .filter(|key| is_folded(state, key))
            .cloned()
            .collect();
        let mut gone: BTreeMap<PoolKey, Vec<Counts>> = BTreeMap::new();
        for key in folded {
            self.changed.remove(&key);
            self.urgent.remove(&key);
            let row = self.rows.remove(&key).unwrap_or_default();
            if let Some(pool) = key.pool() {
                let unknown = row.counts.minus(&row.known);
                gone.entry(pool).or_default().push(unknown);
            }
        }
        for (pool, unknown) in gone {
            self.count_late(state, &pool, unknown);
        }
        let last = state.meta().last_rollout;
        self.exposed
            .retain(|pool, _| pool.rollout > last || is_kept(state, pool.rollout));
    }

    /// Counts exposures of folded cohorts that the store never heard of in the present hour. It never
    /// heard of those either that it passed over in a report which it took: what became of them is
    /// not known to be untold, so that they count as exposures alone.
    fn count_late(&mut self, state: &State, pool: &PoolKey, unknown: Vec<Counts>) {
        if !is_kept(state, pool.rollout) {
            return;
        }
        let mut missing = self.missing(state, pool);
        let mut sum = Counts::default();
        for mut late in unknown {
            late.exposed = late.exposed.min(missing);
            if late.exposed == 0 {
                continue;
            }
            missing = missing.saturating_sub(late.exposed);
            if late.spoken().max(late.downloaded).max(late.installed) > late.exposed {
                late = Counts {
                    exposed: late.exposed,
                    ..Counts::default()
                };
            }
            sum = sum.plus(&late);
        }
        sum.exposed = sum.exposed.saturating_add(missing);
        if sum.exposed == 0 {
            return;
        }
        let key = TallyKey {
            rollout: pool.rollout,
            wave: pool.wave,
            stratum: pool.stratum.clone(),
            cohort: state.meta().time.cohort(),
            arm: pool.arm,
        };
        self.add(&key, |counts| *counts = counts.plus(&sum));
    }

    /// Exposures of a pool that the store has not heard of and that no row will tell it.
    fn missing(&self, state: &State, pool: &PoolKey) -> u64 {
        let key = BudgetKey {
            session: self.session,
            pool: pool.clone(),
        };
        let told = state.budgets().get(&key).map_or(0, |budget| budget.spent);
        let on_its_way: u64 = self
            .changed
            .iter()
            .filter(|key| key.pool().as_ref() == Some(pool))
            .filter_map(|key| self.rows.get(key))
            .map(|row| row.counts.exposed.saturating_sub(row.known.exposed))
            .sum();
        let made = self.exposed.get(pool).copied().unwrap_or(0);
        made.saturating_sub(told).saturating_sub(on_its_way)
    }

    fn add(&mut self, key: &TallyKey, change: impl FnOnce(&mut Counts)) {
        if !self.rows.contains_key(key) {
            self.rows.insert(key.clone(), Row::default());
        }
        if let Some(row) = self.rows.get_mut(key) {
            change(&mut row.counts);
        }
        if !self.changed.contains(key) {
            self.changed.insert(key.clone());
        }
    }

    /// What the next report tells of, sorted by key.
    fn due(&mut self) -> Vec<TallyKey> {
        let ahead = Cohort(self.time.cohort().0.saturating_add(1));
        let ready = |key: &&TallyKey| !self.ahead_waits || key.cohort <= ahead;
        let urgent = self.urgent.iter().filter(|key| self.changed.contains(*key));
        let others = self
            .changed
            .iter()
            .filter(|key| !self.urgent.contains(*key));
        let keys = urgent.chain(others).filter(ready).take(self.tallies_max);
        let mut keys: Vec<TallyKey> = keys.cloned().collect();
        keys.sort();
        keys
    }

    fn send(&mut self, keys: Vec<TallyKey>, anchor: Option<Anchor>) -> Operation {
        let mut counts = Vec::new();
        let mut tallies = Vec::new();
        for key in keys {
            self.urgent.remove(&key);
            let Some(row) = self.rows.get(&key) else {
                continue;
            };
            tallies.push(Tally {
                key: key.clone(),
                counts: row.counts.minus(&row.known),
            });
            counts.push((key, row.counts.clone()));
        }
        self.outstanding = Some(Report {
            counts,
            carried: None,
        });
        Operation::Report { tallies, anchor }
    }
}

fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1).min(COUNT_MAX);
}

fn is_kept(state: &State, rollout: RolloutId) -> bool {
    let row = state.rollouts().get(&rollout);
    row.is_some_and(|rollout| !rollout.folded)
}

/// Whether the store passes over whatever is said of a tally.
fn is_folded(state: &State, key: &TallyKey) -> bool {
    let Some(rollout) = state.rollouts().get(&key.rollout) else {
        return key.rollout <= state.meta().last_rollout;
    };
    if rollout.folded {
        return true;
    }
    let Some(release) = state.releases().get(&rollout.spec.release) else {
        return true;
    };
    let horizon = state.config().silence.of(release.manifest.kind);
    let is_mature = key.cohort.end().after(horizon) <= state.meta().time;
    is_mature && !state.cohorts().contains(key)
}
