//! Every scenario that we ship has a runbook page of its name, every page rehearses a scenario that
//! there is, and a page says what a tired reader needs, in order.

use super::Finding;
use super::tree::Tree;

const SCENARIOS: &str = "sim/scenarios/";
const PAGES: &str = "docs/runbooks/";
/// The page that lists the others.
const INDEX: &str = "README";
const PARTS: [&str; 5] = [
    "## Symptom",
    "## Confirm",
    "## Action",
    "## What not to do",
    "## Way back",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let scenarios = names(tree, SCENARIOS, ".yaml");
    let pages = names(tree, PAGES, ".md");
    let mut findings = Vec::new();
    for (name, path) in &scenarios {
        if !pages.iter().any(|(page, _)| page == name) {
            findings.push(Finding::file(path, format!("has no page {PAGES}{name}.md")));
        }
    }
    for (name, path) in pages.iter().filter(|(name, _)| *name != INDEX) {
        if !scenarios.iter().any(|(scenario, _)| scenario == name) {
            let message = format!("rehearses nothing: there is no {SCENARIOS}{name}.yaml");
            findings.push(Finding::file(path, message));
        }
        findings.extend(gaps(path, tree.get(path).unwrap_or(""), name));
    }
    findings
}

/// Names and paths of the files of a kind in a folder.
fn names<'a>(tree: &'a Tree, folder: &str, suffix: &str) -> Vec<(&'a str, &'a str)> {
    let files = tree.iter().filter_map(|(path, _)| {
        let name = path.strip_prefix(folder)?.strip_suffix(suffix)?;
        Some((name, path))
    });
    files.collect()
}

fn gaps(path: &str, text: &str, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let command = format!("chaos run --scenario {name}");
    if !text.contains(&command) {
        findings.push(Finding::file(
            path,
            format!("does not name its rehearsal, `{command}`"),
        ));
    }
    let mut lines = text.lines();
    for part in PARTS {
        if !lines.any(|line| line == part) {
            findings.push(Finding::file(path, format!("lacks `{part}` in its place")));
            break;
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::check as expect;
    use super::*;

    const PAGE: &str = "# A\n`cargo xtask chaos run --scenario lost-node`\n## Symptom\n## Confirm\n\
                        ## Action\n## What not to do\n## Way back\n";

    #[test]
    fn scenarios_and_pages_go_in_pairs() {
        let scenario = ("sim/scenarios/lost-node.yaml", "");
        let page = ("docs/runbooks/lost-node.md", PAGE);
        let index = ("docs/runbooks/README.md", "");
        expect(check, &[scenario, page, index], &[]);
        let alone = [(
            "sim/scenarios/lost-node.yaml",
            "has no page docs/runbooks/lost-node.md",
        )];
        expect(check, &[scenario], &alone);
        let nothing = [("docs/runbooks/lost-node.md", "rehearses nothing")];
        expect(check, &[page], &nothing);
    }

    #[test]
    fn a_page_has_all_parts_in_order_and_its_rehearsal() {
        let scenario = ("sim/scenarios/lost-node.yaml", "");
        let path = "docs/runbooks/lost-node.md";
        let swapped = PAGE.replace("## Action\n", "") + "## Action\n";
        let lacks = [(path, "lacks `## What not to do`")];
        expect(check, &[scenario, (path, &swapped)], &lacks);
        let other = PAGE.replace("--scenario lost-node", "--scenario slow-disk");
        expect(
            check,
            &[scenario, (path, &other)],
            &[(path, "does not name its rehearsal")],
        );
    }
}
