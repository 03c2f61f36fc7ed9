//! `audit prove`.
use super::verify::read_policy;
use crate::{context::Context, failure::Failure};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tidegate_audit_log::{Receipt, directory::FsDirectory, export::Export};

/// Makes a receipt: an offline proof that one entry is in the log. Or checks one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate audit prove fleet/audit 4711 --out 4711.receipt
  tidegate audit prove fleet/audit 4711 --check 4711.receipt -p my-policy

A receipt is a c2sp.org/tlog-proof@v1 file: other tools read it too.")]
pub(crate) struct Prove {
    /// The export.
    directory: PathBuf,
    /// Index of the entry.
    index: u64,
    /// Where to write the receipt; else it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Check this receipt against the entry instead.
    #[arg(long, value_name = "FILE", conflicts_with = "out", requires = "policy")]
    check: Option<PathBuf>,
    /// Whose signatures you believe.
    #[arg(short, long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Prove {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let directory = FsDirectory::new(&self.directory);
        let export = Export::new(&directory);
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let checkpoint = export.checkpoint().map_err(Failure::refused)?;
        let size = checkpoint.unverified_claim().size;
        if self.index >= size {
            let what = format!("there is no entry {}: the export has {size}", self.index);
            return Err(Failure::refused(what).next("export again to get the entries since"));
        }
        let entry = export.entry(self.index, size).map_err(Failure::refused)?;
        let receipt = match &self.check {
            None => export.receipt(self.index, None).map_err(Failure::refused)?,
            Some(file) => {
                let bytes = std::fs::read(file).map_err(|error| {
                    Failure::usage(format!("cannot read {}: {error}", file.display()))
                })?;
                Receipt::parse(&bytes).map_err(Failure::refused)?
            }
        };
        if receipt.index != self.index {
            return Err(Failure::refused(format!(
                "the receipt is for entry {}, not {}",
                receipt.index, self.index
            )));
        }
        let verified = match &policy {
            Some(policy) => {
                receipt.verify(&entry, policy).map_err(Failure::refused)?;
                true
            }
            None => false,
        };
        let text = receipt.to_string();
        if let Some(file) = &self.out {
            std::fs::write(file, &text).map_err(|error| {
                Failure::refused(format!("cannot write {}: {error}", file.display()))
            })?;
        }
        let json = json!({
            "index": self.index,
            "size": receipt.checkpoint.unverified_claim().size,
            "verified": verified,
            "receipt": text,
        });
        let said = match (&self.out, &self.check) {
            (Some(file), _) => format!("wrote {}", file.display()),
            (None, Some(file)) => format!(
                "{} holds: entry {} is in the log",
                file.display(),
                self.index
            ),
            (None, None) => text,
        };
        context.terminal.show(said, json);
        Ok(())
    }
}
