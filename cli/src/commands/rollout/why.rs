//! `rollout why`: what a rollout waits for.
use super::{
    find,
    progress::{Progress, Stage, judged},
};
use crate::{context::Context, describe, failure::Failure};
use clap::Args;
use serde_json::json;
use tidegate_domain::{
    State,
    gate::Judgement,
    guard::StopScope,
    id::WaveIndex,
    release::offerable,
    rollout::{Life, Rollout},
};

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

/// Everything that the rollout waits for or is stopped by.
fn reasons(state: &State, rollout: &Rollout) -> Vec<String> {
    let mut reasons = vec![of_life(state, rollout)];
    if rollout.life.is_final() {
        return reasons;
    }
    if let Some(release) = state.releases().get(&rollout.spec.release)
        && let Err(why) = offerable(state, release)
    {
        reasons.push(format!(
            "release {} may not be offered: {why}",
            release.name()
        ));
    }
    for (id, stop) in state.stops().iter() {
        let selectors = &rollout.spec.audience.selectors;
        let concerns = match &stop.scope {
            StopScope::Fleet => true,
            StopScope::Region(region) => selectors
                .iter()
                .any(|s| s.region.as_ref().is_none_or(|r| r == region)),
            StopScope::Variants(selector) => rollout.spec.audience.meets(selector),
        };
        if concerns && stop.covers.offers() {
            reasons.push(format!("emergency stop {id} bars offers: {}", stop.reason));
        }
    }
    for freeze in &rollout.spec.freezes {
        if freeze.holds(state.meta().time) {
            reasons.push(format!("frozen until {}", describe::time(freeze.until)));
        }
    }
    for (variant, cause) in &rollout.excluded {
        reasons.push(format!(
            "variant {variant} is out: {}",
            describe::exclusion_cause(cause)
        ));
    }
    reasons
}

fn of_life(state: &State, rollout: &Rollout) -> String {
    let id = rollout.id;
    match &rollout.life {
        Life::Draft => {
            let role = tidegate_domain::key::Role::Operator;
            let quorum = state.keys().role(role).map_or(1, |keys| keys.threshold);
            format!(
                "it waits for {quorum} operator(s) to approve it: `tidegate rollout approve {id}`"
            )
        }
        Life::Approved => match rollout.spec.start_at {
            Some(at) if at > state.meta().time => {
                format!("it starts at {}", describe::time(at))
            }
            _ => format!("it waits for its start: `tidegate rollout start {id}`"),
        },
        Life::Running => of_wave(state, rollout),
        Life::Paused { since } => format!(
            "an operator paused it at {}; soak stands still: `tidegate rollout resume {id} --reason …`",
            describe::time(*since)
        ),
        Life::Halted { since, cause } => format!(
            "halted at {}: {}; a quorum lifts the halt with `tidegate rollout resume {id} --reason …`",
            describe::time(*since),
            describe::halt_cause(cause)
        ),
        Life::RollingBack { cause, .. } => {
            format!("devices go back: {}", describe::halt_cause(cause))
        }
        Life::RolledBack { at } => format!("devices went back at {}", describe::time(*at)),
        Life::Superseded { by } => format!("rollout {by} took its place"),
        Life::Completed { at } => format!("all waves passed; complete at {}", describe::time(*at)),
    }
}

fn of_wave(state: &State, rollout: &Rollout) -> String {
    let Some(index) = rollout.current_wave() else {
        return "its first wave has not opened".to_owned();
    };
    let progress = Progress::of(state, rollout);
    let Some(wave) = progress.waves.get(usize::from(index.0)) else {
        return "its wave is not known".to_owned();
    };
    let name = &wave.name;
    match &wave.stage {
        Stage::Soaking(left) => {
            let gate = gate(state, rollout, index);
            format!(
                "wave {name} soaks for another {}; {gate}",
                describe::length(*left)
            )
        }
        Stage::Passed | Stage::Overridden => {
            let id = rollout.id;
            format!(
                "its last wave {name} has passed: `tidegate rollout complete {id}` makes its release the baseline"
            )
        }
        Stage::AtGate | Stage::Waiting => {
            format!("wave {name} has soaked; {}", gate(state, rollout, index))
        }
    }
}

/// What the gate says of all variants together. Single variants may be behind.
fn gate(state: &State, rollout: &Rollout, wave: WaveIndex) -> String {
    match judged(state, rollout, wave) {
        Judgement::Passes => {
            "its gate is content with all variants together; single ones may be waited for"
                .to_owned()
        }
        Judgement::Fails(breach) => format!("its gate fails: {}", describe::breach(&breach)),
        Judgement::Waits(missing) => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            format!("its gate waits for {}", missing.join(" and "))
        }
    }
}
