//! `rollout list`.
use super::progress::Progress;
use crate::{
    context::Context,
    describe,
    failure::Failure,
    terminal::{Terminal, Tone, table},
};
use clap::Args;
use serde_json::json;
use tidegate_domain::{id::Component, rollout::Life};

/// Lists the rollouts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout list
  tidegate rollout list --all --json")]
pub(crate) struct List {
    /// Also those that are over.
    #[arg(long)]
    all: bool,
    /// Only those of this component.
    #[arg(long)]
    component: Option<Component>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let view = context.view().await?;
        let state = view.state();
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for (id, rollout) in state.rollouts().iter() {
            let release = state.releases().get(&rollout.spec.release);
            let component = release.map(|release| &release.manifest.component);
            let unwanted = self.component.is_some() && self.component.as_ref() != component;
            if unwanted || (rollout.life.is_final() && !self.all) {
                continue;
            }
            let progress = Progress::of(state, rollout);
            let wave = rollout.current_wave().and_then(|wave| rollout.wave(wave));
            let wave = wave.map_or_else(
                || "-".to_owned(),
                |(spec, _)| format!("{} {}", spec.name, spec.target),
            );
            let exposed: u64 = progress.waves.iter().map(|wave| wave.counts.exposed).sum();
            let verified: u64 = progress.waves.iter().map(|wave| wave.counts.verified).sum();
            rows.push(vec![
                id.to_string(),
                rollout.spec.release.to_string(),
                component.map_or_else(|| "?".to_owned(), ToString::to_string),
                life(context.terminal, &rollout.life),
                wave,
                exposed.to_string(),
                describe::of_total(verified, exposed),
                describe::time(rollout.created_at),
            ]);
            json.push(progress.to_json());
        }
        let header = [
            "ROLLOUT",
            "RELEASE",
            "COMPONENT",
            "LIFE",
            "WAVE",
            "EXPOSED",
            "VERIFIED",
            "CREATED",
        ];
        context
            .terminal
            .show(table(&header, &rows), json!({ "rollouts": json }));
        Ok(())
    }
}

/// Where a rollout stands, in the colour that it deserves.
pub(super) fn life(terminal: Terminal, life: &Life) -> String {
    let tone = match life {
        Life::Draft | Life::Approved | Life::Superseded { .. } => Tone::Faint,
        Life::Running | Life::Completed { .. } => Tone::Good,
        Life::Paused { .. } | Life::RolledBack { .. } => Tone::Warning,
        Life::Halted { .. } | Life::RollingBack { .. } => Tone::Bad,
    };
    terminal.paint(tone, life.name())
}
