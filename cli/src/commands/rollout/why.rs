//! `rollout why`: what a rollout waits for.
use super::find;
use crate::{context::Context, describe, failure::Failure};
use clap::Args;
use serde_json::json;
use tidegate_domain::{
    State,
    id::LogTime,
    plan::{self, Wait},
    release::offerable,
    rollout::{Life, Rollout},
};
use tidegate_runtime::{Clock, SystemClock};

/// Says what blocks the next wave of a rollout, or its offers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout why 7")]
pub(crate) struct Why {
    /// Number of the rollout.
    rollout: u64,
}

impl Why {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let view = context.view().await?;
        let rollout = find(view.state(), self.rollout)?;
        let reasons = reasons(view.state(), rollout);
        let mut text = format!(
            "rollout {} of {} is {}\n",
            rollout.id,
            rollout.spec.release,
            rollout.life.name()
        );
        for reason in &reasons {
            text.push_str(&format!("  {reason}\n"));
        }
        let json = json!({
            "rollout": rollout.id.0,
            "life": describe::life_word(&rollout.life),
            "reasons": reasons,
        });
        context.terminal.show(text, json);
        Ok(())
    }
}

/// Everything that the rollout waits for or is stopped by: what holds it back first.
fn reasons(state: &State, rollout: &Rollout) -> Vec<String> {
    // Log time stands still while nothing happens; waiting goes on.
    let now = LogTime(SystemClock.wall().0).max(state.meta().time);
    let waits = plan::waits(state, rollout.id, now);
    let mut reasons: Vec<String> = waits.iter().map(|wait| reason(rollout, wait)).collect();
    match &rollout.life {
        Life::RolledBack { at } => {
            reasons.push(format!("devices went back at {}", describe::time(*at)));
        }
        Life::Superseded { by } => reasons.push(format!("rollout {by} took its place")),
        Life::Completed { at } => reasons.push(format!(
            "all waves passed; complete at {}",
            describe::time(*at)
        )),
        _ => {}
    }
    if rollout.life.is_final() {
        return reasons;
    }
    if let Some(release) = state.releases().get(&rollout.spec.release)
        && let Err(why) = offerable(state, release)
    {
        let name = release.name();
        reasons.push(format!("release {name} may not be offered: {why}"));
    }
    for freeze in &rollout.spec.freezes {
        if freeze.holds(now) {
            reasons.push(format!("frozen until {}", describe::time(freeze.until)));
        }
    }
    for (variant, cause) in &rollout.excluded {
        let cause = describe::exclusion_cause(cause);
        reasons.push(format!("variant {variant} is out: {cause}"));
    }
    reasons
}

/// A reason, with the command that takes it away where there is one.
fn reason(rollout: &Rollout, wait: &Wait) -> String {
    let id = rollout.id;
    let command = match wait {
        Wait::Approval => format!("`tidegate rollout approve {id}`"),
        Wait::Start => format!("`tidegate rollout start {id}`"),
        Wait::Completion => format!("`tidegate rollout complete {id}`"),
        Wait::Paused { .. } => format!("`tidegate rollout resume {id} --reason …`"),
        Wait::Halted { .. } => {
            format!("a quorum lifts the halt: `tidegate rollout resume {id} --reason …`")
        }
        Wait::Stopped { stop } | Wait::StratumStopped { stop, .. } => {
            format!("a quorum lifts the stop: `tidegate lift {stop} --reason …`")
        }
        _ => return named(rollout, wait),
    };
    format!("{wait}; {command}")
}

/// What is waited for, with the wave's name from the file in place of its number.
fn named(rollout: &Rollout, wait: &Wait) -> String {
    let text = wait.to_string();
    let (Wait::Soak { wave, .. }
    | Wait::Samples { wave, .. }
    | Wait::VariantSamples { wave, .. }
    | Wait::Failing { wave, .. }
    | Wait::CapBelowSamples { wave, .. }) = wait
    else {
        return text;
    };
    match rollout.wave(*wave) {
        Some((spec, _)) => {
            text.replacen(&format!("wave {wave}"), &format!("wave {}", spec.name), 1)
        }
        None => text,
    }
}
