//! One line per event: the time, a column for every node with how it stands, then what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::record::{Kind, Record};
use crate::schedule::Fault;

/// Whether a terminal shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// With colours.
    Colours,
    /// Without.
    Plain,
}

/// How a node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    up: bool,
    leads: bool,
    fresh: bool,
    /// Until when it is paused, in µs.
    paused_us: u64,
    /// Until when it is cut off, in µs.
    cut_us: u64,
}

const RED: &str = "31";
const YELLOW: &str = "33";
const GREEN: &str = "32";
const BOLD: &str = "1";
const DIM: &str = "2";
/// Columns of a node.
const WIDTH: usize = 4;

const LEGEND: &str =
    "L leads  . follows or learns  o lease runs  - no lease  x down  = paused  / cut off";

/// The view. `verbose` shows every record; otherwise it is about the machines, and what clients
/// and devices saw and did is left out.
#[must_use]
pub fn text(records: &[Record], verbose: bool, paint: Paint) -> String {
    let mut nodes: BTreeMap<(bool, u64), Standing> = BTreeMap::new();
    for record in records {
        nodes.extend(number(&record.lane).map(|node| (node, Standing::default())));
    }
    let mut out = head(&nodes, paint);
    for record in records {
        stand(&mut nodes, record);
        if verbose || is_news(&record.kind) {
            line(&mut out, &nodes, record, paint);
        }
    }
    out
}

/// `s3` or `d1` in the order of the columns.
fn number(lane: &str) -> Option<(bool, u64)> {
    let (kind, number) = lane.split_at_checked(1)?;
    let decides = match kind {
        "s" => false,
        "d" => true,
        _ => return None,
    };
    Some((decides, number.parse().ok()?))
}

const fn is_news(kind: &Kind) -> bool {
    match kind {
        Kind::Started { .. }
        | Kind::Stopped { .. }
        | Kind::Refused { .. }
        | Kind::Fault { .. }
        | Kind::Mended { .. }
        | Kind::Healed
        | Kind::Loaded
        | Kind::Leader { .. }
        | Kind::Deposed
        | Kind::Installed { .. }
        | Kind::Lease { .. }
        | Kind::Violation { .. } => true,
        Kind::Applied { .. }
        | Kind::Asked { .. }
        | Kind::Answered { .. }
        | Kind::Failed { .. }
        | Kind::TurnedAway { .. }
        | Kind::View { .. }
        | Kind::CheckIns { .. }
        | Kind::Barred { .. }
        | Kind::Allowed { .. }
        | Kind::LateOffer { .. }
        | Kind::Told { .. } => false,
    }
}

fn head(nodes: &BTreeMap<(bool, u64), Standing>, paint: Paint) -> String {
    let mut out = painted(DIM, LEGEND, paint) + "\n";
    let _ = write!(out, "{:>11}  ", "seconds");
    for (decides, number) in nodes.keys() {
        let name = format!("{}{number}", if *decides { 'd' } else { 's' });
        let _ = write!(out, "{name:WIDTH$}");
    }
    out.push('\n');
    out
}

fn stand(nodes: &mut BTreeMap<(bool, u64), Standing>, record: &Record) {
    match &record.kind {
        Kind::Fault { fault } => {
            let until_us = record.at_us + fault.for_ms() * 1_000;
            let pauses = matches!(fault, Fault::Pause { .. } | Fault::Suspend { .. });
            let cuts = matches!(fault, Fault::Isolate { from, .. } if from.is_empty());
            if !pauses && !cuts {
                return;
            }
            for spot in fault.struck() {
                if let Some(node) = number(&spot.0).and_then(|node| nodes.get_mut(&node)) {
                    let end = if pauses {
                        &mut node.paused_us
                    } else {
                        &mut node.cut_us
                    };
                    *end = until_us;
                }
            }
        }
        Kind::Healed => {
            for node in nodes.values_mut() {
                (node.paused_us, node.cut_us) = (0, 0);
            }
        }
        kind => {
            let Some(node) = number(&record.lane).and_then(|node| nodes.get_mut(&node)) else {
                return;
            };
            match kind {
                Kind::Started { .. } => node.up = true,
                Kind::Stopped { .. } | Kind::Refused { .. } => {
                    (node.up, node.leads, node.fresh) = (false, false, false);
                }
                Kind::Leader { .. } => node.leads = true,
                Kind::Deposed => node.leads = false,
                Kind::Lease { fresh } => node.fresh = *fresh,
                _ => {}
            }
        }
    }
}

