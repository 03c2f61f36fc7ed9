//! `key new`.
use crate::{
    context::Context,
    failure::Failure,
    keys::{self, PublicKeyFile, SecretKeyFile},
};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use tidegate_domain::{id::KeyName, key::Role};
use tidegate_runtime::{Entropy, SystemEntropy};

/// Makes a key: a secret file that only you can read, and a public one to pass on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate key new --role operator --name alice alice.key
  tidegate key new --role root --name root-1 /media/usb/root-1.key

The public half stands in FILE.pub. The cluster trusts no key until a rotation names it:
`tidegate key rotate --help`.")]
pub(crate) struct New {
    /// The file to write; it may not exist.
    file: PathBuf,
    /// What the key may sign: root, release, operator, decision, node or checkpoint.
    #[arg(long)]
    role: Role,
    /// Its holder's name, for people.
    #[arg(long)]
    name: KeyName,
}

impl New {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let public = create(&self.file, self.role, self.name)?;
        let beside = PublicKeyFile::path_beside(&self.file);
        let text = format!(
            "wrote {} (secret, keep it) and {} (public, pass it on)\n{public}",
            self.file.display(),
            beside.display()
        );
        let json = json!({
            "secret": self.file.display().to_string(),
            "public": beside.display().to_string(),
            "key": public.key.to_string(),
            "role": public.role.name(),
            "name": public.name.as_str(),
        });
        context.terminal.show(text, json);
        Ok(())
    }
}

/// Draws a key and writes both of its files.
pub(crate) fn create(file: &Path, role: Role, name: KeyName) -> Result<PublicKeyFile, Failure> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let seed: [u8; 32] = entropy.array().map_err(Failure::refused)?;
    let key = SecretKeyFile::new(role, name, &seed);
    let public = key.public();
    let beside = PublicKeyFile::path_beside(file);
    if beside.exists() {
        return Err(
            Failure::refused(format!("{} exists; nothing was written", beside.display()))
                .next("name another file"),
        );
    }
    key.create(file)
        .map_err(|error| Failure::refused(error).next("name another file"))?;
    keys::create_durably(&beside, 0o644, format!("{public}\n").as_bytes())
        .map_err(|error| Failure::refused(format!("{}: {error}", beside.display())))?;
    Ok(public)
}
