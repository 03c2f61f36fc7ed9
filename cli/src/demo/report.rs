//! `report.html`: what happened, in one self-contained page.
use super::story::{Expectation, Story};
use serde::Serialize;

const TEMPLATE: &str = include_str!("report.html");
const PLACEHOLDER: &str = "/*DATA*/";

/// Everything that the page draws.
#[derive(Serialize)]
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
    pub(super) story: &'a [super::story::Line],
    /// What had to hold.
    pub(super) expectations: &'a [Expectation],
}

/// The fleet's counters at one time.
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
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
    pub(super) fn render(&self) -> anyhow::Result<String> {
        // `</script>` in a string would end the element early.
        let data = serde_json::to_string(self)?.replace("</", "<\\/");
        Ok(TEMPLATE.replacen(PLACEHOLDER, &data, 1))
    }
}

impl Story {
    /// Milliseconds since the demo began.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began().elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
