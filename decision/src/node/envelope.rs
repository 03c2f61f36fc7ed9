//! The session's envelopes: one on its way at a time, the same bytes until it is known what became of
//! them.
//!
//! An envelope's effect is that of its bytes, so they are kept for as long as they may be applied. A
//! reply tells what became of them, or the view does, which shows the number and the digest of the
//! session's last envelope. Nothing else is believed: a node that refuses the bytes says nothing of
//! another that may have applied them. They are signed anew, the same operations under the same
//! number, only when the view shows a state in which they can never be applied any more, and had
//! not been: log time is past their validity or the key epoch is over, both of which only rise, and
//! the session still stands before their number.
use super::{
    desk::Desk,
    live::Live,
    session::{AskError, Signer},
};
use crate::ledger::Carried;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidegate_client::Proposed;
use tidegate_domain::{
    Outcome, Rejection, State,
    command::{AdvanceSession, Operation},
    event::refused_operations,
    id::{Epoch, Hash, Instance, LogTime, Millis, Sequence, SessionId},
    node::{LastEnvelope, SessionStatus},
};
use tidegate_runtime::{AsyncRuntime as _, Rt};

/// How long an envelope may be applied after it was signed, in log time: enough for any election,
/// and not so long that one which was lost keeps the session from going on for the rest of the day.
pub(crate) const VALID: Millis = Millis(3_600_000);
/// A node works under a session that it opened itself, in one life.
const INSTANCE: Instance = Instance(1);
/// Between two attempts with the same bytes.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What was sent, and how far the session is.
#[derive(Debug, Default)]
pub(crate) struct Envelopes {
    settled: Sequence,
    on_its_way: Option<Arc<Envelope>>,
    over: bool,
}

impl Envelopes {
    /// Whether it was found that no envelope of this node will be applied any more.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    fn next(&self) -> Sequence {
        Sequence(self.settled.0.saturating_add(1))
    }
}

/// A signed envelope.
#[derive(Debug)]
pub(crate) struct Envelope {
    operations: Vec<Operation>,
    sequence: Sequence,
    sealed: Sealed,
}

/// The bytes of a signed command, and what says until when they may be applied.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Hash,
    pub(crate) epoch: Epoch,
    pub(crate) not_after: LogTime,
}

/// What came of an envelope: the operations that were refused, with the reason if it is known.
pub(crate) type Refused = BTreeMap<u32, Option<Rejection>>;

/// The session is over for this node: somebody ended it, or another has its turn.
#[derive(Debug)]
pub(crate) struct Over;

/// Where a session stands in the view.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stand {
    over: bool,
    /// Log time of the view, which is newer than the snapshot's: ticks make no new snapshot.
    time: LogTime,
    epoch: Epoch,
    sequence: Sequence,
    last: Option<LastEnvelope>,
}

/// What a view tells of an envelope.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Applied(Vec<u32>),
    /// It was not applied, and never will be.
    Void,
    Over,
}

impl Stand {
    pub(crate) fn of(state: &State, session: SessionId) -> Self {
        let row = state.sessions().get(&session);
        let open = row.is_some_and(|row| row.status == SessionStatus::Open);
        Self {
            // A node works under a session that a view has shown: a later one without it is of
            // another life of the store, or has forgotten it.
            over: !open,
            time: state.meta().time,
            epoch: state.keys().epoch,
            sequence: row.map_or(Sequence(0), |row| row.sequence),
            last: row.and_then(|row| row.last.clone()),
        }
    }

    fn fate(&self, envelope: &Envelope) -> Fate {
        let Envelope {
            sequence, sealed, ..
        } = envelope;
        let last = self.last.as_ref();
        let own = last.filter(|last| self.sequence == *sequence && last.digest == sealed.digest);
        if let Some(last) = own {
            Fate::Applied(last.refused.clone())
        } else if self.over || self.sequence >= *sequence {
            // Another envelope of that number is another node's under this key (a copied machine):
            // the session is left to it.
            Fate::Over
        } else if self.time > sealed.not_after || self.epoch > sealed.epoch {
            Fate::Void
        } else {
            Fate::Unknown
        }
    }
}

