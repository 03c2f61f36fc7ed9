//! `audit verify`.
use crate::{
    commands::key::read_either,
    context::Context,
    failure::{Failure, Kind},
    replay::Replay,
    terminal::{Terminal, Tone},
};
use clap::Args;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tidegate_audit_log::{
    Policy, Report, SignedCheckpoint,
    directory::FsDirectory,
    export::Export,
    verify::{AllOpaque, BodyVerifier, Known, Options, verify},
};
use tidegate_domain::{id::PublicKey, key::Role};

/// Verifies an export offline: every hash, every signature, and every outcome by applying the log
/// again. Exits with 0 if all of it holds, with 1 and the first bad place if not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate audit verify fleet/audit
  tidegate audit verify fleet/audit -p my-policy                  # authentic, not only consistent
  tidegate audit verify fleet/audit -p my-policy --root root-1.pub --root root-2.pub
  tidegate audit verify fleet/audit --known last-months-checkpoint -p my-policy

Without a policy of your own, an export can only be found self-consistent: it vouches for itself.")]
pub(crate) struct Verify {
    /// The export: a directory with `checkpoint` and `tile/`.
    directory: PathBuf,
    /// Whose signatures you believe.
    #[arg(short, long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Public key file of a root key of epoch 1; repeat it for all of them.
    #[arg(long = "root", value_name = "FILE")]
    roots: Vec<PathBuf>,
    /// A checkpoint of this log that you have from elsewhere: an older one must be a part of the
    /// export, and an export that ends before a newer one is truncated.
    #[arg(long, value_name = "FILE", requires = "policy")]
    known: Vec<PathBuf>,
    /// Accept that large bodies are absent: they may have been erased.
    #[arg(long)]
    allow_absent: bool,
    /// Check hashes and signatures of the log only; do not apply the commands again.
    #[arg(long, conflicts_with = "roots")]
    hashes_only: bool,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal;
        if !self.directory.is_dir() {
            let what = format!("{} is no directory", self.directory.display());
            return Err(
                Failure::usage(what).next("name an export; `tidegate audit export` makes one")
            );
        }
        let directory = FsDirectory::new(&self.directory);
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let known = self.known(policy.as_ref())?;
        // What the checkpoint claims is checked by the verifier; here it sizes the progress bar
        // and names the cluster.
        let claim = Export::new(&directory).checkpoint().ok();
        let claim = claim.map(|signed| signed.unverified_claim().clone());
        let bar = terminal.bar(
            "verifying",
            claim.as_ref().map_or(0, |claim| claim.size),
            "entries",
        );
        let progress = |entries| bar.set_position(entries);
        let options = Options {
            policy: policy.as_ref(),
            known: &known,
            allow_absent_detached: self.allow_absent,
            progress: Some(&progress),
        };
        let mut replay = match (&claim, self.hashes_only) {
            (Some(claim), false) => Some(Replay::new(claim.origin.as_str(), self.roots()?)),
            _ => None,
        };
        let bodies: &mut dyn BodyVerifier = match &mut replay {
            Some(replay) => replay,
            None => &mut AllOpaque,
        };
        let report = verify(&directory, &options, bodies);
        bar.finish_and_clear();
        let report = report.map_err(|error| {
            Failure::refused(format!("the export cannot be read: {error}"))
                .next("this says nothing about the log; read the disk's own messages")
        })?;
        show(terminal, &self.directory, &report, replay.as_ref())
    }

    fn roots(&self) -> Result<Option<Vec<PublicKey>>, Failure> {
        if self.roots.is_empty() {
            return Ok(None);
        }
        let key = |file: &PathBuf| {
            let key = read_either(file)?;
            match key.role {
                Role::Root => Ok(key.key),
                role => Err(Failure::usage(format!(
                    "{} is a key of role {role}, not root",
                    file.display()
                ))),
            }
        };
        self.roots
            .iter()
            .map(key)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn known(&self, policy: Option<&Policy>) -> Result<Vec<Known>, Failure> {
        let Some(policy) = policy else {
            return Ok(Vec::new());
        };
        let one = |file: &PathBuf| {
            let bytes = read(file)?;
            let refused =
                |why: String| Failure::refused(format!("checkpoint {}: {why}", file.display()));
            let signed =
                SignedCheckpoint::parse(&bytes).map_err(|error| refused(error.to_string()))?;
            let verified = policy
                .verify(&signed)
                .map_err(|error| refused(error.to_string()))?;
            Ok(Known {
                checkpoint: verified.into_inner(),
                proof: None,
            })
        };
        self.known.iter().map(one).collect()
    }
}

