//! What is wrong with a scenario file: where, what, what was expected, and what was probably meant.

use std::fmt;

use serde_saphyr::{Error, Location};

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; 0 if it is about the file as a whole.
    pub line: u64,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    pub(super) fn at(place: Location, message: impl Into<String>) -> Self {
        Self {
            line: place.line(),
            message: message.into(),
            meant: None,
        }
    }

    /// `what` is not one of `known`.
    pub(super) fn unknown(place: Location, what: &str, name: &str, known: &[&str]) -> Self {
        Self {
            line: place.line(),
            message: format!("unknown {what} `{name}`, expected {}", list(known)),
            meant: nearest(name, known),
        }
    }

    pub(super) fn of_yaml(error: &Error) -> Self {
        let error = error.without_snippet();
        let place = error.location().unwrap_or(Location::UNKNOWN);
        match error {
            Error::SerdeUnknownField {
                field, expected, ..
            } => Self::unknown(place, "key", field, expected),
            Error::SerdeUnknownVariant {
                variant, expected, ..
            } => Self::unknown(place, "word", variant, expected),
            Error::SerdeMissingField { field, .. } => {
                Self::at(place, format!("the key `{field}` is missing"))
            }
            Error::SerdeInvalidValue {
                unexpected,
                expected,
                ..
            }
            | Error::SerdeInvalidType {
                unexpected,
                expected,
                ..
            } => Self::at(place, format!("{unexpected} is not {expected}")),
            Error::SerdeInvalidLength { len, expected, .. } => {
                let wanted = expected.trim_start_matches("an array of length ");
                Self::at(place, format!("{len} here, expected {wanted}"))
            }
            Error::Unexpected { expected, .. } => {
                Self::at(place, format!("expected {}", plain(expected)))
            }
            Error::InvalidScalar { ty, .. } => Self::at(place, format!("expected {}", plain(ty))),
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                Self::at(place, format!("the key `{key}` stands twice"))
            }
            Error::MultipleDocuments { .. } => {
                Self::at(place, "another document begins here, and a scenario is one")
            }
            Error::Eof { .. } => Self::at(place, "the file ends before the scenario does"),
            other => {
                let message = other.to_string();
                // The line is said already.
                let (message, _) = message.rsplit_once(" at line ").unwrap_or((&message, ""));
                Self::at(place, message)
            }
        }
    }
}

/// What the reader of YAML calls something, for whoever writes it.
fn plain(expected: &str) -> &str {
    match expected {
        "mapping start" => "`key: value` pairs",
        "sequence start" => "a list, each item after a `-`",
        "string scalar" => "one word or line",
        "boolean" => "`true` or `false`",
        "u8" => "a whole number from 0 to 255",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number, 0 or more",
        other => other,
    }
}

/// Of some words, the one that was probably meant by another.
#[must_use]
pub fn nearest(meant: &str, words: &[&str]) -> Option<String> {
    let plain = |word: &str| word.to_ascii_lowercase().replace(['_', ' '], "-");
    let meant = plain(meant);
    let far = |word: &str| strsim::damerau_levenshtein(&meant, &plain(word));
    let (distance, word) = words
        .iter()
        .map(|word| (far(word), *word))
        .min_by_key(|(far, _)| *far)?;
    let bound = (word.chars().count() / 3).max(1);
    (distance <= bound).then(|| word.to_owned())
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match &quoted[..] {
        [only] => only.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}
