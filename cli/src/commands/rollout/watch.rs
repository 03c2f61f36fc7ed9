//! `rollout watch`: the waves, live.
use super::{find, progress::Progress, show::picture};
use crate::{
    context::Context,
    failure::{Failure, Kind},
    terminal::Terminal,
};
use clap::Args;
use std::{io::Write, sync::Arc, time::Duration};
use tidegate_client::{Follower, FollowerConfig, HighWater, Observer, View};
use tidegate_domain::{Event, id::RolloutId, rollout::Life};
use tidegate_runtime::{SystemClock, disk::SimDisk};
use tokio::sync::watch;

/// Draws the waves of a rollout as they happen, until it is over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout watch 7
  tidegate rollout watch 7 --json      # one JSON document a line, for each change

Ends with 0 when the rollout completed, with 1 when it was halted, rolled back or superseded.")]
pub(crate) struct Watch {
    /// Number of the rollout.
    rollout: u64,
}

impl Watch {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        follow(context, RolloutId(self.rollout), draw).await
    }
}

/// Waits for the end of a rollout without drawing it; for `--wait`.
pub(super) async fn wait(context: &Context, rollout: RolloutId) -> Result<(), Failure> {
    let spinner = context
        .terminal
        .spinner(format!("waiting for rollout {rollout}"));
    let result = follow(context, rollout, |_, progress, _| {
        let wave = progress
            .waves
            .iter()
            .rev()
            .find(|wave| wave.counts.exposed > 0);
        let wave = wave.map_or_else(String::new, |wave| {
            format!(", {} {}", wave.name, wave.stage.word())
        });
        spinner.set_message(format!("rollout {rollout}: {}{wave}", progress.life.name()));
        0
    })
    .await;
    spinner.finish_and_clear();
    result
}

/// Follows a rollout until it is over. `show` draws and returns how many lines it drew.
async fn follow(
    context: &Context,
    id: RolloutId,
    mut show: impl FnMut(Terminal, &Progress, usize) -> usize,
) -> Result<(), Failure> {
    let cluster = context.cluster()?;
    let view = cluster.view().await?;
    find(view.state(), id.0)?;
    let (sender, mut receiver) = watch::channel(None);
    let scene = Scene {
        rollout: id,
        sender,
    };
    // What was seen need not outlive this run: the mark is kept in memory.
    let high_water = HighWater::open(Arc::new(SimDisk::default().mount())).await;
    let high_water = high_water.map_err(Failure::refused)?;
    let mut config = FollowerConfig::new(view.state().meta().origin.clone());
    config.renew_every = Duration::from_secs(30);
    let client = cluster.client().clone();
    let _follower = Follower::start(client, config, Arc::new(SystemClock), high_water, scene);
    let mut lines = 0;
    loop {
        let changed = receiver.changed().await;
        changed.map_err(|_| {
            Failure::new(Kind::Unreachable, "the cluster can no longer be followed")
        })?;
        let progress = receiver.borrow_and_update().clone();
        let Some(progress) = progress else {
            continue;
        };
        lines = show(context.terminal, &progress, lines);
        if let Some(end) = end_of(&progress) {
            return end;
        }
    }
}

/// Whether a rollout is over, and how.
fn end_of(progress: &Progress) -> Option<Result<(), Failure>> {
    let bad = |next: &str| {
        let what = format!("rollout {} is {}", progress.id, progress.life.name());
        Some(Err(Failure::refused(what)
            .details(progress.to_json())
            .next(next)))
    };
    let id = progress.id;
    match &progress.life {
        Life::Completed { .. } => Some(Ok(())),
        Life::Halted { .. } => bad(&format!("`tidegate rollout why {id}` says why")),
        Life::RolledBack { .. } => bad("devices run the rollback target again"),
        Life::Superseded { by } => bad(&format!(
            "`tidegate rollout watch {by}` follows its successor"
        )),
        _ => None,
    }
}

/// Passes on how a rollout looks whenever the view changes.
struct Scene {
    rollout: RolloutId,
    sender: watch::Sender<Option<Progress>>,
}

impl Scene {
    fn look(&self, view: &View) {
        let rollout = view.state().rollouts().get(&self.rollout);
        let progress = rollout.map(|rollout| Progress::of(view.state(), rollout));
        self.sender.send_replace(progress);
    }
}

impl Observer for Scene {
    fn replaced(&mut self, view: &View) {
        self.look(view);
    }

    fn advanced(&mut self, view: &View, _: &[Event]) {
        self.look(view);
    }
}

/// Draws over what was drawn before, where standard output is a terminal.
fn draw(terminal: Terminal, progress: &Progress, drawn: usize) -> usize {
    if terminal.json {
        terminal.line(progress.to_json());
        return 0;
    }
    let text = picture(terminal, progress);
    if terminal.can_draw() && drawn > 0 {
        // Up to where the picture began, and clear from there on.
        let _ = write!(std::io::stdout(), "\u{1b}[{drawn}A\u{1b}[J");
    }
    terminal.line(&text);
    text.lines().count()
}
