//! A run as a file: what broke, and everything that it takes to see it again.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_mutant::Mutant;

use crate::expect::Expectation;
use crate::oracle::Violation;
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
    /// The scenario that was rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
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
    /// A run of this schedule, and what broke in it.
    #[must_use]
    pub fn broken(schedule: Schedule, violation: &Violation) -> Self {
        Self {
            cause: violation.detail.replace('\n', " "),
            broken: Some(violation.id.to_owned()),
            scenario: None,
            mutant: None,
            expect: Vec::new(),
            schedule,
        }
    }

    /// Writes the run to a file of its own name in a folder, which is made if it is not there;
    /// answers which file.
    ///
    /// # Errors
    /// The folder cannot be made, or the file not written.
    pub fn keep(&self, folder: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join(self.file_name());
        std::fs::write(&file, self.to_json())?;
        Ok(file)
    }

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
                scenario: None,
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

    /// A name for its file: the scenario, the invariant, the bug and the seed.
    #[must_use]
    pub fn file_name(&self) -> String {
        let broken = self.broken.as_deref().unwrap_or("expectation");
        let seed = format!("seed-{}.json", self.schedule.seed);
        let parts = [
            self.scenario.as_deref(),
            Some(broken),
            self.mutant.as_deref(),
            Some(&seed),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        parts.join("-").to_lowercase()
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
            scenario: None,
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
        let missed = Case {
            broken: None,
            scenario: Some("lost-node".to_owned()),
            mutant: None,
            ..case
        };
        assert_eq!(missed.file_name(), "lost-node-expectation-seed-4.json");
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
