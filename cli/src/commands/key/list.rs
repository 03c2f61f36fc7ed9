//! `key list`.
use crate::{
    context::Context,
    describe,
    failure::Failure,
    keys::{PublicKeyFile, SecretKeyFile},
    terminal::{Tone, table},
};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use tidegate_domain::{
    State,
    key::{KeyStatus, Role},
};

/// Lists the keys that the cluster trusts, or what stands in key files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate key list
  tidegate key list *.pub alice.key      # what these files hold; asks no cluster")]
pub(crate) struct List {
    /// Key files, secret or public; none asks the cluster.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.files.is_empty() {
            show_trusted(context, context.view().await?.state());
            return Ok(());
        }
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for file in &self.files {
            let key = read_either(file)?;
            rows.push(vec![
                key.role.to_string(),
                key.name.to_string(),
                key.key.to_string(),
                file.display().to_string(),
            ]);
            json.push(json!({
                "role": key.role.name(),
                "name": key.name.as_str(),
                "key": key.key.to_string(),
                "file": file.display().to_string(),
            }));
        }
        let text = table(&["ROLE", "NAME", "KEY", "FILE"], &rows);
        context.terminal.show(text, json!({ "keys": json }));
        Ok(())
    }
}

/// The public key of a file, whether it is a public or a secret key file.
pub(crate) fn read_either(file: &Path) -> Result<PublicKeyFile, Failure> {
    if file.extension().is_some_and(|extension| extension == "pub") {
        return PublicKeyFile::read(file).map_err(Failure::refused);
    }
    match SecretKeyFile::read(file) {
        Ok(secret) => Ok(secret.public()),
        Err(error) => PublicKeyFile::read(file).map_err(|_| Failure::refused(error)),
    }
}

fn show_trusted(context: &Context, state: &State) {
    let terminal = context.terminal;
    let keys = state.keys();
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for role in Role::ALL {
        let Some(of_role) = keys.role(role) else {
            continue;
        };
        for (key, entry) in &of_role.keys {
            let status = describe::key_status(entry.status);
            let tone = match entry.status {
                KeyStatus::Trusted => Tone::Good,
                KeyStatus::Retired => Tone::Faint,
                KeyStatus::Revoked => Tone::Bad,
            };
            rows.push(vec![
                role.to_string(),
                format!("{} of {}", of_role.threshold, of_role.trusted()),
                entry.name.to_string(),
                terminal.paint(tone, status),
                entry.since.to_string(),
                key.to_string(),
            ]);
            json.push(json!({
                "role": role.name(),
                "threshold": of_role.threshold,
                "name": entry.name.as_str(),
                "status": status,
                "since_epoch": entry.since.0,
                "key": key.to_string(),
            }));
        }
    }
    let header = ["ROLE", "QUORUM", "NAME", "STATUS", "SINCE EPOCH", "KEY"];
    let text = format!("key epoch {}\n{}", keys.epoch, table(&header, &rows));
    terminal.show(text, json!({ "epoch": keys.epoch.0, "keys": json }));
}
