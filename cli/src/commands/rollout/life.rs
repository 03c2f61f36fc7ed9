//! The commands that move a rollout through its life.
use super::{find, watch};
use crate::{
    context::{Context, reason},
    describe,
    failure::Failure,
    signing::{self, Desk, Signing, Submitted},
};
use clap::Args;
use tidegate_domain::{
    Command,
    command::{
        AdvanceWave, ApproveRollout, CompleteRollout, ExcludeVariant, ExpediteRollout, HaltRollout,
        PauseRollout, ResumeRollout, RollBack, StartRollout,
    },
    id::{Reason, RolloutId, WaveIndex},
    rollout::Life,
    variant::VariantTraits,
};

/// Declares a command that names a rollout and gives a reason.
macro_rules! with_reason {
    ($(#[$meta:meta])* $name:ident => $command:ident, $done:literal) => {
        #[derive(Debug, Args)]
        $(#[$meta])*
        pub(crate) struct $name {
            /// Number of the rollout.
            rollout: u64,
            /// Why, for the record.
            #[arg(long, value_parser = reason)]
            reason: Reason,
            /// Wait until the rollout is over.
            #[arg(long)]
            wait: bool,
            #[command(flatten)]
            signing: Signing,
        }

        impl $name {
            pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
                let rollout = RolloutId(self.rollout);
                let command = $command { rollout, reason: self.reason };
                let done = format!($done, rollout);
                send(context, &self.signing, command, &done, self.wait.then_some(rollout)).await
            }
        }
    };
}

with_reason! {
    /// Pauses a rollout: nothing new is offered and soak stands still. One operator suffices.
    #[command(after_help = "Examples:\n  tidegate rollout pause 7 --reason 'support is swamped'")]
    Pause => PauseRollout, "rollout {} is paused"
}
with_reason! {
    /// Lets a paused rollout go on; lifts the halt of a halted one, which takes the quorum.
    #[command(after_help = "\
Examples:
  tidegate rollout resume 7 --reason 'support has caught up'
  tidegate rollout resume 7 --reason 'false alarm, see incident 12' --collect resume.command")]
    Resume => ResumeRollout, "rollout {} goes on"
}
with_reason! {
    /// Halts a rollout and bars its release from its audience. One operator suffices.
    #[command(after_help = "\
Examples:
  tidegate rollout halt 7 --reason 'boot loops on gw-200'
  tidegate rollout halt 7 --reason '…' --if-revision 4711")]
    Halt => HaltRollout, "rollout {} is halted; no node offers it later than the halt bound"
}
with_reason! {
    /// Sends devices back to the rollback target.
    #[command(after_help = "Examples:\n  tidegate rollout rollback 7 --reason 'boot loops' --wait")]
    Rollback => RollBack, "devices of rollout {} go back"
}
with_reason! {
    /// Shortens soak for an emergency. Takes the quorum; skips neither credit nor floors nor stops.
    #[command(after_help = "\
Examples:
  tidegate rollout expedite 7 --reason 'CVE-2026-1234 is being used' --collect expedite.command")]
    Expedite => ExpediteRollout, "soak of rollout {} is shortened"
}

/// Approves a rollout, which takes the quorum, and starts it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout approve 7 --key alice.key --key bob.key
  tidegate rollout approve 7 --collect approve.command      # others sign elsewhere; then `start`")]
pub(crate) struct Approve {
    /// Number of the rollout.
    rollout: u64,
    /// Approve only; it starts later, by `rollout start`.
    #[arg(long)]
    no_start: bool,
    /// Wait until the rollout is over.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    signing: Signing,
}

/// Starts an approved rollout: its first wave opens.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate rollout start 7")]
pub(crate) struct Start {
    /// Number of the rollout.
    rollout: u64,
    /// Wait until the rollout is over.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    signing: Signing,
}

/// Completes a rollout whose last wave passed: its release becomes the baseline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate rollout complete 7")]
pub(crate) struct Complete {
    /// Number of the rollout.
    rollout: u64,
    #[command(flatten)]
    signing: Signing,
}

/// Opens the next wave without its gate. Takes the quorum, and is marked as such for ever.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout advance 7 --override --reason 'metrics pipeline is down, see incident 12' \\
      --collect advance.command")]
pub(crate) struct Advance {
    /// Number of the rollout.
    rollout: u64,
    /// Say that you mean it: gates exist for a reason.
    #[arg(long = "override", required = true)]
    overrides: bool,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

/// Takes a variant out of a rollout.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout exclude 7 gw-200/b2/eu-west/none --reason 'modem faults'")]
pub(crate) struct Exclude {
    /// Number of the rollout.
    rollout: u64,
    /// The variant as `model/revision/region/carrier`.
    variant: VariantTraits,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

impl Approve {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let rollout = RolloutId(self.rollout);
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let desk = context.desk(&cluster, &view);
        if self.no_start || self.signing.collect_file().is_some() || self.signing.is_dry_run() {
            let done = format!("rollout {rollout} is approved");
            return desk
                .submit(&self.signing, ApproveRollout { rollout }, &done)
                .await;
        }
        let started = approve_and_start(&desk, context, &self.signing, rollout).await?;
        let done = format!("rollout {rollout} is approved and has started");
        signing::show(context.terminal, &started, &done);
        if self.wait {
            watch::wait(context, rollout).await?;
        }
        Ok(())
    }
}

/// Approves and starts a rollout. If its time has not come yet, it is approved and starts then.
pub(super) async fn approve_and_start(
    desk: &Desk<'_>,
    context: &Context,
    signing: &Signing,
    rollout: RolloutId,
) -> Result<Submitted, Failure> {
    let approved = desk
        .send(signing, ApproveRollout { rollout }.into())
        .await?;
    // Its revision changed just now: who named one meant the approval.
    let signing = signing.without_revision();
    let view = context.view().await?;
    let desk = context.desk(desk.cluster, &view);
    let state = find(view.state(), rollout.0)?;
    let waits = state
        .spec
        .start_at
        .is_some_and(|at| at > view.state().meta().time);
    if state.life != Life::Approved || waits {
        return Ok(approved);
    }
    desk.send(&signing, StartRollout { rollout }.into()).await
}

impl Start {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let rollout = RolloutId(self.rollout);
        let done = format!("rollout {rollout} has started");
        let wait = self.wait.then_some(rollout);
        send(
            context,
            &self.signing,
            StartRollout { rollout },
            &done,
            wait,
        )
        .await
    }
}

impl Complete {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let found = find(view.state(), self.rollout)?;
        let rollout = found.id;
        let left = describe::completion(&found.spec);
        let done = format!("rollout {rollout} is complete; {left}");
        let desk = context.desk(&cluster, &view);
        desk.submit(&self.signing, CompleteRollout { rollout }, &done)
            .await
    }
}