fn line(out: &mut String, nodes: &BTreeMap<(bool, u64), Standing>, record: &Record, paint: Paint) {
    let (seconds, millis) = (record.at_us / 1_000_000, record.at_us / 1_000 % 1_000);
    let _ = write!(out, "{seconds:>7}.{millis:03}  ");
    for ((decides, number), node) in nodes {
        let (sign, colour) = sign(*node, *decides, record.at_us);
        let own = number_is(&record.lane, *decides, *number);
        let cell = if own {
            format!("[{sign}]")
        } else {
            format!(" {sign} ")
        };
        out.push_str(&painted(colour, &cell, paint));
        out.push(' ');
    }
    let colour = match &record.kind {
        Kind::Violation { .. } | Kind::LateOffer { .. } | Kind::Refused { .. } => RED,
        Kind::Fault { .. } | Kind::Stopped { .. } => YELLOW,
        Kind::Healed | Kind::Mended { .. } => GREEN,
        Kind::Leader { .. } => BOLD,
        _ => "",
    };
    // What concerns everyone stands alone; other words say whose they are.
    let words = match (&record.kind, record.lane.as_str()) {
        (Kind::Fault { .. } | Kind::Healed | Kind::Violation { .. }, "world") => {
            format!("--- {} ---", record.kind)
        }
        (kind, "world") => kind.to_string(),
        (kind, lane) => format!("{lane} {kind}"),
    };
    out.push_str(&painted(colour, &words, paint));
    out.push('\n');
}

fn number_is(lane: &str, decides: bool, of: u64) -> bool {
    number(lane) == Some((decides, of))
}

fn sign(node: Standing, decides: bool, at_us: u64) -> (char, &'static str) {
    match node {
        Standing { up: false, .. } => ('x', RED),
        Standing { paused_us, .. } if paused_us > at_us => ('=', YELLOW),
        Standing { cut_us, .. } if cut_us > at_us => ('/', YELLOW),
        Standing { fresh: true, .. } => ('o', GREEN),
        Standing { leads: true, .. } => ('L', GREEN),
        _ if decides => ('-', DIM),
        _ => ('.', DIM),
    }
}

fn painted(colour: &str, words: &str, paint: Paint) -> String {
    match paint {
        Paint::Colours if !colour.is_empty() => format!("\u{1b}[{colour}m{words}\u{1b}[0m"),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::tests::partition;

    const PARTITION: &str = "\
L leads  . follows or learns  o lease runs  - no lease  x down  = paused  / cut off
    seconds  s1  s2  
      1.000  [.]  x  s1 up, 0 entries
      2.000  [L]  x  s1 leads, term 1
      5.000   L   x  load runs
     10.000   /   x  --- FAULT partition s1 for 20000 ms ---
     13.000   /  [L] s2 leads, term 2
     30.000  [.]  L  s1 leads no more
     40.000   .   L  --- HEALED ---
";

    #[test]
    fn a_line_says_when_how_all_stand_and_what_happened() {
        let mut records = partition();
        // It was up all the time.
        records.remove(0);
        let up = crate::story::tests::at(1, "s1", Kind::Started { entries: 0 });
        records.insert(0, up);
        let up = crate::story::tests::at(13, "s2", Kind::Started { entries: 0 });
        let leads = records.iter().position(|record| record.lane == "s2");
        records.insert(leads.unwrap(), up);
        let shown = text(&records, false, Paint::Plain);
        let shown: Vec<&str> = shown.lines().filter(|l| !l.contains("s2 up")).collect();
        assert_eq!(shown.join("\n") + "\n", PARTITION);
    }

    #[test]
    fn verbose_shows_every_record_and_colours_only_a_terminal() {
        let records = partition();
        let quiet = text(&records, false, Paint::Plain);
        let all = text(&records, true, Paint::Plain);
        assert_eq!(all.lines().count(), records.len() + 2);
        assert!(quiet.lines().count() < all.lines().count());
        assert!(!all.contains('\u{1b}'));
        assert!(text(&records, true, Paint::Colours).contains('\u{1b}'));
    }
}
