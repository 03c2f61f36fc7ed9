//! A run as a file: what broke, and everything that it takes to see it again.

use serde::{Deserialize, Serialize};
use tidegate_mutant::Mutant;

use crate::expect::Expectation;
use crate::schedule::Schedule;

/// A run that is kept. With a known bug, replaying it must break the invariant again; without, the
/// bug was ours and is fixed, and replaying it must break nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// One line: what went wrong, and why if that is known.
    pub cause: String,
    /// The invariant that broke.
    pub broken: Option<String>,
    /// The known bug that was switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// What was expected beside that nothing breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expectation>,
    /// What was done.
    pub schedule: Schedule,
}

/// Why a file is no case.
#[derive(Debug)]
pub enum Unreadable {
    /// It is neither a case nor a schedule.
    Format(serde_json::Error),
    /// It names a bug that this build does not know.
    Mutant(String),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format(error) => write!(f, "neither a kept run nor a schedule: {error}"),
            Self::Mutant(name) => write!(f, "there is no known bug `{name}`"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Case {
    /// Reads a kept run, or a bare schedule.
    ///
    /// # Errors
    /// It is neither, or names an unknown bug.
    pub fn from_json(json: &str) -> Result<Self, Unreadable> {
        let case = match serde_json::from_str::<Self>(json) {
            Ok(case) => case,
            // What is wrong with a kept run is of more use than that it is no schedule.
            Err(error) => Self {
                cause: "a schedule".to_owned(),
                broken: None,
                mutant: None,
                expect: Vec::new(),
                schedule: Schedule::from_json(json).map_err(|_| Unreadable::Format(error))?,
            },
        };
        case.mutant()?;
        Ok(case)
    }

    /// The run as a file.
    ///
    /// # Panics
    /// Never: it is made of numbers and text.
    #[must_use]
    pub fn to_json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(json) => json + "\n",
            Err(error) => unreachable!("a case is plain data: {error}"),
        }
    }

    /// The known bug that is switched on.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn mutant(&self) -> Result<Option<Mutant>, Unreadable> {
        self.mutant.as_deref().map(named).transpose()
    }

    /// A name for its file: the invariant, the bug and the seed.
    #[must_use]
    pub fn file_name(&self) -> String {
        let broken = self.broken.as_deref().unwrap_or("expectation");
        let mutant = self.mutant.as_deref().map(|name| format!("-{name}"));
        let seed = self.schedule.seed;
        let name = format!("{broken}{}-seed-{seed}.json", mutant.unwrap_or_default());
        name.to_lowercase()
    }
}

/// The known bug of a name, as the code names it.
///
/// # Errors
/// There is none.
pub fn named(name: &str) -> Result<Mutant, Unreadable> {
    let found = Mutant::ALL
        .iter()
        .find(|mutant| format!("{mutant:?}") == name);
    found
        .copied()
        .ok_or_else(|| Unreadable::Mutant(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::What;
    use crate::generate;

    fn case() -> Case {
        Case {
            cause: "a rollout was started below the floor".to_owned(),
            broken: Some("FLOOR-3".to_owned()),
            mutant: Some("FloorAboveRollout".to_owned()),
            expect: vec![Expectation {
                what: What::Leaderless { at_most_ms: 5 },
                from_ms: 0,
                until_ms: 1_000,
            }],
            schedule: generate::schedule(4),
        }
    }

    #[test]
    fn a_case_survives_its_file_and_a_bare_schedule_is_one() {
        let case = case();
        assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
        let bare = Case::from_json(&case.schedule.to_json()).unwrap();
        assert_eq!(bare.schedule, case.schedule);
        assert_eq!(case.file_name(), "floor-3-flooraboverollout-seed-4.json");
    }

    #[test]
    fn what_is_no_case_is_refused() {
        let json = case().to_json();
        let refused = |json: &str| Case::from_json(json).unwrap_err().to_string();
        assert!(refused(&json.replace("FloorAboveRollout", "None")).contains("`None`"));
        assert!(refused(&json.replace("broken", "brocken")).contains("brocken"));
        assert!(refused("{}").contains("cause"));
    }
}
