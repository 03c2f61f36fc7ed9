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

/// What was measured of an expectation whose time had not come when the run ended.
pub const UNJUDGED: &str = "the run ended before";

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
        (UNJUDGED.to_owned(), false)
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
            return ("nothing was halted".to_owned(), false);
        }
        let told = format!("{} ({halts} halts)", shown(latest));
        (told, latest <= at_most_ms * 1_000)
    }
}

fn share((asked, answered): (u64, u64), at_least_ppm: u32, at_most_ppm: u32) -> (String, bool) {
    if asked == 0 {
        return ("nothing was asked".to_owned(), false);
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
mod tests {
    use super::*;
    use crate::story::tests::{at, partition};

    fn row(what: What, from_ms: u64, until_ms: u64, records: &[Record]) -> (String, bool) {
        let one = Expectation {
            what,
            from_ms,
            until_ms,
        };
        let rows = judge(&[one], records, &[]);
        (rows[1].measured.clone(), rows[1].held)
    }

    fn commands(at_least_ppm: u32, at_most_ppm: u32) -> What {
        What::CommandsAnswered {
            at_least_ppm,
            at_most_ppm,
        }
    }

    #[test]
    fn shares_are_of_what_was_asked_in_the_span() {
        let records = partition();
        let half = "50 % (1 of 2)".to_owned();
        assert_eq!(
            row(commands(500_000, 1_000_000), 0, 30_000, &records),
            (half.clone(), true)
        );
        assert_eq!(
            row(commands(500_001, 1_000_000), 0, 30_000, &records),
            (half, false)
        );
        let none = "0 % (0 of 1)".to_owned();
        assert_eq!(row(commands(0, 0), 5_000, 30_000, &records), (none, true));
        let nothing = "nothing was asked".to_owned();
        assert_eq!(
            row(commands(0, 1_000_000), 20_000, 30_000, &records),
            (nothing, false)
        );
    }

    #[test]
    fn no_leader_that_can_be_reached_is_no_leader() {
        let bound = |at_most_ms| What::Leaderless { at_most_ms };
        let records = partition();
        let three = "3000 ms".to_owned();
        assert_eq!(
            row(bound(3_000), 0, 35_000, &records),
            (three.clone(), true)
        );
        assert_eq!(row(bound(2_999), 0, 35_000, &records), (three, false));
        assert_eq!(
            row(bound(0), 10_000, 35_000, &records),
            ("0 ms".to_owned(), true)
        );
    }

    #[test]
    fn latency_the_first_command_and_late_offers_are_measured() {
        let mut records = partition();
        let latency = What::CommitLatency { p99_ms: 1_000 };
        let told = "1000 ms (median 1000 ms, 1 commands)".to_owned();
        assert_eq!(row(latency, 0, 35_000, &records), (told, true));
        let first = |within_ms| What::CommandWithin { within_ms };
        let told = "after 1000 ms".to_owned();
        assert_eq!(
            row(first(1_000), 1_000, 35_000, &records),
            (told.clone(), true)
        );
        assert_eq!(row(first(999), 1_000, 35_000, &records), (told, false));
        let bound = |at_most_ms| What::HaltBound { at_most_ms };
        let nothing = "nothing was halted".to_owned();
        assert_eq!(row(bound(10_000), 0, 35_000, &records), (nothing, false));
        let what = || "rollout 1".to_owned();
        records.insert(6, at(10, "world", Kind::Barred { what: what() }));
        let late_us = 2_000_000;
        let what = what();
        records.insert(8, at(13, "world", Kind::LateOffer { what, late_us }));
        let told = "2000 ms (1 halts)".to_owned();
        assert_eq!(row(bound(2_000), 0, 35_000, &records), (told.clone(), true));
        assert_eq!(row(bound(1_999), 0, 35_000, &records), (told, false));
    }

    #[test]
    fn a_run_that_ended_early_keeps_no_promise() {
        let told = "the run ended before".to_owned();
        assert_eq!(
            row(commands(0, 1_000_000), 0, 36_000, &partition()),
            (told, false)
        );
        let violation = Violation {
            id: "LOG-1",
            detail: String::new(),
        };
        let rows = judge(&[], &partition(), &[violation]);
        assert_eq!((rows[0].measured.as_str(), rows[0].held), ("LOG-1", false));
    }

    #[test]
    fn percentiles_are_of_those_that_were_seen() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 99), Some(99));
        assert_eq!(percentile(&hundred[..10], 99), Some(10));
        assert_eq!(percentile(&[], 99), None);
    }
}
