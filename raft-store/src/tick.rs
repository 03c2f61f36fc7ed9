//! Moves log time on when something is due: the plan's next wake-up, or a state root.

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::State;
use tidegate_domain::command::{Base, Command, Proposal, Tick, seal};
use tidegate_domain::id::{CommandId, LogTime, Millis};
use tidegate_domain::plan::next_wakeup;
use tidegate_domain::signature::SigningKey;
use tidegate_runtime::{Entropy, blocking};

use crate::api::store::Serving;

/// How far from the stamp that it was signed for a tick may be applied, in ms.
const VALID_MS: u64 = 60_000;

/// Proposes `Tick` when one is due and this node leads.
pub(crate) struct Ticker {
    serving: Arc<Serving>,
    key: SigningKey,
    entropy: Arc<dyn Entropy>,
    every: Duration,
}

/// When the state as of so many entries wants a tick. Finding out takes a look at every rollout
/// that is not over, so it is done once for each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    entries: u64,
    at: Option<LogTime>,
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
        let mut due = None;
        loop {
            tokio::time::sleep(self.every).await;
            if !self.serving.group.raft.is_leader() {
                continue;
            }
            let entries = self.serving.state.position().entries;
            let Due { at, .. } = match due {
                Some(known @ Due { entries: of, .. }) if of == entries => known,
                _ => {
                    let state = self.serving.state.clone();
                    match blocking(move || state.read(look)).await {
                        Ok(looked) => *due.insert(looked),
                        Err(error) => {
                            tracing::error!(%error, "what is due cannot be told");
                            continue;
                        }
                    }
                }
            };
            if let Some(at) = at
                && let Err(error) = self.tick_if(at).await
            {
                tracing::warn!(%error, "log time was not moved on");
            }
        }
    }

    /// Proposes a tick if log time would reach `at` by it.
    ///
    /// What is compared, and what the tick is valid around, is the stamp that it would carry, not
    /// this machine's clock: the voters' clocks hold that stamp close to their median, so that no
    /// single clock, however wrong, keeps what is due from happening.
    async fn tick_if(&self, at: LogTime) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Self {
            serving, entropy, ..
        } = self;
        let stamp = LogTime(serving.stamp());
        let id = CommandId(entropy.array()?);
        let proposal = serving.state.read(|state| {
            let time = stamp.max(state.meta().time);
            (at <= time).then(|| Proposal {
                origin: state.meta().origin.clone(),
                id,
                epoch: state.keys().epoch,
                not_before: LogTime(time.0.saturating_sub(VALID_MS)),
                not_after: time.after(Millis(VALID_MS)),
                base: Base::genesis(&state.meta().origin),
                command: Command::Tick(Tick {}),
                expected_revision: None,
            })
        });
        if let Some(proposal) = proposal {
            let command = seal(&proposal, &[&self.key]).to_bytes();
            serving.writes.tick(command.into()).await?;
        }
        Ok(())
    }
}

/// When the state wants a tick: when time alone changes it, and at once if its root is due.
fn look(state: &State) -> Due {
    let meta = state.meta();
    let since_root = meta
        .last_root
        .map_or(meta.next.0, |last| meta.next.0.saturating_sub(last.0));
    let at = if state.keys().epoch.0 == 0 {
        None
    } else if since_root >= state.config().root_interval {
        Some(meta.time)
    } else {
        next_wakeup(state)
    };
    Due {
        entries: meta.next.0,
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::command::{ApproveRollout, CreateRollout};
    use tidegate_domain::testing::{Fleet, release, rollout};

    #[track_caller]
    fn due_at(fleet: &Fleet, expect: Option<LogTime>) {
        assert_eq!(look(&fleet.state).at, expect);
    }

    #[test]
    fn nothing_is_due_while_nothing_waits_on_time() {
        due_at(&Fleet::unborn(), None);
        let mut fleet = Fleet::new();
        due_at(&fleet, None);
        fleet.register(release("a-1"));
        fleet.register(release("a-2"));
        let spec = rollout("a-2").back_to("a-1").wave(100, 1).spec();
        fleet.accept(CreateRollout { spec });
        due_at(&fleet, None);
    }

    #[test]
    fn a_soak_is_due_at_its_end_and_a_start_at_its_time() {
        let mut fleet = Fleet::new();
        fleet.register(release("a-1"));
        fleet.register(release("a-2"));
        let start = fleet.now.after(Millis(5_000));
        let mut spec = rollout("a-2").back_to("a-1").wave(100, 1).spec();
        spec.start_at = Some(start);
        fleet.accept(CreateRollout { spec });
        let rollout = fleet.state.meta().last_rollout;
        fleet.accept(ApproveRollout { rollout });
        due_at(&fleet, Some(start));
        fleet.now = start;
        fleet.tick();
        due_at(&fleet, Some(start.after(Millis(3_600_000))));
    }

    #[test]
    fn a_root_is_due_once_so_many_entries_have_none() {
        let mut fleet = Fleet::new();
        let interval = fleet.state.config().root_interval;
        while fleet.state.meta().next.0 < interval {
            due_at(&fleet, None);
            fleet.apply(b"no command");
        }
        due_at(&fleet, Some(fleet.state.meta().time));
        fleet.tick();
        due_at(&fleet, None);
    }
}
