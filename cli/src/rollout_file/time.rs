//! Points and lengths of time as rollout files write them.
use super::{
    fields::{self, Fields, Found, items, refuse, scalar, text},
    keys,
    node::Node,
    number::Decimal,
    problem::Problem,
};
use chrono::DateTime;
use std::str::FromStr;
use tidegate_domain::{
    id::{LogTime, Millis},
    rollout::{Freeze, MaintenanceWindow},
};

const DURATION: &str = "a length of time with its unit, such as `90s`, `15m`, `24h` or `7d`";
const INSTANT: &str = "a time with its offset (RFC 3339), such as `2026-12-01T09:00:00Z`";
const CLOCK: &str = "a time of day in UTC, such as `22:30`";
/// Most windows, and most freezes, of one rollout.
pub(crate) const SPANS_MAX: usize = 64;

/// The longest length of time that a file may name: ten years.
pub(crate) const DURATION_MAX: Millis = Millis(10 * 365 * 24 * 3_600_000);

/// Hours as a number, exact to the millisecond.
pub(crate) fn hours(node: &Node, key: &str, found: &mut Found) -> Option<Millis> {
    const HOUR: u64 = 3_600_000;
    fields::units(
        node,
        key,
        (HOUR, DURATION_MAX.0 / HOUR),
        "milliseconds",
        found,
    )
    .map(Millis)
}

/// A length of time with its unit, at least one second.
pub(crate) fn duration(node: &Node, key: &str, found: &mut Found) -> Option<Millis> {
    let (text, _) = scalar(node, key, DURATION, found)?;
    match parse_duration(text) {
        Some(length) if length >= Millis(1_000) && length <= DURATION_MAX => Some(length),
        Some(_) => refuse(node, key, "from `1s` to `3650d`", found),
        None => refuse(node, key, DURATION, found),
    }
}

/// A length of time such as `24h`; also for flags of the command line.
pub(crate) fn parse_duration(text: &str) -> Option<Millis> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let millis = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Decimal::parse(number).ok()?.in_units(millis).map(Millis)
}

/// A point in time.
pub(crate) fn instant(node: &Node, key: &str, found: &mut Found) -> Option<LogTime> {
    text::<Instant>(node, key, INSTANT, found).map(|instant| instant.0)
}

/// A point in time as text: RFC 3339 with an offset, not before 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(pub(crate) LogTime);

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|error| error.to_string())?;
        let millis = u64::try_from(parsed.timestamp_millis());
        millis
            .map(|millis| Self(LogTime(millis)))
            .map_err(|_| "before 1970".to_owned())
    }
}

/// A point in time for people: RFC 3339, UTC, to the second.
pub(crate) fn show_instant(at: LogTime) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    match DateTime::from_timestamp_millis(millis) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => format!("{} ms", at.0),
    }
}

/// Maintenance windows.
pub(crate) fn windows(node: &Node, found: &mut Found) -> Option<Vec<MaintenanceWindow>> {
    let items = items(node, "maintenance_windows", 1..=SPANS_MAX, found)?;
    let windows = items.iter().map(|item| window(item, found));
    windows.collect::<Vec<_>>().into_iter().collect()
}

fn window(node: &Node, found: &mut Found) -> Option<MaintenanceWindow> {
    const DAY: u16 = 1_440;
    let fields = Fields::of(node, &keys::WINDOW, found)?;
    let days = match fields.get("days") {
        Some(days) => weekdays(days, found),
        None => Some(0b111_1111),
    };
    let opens = fields.must("opens", found);
    let opens = opens.and_then(|node| clock(node, "opens", found));
    let closes = fields.must("closes", found);
    let closes = closes.and_then(|node| clock(node, "closes", found));
    let (days, opens_minute, closes) = (days?, opens?, closes?);
    let length = (closes + DAY - opens_minute) % DAY;
    Some(MaintenanceWindow {
        days,
        opens_minute,
        length_minutes: if length == 0 { DAY } else { length },
    })
}

fn weekdays(node: &Node, found: &mut Found) -> Option<u8> {
    const DAYS: [(&str, u8); 7] = [
        ("mon", 0),
        ("tue", 1),
        ("wed", 2),
        ("thu", 3),
        ("fri", 4),
        ("sat", 5),
        ("sun", 6),
    ];
    let items = items(node, "days", 1..=7, found)?;
    let mut days = 0_u8;
    for item in items {
        let day = fields::word(item, "days", &DAYS, found)?;
        if days & (1 << day) != 0 {
            let message = format!("{} stands twice in `days`", item.kind());
            found.push(Problem::new(item.place, message));
            return None;
        }
        days |= 1 << day;
    }
    Some(days)
}

/// Minutes since midnight.
fn clock(node: &Node, key: &str, found: &mut Found) -> Option<u16> {
    let (text, _) = scalar(node, key, CLOCK, found)?;
    let minutes = || {
        let (hour, minute) = text.split_once(':')?;
        let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if !two_digits(hour) || !two_digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    match minutes() {
        Some(minutes) => Some(minutes),
        None => refuse(node, key, CLOCK, found),
    }
}

/// Freezes.
pub(crate) fn freezes(node: &Node, found: &mut Found) -> Option<Vec<Freeze>> {
    let items = items(node, "freezes", 1..=SPANS_MAX, found)?;
    let freezes = items.iter().map(|item| freeze(item, found));
    freezes.collect::<Vec<_>>().into_iter().collect()
}

fn freeze(node: &Node, found: &mut Found) -> Option<Freeze> {
    let fields = Fields::of(node, &keys::FREEZE, found)?;
    let from = fields.must("from", found);
    let from = from.and_then(|node| instant(node, "from", found));
    let until = fields.must("until", found);
    let until = until.and_then(|node| instant(node, "until", found));
    let (from, until) = (from?, until?);
    if from >= until {
        let problem = Problem::new(fields.place_of("until"), "the freeze ends before it begins");
        found.push(problem.expected("`until` later than `from`"));
        return None;
    }
    Some(Freeze { from, until })
}
