//! `rollout plan`, `rollout apply` and `rollout amend`: from a file to a rollout.
use super::{file, find, life, watch};
use crate::{
    cluster::Cluster,
    context::Context,
    describe,
    failure::Failure,
    signing::{self, Signing, Submitted},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tidegate_client::View;
use tidegate_domain::{
    Command, Event, Outcome, State,
    apply::access::demand,
    command::{AmendRollout, ApproveRollout, CreateRollout, StartRollout},
    evolve,
    id::RolloutId,
    preview,
    rollout::RolloutSpec,
};

/// Shows what a rollout file would do to the cluster as it is, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout plan examples/detector-v3.2.yaml
  tidegate rollout plan new.yaml --amend 7")]
pub(crate) struct Plan {
    /// The rollout file; `-` is standard input.
    file: PathBuf,
    /// Plan the change of this rollout instead of a new one.
    #[arg(long, value_name = "ROLLOUT")]
    amend: Option<u64>,
}

/// Writes a rollout down, as a draft; with --approve also approves and starts it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout apply examples/detector-v3.2.yaml
  tidegate rollout apply examples/detector-v3.2.yaml --approve --wait --key alice.key --key bob.key")]
pub(crate) struct Apply {
    /// The rollout file; `-` is standard input.
    file: PathBuf,
    /// Approve and start it too, which takes the quorum's keys.
    #[arg(long)]
    approve: bool,
    /// Wait until the rollout is over.
    #[arg(long, requires = "approve")]
    wait: bool,
    #[command(flatten)]
    signing: Signing,
}

/// Changes a rollout to what a file says. Narrowing takes one operator; widening the quorum.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate rollout plan detector-v3.2.yaml --amend 7
  tidegate rollout amend 7 detector-v3.2.yaml --if-revision 4711")]
pub(crate) struct Amend {
    /// Number of the rollout.
    rollout: u64,
    /// The whole rollout file as it shall be; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

/// The rollout that a file asks for, on top of a state.
fn resolve(file: &std::path::Path, state: &State) -> Result<RolloutSpec, Failure> {
    let rollout = file::read(file)?;
    rollout
        .resolve(state)
        .map_err(|error| Failure::refused(format!("{}: {error}", file.display())))
}

impl Plan {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        // A file that is wrong by itself needs no cluster to be told so.
        file::read(&self.file)?;
        let view = context.view().await?;
        let spec = resolve(&self.file, view.state())?;
        let command: Command = match self.amend {
            None => CreateRollout { spec: spec.clone() }.into(),
            Some(id) => AmendRollout {
                rollout: find(view.state(), id)?.id,
                spec: spec.clone(),
            }
            .into(),
        };
        let mut steps = Steps::new(&view)?;
        steps.take(&command)?;
        if self.amend.is_none() {
            let rollout = view.state().meta().last_rollout.next();
            steps.take(&ApproveRollout { rollout }.into())?;
            if spec.start_at.is_none_or(|at| at <= steps.state.meta().time) {
                steps.take(&StartRollout { rollout }.into())?;
            }
        }
        let text = format!("{}\n{}", outline(view.state(), &spec), steps.to_text());
        let json = json!({
            "release": spec.release.as_str(),
            "audience": spec.audience.selectors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "channels": spec.audience.channels.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sets_baselines": spec.sets_baselines(),
            "variants": reached(view.state(), &spec),
            "as_of_entry": view.position().entries,
            "steps": steps.json,
        });
        context.terminal.show(text, json);
        Ok(())
    }
}

/// What a sequence of commands would do, tried on a copy of the state.
struct Steps {
    state: State,
    stamp: tidegate_domain::Stamp,
    lines: Vec<String>,
    json: Vec<serde_json::Value>,
}

impl Steps {
    fn new(view: &View) -> Result<Self, Failure> {
        Ok(Self {
            state: view.state().clone(),
            stamp: signing::stamp(view)?,
            lines: Vec::new(),
            json: Vec::new(),
        })
    }

    fn take(&mut self, command: &Command) -> Result<(), Failure> {
        let demand = demand(&self.state, command);
        let (needed, role) = (
            signing::needed(&self.state, demand),
            signing::role_of(demand),
        );
        let events = preview(&self.state, command, self.stamp)
            .map_err(|rejection| signing::refused(&rejection))?;
        let before = self.state.clone();
        let name = command.name();
        self.lines
            .push(format!("{name}, by {needed} {role} key(s):"));
        let mut changes = Vec::new();
        for event in &events {
            evolve(&mut self.state, event)
                .map_err(|error| Failure::refused(format!("the plan does not hold: {error}")))?;
            let sentence = describe::event(&before, event);
            self.lines.push(format!("  {sentence}"));
            changes.push(sentence);
        }
        self.json.push(json!({
            "command": name,
            "signatures": needed,
            "role": role.name(),
            "changes": changes,
        }));
        Ok(())
    }

    fn to_text(&self) -> String {
        let mut text = "what would change:\n".to_owned();
        for line in &self.lines {
            text.push_str(&format!("  {line}\n"));
        }
        text + "nothing was changed"
    }
}

/// How many registered variants the rollout reaches.
fn reached(state: &State, spec: &RolloutSpec) -> usize {
    let variants = state.variants().iter();
    variants
        .filter(|(_, variant)| spec.audience.matches(&variant.traits))
        .count()
}

fn outline(state: &State, spec: &RolloutSpec) -> String {
    let mut text = format!(
        "{} to {}: {} of {} registered variants\n",
        spec.release,
        describe::audience(&spec.audience),
        reached(state, spec),
        state.variants().len()
    );
    for wave in &spec.waves {
        text.push_str(&format!("  {}\n", describe::wave(wave)));
    }
    if let Some(at) = spec.start_at {
        text.push_str(&format!("  not before {}\n", describe::time(at)));
    }
    text.push_str(&format!(
        "  gates judge {} samples or more; at most {} unresolved devices a stratum in the first wave\n",
        spec.sample_min, spec.credit
    ));
    text.push_str(&format!(
        "  once complete, {}\n",
        describe::completion(spec)
    ));
    text
}

impl Apply {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        file::read(&self.file)?;
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let spec = resolve(&self.file, view.state())?;
        let release = spec.release.clone();
        let desk = context.desk(&cluster, &view);
        let created = desk
            .send(&self.signing, CreateRollout { spec }.into())
            .await?;
        let Some(id) = created_id(&created) else {
            signing::show(context.terminal, &created, "");
            return Ok(());
        };
        if !self.approve {
            let done = format!(
                "rollout {id} of {release} is written down\n  next: `tidegate rollout approve {id}`, which takes the quorum\n "
            );
            signing::show(context.terminal, &created, &done);
            return Ok(());
        }
        let started = self.start(context, &cluster, id).await.map_err(|failure| {
            failure.next(format!(
                "rollout {id} is a draft now; `tidegate rollout approve {id}` goes on from there"
            ))
        })?;
        let done = format!("rollout {id} of {release} is approved and has started");
        signing::show(context.terminal, &started, &done);
        if self.wait {
            watch::wait(context, id).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        context: &Context,
        cluster: &Cluster,
        id: RolloutId,
    ) -> Result<Submitted, Failure> {
        let view = context.view().await?;
        let desk = context.desk(cluster, &view);
        let signing = self.signing.without_revision();
        life::approve_and_start(&desk, context, &signing, id).await
    }
}

/// The number of the rollout that was created, if one was.
fn created_id(submitted: &Submitted) -> Option<RolloutId> {
    let Submitted::Applied(proposed) = submitted else {
        return None;
    };
    let Outcome::Accepted(events) = &proposed.outcome else {
        return None;
    };
    events.iter().find_map(|event| match event {
        Event::RolloutCreated(rollout) => Some(rollout.id),
        _ => None,
    })
}

impl Amend {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        file::read(&self.file)?;
        let cluster = context.cluster()?;
        let view = context.view().await?;
        let rollout = find(view.state(), self.rollout)?.id;
        let spec = resolve(&self.file, view.state())?;
        let desk = context.desk(&cluster, &view);
        let done = format!("rollout {rollout} is amended");
        desk.submit(&self.signing, AmendRollout { rollout, spec }, &done)
            .await
    }
}
