//! What is wrong with a file, said so that a tired reader can mend it: where, what, what was
//! expected, what to do.
use std::fmt;

/// Where something stands in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: usize,
    /// The column of its first character.
    pub(crate) column: usize,
    /// How many characters it has on that line; at least 1.
    pub(crate) length: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// What.
    pub(crate) message: String,
    /// What was expected, and what to do: `(label, text)`.
    pub(crate) notes: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            notes: Vec::new(),
        }
    }

    /// Adds what was expected.
    pub(crate) fn expected(mut self, text: impl Into<String>) -> Self {
        self.notes.push(("expected", text.into()));
        self
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.notes.push(("help", text.into()));
        self
    }
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems {
    /// The file's name, for messages.
    pub(crate) file: String,
    /// Its lines, for messages.
    pub(crate) lines: Vec<String>,
    /// What is wrong; never empty.
    pub(crate) list: Vec<Problem>,
}

impl Problems {
    /// The problems as JSON, for `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let one = |problem: &Problem| {
            serde_json::json!({
                "file": self.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "message": problem.message,
                "notes": problem.notes.iter()
                    .map(|(label, text)| format!("{label}: {text}")).collect::<Vec<_>>(),
            })
        };
        self.list.iter().map(one).collect()
    }

    fn show(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            line,
            column,
            length,
        } = problem.place;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "error: {}", problem.message)?;
        writeln!(f, "{margin}--> {}:{line}:{column}", self.file)?;
        if let Some(text) = self.lines.get(line.saturating_sub(1)) {
            let caret = "^".repeat(length.max(1));
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {text}")?;
            writeln!(f, "{margin} | {}{caret}", " ".repeat(column.max(1) - 1))?;
        }
        for (label, text) in &problem.notes {
            writeln!(f, "{margin} = {label}: {text}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            self.show(problem, f)?;
        }
        Ok(())
    }
}
