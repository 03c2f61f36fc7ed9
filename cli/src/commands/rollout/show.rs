//! `rollout show`, and the picture of a rollout that `watch` draws too.
use super::{
    find,
    list::life,
    progress::{Progress, Stage, WaveProgress},
};
use crate::{
    context::Context,
    describe,
    failure::Failure,
    terminal::{Terminal, Tone},
};
use clap::Args;
use tidegate_domain::{
    State,
    rollout::{Life, Rollout},
};

/// Shows a rollout: what was asked, and how far it has come.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout show 7")]
pub(crate) struct Show {
    /// Number of the rollout.
    rollout: u64,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let view = context.view().await?;
        let rollout = find(view.state(), self.rollout)?;
        let progress = Progress::of(view.state(), rollout);
        let mut text = picture(context.terminal, &progress);
        text.push_str(&details(view.state(), rollout));
        context.terminal.show(text, progress.to_json());
        Ok(())
    }
}

/// What was asked, beside its waves.
fn details(state: &State, rollout: &Rollout) -> String {
    let spec = &rollout.spec;
    let mut text = format!(
        "\naudience  {}\nrevision  {}\n",
        describe::selectors(&spec.audience.selectors),
        rollout.revision
    );
    let targets = rollout
        .rollback
        .targets
        .iter()
        .map(|rule| format!("{} for {}", rule.release, rule.selector));
    let targets: Vec<String> = targets.collect();
    match targets.as_slice() {
        [] => text.push_str("goes back to nothing: faults are mended by a newer release\n"),
        targets => text.push_str(&format!("goes back to {}\n", targets.join(", "))),
    }
    for (variant, cause) in &rollout.excluded {
        let traits = state.variants().get(variant);
        let name = traits.map_or_else(|| variant.to_string(), |v| v.traits.to_string());
        text.push_str(&format!(
            "excluded  {name}: {}\n",
            describe::exclusion_cause(cause)
        ));
    }
    text
}

/// A rollout's waves as text, one line each.
pub(super) fn picture(terminal: Terminal, progress: &Progress) -> String {
    let mut text = format!(
        "rollout {} of {}: {}\n",
        progress.id,
        terminal.paint(Tone::Strong, &progress.release),
        life(terminal, &progress.life)
    );
    if let Life::Halted { since, cause } | Life::RollingBack { since, cause } = &progress.life {
        text.push_str(&format!(
            "  since {}: {}\n",
            describe::time(*since),
            describe::halt_cause(cause)
        ));
    }
    let widest = progress.waves.iter().map(|wave| wave.name.len()).max();
    for wave in &progress.waves {
        text.push_str(&line(terminal, wave, widest.unwrap_or(0)));
    }
    let returns = &progress.returns;
    if returns.exposed > 0 {
        text.push_str(&format!(
            "  going back: {} told, {} are back\n",
            returns.exposed,
            describe::of_total(returns.verified, returns.exposed)
        ));
    }
    if progress.excluded > 0 {
        text.push_str(&format!(
            "  {} variant(s) are excluded\n",
            progress.excluded
        ));
    }
    text
}

fn line(terminal: Terminal, wave: &WaveProgress, width: usize) -> String {
    let counts = &wave.counts;
    let stage = match &wave.stage {
        Stage::Soaking(left) => terminal.paint(
            Tone::Warning,
            format!("soaking, {} left", describe::length(*left)),
        ),
        Stage::Passed => terminal.paint(Tone::Good, "passed"),
        Stage::Overridden => terminal.paint(Tone::Bad, "overridden by a quorum"),
        Stage::AtGate => terminal.paint(Tone::Warning, "at its gate"),
        Stage::Waiting => terminal.paint(Tone::Faint, "waiting"),
    };
    let target = match wave.cap {
        Some(cap) => format!("{} ≤{cap}", wave.target),
        None => wave.target.to_string(),
    };
    let mut line = format!(
        "  {:width$}  {target:>12}  {}  {stage}",
        wave.name,
        bar(terminal, wave)
    );
    if counts.exposed > 0 {
        line.push_str(&format!(
            "\n  {:width$}  {:>12}  {} exposed, {} verified, {} failed, {} reverted, {} silent",
            "",
            "",
            counts.exposed,
            describe::of_total(counts.verified, counts.exposed),
            describe::of_total(counts.failed, counts.exposed),
            counts.reverted,
            counts.silent
        ));
    }
    line + "\n"
}

/// Thirty columns: verified, failed or gone silent, and not known yet, of those exposed.
fn bar(terminal: Terminal, wave: &WaveProgress) -> String {
    const WIDTH: u64 = 30;
    let counts = &wave.counts;
    let exposed = counts.exposed.max(1);
    let columns = |part: u64| (u128::from(part) * u128::from(WIDTH) / u128::from(exposed)) as usize;
    let bad_count = counts.failed + counts.reverted + counts.silent;
    let good = columns(counts.verified);
    // One bad device in a million is still one column: it must not be overlooked.
    let bad = columns(bad_count).max(usize::from(bad_count > 0));
    let good = good.min(WIDTH as usize - bad.min(WIDTH as usize));
    let open = match counts.exposed {
        0 => 0,
        _ => (WIDTH as usize).saturating_sub(good + bad),
    };
    let rest = (WIDTH as usize).saturating_sub(good + bad + open);
    format!(
        "{}{}{}{}",
        terminal.paint(Tone::Good, "█".repeat(good)),
        terminal.paint(Tone::Bad, "▒".repeat(bad)),
        terminal.paint(Tone::Warning, "░".repeat(open)),
        terminal.paint(Tone::Faint, "·".repeat(rest))
    )
}
