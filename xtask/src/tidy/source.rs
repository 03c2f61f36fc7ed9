//! What Rust code must not say: unfinished work, and what the simulator cannot repeat.

use super::Finding;
use super::ratchet;
use super::tokens::{self, Token};
use super::tree::Tree;
use super::words::NAMES_WHAT_IT_FORBIDS;

/// Code that stands for code that is missing.
const UNFINISHED: [(&[&str], &str); 3] = [
    (&["todo", "!"], "`todo!` is a promise, not code"),
    (
        &["unimplemented", "!"],
        "`unimplemented!` is a promise, not code",
    ),
    (
        &["#", "[", "ignore"],
        "an ignored test shows nothing: make it run, or remove it",
    ),
];

/// Real clocks, threads and files. They go through `tidegate-runtime`, so that a seed decides.
const REAL: [&[&str]; 5] = [
    &["SystemTime", "::", "now"],
    &["Instant", "::", "now"],
    &["std", "::", "thread"],
    &["thread", "::", "spawn"],
    &["tokio", "::", "fs"],
];

/// In code that runs in the simulator: the real disk, and a channel whose wake order no seed gives.
const LEAKS: [&[&str]; 2] = [&["std", "::", "fs"], &["sync", "::", "watch"]];

/// Folders that never run in the simulator as a whole.
const NEVER_SIMULATED: [&str; 3] = ["bench/", "xtask/", "jepsen/"];
/// Crates that run in the simulator unmodified.
const SIMULATED: [&str; 9] = [
    "mutant/",
    "domain/",
    "audit-log/",
    "proto/",
    "runtime/",
    "client/",
    "raft-store/",
    "decision/",
    "sim/",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    // A ratchet that does not parse is reported once, by the rule about sizes.
    let ratchet = ratchet::load(tree).unwrap_or_default();
    let mut findings = Vec::new();
    let mut exceptions_used = Vec::new();
    for (path, text) in tree.ending(".rs") {
        findings.extend(unexplained_todos(path, text));
        let tokens = match tokens::of(text) {
            Ok(tokens) => tokens,
            Err(line) => {
                findings.push(Finding::at(path, line, "does not read as Rust"));
                continue;
            }
        };
        findings.extend(unfinished(path, &tokens));
        if SIMULATED.iter().any(|folder| path.starts_with(folder)) {
            findings.extend(unbiased_selects(path, &tokens));
        }
        let real = real_world(path, &tokens);
        match ratchet
            .outside_simulator
            .keys()
            .find(|entry| covers(entry, path))
        {
            Some(entry) if !real.is_empty() => exceptions_used.push(entry),
            _ => findings.extend(real),
        }
    }
    let unused = ratchet
        .outside_simulator
        .keys()
        .filter(|entry| !exceptions_used.contains(entry));
    findings.extend(unused.map(|entry| {
        Finding::file(
            ratchet::PATH,
            format!("{entry} needs no exception any more: remove it"),
        )
    }));
    findings
}

/// An entry covers itself, or all below it when it ends in `/`.
fn covers(entry: &str, path: &str) -> bool {
    path == entry || (entry.ends_with('/') && path.starts_with(entry))
}

fn unfinished(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let found = |(pattern, message): &(&'static [&str], &str)| {
        let at = |place: usize| Finding::at(path, tokens[place].line, *message);
        tokens::find(tokens, pattern).map(at).collect::<Vec<_>>()
    };
    UNFINISHED.iter().flat_map(found).collect()
}

/// Without `biased;` the branch is drawn from a generator that no seed reaches.
fn unbiased_selects(path: &str, tokens: &[Token]) -> Vec<Finding> {
    tokens::find(tokens, &["select", "!"])
        .filter(|place| {
            tokens
                .get(place + 3)
                .is_none_or(|first| first.text != "biased")
        })
        .map(|place| {
            Finding::at(
                path,
                tokens[place].line,
                "`select!` must begin with `biased;`",
            )
        })
        .collect()
}

fn real_world(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let outside = NEVER_SIMULATED
        .iter()
        .any(|folder| path.starts_with(folder));
    if outside || path.contains("/benches/") {
        return Vec::new();
    }
    let simulated = SIMULATED.iter().any(|folder| path.starts_with(folder));
    let leaks = match simulated && path.contains("/src/") {
        true => &LEAKS[..],
        false => &[],
    };
    let found = |pattern: &&'static [&str]| {
        let name = pattern.concat();
        let message = format!(
            "`{name}` is outside the simulator: use tidegate-runtime, or give this file a reason \
             under [outside-simulator] in {}",
            ratchet::PATH
        );
        let at = |place: usize| Finding::at(path, tokens[place].line, message.clone());
        tokens::find(tokens, pattern).map(at).collect::<Vec<_>>()
    };
    REAL.iter().chain(leaks).flat_map(found).collect()
}

