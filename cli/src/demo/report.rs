//! `report.html`: what happened, in one self-contained page. All of it is drawn here; the page runs
//! no script and fetches nothing.
mod chart;
#[cfg(test)]
mod tests;

use super::story::{Expectation, Line, Mark, Story};
use chart::Chart;

const TEMPLATE: &str = include_str!("report.html");

/// Everything that the page draws.
pub(super) struct Report<'a> {
    /// What this was, in a sentence or two.
    pub(super) lead: String,
    /// Label and value of the figures at the top.
    pub(super) tiles: Vec<(&'static str, String)>,
    /// Length of the run in milliseconds.
    pub(super) end_ms: u64,
    /// The fleet's counters over time.
    pub(super) samples: Vec<Sample>,
    /// When each wave was open.
    pub(super) waves: Vec<WaveBar>,
    /// The story as it was told.
    pub(super) story: &'a [Line],
    /// What had to hold.
    pub(super) expectations: &'a [Expectation],
}

/// The fleet's counters at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) t_ms: u64,
    pub(super) log_time: String,
    pub(super) check_ins: u64,
    pub(super) offered: u64,
    pub(super) verified: u64,
    pub(super) failed: u64,
    pub(super) returned: u64,
}

/// One wave of one rollout on the time line.
#[derive(Clone, Debug)]
pub(super) struct WaveBar {
    pub(super) rollout: String,
    pub(super) name: String,
    pub(super) opened_ms: u64,
    pub(super) ended_ms: Option<u64>,
    /// How it ended: `passed`, `halted`, …; absent if it was open to the end.
    pub(super) ending: Option<&'static str>,
}

impl Report<'_> {
    /// The page.
    pub(super) fn render(&self) -> String {
        let chart = Chart {
            end_ms: self.end_ms,
            samples: &self.samples,
            waves: &self.waves,
            story: self.story,
        };
        let parts = [
            ("<!--verdict-->", self.verdict()),
            ("<!--lead-->", escaped(&self.lead)),
            ("<!--tiles-->", self.tiles()),
            ("<!--chart-->", chart.to_svg()),
            ("<!--expectations-->", self.expectations()),
            ("<!--story-->", self.story()),
        ];
        // The template is cut at each place in turn, so that nothing that is told is taken for one.
        let (mut page, mut rest) = (String::new(), TEMPLATE);
        for (place, part) in parts {
            let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
            page.push_str(before);
            page.push_str(&part);
            rest = after;
        }
        page + rest
    }

    fn verdict(&self) -> String {
        let failed = self.expectations.iter().filter(|e| !e.held).count();
        match failed {
            0 => r#"<span class="verdict good">every expectation held</span>"#.to_owned(),
            n => format!(r#"<span class="verdict bad">{n} expectation(s) failed</span>"#),
        }
    }

    fn tiles(&self) -> String {
        let tile = |(label, value): &(&str, String)| {
            let value = value.parse().map_or_else(|_| escaped(value), grouped);
            format!(
                "<div class=\"tile\"><b>{value}</b><span>{}</span></div>\n",
                escaped(label)
            )
        };
        self.tiles.iter().map(tile).collect()
    }

    fn expectations(&self) -> String {
        let row = |Expectation { what, seen, held }: &Expectation| {
            let (class, word) = if *held {
                ("good", "held")
            } else {
                ("bad", "FAILED")
            };
            format!(
                "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td></tr>\n",
                escaped(what),
                escaped(seen)
            )
        };
        self.expectations.iter().map(row).collect()
    }

    fn story(&self) -> String {
        let mut rows = String::new();
        let mut act = None;
        for line in self.story {
            if act != Some(&line.act) {
                act = Some(&line.act);
                let title = escaped(&line.act);
                rows.push_str(&format!(
                    "<tr class=\"act\"><td colspan=\"3\">{title}</td></tr>\n"
                ));
            }
            let dot = line.mark.map_or_else(String::new, |mark| {
                format!("<i class=\"dot {}\"></i>", class_of(mark))
            });
            rows.push_str(&format!(
                "<tr><td class=\"num\">{}.{}</td><td class=\"num\">{}</td><td>{dot}{}</td></tr>\n",
                line.t_ms / 1_000,
                line.t_ms % 1_000 / 100,
                escaped(&line.log_time),
                escaped(&line.text)
            ));
        }
        rows
    }
}

/// The class that gives a mark its colour.
const fn class_of(mark: Mark) -> &'static str {
    match mark {
        Mark::Kill => "kill",
        Mark::Halt => "halt",
        Mark::Floor => "floor",
        Mark::Info => "info",
    }
}

/// A text as it stands in the page, whatever is in it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl Story {
    /// Milliseconds since the demo began.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began().elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
