//! `rollout watch`: the waves, live.
use super::{
    find,
    progress::Progress,
    show::{counts, picture},
};
use crate::{
    context::Context,
    describe,
    failure::{Failure, Kind},
    terminal::{Live, Terminal},
};
use clap::Args;
use std::{sync::Arc, time::Duration};
use tidegate_client::{Follower, FollowerConfig, HighWater, Observer, View};
use tidegate_domain::{Event, id::RolloutId, rollout::Life};
use tidegate_runtime::{SystemClock, disk::SimDisk};
use tokio::sync::watch;

/// Draws the waves of a rollout as they happen, until it is over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout watch 7
  tidegate rollout watch 7 > 7.log     # no terminal: a line for each change
  tidegate rollout watch 7 --json      # one JSON document a line, for each change

Ends with 0 when the rollout completed, with 1 when it was halted, rolled back or superseded.")]
pub(crate) struct Watch {
    /// Number of the rollout.
    rollout: u64,
}

impl Watch {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut canvas = Canvas {
            terminal: context.terminal,
            live: context.terminal.live(),
            last: None,
        };
        follow(context, RolloutId(self.rollout), |progress| {
            canvas.show(progress);
        })
        .await
    }
}

/// Waits for the end of a rollout without drawing it; for `--wait`.
pub(super) async fn wait(context: &Context, rollout: RolloutId) -> Result<(), Failure> {
    let spinner = context
        .terminal
        .spinner(format!("waiting for rollout {rollout}"));
    let result = follow(context, rollout, |progress| {
        let wave = progress
            .waves
            .iter()
            .rev()
            .find(|wave| wave.counts.exposed > 0);
        let wave = wave.map_or_else(String::new, |wave| {
            format!(", {} {}", wave.name, wave.stage.word())
        });
        spinner.set_message(format!("rollout {rollout}: {}{wave}", progress.life.name()));
    })
    .await;
    spinner.finish_and_clear();
    result
}

/// Follows a rollout until it is over, and shows it whenever the state changed.
async fn follow(
    context: &Context,
    id: RolloutId,
    mut show: impl FnMut(&Progress),
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
    loop {
        let changed = receiver.changed().await;
        changed.map_err(|_| {
            Failure::new(Kind::Unreachable, "the cluster can no longer be followed")
        })?;
        let progress = receiver.borrow_and_update().clone();
        let Some(progress) = progress else {
            continue;
        };
        show(&progress);
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

/// Where a rollout is shown while it goes on.
struct Canvas {
    terminal: Terminal,
    /// Present where the picture can be drawn over.
    live: Option<Live>,
    /// What was shown last, at rest.
    last: Option<Progress>,
}

impl Canvas {
    /// Draws the picture anew; elsewhere says what changed, if anything did.
    fn show(&mut self, progress: &Progress) {
        if let Some(live) = &mut self.live {
            return live.draw(&picture(self.terminal, progress));
        }
        let rest = progress.at_rest();
        if self.last.as_ref() == Some(&rest) {
            return;
        }
        if self.terminal.json {
            self.terminal.line(progress.to_json());
        } else {
            for line in changes(self.last.as_ref(), progress) {
                self.terminal
                    .line(format!("{}  {line}", describe::time(progress.at)));
            }
        }
        self.last = Some(rest);
    }
}

/// What is new, a line each.
fn changes(before: Option<&Progress>, now: &Progress) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none_or(|before| before.life != now.life) {
        let name = now.life.name();
        lines.push(format!("rollout {} of {}: {name}", now.id, now.release));
    }
    let rest = now.at_rest();
    for (at, wave) in rest.waves.iter().enumerate() {
        if before.is_some_and(|before| before.waves.get(at) == Some(wave)) {
            continue;
        }
        let (name, stage) = (&wave.name, wave.stage.word());
        lines.push(match wave.counts.exposed {
            0 => format!("{name}: {stage}"),
            _ => format!("{name}: {stage}, {}", counts(&wave.counts).join(", ")),
        });
    }
    if before.is_some_and(|before| before.returns != now.returns) {
        let back = counts(&now.returns).join(", ");
        lines.push(format!("going back: {back}"));
    }
    if before.is_some_and(|before| before.excluded != now.excluded) {
        lines.push(format!("{} variant(s) are excluded", now.excluded));
    }
    lines
}
