//! House rules that no compiler checks. Each rule is a function from the tree to what breaks it,
//! with a test that shows it can fail.

mod arrows;
mod invariants;
mod links;
mod ratchet;
mod runbooks;
mod size;
mod source;
mod tokens;
mod tree;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use crate::metadata::Metadata;
use tree::Tree;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 0 when the finding is about the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }

    fn file(path: &str, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Every rule that needs the tree alone.
const RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    size::check,
    source::check,
    words::check,
    invariants::check,
    links::check,
    runbooks::check,
];

/// Checks the working tree: files that git tracks, or would if they were added.
pub(crate) fn run(metadata: &Metadata) -> Result<()> {
    let tree = Tree::of_git()?;
    let mut findings: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.extend(arrows::check(metadata));
    findings.extend(arrows::check_reach()?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        n => bail!("tidy: {n} finding{}", if n == 1 { "" } else { "s" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a rule over a made-up tree and compares what it finds, each as `path:line` and a part
    /// of the message.
    pub(super) fn check(
        rule: fn(&Tree) -> Vec<Finding>,
        files: &[(&str, &str)],
        expected: &[(&str, &str)],
    ) {
        let mut found = rule(&Tree::made_up(files));
        found.sort();
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), expected.len(), "{shown:#?}");
        for (shown, (place, part)) in shown.iter().zip(expected) {
            assert!(
                shown.starts_with(&format!("{place}: ")),
                "{shown} is not at {place}"
            );
            assert!(shown.contains(part), "{shown} does not say {part}");
        }
    }
}
