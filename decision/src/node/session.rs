//! The node's session in the store: opened, followed, worked under, closed.
use super::{
    desk::Desk,
    envelope::{self, Over, Sealed},
    live::Live,
};
use std::{sync::Arc, time::Duration};
use tidegate_client::{ClientError, Proposed, StoreClient};
use tidegate_domain::{
    Event, Outcome, Rejection,
    command::{Command, OPERATIONS_MAX, OpenSession, Operation, Proposal, VALIDITY_MAX, seal},
    id::{CommandId, LogTime, Millis, SessionId},
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

    /// Signs one command on the newest snapshot, to be applied within `valid` of now: at log time
    /// `least` at the earliest, however wrong this node's clock is.
    pub(crate) fn seal(
        &self,
        desk: &Desk,
        command: Command,
        least: LogTime,
        valid: Millis,
    ) -> Result<Sealed, AskError> {
        let snapshot = desk.known.snapshot().ok_or(AskError::Blind)?;
        let cited = snapshot.index.cited();
        let now = desk.standing().now.max(least);
        let (not_before, not_after) = validity(cited.time, now, valid);
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
        let signed = seal(&proposal, &[&desk.signing]);
        Ok(Sealed {
            bytes: signed.to_bytes(),
            digest: signed.digest(),
            epoch: cited.epoch,
            not_after,
        })
    }

    pub(crate) const fn client(&self) -> &StoreClient {
        &self.client
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
fn validity(seen: LogTime, now: LogTime, valid: Millis) -> (LogTime, LogTime) {
    let not_after = now.after(valid);
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
    let command = signer.seal(desk, open.into(), LogTime(0), VALID)?.bytes;
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
        let live = desk.live.begin(Live::new(session, &snapshot.index));
        until(desk, |desk| !is_open(desk) || live.envelopes().is_over()).await;
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

/// Most admissions that one envelope gives back; the rest follows in the next.
const RETURNS_MAX: usize = 512;

/// Asks for the admissions that devices wait for, gives back what is of no use, and reports if that
/// is due: in this order of effects, so that what is resolved makes room for what is asked for.
pub(crate) async fn work(desk: &Desk, signer: &Signer, report: bool) {
    let Some(live) = desk.live.get() else { return };
    let sent = match envelope::finish(desk, signer, &live).await {
        Ok(Ok(_)) => {
            let operations = gather(desk, &live, report);
            if operations.is_empty() {
                return;
            }
            envelope::send(desk, signer, &live, operations).await
        }
        unfinished => unfinished,
    };
    match sent {
        Ok(Ok(_)) => {}
        Ok(Err(Over)) => tracing::info!(session = %live.session, "the session is over"),
        Err(error) => tracing::info!(%error, "nothing can be asked of the store"),
    }
}

fn gather(desk: &Desk, live: &Live, report: bool) -> Vec<Operation> {
    let mut operations = Vec::new();
    if report {
        operations.extend(live.ledger().report(None));
    }
    let mut returns = desk.take_returns(live.session);
    let rest = returns.split_off(returns.len().min(RETURNS_MAX));
    if !rest.is_empty() {
        desk.queue_returns(live.session, rest);
    }
    let returns = returns.into_iter();
    operations.extend(returns.map(|(pool, unused)| Operation::Return { pool, unused }));
    let wanted = live.purse.wanted(desk.clock.boot()).into_iter();
    operations.extend(wanted.map(|(pool, wanted)| Operation::Grant { pool, wanted }));
    assert!(
        operations.len() <= OPERATIONS_MAX,
        "an envelope has room for what is gathered"
    );
    operations
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
    if let Err(Over) = envelope::finish(desk, signer, live).await? {
        return Ok(());
    }
    loop {
        let last = live.ledger().final_report(None);
        if let Some(last) = last {
            let closing = vec![last, Operation::Close];
            // A session that is over needs no more telling.
            return tell(desk, signer, live, closing).await.map(|_| ());
        }
        // What the store takes, it is told.
        let report = live.ledger().report(None);
        let Some(report) = report else {
            let tallies = live.ledger().due_len();
            return Err(CloseError::Untold { tallies });
        };
        if let Err(Over) = tell(desk, signer, live, vec![report]).await? {
            return Ok(());
        }
    }
}

/// Sends what must be taken as a whole.
async fn tell(
    desk: &Desk,
    signer: &Signer,
    live: &Live,
    operations: Vec<Operation>,
) -> Result<Result<(), Over>, CloseError> {
    let Ok(refused) = envelope::send(desk, signer, live, operations).await? else {
        return Ok(Err(Over));
    };
    match refused.into_values().next() {
        None => Ok(Ok(())),
        Some(why) => {
            let why = why.unwrap_or(Rejection::CloseAfterRefusal);
            Err(AskError::Rejected(Box::new(why)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_signed_on_an_old_state_is_not_valid_for_too_long() {
        let day = |n: u64| LogTime(n * 24 * 3_600_000);
        assert_eq!(validity(day(100), day(100), VALID), (day(100), day(101)));
        assert_eq!(validity(day(95), day(100), VALID), (day(95), day(101)));
        assert_eq!(validity(day(80), day(100), VALID), (day(94), day(101)));
    }
}
