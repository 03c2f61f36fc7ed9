//! A run as one HTML file that needs nothing else: no network, no other file. The script draws what
//! is prepared here.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::expect::Row;
use crate::record::{Kind, Record};
use crate::schedule::{Schedule, Spot};
use crate::story::{Call, Span, Story};

const PAGE: &str = include_str!("timeline.html");
const STYLE: &str = include_str!("timeline.css");
const SCRIPT: &str = include_str!("timeline.js");
const CONTROLS: &str = include_str!("controls.js");
/// Most single answers to devices that are listed; beyond, they are only counted.
const TOLD_MAX: usize = 4_000;

#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    about: String,
    loaded_us: u64,
    ended_us: u64,
    lanes: Vec<Lane>,
    spans: &'a [Span],
    calls: Vec<&'a Call>,
    events: Vec<Event>,
    /// Answers to devices that are not among the events, being too many.
    untold: usize,
    /// When a second began, check-ins made in it, and how many were answered.
    check_ins: BTreeMap<u64, (u64, u64)>,
    /// By decision node and second: offers and other answers that were new to their device.
    told: BTreeMap<&'a str, BTreeMap<u64, (u64, u64)>>,
    rows: &'a [Row],
}

#[derive(Serialize)]
struct Lane {
    name: String,
    region: String,
}

#[derive(Serialize)]
struct Event {
    at_us: u64,
    lane: String,
    kind: &'static str,
    text: String,
}

/// The timeline of a run.
#[must_use]
pub fn timeline(title: &str, schedule: &Schedule, records: &[Record], rows: &[Row]) -> String {
    let story = Story::of(records);
    let regions = regions(schedule);
    let lane = |name: &String| Lane {
        region: regions.get(name).cloned().unwrap_or_default(),
        name: name.clone(),
    };
    let answers = records
        .iter()
        .filter(|record| kind(&record.kind) == Some("told"));
    let answers = answers.count();
    let untold = if answers > TOLD_MAX { answers } else { 0 };
    let data = Data {
        title,
        about: about(schedule),
        loaded_us: story.loaded_us,
        ended_us: story.ended_us,
        lanes: story.lanes.iter().map(lane).collect(),
        spans: &story.spans,
        calls: story.calls.iter().filter(|call| call.command).collect(),
        events: events(records, untold == 0),
        untold,
        check_ins: check_ins(records),
        told: told(records),
        rows,
    };
    let json = match serde_json::to_string(&data) {
        // Nothing in the data may end the script that holds it.
        Ok(json) => json.replace('<', "\\u003c"),
        Err(error) => unreachable!("a story is plain data: {error}"),
    };
    PAGE.replace("{{title}}", &escaped(title))
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{controls}}", CONTROLS)
        .replace("{{data}}", &json)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn about(schedule: &Schedule) -> String {
    let stores = schedule.world.stores();
    let voters = stores.iter().filter(|store| store.voter).count();
    let counted = [
        (voters, "voter"),
        (stores.len() - voters, "learner"),
        (schedule.world.regions.len(), "region"),
        (schedule.world.decision_nodes().into(), "decision node"),
        (schedule.load.devices as usize, "device"),
        (schedule.faults.len(), "fault"),
    ];
    let counted = counted.map(|(count, what)| {
        let ending = if count == 1 { "" } else { "s" };
        format!("{count} {what}{ending}")
    });
    format!("seed {} · {}", schedule.seed, counted.join(" · "))
}

/// The region of every machine by its name.
fn regions(schedule: &Schedule) -> BTreeMap<String, String> {
    let world = &schedule.world;
    let stores = world.stores().into_iter();
    let mut regions: BTreeMap<String, String> = stores
        .map(|store| (Spot::store(store.id).0, store.region))
        .collect();
    let mut number = 0;
    for region in &world.regions {
        for _ in 0..region.decision_nodes {
            number += 1;
            regions.insert(Spot::decision(number).0, region.name.clone());
        }
    }
    regions
}

/// What has a name in the list and a mark on a lane. Calls, applied entries and counts have places
/// of their own.
fn events(records: &[Record], with_answers: bool) -> Vec<Event> {
    let wanted = records.iter().filter_map(|record| {
        let kind = kind(&record.kind)?;
        let listed = kind != "told" || with_answers;
        listed.then(|| Event {
            at_us: record.at_us,
            lane: record.lane.clone(),
            kind,
            text: record.kind.to_string(),
        })
    });
    wanted.collect()
}

const fn kind(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Fault { .. } => "fault",
        Kind::Mended { .. } => "mended",
        Kind::Healed => "healed",
        Kind::Loaded => "loaded",
        Kind::Leader { .. } | Kind::Deposed => "leader",
        Kind::Started { .. } => "started",
        Kind::Stopped { .. } | Kind::Refused { .. } => "stopped",
        Kind::Installed { .. } => "installed",
        Kind::Lease { .. } => "lease",
        Kind::Told { .. } => "told",
        Kind::Barred { .. } | Kind::Allowed { .. } | Kind::LateOffer { .. } => "halt",
        Kind::Violation { .. } => "violation",
        Kind::Applied { .. }
        | Kind::Asked { .. }
        | Kind::Answered { .. }
        | Kind::Failed { .. }
        | Kind::TurnedAway { .. }
        | Kind::View { .. }
        | Kind::CheckIns { .. } => return None,
    })
}

fn check_ins(records: &[Record]) -> BTreeMap<u64, (u64, u64)> {
    let mut seconds = BTreeMap::new();
    for record in records {
        if let Kind::CheckIns {
            from_us,
            asked,
            answered,
        } = record.kind
        {
            let second: &mut (u64, u64) = seconds.entry(from_us).or_default();
            second.0 += asked;
            second.1 += answered;
        }
    }
    seconds
}

fn told(records: &[Record]) -> BTreeMap<&str, BTreeMap<u64, (u64, u64)>> {
    let mut lanes: BTreeMap<&str, BTreeMap<u64, (u64, u64)>> = BTreeMap::new();
    for record in records {
        if let Kind::Told { verdict, .. } = &record.kind {
            let second = record.at_us / 1_000_000 * 1_000_000;
            let count = lanes
                .entry(&record.lane)
                .or_default()
                .entry(second)
                .or_default();
            if verdict == "offer" {
                count.0 += 1;
            } else {
                count.1 += 1;
            }
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use crate::story::tests::{at, partition};

    #[test]
    fn the_page_needs_nothing_from_outside_and_holds_the_story() {
        let mut records = partition();
        let detail = "</script><b>".to_owned();
        let id = "LOG-1".to_owned();
        records.push(at(41, "world", Kind::Violation { id, detail }));
        let rows = crate::expect::judge(&[], &records, &[]);
        let page = timeline("a <b> run", &generate::schedule(1), &records, &rows);
        assert!(page.contains("a &lt;b&gt; run"));
        assert!(page.contains(r#""term 2""#) && page.contains("no invariant broken"));
        for outside in [
            "http:", "https:", "src=", "<link", "@import", "url(", "fetch(",
        ] {
            assert!(!page.contains(outside), "the page asks for {outside}");
        }
        // One script with data, two with code; no text of the run can end any.
        assert_eq!(page.matches("</script>").count(), 3);
        assert!(!page.contains("{{"));
    }
}
