//! `tidegate approval`: commands that several people have to sign, each where their key is.
use crate::{
    cluster::Cluster,
    command_file,
    context::Context,
    describe, export,
    failure::{Failure, Kind},
    keys::SecretKeyFile,
    signing,
    terminal::table,
};
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tidegate_client::Proposed;
use tidegate_domain::{
    Command, CommandBody, SignedCommand, command::COMMAND_PAYLOAD_TYPE, id::LogTime, signature,
};
use tidegate_runtime::{Clock, SystemClock};

/// Collects the signatures of a command: offline, in a file that is passed around.
#[derive(Debug, Subcommand)]
pub(crate) enum Approval {
    List(List),
    Sign(Sign),
    Submit(Submit),
}

/// Says what command files ask for and who has signed them. Asks no cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate approval list *.command
  tidegate approval list raise.command --json")]
pub(crate) struct List {
    /// Command files, as --collect writes them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Adds your signature to a command file, after showing in full what it asks for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate approval sign raise.command --key bob.key")]
pub(crate) struct Sign {
    /// The command file; it is replaced by one with your signature.
    file: PathBuf,
    /// Your secret key file; repeat it for several.
    #[arg(
        long = "key",
        required = true,
        value_name = "FILE",
        env = "TIDEGATE_KEY",
        value_delimiter = ','
    )]
    keys: Vec<PathBuf>,
}

/// Sends a command file to the cluster. Safe to repeat: it is applied at most once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate approval submit raise.command")]
pub(crate) struct Submit {
    /// The command file.
    file: PathBuf,
}

impl Approval {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(context),
            Self::Sign(sign) => sign.run(context),
            Self::Submit(submit) => submit.run(context).await,
        }
    }
}

/// A command file that was read and makes sense.
struct Read {
    signed: SignedCommand,
    body: CommandBody,
    command: Command,
}

fn read(file: &Path) -> Result<Read, Failure> {
    let signed = command_file::read(file)?;
    let (body, command) = signed
        .parse()
        .map_err(|error| Failure::refused(format!("{}: {error}", file.display())))?;
    Ok(Read {
        signed,
        body,
        command,
    })
}

impl Read {
    /// Each signer, and whether the signature verifies.
    fn signers(&self) -> impl Iterator<Item = (String, bool)> {
        self.signed.signatures.iter().map(|signature| {
            let verified = signature::verify(signature, COMMAND_PAYLOAD_TYPE, &self.signed.body);
            (signature.key.to_string(), verified.is_ok())
        })
    }

    fn has_expired(&self) -> bool {
        LogTime(SystemClock.wall().0) > self.body.not_after
    }

    fn to_json(&self, file: &Path) -> Json {
        let signers: Vec<Json> = self
            .signers()
            .map(|(key, ok)| json!({ "key": key, "verifies": ok }))
            .collect();
        json!({
            "file": file.display().to_string(),
            "origin": self.body.origin,
            "id": self.body.id.to_string(),
            "epoch": self.body.epoch.0,
            "command": self.command.name(),
            "asks": describe::command(&self.command).to_json(),
            "not_before_ms": self.body.not_before.0,
            "not_after_ms": self.body.not_after.0,
            "expired": self.has_expired(),
            "signatures": signers,
        })
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for file in &self.files {
            let read = read(file)?;
            let bad = read.signers().filter(|(_, ok)| !ok).count();
            let mut signatures = read.signed.signatures.len().to_string();
            if bad > 0 {
                signatures.push_str(&format!(" ({bad} do not verify)"));
            }
            let until = describe::time(read.body.not_after);
            rows.push(vec![
                file.display().to_string(),
                read.command.name().to_owned(),
                read.body.origin.clone(),
                read.body.epoch.to_string(),
                signatures,
                if read.has_expired() {
                    format!("{until} (expired)")
                } else {
                    until
                },
            ]);
            json.push(read.to_json(file));
        }
        let header = [
            "FILE",
            "COMMAND",
            "CLUSTER",
            "EPOCH",
            "SIGNATURES",
            "VALID UNTIL",
        ];
        let mut text = table(&header, &rows);
        if let [file] = self.files.as_slice() {
            let read = read(file)?;
            text.push_str(&format!(
                "\n{}\n",
                describe::command(&read.command).to_text()
            ));
            for (key, verifies) in read.signers() {
                let note = if verifies { "" } else { " (does NOT verify)" };
                text.push_str(&format!("signed by {key}{note}\n"));
            }
        }
        context.terminal.show(text, json!({ "commands": json }));
        Ok(())
    }
}

impl Sign {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let Read {
            mut signed,
            body,
            command,
        } = read(&self.file)?;
        let mut names = Vec::new();
        for path in &self.keys {
            let key = SecretKeyFile::read(path).map_err(Failure::refused)?;
            signed.sign(&key.signing);
            names.push(format!("{} {}", key.role, key.name));
        }
        if !context.terminal.json {
            context.terminal.line(format!(
                "cluster {}, key epoch {}, until {}:\n{}",
                body.origin,
                body.epoch,
                describe::time(body.not_after),
                describe::command(&command).to_text()
            ));
        }
        command_file::replace(&self.file, &signed)?;
        let count = signed.signatures.len();
        let text = format!(
            "{} signed {}; it has {count} signature(s)",
            names.join(" and "),
            self.file.display()
        );
        let json = json!({
            "file": self.file.display().to_string(),
            "signed_by": names,
            "signatures": count,
        });
        context.terminal.show(text, json);
        Ok(())
    }
}

impl Submit {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let read = read(&self.file)?;
        let cluster = context.cluster()?;
        let proposed = match signing::propose(&cluster, &read.signed).await {
            Ok(proposed) => proposed,
            // What stands in the log of an earlier key epoch is refused at the door by now.
            Err(failure) if failure.kind() == Kind::Refused => {
                recorded(&cluster, &read.body).await?.ok_or(failure)?
            }
            Err(failure) => return Err(failure),
        };
        let proposed = signing::accepted(proposed)?;
        let done = format!("{} was accepted", read.command.name());
        let submitted = signing::Submitted::Applied(proposed);
        signing::show(context.terminal, &submitted, &done);
        Ok(())
    }
}

/// What stands in the log for a command that spent its id.
async fn recorded(cluster: &Cluster, body: &CommandBody) -> Result<Option<Proposed>, Failure> {
    let view = cluster.view().await?;
    let Some(spent) = view.state().spent().get(&body.id).copied() else {
        return Ok(None);
    };
    let entry = export::recorded(cluster.client(), spent.index).await?;
    Ok(Some(Proposed {
        index: spent.index,
        outcome: entry.applied.outcome,
        duplicate: true,
        incarnation: view.state().meta().incarnation,
    }))
}
