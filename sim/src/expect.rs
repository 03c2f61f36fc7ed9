//! What a scenario expects, measured on the records of a run.

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use table::table;

use table::shown;

use crate::oracle::Violation;
use crate::record::{Kind, Record};
use crate::scenario::{Length, Share};
use crate::story::{Call, Story};

/// Something that must be measured in a span of the run. Times are in ms from the begin of the
/// load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What.
    pub what: What,
    /// From when.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
}

/// What can be expected. Shares are of what was asked in the span, whenever the answer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum What {
    /// Such a share of the commands got an answer, accepted or refused.
    CommandsAnswered { at_least_ppm: u32, at_most_ppm: u32 },
    /// Such a share of the reads got an answer.
    ReadsAnswered { at_least_ppm: u32, at_most_ppm: u32 },
    /// Such a share of the devices' check-ins got an answer within 3 s.
    CheckInsAnswered { at_least_ppm: u32, at_most_ppm: u32 },
    /// 99 of 100 answered commands took no longer.
    CommitLatency { p99_ms: u64 },
    /// There was never longer no leader that the others could reach.
    Leaderless { at_most_ms: u64 },
    /// A command was answered so soon after the span began.
    CommandWithin { within_ms: u64 },
    /// Nothing was offered longer after it was halted or stopped.
    HaltBound { at_most_ms: u64 },
}

/// One row of the table at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was expected, and when.
    pub expected: String,
    /// What was seen.
    pub measured: String,
    /// Whether it held.
    pub held: bool,
}

impl Row {
    /// Whether there was something to measure, and it was not as expected.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        !self.held && ![ENDED, NOT_ASKED, NOT_HALTED].contains(&self.measured.as_str())
    }
}

impl Expectation {
    /// The same, so much later.
    #[must_use]
    pub fn shifted(&self, by_ms: u64) -> Self {
        Self {
            what: self.what.clone(),
            from_ms: self.from_ms + by_ms,
            until_ms: self.until_ms + by_ms,
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (Length(self.from_ms), Length(self.until_ms));
        write!(f, "{}, {from} to {until}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut share = |what: &str, least: u32, most: u32| {
            f.write_str(what)?;
            if least > 0 || most == 1_000_000 {
                write!(f, " >= {}", Share(least))?;
            }
            if most < 1_000_000 {
                write!(f, " <= {}", Share(most))?;
            }
            Ok(())
        };
        match *self {
            Self::CommandsAnswered {
                at_least_ppm,
                at_most_ppm,
            } => share("commands answered", at_least_ppm, at_most_ppm),
            Self::ReadsAnswered {
                at_least_ppm,
                at_most_ppm,
            } => share("reads answered", at_least_ppm, at_most_ppm),
            Self::CheckInsAnswered {
                at_least_ppm,
                at_most_ppm,
            } => share("check-ins answered", at_least_ppm, at_most_ppm),
            Self::CommitLatency { p99_ms } => {
                write!(f, "commit latency p99 <= {}", Length(p99_ms))
            }
            Self::Leaderless { at_most_ms } => {
                write!(f, "without a leader <= {}", Length(at_most_ms))
            }
            Self::CommandWithin { within_ms } => {
                write!(f, "first command answered <= {}", Length(within_ms))
            }
            Self::HaltBound { at_most_ms } => {
                write!(f, "last offer after a halt <= {}", Length(at_most_ms))
            }
        }
    }
}

/// What was measured where there was nothing to measure.
const ENDED: &str = "the run ended before";
const NOT_ASKED: &str = "nothing was asked";
const NOT_HALTED: &str = "nothing was halted";

/// Measures everything that was expected; first that nothing broke.
#[must_use]
pub fn judge(expect: &[Expectation], records: &[Record], broken: &[Violation]) -> Vec<Row> {
    let ids: Vec<&str> = broken.iter().map(|violation| violation.id).collect();
    let mut rows = vec![Row {
        expected: "no invariant broken".to_owned(),
        measured: if ids.is_empty() {
            "none".to_owned()
        } else {
            ids.join(", ")
        },
        held: ids.is_empty(),
    }];
    let story = Story::of(records);
    rows.extend(expect.iter().map(|one| measure(one, &story, records)));
    rows
}

fn measure(expectation: &Expectation, story: &Story, records: &[Record]) -> Row {
    let span = Window {
        from_us: story.loaded_us + expectation.from_ms * 1_000,
        until_us: story.loaded_us + expectation.until_ms * 1_000,
    };
    let (measured, held) = if story.ended_us < span.until_us {
        (ENDED.to_owned(), false)
    } else {
        span.measure(&expectation.what, story, records)
    };
    Row {
        expected: expectation.to_string(),
        measured,
        held,
    }
}

struct Window {
    from_us: u64,
    until_us: u64,
}

impl Window {
    fn holds(&self, at_us: u64) -> bool {
        (self.from_us..self.until_us).contains(&at_us)
    }

