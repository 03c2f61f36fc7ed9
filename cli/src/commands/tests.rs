//! What holds for every command: it is there, its examples are commands, and it says why.
use super::CommandLine;
use clap::{Command, CommandFactory, Parser};

/// The commands that people were promised.
const PROMISED: &str = "
serve, decide, init, checkin, demo, fleet simulate, completions, stop, lift,
key new, key list, key rotate, key revoke,
release sign, release register, release list, release show, release revoke,
rollout validate, rollout schema, rollout plan, rollout apply, rollout list, rollout show,
rollout watch, rollout why, rollout approve, rollout start, rollout amend, rollout pause,
rollout resume, rollout halt, rollout rollback, rollout complete, rollout advance,
rollout exclude, rollout expedite,
variant register, variant list, policy set, policy list, device why, device hold, baseline list,
approval list, approval sign, approval submit, budget list, budget writeoff, channel list, channel register,
floor raise, floor recovery, floor list,
audit export, audit verify, audit prove, audit show,
cluster status, cluster config show, cluster config set, cluster raise-version";

/// Commands that stop something, let it go on, or go over somebody's head: the log says why.
const WITH_REASON: [&str; 13] = [
    "stop",
    "lift",
    "key revoke",
    "release revoke",
    "rollout pause",
    "rollout resume",
    "rollout halt",
    "rollout rollback",
    "rollout advance",
    "rollout exclude",
    "rollout expedite",
    "budget writeoff",
    "floor raise",
];

/// Every command that does something, with its path.
fn leaves() -> Vec<(String, Command)> {
    fn walk(path: &str, command: &Command, leaves: &mut Vec<(String, Command)>) {
        let mut below = command
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
            .peekable();
        if below.peek().is_none() {
            leaves.push((path.to_owned(), command.clone()));
        }
        for command in below {
            let path = format!("{path} {}", command.get_name());
            walk(path.trim_start(), command, leaves);
        }
    }
    let mut leaves = Vec::new();
    // Building passes the global options on to every command.
    let mut root = CommandLine::command();
    root.build();
    walk("", &root, &mut leaves);
    leaves
}

#[test]
fn every_command_that_was_promised_is_there_and_no_other() {
    let mut promised: Vec<String> = PROMISED
        .split(',')
        .map(|path| path.trim().to_owned())
        .collect();
    promised.sort();
    let mut found: Vec<String> = leaves().into_iter().map(|(path, _)| path).collect();
    found.sort();
    assert_eq!(found, promised);
}

#[test]
fn every_command_takes_json_and_says_what_it_is_for() {
    for (path, command) in leaves() {
        let json = command.get_arguments().any(|arg| arg.get_id() == "json");
        assert!(json, "{path} takes no --json");
        assert!(command.get_about().is_some(), "{path} says nothing");
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{path}: {id} says nothing");
        }
    }
}

#[test]
fn what_stops_lifts_or_overrides_takes_a_reason() {
    let mut with_reason = Vec::new();
    for (path, command) in leaves() {
        let mut arguments = command.get_arguments();
        if let Some(reason) = arguments.find(|arg| arg.get_id() == "reason") {
            assert!(reason.is_required_set(), "{path} goes without a reason");
            with_reason.push(path);
        }
    }
    for path in WITH_REASON {
        assert!(with_reason.iter().any(|p| p == path), "{path}: no --reason");
    }
}

#[test]
fn every_example_is_a_command_line() {
    for (path, command) in leaves() {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let examples = lines(&help);
        let own = format!("tidegate {path}");
        assert!(
            examples.iter().any(|line| line.starts_with(&own)),
            "{path} shows no example:\n{help}"
        );
        for line in examples {
            if let Err(error) = CommandLine::try_parse_from(words(&line)) {
                panic!("{path}: {line}\n{error}");
            }
        }
    }
    for line in lines(super::AFTER_HELP) {
        assert!(CommandLine::try_parse_from(words(&line)).is_ok(), "{line}");
    }
}

/// The command lines of a help text, without what they are set out with.
fn lines(help: &str) -> Vec<String> {
    let joined = help.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| {
        let line = line.trim();
        let from = line.starts_with("tidegate ").then_some(0);
        // Variables may stand before the command.
        let from = from.or_else(|| {
            line.starts_with("RUST_LOG=")
                .then(|| line.find("tidegate "))?
        });
        from.and_then(|from| line.get(from..)).map(str::to_owned)
    });
    lines.collect()
}

/// The words of a line as a shell takes it: quotes, and neither comment nor redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            '#' | '>' if !quoted && word.is_empty() => break,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