/// Brings operations to the store as the session's next envelope, however often it has to be asked,
/// and applies what came of them here. Nothing is on its way: what is gathered while an envelope is
/// could rest on what becomes of that one.
///
/// # Errors
/// Nothing can be signed.
pub(crate) async fn send(
    desk: &Desk,
    signer: &Signer,
    live: &Live,
    operations: Vec<Operation>,
) -> Result<Result<Refused, Over>, AskError> {
    let sequence = {
        let envelopes = live.envelopes();
        assert!(
            envelopes.on_its_way.is_none(),
            "a session has one envelope on its way at most"
        );
        envelopes.next()
    };
    if let Err(error) = seal(desk, signer, live, sequence, &operations) {
        take_back(live, &operations);
        return Err(error);
    }
    finish(desk, signer, live).await
}

/// Nothing was sent of these: they are due again.
fn take_back(live: &Live, operations: &[Operation]) {
    for operation in operations {
        match operation {
            Operation::Report { .. } => live.ledger().refused(),
            Operation::Return { pool, unused } => live.purse.give_back(pool, *unused),
            // Asked for again after a while.
            Operation::Grant { .. } | Operation::Close => {}
        }
    }
}

/// Waits until it is known what became of the envelope on its way, if there is one.
///
/// # Errors
/// As [`send`].
pub(crate) async fn finish(
    desk: &Desk,
    signer: &Signer,
    live: &Live,
) -> Result<Result<Refused, Over>, AskError> {
    let mut pause = PAUSE;
    loop {
        let envelope = live.envelopes().on_its_way.clone();
        let Some(envelope) = envelope else {
            return Ok(Ok(Refused::new()));
        };
        if let Some(refused) = propose(signer, &envelope).await {
            settle(desk, live, &envelope, &refused);
            return Ok(Ok(refused));
        }
        match live.stand().fate(&envelope) {
            Fate::Unknown => {
                Rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Fate::Applied(refused) => {
                let refused = refused.into_iter().map(|place| (place, None)).collect();
                settle(desk, live, &envelope, &refused);
                return Ok(Ok(refused));
            }
            Fate::Void => {
                let Envelope {
                    operations,
                    sequence,
                    ..
                } = &*envelope;
                seal(desk, signer, live, *sequence, operations)?;
            }
            Fate::Over => {
                live.envelopes().over = true;
                desk.moved.notify_waiters();
                return Ok(Err(Over));
            }
        }
    }
}

/// Signs operations as the envelope that is on its way from now on.
fn seal(
    desk: &Desk,
    signer: &Signer,
    live: &Live,
    sequence: Sequence,
    operations: &[Operation],
) -> Result<(), AskError> {
    let command = AdvanceSession {
        session: live.session,
        instance: INSTANCE,
        sequence,
        operations: operations.to_vec(),
    };
    let sealed = signer.seal(desk, command.into(), live.stand().time, VALID)?;
    let is_report = |operation: &Operation| matches!(operation, Operation::Report { .. });
    let place = operations.iter().position(is_report);
    if let Some(place) = place.and_then(|place| u32::try_from(place).ok()) {
        live.ledger().carried(Carried {
            sequence,
            digest: sealed.digest,
            place,
        });
    }
    live.envelopes().on_its_way = Some(Arc::new(Envelope {
        operations: operations.to_vec(),
        sequence,
        sealed,
    }));
    Ok(())
}

/// One attempt; `None` if it leaves open what became of the envelope.
async fn propose(signer: &Signer, envelope: &Envelope) -> Option<Refused> {
    let (sequence, bytes) = (envelope.sequence, envelope.sealed.bytes.clone());
    match signer.client().propose(bytes).await {
        Ok(Proposed {
            outcome: Outcome::Accepted(events),
            ..
        }) => Some(
            refused_operations(&events)
                .map(|(place, why)| (place, Some(why.clone())))
                .collect(),
        ),
        Ok(Proposed {
            outcome: Outcome::Rejected(why),
            ..
        }) => {
            tracing::info!(%why, %sequence, "an envelope was refused; the view will tell for good");
            None
        }
        Err(error) => {
            tracing::info!(%error, %sequence, "it is not known what became of an envelope");
            None
        }
    }
}

/// Applies what became of an envelope.
fn settle(desk: &Desk, live: &Live, envelope: &Envelope, refused: &Refused) {
    for (place, operation) in (0_u32..).zip(&envelope.operations) {
        let why = refused.get(&place);
        match (operation, why) {
            (Operation::Grant { pool, .. }, Some(Some(why))) => {
                tracing::debug!(rollout = %pool.rollout, %why, "no admissions");
                live.purse.refused(pool, why, desk.clock.boot());
            }
            (Operation::Return { pool, unused }, Some(why)) => {
                tracing::info!(?why, "admissions were not taken back");
                live.purse.give_back(pool, *unused);
            }
            (Operation::Report { .. }, Some(why)) => {
                tracing::warn!(?why, "a report was refused");
                live.ledger().refused();
            }
            (Operation::Report { .. }, None) => live.ledger().acknowledged(),
            // What was granted, and what of it is back, the view tells.
            (Operation::Grant { .. }, None | Some(None))
            | (Operation::Return { .. }, None)
            | (Operation::Close, _) => {}
        }
    }
    let mut envelopes = live.envelopes();
    envelopes.settled = envelope.sequence;
    envelopes.on_its_way = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::testing::Fleet;

    /// Sends a session's next envelope; answers it as its node knows it.
    fn envelope(fleet: &mut Fleet, session: SessionId, operations: Vec<Operation>) -> Envelope {
        let command = fleet.envelope(session, operations.clone());
        let sequence = command.sequence;
        let (epoch, not_after) = (fleet.state.keys().epoch, fleet.now.after(VALID));
        let signed = fleet.sealed(command);
        Envelope {
            operations,
            sequence,
            sealed: Sealed {
                bytes: signed.to_bytes(),
                digest: signed.digest(),
                epoch,
                not_after,
            },
        }
    }

    #[test]
    fn a_view_tells_what_became_of_an_envelope() {
        let mut fleet = Fleet::new();
        let session = fleet.open_session();
        let sent = envelope(&mut fleet, session, Vec::new());
        let fate = |fleet: &Fleet| Stand::of(&fleet.state, session).fate(&sent);
        assert_eq!(fate(&fleet), Fate::Unknown);

        let mut late = fleet.clone();
        late.wait(VALID);
        late.tick();
        assert_eq!(fate(&late), Fate::Unknown, "it may be applied at that time");
        late.wait(Millis(1));
        late.tick();
        assert_eq!(fate(&late), Fate::Void);

        let mut rotated = fleet.clone();
        let rotation = rotated.rotation(&[0, 1, 2]);
        rotated.accept(rotation);
        assert_eq!(fate(&rotated), Fate::Void);

        let mut taken = fleet.clone();
        let others = taken.envelope(session, []);
        taken.accept(others);
        assert_eq!(fate(&taken), Fate::Over);

        fleet.apply(&sent.sealed.bytes);
        assert_eq!(fate(&fleet), Fate::Applied(Vec::new()));
        // Whatever comes after: it was applied.
        fleet.wait(Millis(2 * VALID.0));
        fleet.tick();
        assert_eq!(fate(&fleet), Fate::Applied(Vec::new()));
    }

    /// What closed the session was applied, and nothing else will be.
    #[test]
    fn a_view_tells_the_last_envelope_of_a_session_from_one_that_came_too_late() {
        let mut fleet = Fleet::new();
        let session = fleet.open_session();
        let last = envelope(&mut fleet, session, vec![Operation::Close]);
        let other = envelope(&mut fleet, session, Vec::new());
        fleet.apply(&last.sealed.bytes);
        let stand = Stand::of(&fleet.state, session);
        assert_eq!(stand.fate(&last), Fate::Applied(Vec::new()));
        assert_eq!(stand.fate(&other), Fate::Over);
    }

    #[test]
    fn a_session_that_another_life_of_the_store_never_had_is_over() {
        let mut fleet = Fleet::new();
        let session = fleet.open_session();
        let sent = envelope(&mut fleet, session, Vec::new());
        let stand = Stand::of(&Fleet::new().state, session);
        assert_eq!(stand.fate(&sent), Fate::Over);
    }
}
