//! Reading nodes into values. Nothing here stops at the first problem: all are collected, and
//! whoever needs a value that could not be read goes without.
use super::{
    keys::{MapKeys, nearest},
    node::{Node, Value},
    number::{Decimal, NotANumber},
    problem::{Place, Problem},
};
use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// The map being read.
pub(crate) struct Fields<'a> {
    place: Place,
    what: &'static str,
    entries: &'a [(super::node::Key, Node)],
}

/// Problems found so far.
pub(crate) type Found = Vec<Problem>;

impl<'a> Fields<'a> {
    /// The fields of a node, which must be a map that holds no other than the known keys.
    pub(crate) fn of(node: &'a Node, known: &'static MapKeys, found: &mut Found) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let message = format!("{} is {}", known.what, node.kind());
            let expected = format!("a map with {}", list(known.keys));
            found.push(Problem::new(node.place, message).expected(expected));
            return None;
        };
        for (key, _) in entries {
            if known.keys.contains(&key.text.as_str()) {
                continue;
            }
            let message = format!("unknown key `{}` in {}", key.text, known.what);
            let problem = Problem::new(key.place, message).expected(one_of(known.keys));
            found.push(match known.advice(&key.text) {
                Some(advice) => problem.help(advice),
                None => problem,
            });
        }
        Some(Self {
            place: node.place,
            what: known.what,
            entries,
        })
    }

    /// The value of a key, if it stands in the map.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(_, node)| node)
    }

    /// Where a key stands, or else the map.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        let entry = self.entries.iter().find(|(k, _)| k.text == key);
        entry.map_or(self.place, |(key, _)| key.place)
    }

    /// The value of a key that must stand in the map.
    pub(crate) fn must(&self, key: &str, found: &mut Found) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            let message = format!("{} has no `{key}`", self.what);
            found.push(
                Problem::new(self.place, message).help(format!("add `{key}:` to {}", self.what)),
            );
        }
        node
    }
}

/// A whole number in a range.
pub(crate) fn whole(
    node: &Node,
    key: &str,
    range: RangeInclusive<u64>,
    found: &mut Found,
) -> Option<u64> {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let number = decimal(node, key, &expected, found)?;
    match number.in_units(1) {
        Some(value) if range.contains(&value) => Some(value),
        _ => refuse(node, key, &expected, found),
    }
}

/// A number in units of which one has `per_one`, from 0 to `max` wholes.
pub(crate) fn units(
    node: &Node,
    key: &str,
    (per_one, max): (u64, u64),
    unit: &str,
    found: &mut Found,
) -> Option<u64> {
    let expected = match max {
        1 => "a share from 0 to 1, such as `0.01` for 1 %".to_owned(),
        max => format!("a number from 0 to {max}"),
    };
    let number = decimal(node, key, &expected, found)?;
    if number.exceeds(max) {
        return refuse(node, key, &expected, found);
    }
    let exact = number.in_units(per_one);
    if exact.is_none() {
        let message = format!(
            "`{key}` is {}, which is no whole number of {unit}",
            node.kind()
        );
        found.push(
            Problem::new(node.place, message)
                .expected(format!("{expected}, in steps of {}", step(per_one))),
        );
    }
    exact
}

fn step(per_one: u64) -> String {
    match per_one {
        10_000 => "0.0001".to_owned(),
        1_000_000 => "0.000001".to_owned(),
        per_one => format!("1/{per_one}"),
    }
}

fn decimal(node: &Node, key: &str, expected: &str, found: &mut Found) -> Option<Decimal> {
    let (text, quoted) = scalar(node, key, expected, found)?;
    let (why, advice) = match Decimal::parse(text) {
        Ok(number) if !quoted => return Some(number),
        Ok(_) => (
            "text, not a number".to_owned(),
            Some("leave the quotes away"),
        ),
        Err(NotANumber::Malformed) if text.ends_with('%') => {
            ("not a number".to_owned(), Some("leave the `%` away"))
        }
        Err(why) => (why.to_string(), None),
    };
    let message = format!("`{key}` is {}: {why}", node.kind());
    let problem = Problem::new(node.place, message).expected(expected);
    found.push(match advice {
        Some(advice) => problem.help(advice),
        None => problem,
    });
    None
}

/// `true` or `false`.
pub(crate) fn truth(node: &Node, key: &str, found: &mut Found) -> Option<bool> {
    let expected = "`true` or `false`";
    match scalar(node, key, expected, found)? {
        ("true", false) => Some(true),
        ("false", false) => Some(false),
        _ => refuse(node, key, expected, found),
    }
}

/// One of some words.
pub(crate) fn word<T: Copy>(
    node: &Node,
    key: &str,
    words: &[(&'static str, T)],
    found: &mut Found,
) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let expected = one_of(&names);
    let (text, _) = scalar(node, key, &expected, found)?;
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let message = format!("`{key}` is {}", node.kind());
    let problem = Problem::new(node.place, message).expected(expected);
    found.push(match nearest(text, names.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    });
    None
}

/// A text that parses, such as a name.
pub(crate) fn text<T: FromStr<Err: Display>>(
    node: &Node,
    key: &str,
    expected: &str,
    found: &mut Found,
) -> Option<T> {
    let (text, quoted) = scalar(node, key, expected, found)?;
    if !quoted && !node.is_text() {
        let problem = Problem::new(node.place, format!("`{key}` is {}, not text", node.kind()));
        let help = format!("put it in quotes: `{key}: \"{text}\"`");
        found.push(problem.expected(expected).help(help));
        return None;
    }
    match text.parse() {
        Ok(value) => Some(value),
        Err(why) => {
            let message = format!("`{key}` is {}: {why}", node.kind());
            found.push(Problem::new(node.place, message).expected(expected));
            None
        }
    }
}

/// A list of at least `min` and at most `max` items.
pub(crate) fn items<'a>(
    node: &'a Node,
    key: &str,
    range: RangeInclusive<usize>,
    found: &mut Found,
) -> Option<&'a [Node]> {
    let (min, max) = (range.start(), range.end());
    let expected = format!("a list of {min} to {max} items, each on a line that begins with `-`");
    match &node.value {
        Value::List(items) if range.contains(&items.len()) => Some(items),
        Value::List(items) => {
            let message = format!("`{key}` has {} items", items.len());
            found.push(Problem::new(node.place, message).expected(expected));
            None
        }
        _ => refuse(node, key, &expected, found),
    }
}

/// The text of a scalar, and whether it stood in quotes.
pub(crate) fn scalar<'a>(
    node: &'a Node,
    key: &str,
    expected: &str,
    found: &mut Found,
) -> Option<(&'a str, bool)> {
    match &node.value {
        Value::Scalar { text, quoted } if !node.is_null() => Some((text, *quoted)),
        _ => refuse(node, key, expected, found),
    }
}

/// Notes that a value is not what was expected.
pub(crate) fn refuse<T>(node: &Node, key: &str, expected: &str, found: &mut Found) -> Option<T> {
    let message = format!("`{key}` is {}", node.kind());
    found.push(Problem::new(node.place, message).expected(expected));
    None
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("`{only}`"),
        words => format!("one of {}", list(words)),
    }
}
