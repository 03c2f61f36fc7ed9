//! The operators' desk: signs commands, proposes them, and remembers what was acknowledged.
use super::keyring::Keyring;
use anyhow::Context;
use ed25519_dalek::SigningKey;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_client::{Position, Proposed, StoreClient, View};
use tidegate_domain::{
    Command, Outcome, Rejection,
    command::{Proposal, VALIDITY_MAX, seal},
    event::Event,
    id::{CommandId, Index, LogTime, Millis},
    key::Role,
};
use tidegate_runtime::Clock;

/// Signs with the demo's keys and talks to its cluster.
pub(super) struct Desk {
    pub(super) client: StoreClient,
    pub(super) keys: Arc<Keyring>,
    pub(super) origin: String,
    clock: Arc<dyn Clock>,
    acknowledged: Mutex<Vec<(Index, CommandId)>>,
}

/// How far log time may be behind the desk's clock, which runs fast.
const SLACK: Millis = Millis(24 * 3_600_000);

/// What became of a command, with its rejection told apart.
pub(super) type Answer = Result<(Index, Vec<Event>), Rejection>;

impl Desk {
    pub(super) fn new(
        client: StoreClient,
        keys: Arc<Keyring>,
        origin: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let origin = origin.to_owned();
        Self {
            client,
            keys,
            origin,
            clock,
            acknowledged: Mutex::default(),
        }
    }

    /// What the cluster knows now, linearizable.
    pub(super) async fn look(&self) -> anyhow::Result<View> {
        let (manifest, rows) = self.client.snapshot(Position::default()).await?;
        Ok(View::new(&self.origin, &manifest, rows)?)
    }

    /// Proposes a command that one operator signs. A rejection is an answer.
    pub(super) async fn ask(&self, command: impl Into<Command>) -> anyhow::Result<Answer> {
        let key = self
            .keys
            .of(Role::Operator)
            .first()
            .context("there is no operator key")?;
        self.propose(command.into(), &[key]).await
    }

    /// Proposes a command that one operator signs, and that has to be accepted.
    pub(super) async fn order(&self, command: impl Into<Command>) -> anyhow::Result<Vec<Event>> {
        let command = command.into();
        let name = command.name();
        let (_, events) = self
            .ask(command)
            .await?
            .with_context(|| format!("{name} was refused"))?;
        Ok(events)
    }

    /// Proposes a command that a quorum of operators signs, and that has to be accepted.
    pub(super) async fn resolve(&self, command: impl Into<Command>) -> anyhow::Result<Vec<Event>> {
        let command = command.into();
        let name = command.name();
        let keys = self.keys.quorum(Role::Operator);
        let answer = self.propose(command, &keys).await?;
        let (_, events) = answer.with_context(|| format!("{name} was refused"))?;
        Ok(events)
    }

    /// Proposes a command signed by these keys.
    pub(super) async fn propose(
        &self,
        command: Command,
        keys: &[&SigningKey],
    ) -> anyhow::Result<Answer> {
        let view = self.look().await?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).context("the system gives no randomness")?;
        let now = LogTime(self.clock.wall().0);
        let not_before = LogTime(now.0.saturating_sub(SLACK.0));
        let proposal = Proposal {
            origin: self.origin.clone(),
            id: CommandId(id),
            epoch: view.state().keys().epoch,
            not_before,
            not_after: not_before.after(VALIDITY_MAX),
            base: view.base(),
            command,
            expected_revision: None,
        };
        let signed = seal(&proposal, keys);
        let Proposed { index, outcome, .. } = self.client.propose(signed.to_bytes()).await?;
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((index, proposal.id));
        Ok(match outcome {
            Outcome::Accepted(events) => Ok((index, events)),
            Outcome::Rejected(rejection) => Err(rejection),
        })
    }

    /// Every command that the cluster acknowledged, and where.
    pub(super) fn acknowledged(&self) -> Vec<(Index, CommandId)> {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
