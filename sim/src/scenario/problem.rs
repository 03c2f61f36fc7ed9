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
            other => Self::at(place, other.to_string()),
        }
    }
}

/// Of some words, the one that was probably meant by another.
fn nearest(meant: &str, words: &[&str]) -> Option<String> {
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
