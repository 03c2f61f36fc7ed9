//! `xtask/tidy-ratchet.toml`: the exceptions, which may only become fewer and smaller.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Finding;
use super::tree::Tree;

pub(super) const PATH: &str = "xtask/tidy-ratchet.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Ratchet {
    /// Files over the aim, with the lines that they may have.
    #[serde(default)]
    pub(super) lines: BTreeMap<String, usize>,
    /// Files, or folders ending in `/`, that may touch real clocks, threads and files, each with
    /// its reason.
    #[serde(default)]
    pub(super) outside_simulator: BTreeMap<String, String>,
}

/// Reads the exceptions; without the file there are none.
pub(super) fn load(tree: &Tree) -> Result<Ratchet, Finding> {
    let Some(text) = tree.get(PATH) else {
        return Ok(Ratchet::default());
    };
    toml::from_str(text).map_err(|error| {
        let before = text
            .get(..error.span().map_or(0, |span| span.start))
            .unwrap_or("");
        Finding::at(PATH, before.matches('\n').count() + 1, error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_table_is_refused_with_its_line() {
        let tree = Tree::made_up(&[(PATH, "[lines]\n\n[line]\n\"a.rs\" = 500\n")]);
        let finding = load(&tree).unwrap_err();
        assert_eq!(finding.line, 3, "{finding}");
        assert!(
            finding.message.contains("unknown field `line`"),
            "{finding}"
        );
    }
}
