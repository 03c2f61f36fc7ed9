//! `audit export`.
use crate::{
    context::Context,
    export::{Exported, export},
    failure::Failure,
    terminal::Tone,
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
  tidegate audit export fleet-audit --json
  tidegate audit verify fleet-audit

The policy that is written with it demands the cosignatures of a majority of the voters. When too
few of them cosign, it rests on the log's key alone, and a WARNING says so.")]
pub(crate) struct Export {
    /// Where to write it: a new directory, or an earlier export of this log.
    directory: PathBuf,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let origin = view.state().meta().origin.clone();
        let bar = context.terminal.bar("exporting", 0, "entries");
        let progress = |done, size| {
            bar.set_length(size);
            bar.set_position(done);
        };
        let exported = export(cluster.client(), &view, &self.directory, progress).await?;
        bar.finish_and_clear();
        let warning = exported.warning();
        let Exported {
            entries,
            new,
            voters,
            cosigners,
            majority,
        } = exported;
        let name = self.directory.display();
        let mut text = format!(
            "exported {entries} entries of {origin} to {name}, {new} of them new; {cosigners} of {voters} voters cosigned"
        );
        if let Some(warning) = &warning {
            let line = format!("\nWARNING: {warning}");
            text.push_str(&context.terminal.paint(Tone::Bad, line));
            text.push_str("\n  next: export again when a majority of the voters is up, approved, and has its checkpoint keys");
        }
        text.push_str(&format!("\n  next: `tidegate audit verify {name}`"));
        let json = json!({
            "directory": name.to_string(),
            "origin": origin,
            "entries": entries,
            "new": new,
            "voters": voters,
            "cosigners": cosigners,
            "policy": if majority { "majority" } else { "log_only" },
            "warning": warning,
        });
        context.terminal.show(text, json);
        Ok(())
    }
}