impl Advance {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let rollout = find(view.state(), self.rollout)?;
        let wave: WaveIndex = rollout.current_wave().ok_or_else(|| {
            Failure::refused(format!("rollout {} has no open wave", rollout.id)).next(format!(
                "`tidegate rollout why {}` says what it waits for",
                rollout.id
            ))
        })?;
        let command = AdvanceWave {
            rollout: rollout.id,
            wave,
            reason: self.reason,
        };
        let name = rollout.wave(wave).map(|(spec, _)| spec.name.as_str());
        let done = format!(
            "the gate of wave {} of rollout {} is overridden",
            name.unwrap_or_default(),
            rollout.id
        );
        let desk = context.desk(&cluster, &view);
        desk.submit(&self.signing, command, &done).await
    }
}

impl Exclude {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let mut variants = view.state().variants().iter();
        let variant = variants.find(|(_, variant)| variant.traits == self.variant);
        let (variant, _) = variant.ok_or_else(|| {
            Failure::refused(format!("no variant {} is registered", self.variant))
                .next("`tidegate variant list` shows those that are")
        })?;
        let command = ExcludeVariant {
            rollout: RolloutId(self.rollout),
            variant: *variant,
            reason: self.reason,
        };
        let done = format!(
            "variant {} is out of rollout {}",
            self.variant, self.rollout
        );
        let desk = context.desk(&cluster, &view);
        desk.submit(&self.signing, command, &done).await
    }
}

async fn send(
    context: &Context,
    signing: &Signing,
    command: impl Into<Command>,
    done: &str,
    wait: Option<RolloutId>,
) -> Result<(), Failure> {
    context.submit(signing, command, done).await?;
    match wait {
        Some(rollout) if signing.collect_file().is_none() && !signing.is_dry_run() => {
            watch::wait(context, rollout).await
        }
        _ => Ok(()),
    }
}