    fn measure(&self, what: &What, story: &Story, records: &[Record]) -> (String, bool) {
        match *what {
            What::CommandsAnswered {
                at_least_ppm,
                at_most_ppm,
            } => share(self.calls(story, true), at_least_ppm, at_most_ppm),
            What::ReadsAnswered {
                at_least_ppm,
                at_most_ppm,
            } => share(self.calls(story, false), at_least_ppm, at_most_ppm),
            What::CheckInsAnswered {
                at_least_ppm,
                at_most_ppm,
            } => share(self.check_ins(records), at_least_ppm, at_most_ppm),
            What::CommitLatency { p99_ms } => self.latency(story, p99_ms),
            What::Leaderless { at_most_ms } => {
                let longest = self.leaderless(story);
                (shown(longest), longest <= at_most_ms * 1_000)
            }
            What::CommandWithin { within_ms } => self.first_command(story, within_ms),
            What::HaltBound { at_most_ms } => self.late(records, at_most_ms),
        }
    }

    /// How many calls there were, and how many of them were answered.
    fn calls(&self, story: &Story, command: bool) -> (u64, u64) {
        let all = story.calls.iter();
        let asked = all.filter(|call| call.command == command && self.holds(call.asked_us));
        let answered = asked.clone().filter(|call| call.answered_us.is_some());
        (asked.count() as u64, answered.count() as u64)
    }

    fn check_ins(&self, records: &[Record]) -> (u64, u64) {
        let counted = records.iter().filter_map(|record| match record.kind {
            Kind::CheckIns {
                from_us,
                asked,
                answered,
            } if self.holds(from_us) => Some((asked, answered)),
            _ => None,
        });
        counted.fold((0, 0), |(all, some), (asked, answered)| {
            (all + asked, some + answered)
        })
    }

    fn latency(&self, story: &Story, p99_ms: u64) -> (String, bool) {
        let commands = story.calls.iter().filter(|call| call.command);
        let asked = commands.filter(|call| self.holds(call.asked_us));
        let mut took: Vec<u64> = asked.filter_map(Call::took_us).collect();
        took.sort_unstable();
        let Some(p99) = percentile(&took, 99) else {
            return ("no command was answered".to_owned(), false);
        };
        let median = percentile(&took, 50).unwrap_or(p99);
        let told = format!(
            "{} (median {}, {} commands)",
            shown(p99),
            shown(median),
            took.len()
        );
        (told, p99 <= p99_ms * 1_000)
    }

    /// The longest time without a leader that could be reached, in µs.
    fn leaderless(&self, story: &Story) -> u64 {
        let (mut longest, mut led_until) = (0, self.from_us);
        for (from, until) in story.reachable_leaders() {
            longest = longest.max(from.min(self.until_us).saturating_sub(led_until));
            led_until = led_until.max(until);
        }
        longest.max(self.until_us.saturating_sub(led_until))
    }

    fn first_command(&self, story: &Story, within_ms: u64) -> (String, bool) {
        let answers = story.calls.iter().filter(|call| call.command);
        let answers = answers.filter_map(|call| call.answered_us);
        let first = answers.filter(|at| self.holds(*at)).min();
        match first.map(|at| at - self.from_us) {
            Some(after) => (
                format!("after {}", shown(after)),
                after <= within_ms * 1_000,
            ),
            None => ("no command was answered".to_owned(), false),
        }
    }

    fn late(&self, records: &[Record], at_most_ms: u64) -> (String, bool) {
        let inside = records.iter().filter(|record| self.holds(record.at_us));
        let (mut halts, mut latest) = (0_u64, 0);
        for record in inside {
            match record.kind {
                Kind::Barred { .. } => halts += 1,
                Kind::LateOffer { late_us, .. } => latest = latest.max(late_us),
                _ => {}
            }
        }
        if halts == 0 {
            return (NOT_HALTED.to_owned(), false);
        }
        let told = format!("{} ({halts} halts)", shown(latest));
        (told, latest <= at_most_ms * 1_000)
    }
}

fn share((asked, answered): (u64, u64), at_least_ppm: u32, at_most_ppm: u32) -> (String, bool) {
    if asked == 0 {
        return (NOT_ASKED.to_owned(), false);
    }
    let ppm = answered * 1_000_000 / asked;
    let held = (u64::from(at_least_ppm)..=u64::from(at_most_ppm)).contains(&ppm);
    let percent = Share(u32::try_from(ppm).unwrap_or(u32::MAX));
    (format!("{percent} ({answered} of {asked})"), held)
}

/// Of sorted numbers, the one that so many in a hundred do not exceed.
fn percentile(sorted: &[u64], hundredths: usize) -> Option<u64> {
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests;
