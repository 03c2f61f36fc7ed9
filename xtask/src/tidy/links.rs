//! Links between documents lead somewhere. Links to other sites are left to readers: CI is offline.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.ending(".md")
        .flat_map(|(path, text)| dead_links(tree, path, text))
        .collect()
}

fn dead_links(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let link = |(event, range): (Event<'_>, std::ops::Range<usize>)| {
        let Event::Start(Tag::Link { dest_url: to, .. } | Tag::Image { dest_url: to, .. }) = event
        else {
            return None;
        };
        let why = fault(tree, path, &to)?;
        let line = text[..range.start].matches('\n').count() + 1;
        Some(Finding::at(path, line, format!("link to {to}: {why}")))
    };
    Parser::new(text)
        .into_offset_iter()
        .filter_map(link)
        .collect()
}

/// Why a link found in the document at `from` leads nowhere, if it does.
fn fault(tree: &Tree, from: &str, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = link
        .split_once('#')
        .map_or((link, None), |(f, h)| (f, Some(h)));
    let target = if file.is_empty() {
        Some(from.to_owned())
    } else {
        resolve(from, file)
    };
    let Some(target) = target else {
        return Some("outside the tree");
    };
    if !tree.holds(&target) {
        return Some("no such file");
    }
    let document = tree.get(&target).filter(|_| target.ends_with(".md"));
    match (heading, document) {
        (Some(heading), Some(text)) if !anchors(text).contains(heading) => {
            Some("no such heading there")
        }
        _ => None,
    }
}

/// The path from the workspace's root, or none when the link leaves it.
fn resolve(from: &str, link: &str) -> Option<String> {
    if link.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The anchors that code hosts give to a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let repeated = (1..).map(|n| format!("{slug}-{n}"));
                let mut names = std::iter::once(slug.clone()).chain(repeated);
                anchors.extend(names.find(|name| !anchors.contains(name)));
            }
            _ => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .to_lowercase()
        .chars()
        .filter(kept)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check as check_rule;

    const TARGET: &str = "# One: `two` three\n## Again\n## Again\n";

    fn from_docs(text: &str, expected: &[(&str, &str)]) {
        let files = [
            ("docs/a.md", text),
            ("docs/adr/b.md", TARGET),
            ("README.md", "[x](docs)"),
        ];
        check_rule(check, &files, expected);
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        from_docs(
            "# Here\n[b](adr/b.md) [r](../README.md) [f](adr/) [h](#here) [s](https://x.org/y)\n\
             [1](adr/b.md#one-two-three) [2](./adr/b.md#again-1)\n`[not](a-link.md)`\n",
            &[],
        );
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let text = "[1](adr/c.md)\n[2](../../x.md)\n[3](/docs/a.md)\n[4](adr/b.md#two)\n![5](p.png)\n[6](#no)\n";
        let expected = [
            ("docs/a.md:1", "no such file"),
            ("docs/a.md:2", "outside the tree"),
            ("docs/a.md:3", "outside the tree"),
            ("docs/a.md:4", "no such heading"),
            ("docs/a.md:5", "no such file"),
            ("docs/a.md:6", "no such heading"),
        ];
        from_docs(text, &expected);
    }
}
