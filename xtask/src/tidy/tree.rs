//! The files under check, read once.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Text files by path, relative to the workspace, separated by `/`.
pub(super) struct Tree {
    files: BTreeMap<String, String>,
}

/// Files that hold code: their sizes and origins are checked, data and prose are not.
const CODE: [&str; 8] = [".rs", ".proto", ".py", ".sh", ".js", ".ts", ".css", ".html"];

impl Tree {
    /// What git tracks or would track; binary files are left out.
    pub(super) fn of_git() -> Result<Self> {
        let args = [
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ];
        let output = Command::new("git")
            .args(args)
            .output()
            .context("cannot start git")?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`git ls-files` failed:\n{why}");
        let list = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
        let mut files = BTreeMap::new();
        for path in list.split_terminator('\0') {
            match std::fs::read(path) {
                Ok(bytes) => {
                    if let Ok(text) = String::from_utf8(bytes) {
                        files.insert(path.to_owned(), text);
                    }
                }
                // Deleted in the working tree, not yet in the index.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
            }
        }
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn made_up(files: &[(&str, &str)]) -> Self {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Self {
            files: files.iter().map(own).collect(),
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(super) fn ending(&self, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(move |(path, _)| path.ends_with(suffix))
    }

    pub(super) fn code(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter()
            .filter(|(path, _)| CODE.iter().any(|suffix| path.ends_with(suffix)))
    }

    /// Whether a file or a folder with files in it stands at `path`.
    pub(super) fn holds(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains_key(path)
            || self
                .files
                .range(folder.clone()..)
                .next()
                .is_some_and(|(p, _)| p.starts_with(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_files_and_their_folders() {
        let tree = Tree::made_up(&[("docs/adr/0001-x.md", ""), ("docs.rs", "")]);
        for path in ["", "docs", "docs/", "docs/adr", "docs/adr/0001-x.md"] {
            assert!(tree.holds(path), "{path}");
        }
        for path in ["doc", "docs/ad", "docs/adr/0001-x"] {
            assert!(!tree.holds(path), "{path}");
        }
    }
}
