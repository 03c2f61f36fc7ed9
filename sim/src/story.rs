//! Records as a story: who led, who was down or cut off, which calls were answered. What is measured
//! and what is shown both come from here.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::{Kind, Record};
use crate::schedule::Fault;

/// A run, as far as people want to see it. Times are in µs of simulated time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Story {
    /// When load began; the run's begin if it never did.
    pub loaded_us: u64,
    /// When the last thing happened.
    pub ended_us: u64,
    /// Machines of the cluster: `s1`, `s2`, …, `d1`, ….
    pub lanes: Vec<String>,
    /// What lasted.
    pub spans: Vec<Span>,
    /// What clients asked.
    pub calls: Vec<Call>,
}

/// Something that lasted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Whose; `world` for what has no place.
    pub lane: String,
    /// What.
    pub what: Lasting,
    /// Since when.
    pub from_us: u64,
    /// Until when.
    pub until_us: u64,
    /// In words.
    pub text: String,
}

/// What lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lasting {
    /// A node leads.
    Leads,
    /// A decision node's lease runs.
    Lease,
    /// A process does not run.
    Down,
    /// A process stands still.
    Paused,
    /// Nothing gets to or from a machine.
    CutOff,
    /// Something else is wrong with a machine, or with all.
    Impaired,
    /// A rollout is halted, or a region stopped.
    Barred,
}

/// Something that a client asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// The client.
    pub lane: String,
    /// What it asked.
    pub what: String,
    /// Whether it was a command; otherwise a read.
    pub command: bool,
    /// When.
    pub asked_us: u64,
    /// When it was answered; never if absent.
    pub answered_us: Option<u64>,
    /// What came of it.
    pub outcome: String,
}

impl Call {
    /// How long the answer took.
    #[must_use]
    pub fn took_us(&self) -> Option<u64> {
        Some(self.answered_us? - self.asked_us)
    }
}

impl Story {
    /// The story that records tell.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let mut teller = Teller::default();
        for record in records {
            teller.hear(record);
        }
        teller.end()
    }

    /// When the leader of a moment could be reached: its spans of leading, less those in which it
    /// was down, paused or cut off. In order of their begin.
    #[must_use]
    pub fn reachable_leaders(&self) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        for leads in self.spans.iter().filter(|span| span.what == Lasting::Leads) {
            let mut left = vec![(leads.from_us, leads.until_us)];
            let silent = |span: &&Span| {
                let silent = matches!(span.what, Lasting::Down | Lasting::Paused | Lasting::CutOff);
                silent && span.lane == leads.lane
            };
            for gap in self.spans.iter().filter(silent) {
                left = left.into_iter().flat_map(|part| less(part, gap)).collect();
            }
            parts.extend(left);
        }
        parts.sort_unstable();
        parts
    }
}

/// A part of time without a gap.
fn less((from, until): (u64, u64), gap: &Span) -> Vec<(u64, u64)> {
    let before = (from, until.min(gap.from_us));
    let after = (from.max(gap.until_us), until);
    [before, after]
        .into_iter()
        .filter(|(from, until)| from < until)
        .collect()
}

/// Builds a story record by record.
#[derive(Default)]
struct Teller {
    story: Story,
    /// Begun and not ended, by lane.
    open: BTreeMap<(String, Lasting), Span>,
    calls: BTreeMap<u64, Call>,
    loaded: bool,
}

impl Teller {
    fn hear(&mut self, record: &Record) {
        let Record { at_us, lane, kind } = record;
        self.story.ended_us = *at_us;
        let in_cluster = lane.starts_with(['s', 'd']);
        if in_cluster && !self.story.lanes.contains(lane) {
            self.story.lanes.push(lane.clone());
        }
        match kind {
            Kind::Loaded if !self.loaded => {
                self.story.loaded_us = *at_us;
                self.loaded = true;
            }
            Kind::Leader { term } => {
                self.begin(*at_us, lane, Lasting::Leads, format!("term {term}"))
            }
            Kind::Deposed => self.finish(*at_us, lane, Lasting::Leads),
            Kind::Lease { fresh: true } => {
                self.begin(*at_us, lane, Lasting::Lease, "lease runs".to_owned());
            }
            Kind::Lease { fresh: false } => self.finish(*at_us, lane, Lasting::Lease),
            Kind::Stopped { why } | Kind::Refused { why } => {
                self.finish(*at_us, lane, Lasting::Leads);
                self.finish(*at_us, lane, Lasting::Lease);
                self.begin(*at_us, lane, Lasting::Down, why.clone());
            }
            Kind::Started { .. } => self.finish(*at_us, lane, Lasting::Down),
            Kind::Fault { fault } => self.strike(*at_us, fault),
            Kind::Healed => self.heal(*at_us),
            Kind::Asked { op, what } => self.ask(*op, *at_us, lane, what),
            Kind::Answered { op, what, .. } => self.answer(*op, Some(*at_us), what.clone()),
            Kind::TurnedAway { op, why } => {
                self.answer(*op, Some(*at_us), format!("rejected: {why}"));
            }
            Kind::Barred { what } => self.begin(*at_us, what, Lasting::Barred, what.clone()),
            Kind::Allowed { what } => self.finish(*at_us, what, Lasting::Barred),
            Kind::Failed { op, unknown, why } => {
                let effect = if *unknown {
                    "effect unknown"
                } else {
                    "no effect"
                };
                self.answer(*op, None, format!("failed, {effect}: {why}"));
            }
            _ => {}
        }
    }

