//! `tidegate rollout`.
mod file;
mod life;
mod list;
mod plan;
mod progress;
mod show;
mod watch;
mod why;

use crate::{context::Context, failure::Failure};
use clap::Subcommand;
use tidegate_domain::{State, id::RolloutId, rollout};

/// Brings a release to the fleet in waves.
#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    Validate(file::Validate),
    Schema(file::Schema),
    Plan(plan::Plan),
    Apply(plan::Apply),
    Amend(plan::Amend),
    List(list::List),
    Show(show::Show),
    Watch(watch::Watch),
    Why(why::Why),
    Approve(life::Approve),
    Start(life::Start),
    Pause(life::Pause),
    Resume(life::Resume),
    Halt(life::Halt),
    Rollback(life::Rollback),
    Complete(life::Complete),
    Advance(life::Advance),
    Exclude(life::Exclude),
    Expedite(life::Expedite),
}

impl Rollout {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Validate(validate) => validate.run(context.terminal),
            Self::Schema(schema) => schema.run(context.terminal),
            Self::Plan(plan) => plan.run(context).await,
            Self::Apply(apply) => apply.run(context).await,
            Self::Amend(amend) => amend.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::Why(why) => why.run(context).await,
            Self::Approve(approve) => approve.run(context).await,
            Self::Start(start) => start.run(context).await,
            Self::Pause(pause) => pause.run(context).await,
            Self::Resume(resume) => resume.run(context).await,
            Self::Halt(halt) => halt.run(context).await,
            Self::Rollback(rollback) => rollback.run(context).await,
            Self::Complete(complete) => complete.run(context).await,
            Self::Advance(advance) => advance.run(context).await,
            Self::Exclude(exclude) => exclude.run(context).await,
            Self::Expedite(expedite) => expedite.run(context).await,
        }
    }
}

/// The rollout with a number.
fn find(state: &State, id: u64) -> Result<&rollout::Rollout, Failure> {
    state.rollouts().get(&RolloutId(id)).ok_or_else(|| {
        Failure::refused(format!("no rollout {id}"))
            .next("`tidegate rollout list` shows the rollouts there are")
    })
}
