//! The node's session in the store: opened, followed, reported for, closed.
use super::{desk::Desk, live::Live};
use std::{sync::Arc, time::Duration};
use tidegate_client::{ClientError, Proposed, StoreClient};
use tidegate_domain::{
    Event, Outcome, Rejection,
    command::{
        CloseSession, Command, GrantBudget, OpenSession, Proposal, Report, ReturnBudget,
        VALIDITY_MAX, seal,
    },
    id::{CommandId, LogTime, Millis, SessionId},
    node::PoolKey,
};
use tidegate_runtime::{AsyncRuntime as _, Entropy, EntropyError, Rt};

/// How long a node's command may be applied after it was signed, in log time. Retries are over in
/// seconds; the rest is room for clocks that disagree.
const VALID: Millis = Millis(24 * 3_600_000);
/// Between two attempts of what must be told.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts to open a session.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Signs commands and brings them to the store.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    client: StoreClient,
    entropy: Arc<dyn Entropy>,
}

/// Why a command of the node had no effect, or may have had none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The node knows no state to sign on.
    #[error("the store's state is not known yet")]
    Blind,
    /// No id could be drawn.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store was not reached, or refused at the door.
    #[error(transparent)]
    Store(#[from] ClientError),
    /// The store refused the command.
    #[error("refused: {0}")]
    Rejected(Box<Rejection>),
}

/// Why a session was not closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// It took too long.
    #[error("the session was not closed within {after:?}")]
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// The final report was not taken.
    #[error("the session was not closed: {0}")]
    Ask(#[from] AskError),
    /// The store does not take all of the final report yet: this node's clock runs far ahead of
    /// the store's. Closed, the session would give back admissions that were used.
    #[error(
        "the session was not closed: {tallies} of its tallies lie in the store's future; set this \
         node's clock, and have the session written off"
    )]
    Untold {
        /// How many.
        tallies: usize,
    },
}

impl Signer {
    pub(crate) const fn new(client: StoreClient, entropy: Arc<dyn Entropy>) -> Self {
        Self { client, entropy }
    }

    /// Signs one command and commits it; retries keep its id.
    pub(crate) async fn ask(
        &self,
        desk: &Desk,
        command: impl Into<Command>,
    ) -> Result<Vec<Event>, AskError> {
        self.propose(self.sign(desk, command.into())?).await
    }

    /// Signs one command on the newest snapshot.
    fn sign(&self, desk: &Desk, command: Command) -> Result<Vec<u8>, AskError> {
        let snapshot = desk.known.snapshot().ok_or(AskError::Blind)?;
        let cited = snapshot.index.cited();
        let (not_before, not_after) = validity(cited.time, desk.standing().now);
        let proposal = Proposal {
            origin: cited.origin.clone(),
            id: CommandId(self.entropy.array()?),
            epoch: cited.epoch,
            not_before,
            not_after,
            base: snapshot.base,
            command,
            expected_revision: None,
        };
        Ok(seal(&proposal, &[&desk.signing]).to_bytes())
    }

    async fn propose(&self, command: Vec<u8>) -> Result<Vec<Event>, AskError> {
        let Proposed { outcome, .. } = self.client.propose(command).await?;
        match outcome {
            Outcome::Accepted(events) => Ok(events),
            Outcome::Rejected(rejection) => Err(AskError::Rejected(Box::new(rejection))),
        }
    }
}

/// From when until when, in log time, a command may be applied that is signed `now` on a state
/// that was `seen` then. A state in which nothing happens grows old: counted from it, the command
/// would be valid for longer than the store takes.
fn validity(seen: LogTime, now: LogTime) -> (LogTime, LogTime) {
    let not_after = now.after(VALID);
    let earliest = LogTime(not_after.0.saturating_sub(VALIDITY_MAX.0));
    (seen.max(earliest), not_after)
}

