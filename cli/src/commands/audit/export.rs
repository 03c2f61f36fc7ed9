//! `audit export`.
use crate::{
    context::Context,
    export::{Exported, export},
    failure::Failure,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Exports the audit log as a directory of tiles that anybody can verify offline. Run again, it
/// adds what is new.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate audit export fleet-audit
  tidegate audit verify fleet-audit")]
pub(crate) struct Export {
    /// Where to write it: a new directory, or an earlier export of this log.
    directory: PathBuf,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let origin = view.state().meta().origin.clone();
        let bar = context.terminal.bar("exporting", 0);
        let progress = |done, size| {
            bar.set_length(size);
            bar.set_position(done);
        };
        let exported = export(cluster.client(), &view, &self.directory, progress).await?;
        bar.finish_and_clear();
        let Exported {
            entries,
            new,
            cosigners,
        } = exported;
        let name = self.directory.display();
        let text = format!(
            "exported {entries} entries of {origin} to {name}, {new} of them new; {cosigners} voters cosigned\n  next: `tidegate audit verify {name}`"
        );
        let json = json!({
            "directory": name.to_string(),
            "origin": origin,
            "entries": entries,
            "new": new,
            "cosigners": cosigners,
        });
        context.terminal.show(text, json);
        Ok(())
    }
}
