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
    tally::Counts,
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
        describe::audience(&spec.audience),
        rollout.revision
    );
    let targets = rollout.rollback.targets.iter().map(|rule| {
        let channel = describe::on_channels(&rule.channel);
        format!("{} for {}{channel}", rule.release, rule.selector)
    });
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
    let layout = Layout::of(progress, terminal.columns());
    for wave in &progress.waves {
        text.push_str(&layout.lines(terminal, wave));
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

/// How wide the parts of a wave's line are, so that it fits the terminal.
struct Layout {
    columns: usize,
    name: usize,
    target: usize,
    bar: usize,
}

impl Layout {
    /// Longer names are cut, for the bar and the stage say more.
    const NAME_MAX: usize = 24;
    /// The longest stage: `soaking, 23 h 59 m left`.
    const STAGE: usize = 23;
    const BAR: std::ops::RangeInclusive<usize> = 8..=30;

    fn of(progress: &Progress, columns: usize) -> Self {
        let widest = |part: &dyn Fn(&WaveProgress) -> String| {
            let widths = progress.waves.iter().map(|wave| part(wave).chars().count());
            widths.max().unwrap_or(0)
        };
        let name = widest(&|wave| wave.name.clone()).min(Self::NAME_MAX);
        let target = widest(&target);
        // Two spaces before each part.
        let rest = name + target + Self::STAGE + 4 * 2;
        let bar = columns.saturating_sub(rest);
        Self {
            columns,
            name,
            target,
            bar: bar.clamp(*Self::BAR.start(), *Self::BAR.end()),
        }
    }

    /// One wave, and what became of its devices.
    fn lines(&self, terminal: Terminal, wave: &WaveProgress) -> String {
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
        let mut text = format!(
            "  {:name$}  {:>target$}  {}  {stage}\n",
            console::truncate_str(&wave.name, self.name, "…"),
            target(wave),
            bar(terminal, wave, self.bar),
            name = self.name,
            target = self.target,
        );
        if wave.counts.exposed > 0 {
            text.push_str(&wrapped(&counts(&wave.counts), self.columns));
        }
        text
    }
}

fn target(wave: &WaveProgress) -> String {
    match wave.cap {
        Some(cap) => format!("{} ≤{cap}", wave.target),
        None => wave.target.to_string(),
    }
}

/// What became of exposed devices.
pub(super) fn counts(counts: &Counts) -> [String; 5] {
    [
        format!("{} exposed", counts.exposed),
        format!(
            "{} verified",
            describe::of_total(counts.verified, counts.exposed)
        ),
        format!(
            "{} failed",
            describe::of_total(counts.failed, counts.exposed)
        ),
        format!("{} reverted", counts.reverted),
        format!("{} silent", counts.silent),
    ]
}

/// Parts with commas between them, indented, in as many lines as they take.
fn wrapped(parts: &[String], columns: usize) -> String {
    const INDENT: &str = "      ";
    let mut lines = vec![INDENT.to_owned()];
    for (at, part) in parts.iter().enumerate() {
        let comma = if at + 1 < parts.len() { "," } else { "" };
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > INDENT.len() && line + 1 + part.chars().count() + comma.len() > columns {
            lines.push(INDENT.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            let space = if line.len() > INDENT.len() { " " } else { "" };
            line.push_str(&format!("{space}{part}{comma}"));
        }
    }
    lines.join("\n") + "\n"
}

/// A bar of so many columns: verified, failed or gone silent, and not known yet, of those exposed.
fn bar(terminal: Terminal, wave: &WaveProgress, width: usize) -> String {
    let counts = &wave.counts;
    let exposed = counts.exposed.max(1);
    let columns = |part: u64| (u128::from(part) * width as u128 / u128::from(exposed)) as usize;
    let bad_count = counts.failed + counts.reverted + counts.silent;
    let good = columns(counts.verified);
    // One bad device in a million is still one column: it must not be overlooked.
    let bad = columns(bad_count).max(usize::from(bad_count > 0));
    let good = good.min(width - bad.min(width));
    let open = match counts.exposed {
        0 => 0,
        _ => width.saturating_sub(good + bad),
    };
    let rest = width.saturating_sub(good + bad + open);
    format!(
        "{}{}{}{}",
        terminal.paint(Tone::Good, "█".repeat(good)),
        terminal.paint(Tone::Bad, "▒".repeat(bad)),
        terminal.paint(Tone::Warning, "░".repeat(open)),
        terminal.paint(Tone::Faint, "·".repeat(rest))
    )
}
