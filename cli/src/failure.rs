//! How a command ends when it does not end well: the exit code, what happened, and what to do next.
use serde_json::{Value as Json, json};
use std::{fmt::Display, process::ExitCode};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    what: String,
    next: Vec<String>,
    details: Option<Json>,
}

/// The kinds of failure that scripts tell apart, by exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The cluster, a check or the machine said no: nothing was changed. Exit code 1.
    Refused,
    /// The command line, or a file that it names, is wrong. Exit code 2.
    Usage,
    /// Nobody could be reached. Exit code 3.
    Unreachable,
    /// Nobody knows whether it was done. Exit code 3.
    OutcomeUnknown,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable | Self::OutcomeUnknown => 3,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

impl Failure {
    /// The cluster, a check or the machine said no.
    pub(crate) fn refused(what: impl Display) -> Self {
        Self::new(Kind::Refused, what)
    }

    /// The command line, or a file that it names, is wrong.
    pub(crate) fn usage(what: impl Display) -> Self {
        Self::new(Kind::Usage, what)
    }

    /// A failure of a kind.
    pub(crate) fn new(kind: Kind, what: impl Display) -> Self {
        Self {
            kind,
            what: what.to_string(),
            next: Vec::new(),
            details: None,
        }
    }

    /// A failure whose report was shown already: only the exit code is left.
    pub(crate) fn reported(kind: Kind) -> Self {
        Self::new(kind, "")
    }

    /// Whether there is nothing left to show.
    pub(crate) fn is_reported(&self) -> bool {
        self.what.is_empty()
    }

    /// Adds what to do next.
    pub(crate) fn next(mut self, advice: impl Display) -> Self {
        self.next.push(advice.to_string());
        self
    }

    /// Adds what `--json` shows of it.
    pub(crate) fn details(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }

    /// Which kind of failure it is.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Two failures as one; the exit code is the first's.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.what = format!("{}\n\n{}", self.what.trim_end(), other.to_text());
        self.next.extend(other.next);
        self.details = match (self.details, other.details) {
            (Some(Json::Array(mut list)), Some(Json::Array(more))) => {
                list.extend(more);
                Some(Json::Array(list))
            }
            (details, other) => details.or(other),
        };
        self
    }

    /// What `--json` prints.
    pub(crate) fn to_json(&self) -> Json {
        let mut error = json!({
            "kind": self.kind.name(),
            "message": self.what,
            "next": self.next,
        });
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        json!({ "error": error })
    }

    /// What people read. A failure that is a report of its own stands as it is.
    pub(crate) fn to_text(&self) -> String {
        let mut text = match self.what.starts_with("error: ") {
            true => self.what.trim_end().to_owned(),
            false => format!("error: {}", self.what),
        };
        for advice in &self.next {
            text.push_str(&format!("\n  next: {advice}"));
        }
        text
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.kind.code())
    }
}