/// Reads an auditor's policy.
pub(super) fn read_policy(file: &Path) -> Result<Policy, Failure> {
    let bytes = read(file)?;
    Policy::parse(&bytes).map_err(|error| {
        Failure::usage(format!("policy {}: {error}", file.display()))
            .next("docs/formats.md describes policy files")
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}

fn show(
    terminal: Terminal,
    directory: &Path,
    report: &Report,
    replay: Option<&Replay>,
) -> Result<(), Failure> {
    let json = to_json(report, replay);
    if report.ok {
        terminal.show(good(terminal, directory, report, replay), json);
        return Ok(());
    }
    let first_bad = report.first_bad.as_ref();
    let what = first_bad.map_or_else(|| "it does not hold".to_owned(), ToString::to_string);
    let what = format!(
        "{} does not hold: {what}\n  {} entries before it are good",
        directory.display(),
        first_bad.map_or(0, |bad| bad.index)
    );
    if terminal.json {
        terminal.line(format!("{json:#}"));
        terminal.note(format!("error: {what}"));
        return Err(Failure::reported(Kind::Refused));
    }
    Err(Failure::refused(what).next("ask for another copy, and keep this one: it is evidence"))
}

fn good(terminal: Terminal, directory: &Path, report: &Report, replay: Option<&Replay>) -> String {
    let origin = report.origin.as_deref().unwrap_or("?");
    let name = directory.display();
    let mut text = if report.authentic {
        let words = terminal.paint(Tone::Good, "authentic");
        format!("{name} is {words}: {} entries of {origin}", report.entries)
    } else {
        let words = terminal.paint(Tone::Warning, "self-consistent, not shown to be authentic");
        format!(
            "{name} is {words}: {} entries of {origin}\n  it vouches for itself with its own keys; say -p POLICY with keys that you have from elsewhere",
            report.entries
        )
    };
    if report.cosigners.is_empty() {
        let line = "\n  cosigned by nobody, for the policy asks for nobody: it rests on the log's key alone";
        text.push_str(&terminal.paint(Tone::Warning, line));
    } else {
        text.push_str(&format!("\n  cosigned by {}", report.cosigners.join(", ")));
    }
    if let Some(replay) = replay {
        text.push_str(&format!(
            "\n  {} commands were applied again, with the same outcomes; key epoch {}",
            replay.applied(),
            replay.state().keys().epoch
        ));
        if let Some(why) = replay.stopped() {
            let line = format!("\n  not applied any further: {why}");
            text.push_str(&terminal.paint(Tone::Warning, line));
        }
    }
    for opaque in &report.opaque {
        text.push_str(&format!(
            "\n  {} entries of kind {:#06x} were not looked into",
            opaque.entries, opaque.kind.0
        ));
    }
    if report.detached.absent > 0 {
        text.push_str(&format!(
            "\n  {} large bodies are absent",
            report.detached.absent
        ));
    }
    text
}

fn to_json(report: &Report, replay: Option<&Replay>) -> Json {
    let first_bad = report.first_bad.as_ref();
    json!({
        "ok": report.ok,
        "entries": report.entries,
        "first_bad": first_bad.map(|bad| bad.index),
        "first_bad_file": first_bad.and_then(|bad| bad.file.clone()),
        "problem": first_bad.map(|bad| bad.what.to_string()),
        "authentic": report.authentic,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.map(|root| hex::encode(root.0)),
        "cosigners": report.cosigners,
        "commands_applied": replay.map(Replay::applied),
        "not_applied_because": replay.and_then(Replay::stopped),
        "absent_bodies": report.detached.absent,
    })
}