/// A mark for later says why it waits: `TODO(reason)`.
fn unexplained_todos(path: &str, text: &str) -> Vec<Finding> {
    if path.starts_with(NAMES_WHAT_IT_FORBIDS) {
        return Vec::new();
    }
    let unexplained = |line: &str| {
        let Some((_, comment)) = line.split_once("//") else {
            return false;
        };
        ["TODO", "FIXME", "XXX"].iter().any(|mark| {
            comment.split_once(mark).is_some_and(|(_, rest)| {
                let reason = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
                reason.is_none_or(|(reason, _)| reason.trim().is_empty())
            })
        })
    };
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| unexplained(line));
    let found = |(number, _)| Finding::at(path, number + 1, "why does it wait? `TODO(reason)`");
    lines.map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check as check_rule;

    #[test]
    fn unfinished_code_is_found_but_not_its_name_in_a_string() {
        let code = "fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n#[ignore = \"slow\"]\nfn h() { p(\"todo!\"); }\n";
        let expected = [
            ("cli/a.rs:1", "todo"),
            ("cli/a.rs:2", "unimpl"),
            ("cli/a.rs:3", "ignored"),
        ];
        check_rule(check, &[("cli/a.rs", code)], &expected);
    }

    #[test]
    fn a_mark_for_later_needs_a_reason() {
        let code = "// TODO: later\n// TODO(waits for redb 5) shrink\n// FIXME()\nf(\"TODO\");\n";
        check_rule(
            check,
            &[("a.rs", code)],
            &[("a.rs:1", "reason"), ("a.rs:3", "reason")],
        );
    }

    #[test]
    fn simulated_crates_select_in_a_fixed_order() {
        let code = "async fn f() {\n tokio::select! { biased; _ = a => {} }\n select! {\n  _ = a => {}\n }\n}\n";
        check_rule(
            check,
            &[("decision/src/a.rs", code)],
            &[("decision/src/a.rs:3", "biased")],
        );
        check_rule(check, &[("cli/src/a.rs", code)], &[]);
    }

    #[test]
    fn real_clocks_threads_and_files_need_an_exception() {
        let uses = [
            "fn f() { SystemTime::now(); }",
            "fn f() { std::time::Instant::now(); }",
            "use std::thread;",
            "use std::{thread}; fn f() { thread::spawn(g); }",
            "use tokio::fs::File;",
        ];
        for code in uses {
            check_rule(
                check,
                &[("runtime/src/a.rs", code)],
                &[("runtime/src/a.rs:1", "outside")],
            );
            for path in ["xtask/src/a.rs", "decision/benches/engine.rs"] {
                check_rule(check, &[(path, code)], &[]);
            }
        }
    }

    #[test]
    fn simulated_code_has_no_real_files_and_no_channel_of_unknown_order() {
        for code in ["use std::fs::File;", "use tokio::sync::watch;"] {
            let path = "raft-store/src/a.rs";
            check_rule(
                check,
                &[(path, code)],
                &[("raft-store/src/a.rs:1", "outside")],
            );
            for path in ["raft-store/tests/a.rs", "cli/src/a.rs"] {
                check_rule(check, &[(path, code)], &[]);
            }
        }
    }

    #[test]
    fn exceptions_cover_files_and_folders_and_go_when_unused() {
        let code = "fn f() { Instant::now(); }";
        let entries = "[outside-simulator]\n\"cli/src/term/\" = \"a terminal\"\n\"runtime/src/real.rs\" = \"the seam\"\n\"decision/src/old.rs\" = \"?\"\n";
        let files = [
            ("cli/src/term/a.rs", code),
            ("cli/src/terminal.rs", code),
            ("runtime/src/real.rs", code),
            ("decision/src/old.rs", "fn f() {}"),
            (ratchet::PATH, entries),
        ];
        let expected = [
            ("cli/src/terminal.rs:1", "Instant::now"),
            (ratchet::PATH, "decision/src/old.rs needs no exception"),
        ];
        check_rule(check, &files, &expected);
    }

    #[test]
    fn a_file_that_is_not_rust_is_reported() {
        check_rule(
            check,
            &[("a.rs", "fn f() {\n}}\n")],
            &[("a.rs:2", "does not read as Rust")],
        );
    }
}