    fn begin(&mut self, at_us: u64, lane: &str, what: Lasting, text: String) {
        let span = Span {
            lane: lane.to_owned(),
            what,
            from_us: at_us,
            until_us: u64::MAX,
            text,
        };
        if what == Lasting::Leads {
            self.finish(at_us, lane, what);
        }
        self.open.entry((lane.to_owned(), what)).or_insert(span);
    }

    fn finish(&mut self, at_us: u64, lane: &str, what: Lasting) {
        if let Some(mut span) = self.open.remove(&(lane.to_owned(), what)) {
            span.until_us = at_us;
            self.story.spans.push(span);
        }
    }

    /// A fault with a length is a span of every machine that it names.
    fn strike(&mut self, at_us: u64, fault: &Fault) {
        let what = match fault {
            // Those show in when the process stops and starts.
            Fault::Crash { .. }
            | Fault::Kill { .. }
            | Fault::Restart { .. }
            | Fault::TearPower { .. } => return,
            Fault::Pause { .. } | Fault::Suspend { .. } => Lasting::Paused,
            Fault::Isolate { from, .. } if from.is_empty() => Lasting::CutOff,
            _ if fault.for_ms() == 0 => return,
            _ => Lasting::Impaired,
        };
        let text = fault.to_string();
        let mut lanes: Vec<String> = fault.struck().into_iter().map(|spot| spot.0).collect();
        if lanes.is_empty() {
            lanes.push("world".to_owned());
        }
        for lane in lanes {
            self.story.spans.push(Span {
                lane,
                what,
                from_us: at_us,
                until_us: at_us + fault.for_ms() * 1_000,
                text: text.clone(),
            });
        }
    }

    /// What was to last longer ends now.
    fn heal(&mut self, at_us: u64) {
        let faults = |span: &&mut Span| {
            matches!(
                span.what,
                Lasting::Paused | Lasting::CutOff | Lasting::Impaired
            )
        };
        for span in self.story.spans.iter_mut().filter(faults) {
            span.until_us = span.until_us.min(at_us);
        }
    }

    fn ask(&mut self, op: u64, at_us: u64, lane: &str, what: &str) {
        let call = Call {
            lane: lane.to_owned(),
            what: what.to_owned(),
            command: !matches!(what, "snapshot" | "rows"),
            asked_us: at_us,
            answered_us: None,
            outcome: "no answer".to_owned(),
        };
        self.calls.insert(op, call);
    }

    fn answer(&mut self, op: u64, at_us: Option<u64>, outcome: String) {
        if let Some(call) = self.calls.get_mut(&op) {
            call.answered_us = at_us;
            call.outcome = outcome;
        }
    }

    fn end(mut self) -> Story {
        let ended_us = self.story.ended_us;
        let open = std::mem::take(&mut self.open).into_values();
        self.story.spans.extend(open);
        for span in &mut self.story.spans {
            span.until_us = span.until_us.min(ended_us);
        }
        self.story
            .spans
            .sort_by(|a, b| (a.from_us, &a.lane).cmp(&(b.from_us, &b.lane)));
        // Store nodes by number, then decision nodes.
        self.story.lanes.sort_by_key(|lane| {
            let number: u64 = lane[1..].parse().unwrap_or(u64::MAX);
            (lane.starts_with('d'), number)
        });
        self.story.calls = self.calls.into_values().collect();
        self.story
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::schedule::Spot;

    /// A record at a second.
    pub(crate) fn at(second: u64, lane: &str, kind: Kind) -> Record {
        Record {
            at_us: second * 1_000_000,
            lane: lane.to_owned(),
            kind,
        }
    }

    /// The leader is cut off at 10 s for 20 s; another leads from 13 s on; the first finds out at
    /// 30 s. A command is answered, one is not.
    pub(crate) fn partition() -> Vec<Record> {
        let these = vec![Spot::store(1)];
        let fault = Fault::Isolate {
            these,
            from: Vec::new(),
            for_ms: 20_000,
        };
        let asked = |op, what: &str| Kind::Asked {
            op,
            what: what.to_owned(),
        };
        vec![
            at(1, "s1", Kind::Started { entries: 0 }),
            at(2, "s1", Kind::Leader { term: 1 }),
            at(5, "world", Kind::Loaded),
            at(6, "o1", asked(1, "release")),
            at(
                7,
                "o1",
                Kind::Answered {
                    op: 1,
                    entries: 1,
                    what: "accepted".to_owned(),
                },
            ),
            at(10, "world", Kind::Fault { fault }),
            at(11, "o1", asked(2, "floor")),
            at(13, "s2", Kind::Leader { term: 2 }),
            at(30, "s1", Kind::Deposed),
            at(40, "world", Kind::Healed),
        ]
    }

    #[test]
    fn a_leader_that_is_cut_off_leads_nobody() {
        let story = Story::of(&partition());
        let seconds: Vec<_> = story
            .reachable_leaders()
            .into_iter()
            .map(|(from, until)| (from / 1_000_000, until / 1_000_000))
            .collect();
        assert_eq!(seconds, [(2, 10), (13, 40)]);
        assert_eq!(story.lanes, ["s1", "s2"]);
        assert_eq!(story.loaded_us, 5_000_000);
    }

    #[test]
    fn calls_are_answered_or_not() {
        let story = Story::of(&partition());
        let told: Vec<_> = story.calls.iter().map(Call::took_us).collect();
        assert_eq!(told, [Some(1_000_000), None]);
        assert_eq!(story.calls[1].outcome, "no answer");
    }

    #[test]
    fn healing_ends_what_was_to_last_longer() {
        let mut records = partition();
        records[9].at_us = 20_000_000;
        let story = Story::of(&records);
        let cut = story.spans.iter().find(|span| span.what == Lasting::CutOff);
        assert_eq!(cut.unwrap().until_us, 20_000_000);
    }
}
