//! Words that do not belong in the tree: paths of somebody's machine, placeholders, leftovers of a
//! merge, and names that say nothing.

use super::Finding;
use super::tree::Tree;

/// This folder spells out what it looks for.
pub(super) const NAMES_WHAT_IT_FORBIDS: &str = "xtask/src/tidy/";

const MACHINE_PATHS: [&str; 5] = ["/work/", "/root/", "/home/", "/Users/", "C:\\Users\\"];
const PLACEHOLDERS: [&str; 4] = ["lorem ipsum", "coming soon", "to be written", "tbd"];
const MERGE_MARKS: [&str; 3] = ["<<<<<<< ", ">>>>>>> ", "||||||| "];
/// Names of files and folders that could hold anything.
const EMPTY_NAMES: [&str; 7] = [
    "util", "utils", "manager", "helper", "helpers", "common", "misc",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let named = |(path, _): &(&str, &str)| !path.starts_with(NAMES_WHAT_IT_FORBIDS);
    let mut findings: Vec<_> = tree
        .iter()
        .filter(named)
        .flat_map(|(path, text)| in_text(path, text))
        .collect();
    findings.extend(tree.code().filter_map(|(path, _)| empty_name(path)));
    findings
}

fn in_text(path: &str, text: &str) -> Vec<Finding> {
    let line = |(number, line): (usize, &str)| {
        let message = if let Some(found) = MACHINE_PATHS.iter().find(|p| has_absolute(line, p)) {
            format!("`{found}` exists on one machine only")
        } else if let Some(found) = PLACEHOLDERS.iter().find(|word| has_word(line, word)) {
            format!("\"{found}\" is a placeholder: write it, or leave it out")
        } else if MERGE_MARKS.iter().any(|mark| line.starts_with(mark)) {
            "a merge was left half done".to_owned()
        } else {
            return None;
        };
        Some(Finding::at(path, number + 1, message))
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// Whether `path` begins an absolute path in `line`, rather than standing inside a longer one.
fn has_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}".contains(c))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let line = line.to_lowercase();
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_-/.".contains(c));
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next().filter(|c| *c != '.');
        !in_word(before) && !in_word(after)
    })
}

fn empty_name(path: &str) -> Option<Finding> {
    let stem = |part: &str| {
        part.split_once('.')
            .map_or(part.to_owned(), |(s, _)| s.to_owned())
    };
    let empty = path
        .split('/')
        .map(stem)
        .find(|name| EMPTY_NAMES.contains(&name.as_str()))?;
    Some(Finding::file(
        path,
        format!("`{empty}` could hold anything: name it for what it does"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check as check_rule;

    #[test]
    fn absolute_paths_of_a_machine_are_found() {
        let text = "cd /home/me\n`/root/.x`\nsee https://x.org/home/page and docs/work/a and ~/work/b\n\"/work/\"\n";
        let expected = [
            ("a.md:1", "/home/"),
            ("a.md:2", "one machine only"),
            ("a.md:4", "one machine"),
        ];
        check_rule(check, &[("a.md", text)], &expected);
    }

    #[test]
    fn placeholders_and_merge_marks_are_found() {
        let text = "Status: TBD.\n<<<<<<< HEAD\n=======\nstbd tbd_x\n";
        check_rule(
            check,
            &[("a.md", text)],
            &[("a.md:1", "tbd"), ("a.md:2", "merge")],
        );
    }

    #[test]
    fn empty_names_are_found() {
        let files = [
            ("cli/src/utils.rs", ""),
            ("cli/src/common/a.rs", ""),
            ("cli/utility.rs", ""),
        ];
        let expected = [
            ("cli/src/common/a.rs", "`common`"),
            ("cli/src/utils.rs", "`utils`"),
        ];
        check_rule(check, &files, &expected);
    }
}
