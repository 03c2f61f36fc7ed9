//! `audit show`.
use crate::{context::Context, describe, failure::Failure, replay::Replay, terminal::Terminal};
use clap::Args;
use serde_json::json;
use std::{ops::Range, path::PathBuf, str::FromStr};
use tidegate_audit_log::{Entry, detached::Commitment, directory::FsDirectory, export::Export};
use tidegate_domain::{Command, Outcome, SignedCommand, id::LogTime};
use tidegate_raft_store::storage::{Asked, AuditBody};

/// Says what entries of an export record: who asked for what, and what came of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate audit show fleet/audit              # all entries, a line each
  tidegate audit show fleet/audit 4711         # one, in full
  tidegate audit show fleet/audit 100..200 --json
  tidegate audit show fleet/audit --kind HaltRollout

Nothing is verified here; `tidegate audit verify` does that.")]
pub(crate) struct Show {
    /// The export.
    directory: PathBuf,
    /// One entry, or a range such as 100..200; else all of them.
    entries: Option<Entries>,
    /// Only commands of this kind, such as RaiseFloor.
    #[arg(long)]
    kind: Option<String>,
}

#[derive(Clone, Debug)]
enum Entries {
    One(u64),
    Range(Range<u64>),
}

impl FromStr for Entries {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| "expected INDEX or FROM..TO".to_owned())
        };
        match text.split_once("..") {
            None => number(text).map(Self::One),
            Some((from, to)) => Ok(Self::Range(number(from)?..number(to)?)),
        }
    }
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let directory = FsDirectory::new(&self.directory);
        let export = Export::new(&directory);
        let checkpoint = export.checkpoint().map_err(Failure::refused)?;
        let claim = checkpoint.unverified_claim();
        let (range, full) = match self.entries.clone() {
            None => (0..claim.size, false),
            Some(Entries::Range(range)) => (range.start..range.end.min(claim.size), false),
            Some(Entries::One(index)) => (index..index + 1, true),
        };
        for index in range {
            let bytes = export.entry(index, claim.size).map_err(Failure::refused)?;
            let entry = Entry::parse(&bytes).map_err(Failure::refused)?;
            let body = body_of(&export, &entry)?;
            self.show(context.terminal, &entry, body.as_deref(), full);
        }
        Ok(())
    }

    fn show(&self, terminal: Terminal, entry: &Entry<'_>, body: Option<&[u8]>, full: bool) {
        let recorded = body.map(AuditBody::from_bytes).and_then(Result::ok);
        let (kind, command) = asked(entry, recorded.as_ref());
        if self.kind.as_ref().is_some_and(|wanted| *wanted != kind) {
            return;
        }
        let header = &entry.header;
        let outcome = recorded.as_ref().map(|recorded| &recorded.applied.outcome);
        let (word, details) = match outcome {
            Some(Outcome::Accepted(events)) => {
                let state = Replay::new("", None);
                let events = events
                    .iter()
                    .map(|event| describe::event(state.state(), event));
                ("accepted", events.collect::<Vec<_>>())
            }
            Some(Outcome::Rejected(rejection)) => ("rejected", vec![rejection.to_string()]),
            None => ("opaque", Vec::new()),
        };
        if terminal.json {
            terminal.line(json!({
                "index": header.index,
                "log_time_ms": header.t_ms,
                "key_epoch": header.key_epoch,
                "raft_term": header.raft_term,
                "kind": kind,
                "outcome": word,
                "details": details,
                "signers": signers(recorded.as_ref()),
                "asks": command.map(|command| describe::command(&command).to_json()),
            }));
            return;
        }
        let time = describe::time(LogTime(header.t_ms));
        let mut line = format!("{:>8}  {time}  {word:8}  {kind}", header.index);
        if let Some(first) = details.first() {
            let more = details.len() - 1;
            line.push_str(&format!("  {first}"));
            if more > 0 && !full {
                line.push_str(&format!(" (and {more} more)"));
            }
        }
        if full {
            for detail in details.iter().skip(1) {
                line.push_str(&format!("\n          {detail}"));
            }
            for signer in signers(recorded.as_ref()) {
                line.push_str(&format!("\n          signed by {signer}"));
            }
            if let Some(command) = command {
                let asks = describe::command(&command).to_text();
                line.push_str(&format!("\nasked to {asks}"));
            }
        }
        terminal.line(line);
    }
}

fn body_of(
    export: &Export<'_, FsDirectory>,
    entry: &Entry<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    if !entry.header.detached {
        return Ok(Some(entry.body.to_vec()));
    }
    let commitment = Commitment::decode(entry.body).map_err(Failure::refused)?;
    let detached = export.detached(&commitment).map_err(Failure::refused)?;
    Ok(detached.map(|detached| detached.body().to_vec()))
}

fn signed(recorded: Option<&AuditBody>) -> Option<SignedCommand> {
    match &recorded?.asked {
        Asked::Command(command) => SignedCommand::from_bytes(command).ok(),
        Asked::Oversized { .. } | Asked::Membership(_) => None,
    }
}

fn signers(recorded: Option<&AuditBody>) -> Vec<String> {
    let signed = signed(recorded);
    let signatures = signed.iter().flat_map(|signed| &signed.signatures);
    signatures
        .map(|signature| signature.key.to_string())
        .collect()
}

fn asked(entry: &Entry<'_>, recorded: Option<&AuditBody>) -> (String, Option<Command>) {
    let command = signed(recorded).and_then(|signed| signed.parse().ok());
    if let Some((_, command)) = command {
        return (command.name().to_owned(), Some(command));
    }
    let name = match recorded.map(|recorded| &recorded.asked) {
        Some(Asked::Membership(_)) => "Membership".to_owned(),
        _ => format!("kind {:#06x}", entry.header.kind.0),
    };
    (name, None)
}