/// Opens a session and holds one for as long as the node runs.
pub(crate) async fn hold(desk: Arc<Desk>, signer: Signer, advertise: String) {
    let mut pause = PAUSE;
    loop {
        until(&desk, |desk| desk.known.snapshot().is_some()).await;
        match open(&desk, &signer, &advertise).await {
            Ok(session) => {
                pause = PAUSE;
                if let Some(session) = session {
                    follow(&desk, session).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no session could be opened; devices wait");
                Rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Opens one session. While it is not known whether that happened, the same bytes are proposed
/// again: other ones would open another session, and this one would stay open with nobody to
/// report for it.
async fn open(
    desk: &Desk,
    signer: &Signer,
    advertise: &str,
) -> Result<Option<SessionId>, AskError> {
    let open = OpenSession {
        region: desk.config.region.clone(),
        address: advertise.to_owned(),
    };
    let command = signer.sign(desk, open.into())?;
    let mut pause = PAUSE;
    loop {
        match signer.propose(command.clone()).await {
            Ok(events) => return Ok(opened(&events)),
            Err(AskError::Store(error)) if error.is_effect_unknown() => {
                tracing::warn!(%error, "it is not known whether a session is open");
                Rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

fn opened(events: &[Event]) -> Option<SessionId> {
    events.iter().find_map(|event| match event {
        Event::SessionOpened(session) => Some(session.id),
        _ => None,
    })
}

/// Uses a session from when the snapshot has it until it is over.
async fn follow(desk: &Arc<Desk>, session: SessionId) {
    let knows = move |desk: &Desk| {
        let snapshot = desk.known.snapshot();
        snapshot.is_some_and(|snapshot| snapshot.index.cited().last_session >= session)
    };
    until(desk, knows).await;
    let is_open = move |desk: &Desk| {
        let snapshot = desk.known.snapshot();
        let entry = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.index.session(session));
        entry.is_some_and(|entry| entry.open)
    };
    if let Some(snapshot) = desk.known.snapshot().filter(|_| is_open(desk)) {
        tracing::info!(%session, "session open");
        desk.live.begin(Live::new(session, &snapshot.index));
        until(desk, |desk| !is_open(desk)).await;
    }
    tracing::warn!(%session, "the session is over; opening another");
    desk.live.end();
}

/// Waits until something holds of the desk.
async fn until(desk: &Desk, holds: impl Fn(&Desk) -> bool) {
    loop {
        let moved = desk.moved.notified();
        tokio::pin!(moved);
        // Registered before the look, so that no change falls in between.
        moved.as_mut().enable();
        if holds(desk) {
            return;
        }
        moved.await;
    }
}

/// Asks for the admissions that devices wait for, and gives back what is of no use.
pub(crate) async fn budgets(desk: &Desk, signer: &Signer) {
    let Some(live) = desk.live.get() else { return };
    let session = live.session;
    let wanted = live.purse.wanted(desk.clock.boot());
    let grants = wanted.into_iter().map(|(pool, wanted)| {
        let live = Arc::clone(&live);
        async move {
            let grant = GrantBudget {
                session,
                pool: pool.clone(),
                wanted,
            };
            match signer.ask(desk, grant).await {
                Ok(_) => {}
                Err(AskError::Rejected(why)) => {
                    tracing::debug!(rollout = %pool.rollout, %why, "no admissions");
                    live.purse.refused(&pool, &why, desk.clock.boot());
                }
                Err(error) => tracing::info!(%error, "admissions were not granted"),
            }
        }
    });
    at_a_time(grants).await;
    let returns = desk
        .take_returns(session)
        .into_iter()
        .map(|(pool, unused)| {
            let live = Arc::clone(&live);
            async move { give_back(desk, signer, &live, pool, unused).await }
        });
    at_a_time(returns).await;
}

async fn give_back(desk: &Desk, signer: &Signer, live: &Live, pool: PoolKey, unused: u64) {
    let unspent = ReturnBudget {
        session: live.session,
        pool: pool.clone(),
        unused,
    };
    match signer.ask(desk, unspent).await {
        Ok(_) => {}
        Err(AskError::Rejected(why)) => {
            tracing::info!(%why, "admissions were not taken back");
            live.purse.give_back(&pool, unused);
        }
        // It may have been applied: what is on its way back is never spent.
        Err(error) => tracing::info!(%error, "admissions may not have been returned"),
    }
}

/// Runs some at a time, so that many pools neither wait for each other nor flood the store.
async fn at_a_time(work: impl Iterator<Item = impl Future<Output = ()>>) {
    use futures::StreamExt;
    const AT_A_TIME: usize = 16;
    futures::stream::iter(work)
        .for_each_concurrent(AT_A_TIME, |one| one)
        .await;
}

/// Sends one report, if there is anything to say.
pub(crate) async fn report(desk: &Desk, signer: &Signer) -> Result<(), AskError> {
    let Some(live) = desk.live.get() else {
        return Ok(());
    };
    let report = live.ledger().report(None);
    match report {
        Some(report) => send(desk, signer, &live, report).await,
        None => Ok(()),
    }
}

async fn send(desk: &Desk, signer: &Signer, live: &Live, report: Report) -> Result<(), AskError> {
    let seq = report.seq;
    let sent = signer.ask(desk, report).await;
    match &sent {
        Ok(_) => live.ledger().acknowledged(seq),
        Err(AskError::Rejected(why)) => {
            tracing::warn!(%why, seq, "a report was refused");
            live.ledger().refused(seq);
        }
        Err(error) => tracing::info!(%error, seq, "it is not known whether a report arrived"),
    }
    sent.map(drop)
}

/// Reports everything and closes the session, however often the store has to be asked.
pub(crate) async fn close(desk: &Desk, signer: &Signer) -> Result<(), CloseError> {
    // From here on nothing can be drawn, and nobody is still counting: what was counted is all.
    let Some(live) = desk.live.end() else {
        return Ok(());
    };
    let mut refused = false;
    loop {
        match try_close(desk, signer, &live).await {
            Err(CloseError::Ask(AskError::Store(error))) => {
                tracing::info!(%error, "the session is not closed yet");
                Rt::sleep(PAUSE).await;
            }
            // The store may take a part: that is told before the node gives up.
            Err(CloseError::Ask(AskError::Rejected(why))) if !refused => {
                tracing::warn!(%why, "the last report was refused");
                refused = true;
            }
            closed => return closed,
        }
    }
}

async fn try_close(desk: &Desk, signer: &Signer, live: &Live) -> Result<(), CloseError> {
    let snapshot = desk.known.snapshot().ok_or(AskError::Blind)?;
    let at_once = snapshot.index.settings().report_tallies_max;
    while live.ledger().due_len() > at_once {
        let Some(report) = live.ledger().report(None) else {
            break;
        };
        send(desk, signer, live, report).await?;
    }
    let last = live.ledger().final_report(None);
    let Some(last) = last else {
        // What the store takes, it is told.
        let report = live.ledger().report(None);
        if let Some(report) = report {
            send(desk, signer, live, report).await?;
        }
        let tallies = live.ledger().due_len();
        return Err(CloseError::Untold { tallies });
    };
    let (seq, session) = (last.seq, live.session);
    match signer.ask(desk, CloseSession { session, last }).await {
        Ok(_) => Ok(()),
        Err(AskError::Rejected(why)) if matches!(*why, Rejection::SessionOver { .. }) => Ok(()),
        Err(error @ AskError::Store(_)) => Err(error.into()),
        Err(error) => {
            live.ledger().refused(seq);
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_signed_on_an_old_state_is_not_valid_for_too_long() {
        let day = |n: u64| LogTime(n * 24 * 3_600_000);
        assert_eq!(validity(day(100), day(100)), (day(100), day(101)));
        assert_eq!(validity(day(95), day(100)), (day(95), day(101)));
        assert_eq!(validity(day(80), day(100)), (day(94), day(101)));
    }
}
