//! Moves log time on while something waits for it.

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::command::{Base, Proposal, Tick, seal};
use tidegate_domain::id::{CommandId, LogTime, Millis};
use tidegate_domain::signature::SigningKey;
use tidegate_domain::{Command, State};
use tidegate_runtime::Entropy;

use crate::api::store::Serving;

/// How far from the leader's clock a tick may be applied, in ms.
const VALID_MS: u64 = 60_000;

/// Proposes `Tick` at intervals while this node leads.
pub(crate) struct Ticker {
    serving: Arc<Serving>,
    key: SigningKey,
    entropy: Arc<dyn Entropy>,
    every: Duration,
}

impl Ticker {
    pub(crate) fn new(
        serving: Arc<Serving>,
        key: SigningKey,
        entropy: Arc<dyn Entropy>,
        every: Duration,
    ) -> Self {
        Self {
            serving,
            key,
            entropy,
            every,
        }
    }

    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(self.every).await;
            if !self.serving.group.raft.is_leader() {
                continue;
            }
            if let Err(error) = self.tick().await {
                tracing::warn!(%error, "log time was not moved on");
            }
        }
    }

    async fn tick(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let now = self.serving.clock.wall().0;
        let id = CommandId(self.entropy.array()?);
        let proposal = self.serving.state.read(|state| {
            waits_on_time(state).then(|| Proposal {
                origin: state.meta().origin.clone(),
                id,
                epoch: state.keys().epoch,
                not_before: LogTime(now.saturating_sub(VALID_MS)).max(state.meta().time),
                not_after: LogTime(now).max(state.meta().time).after(Millis(VALID_MS)),
                base: Base::genesis(&state.meta().origin),
                command: Command::Tick(Tick {}),
                expected_revision: None,
            })
        });
        if let Some(proposal) = proposal {
            let command = seal(&proposal, &[&self.key]).to_bytes();
            self.serving.writes.as_leader(command.into()).await?;
        }
        Ok(())
    }
}

/// Whether anything in the state changes as time passes, or the state root is due.
fn waits_on_time(state: &State) -> bool {
    if state.keys().epoch.0 == 0 {
        return false;
    }
    let meta = state.meta();
    let since_root = meta
        .last_root
        .map_or(meta.next.0, |last| meta.next.0.saturating_sub(last.0));
    since_root >= state.config().root_interval
        || !state.cohorts().is_empty()
        || state
            .rollouts()
            .iter()
            .any(|(_, rollout)| !rollout.life.is_final())
}
