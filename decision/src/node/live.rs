//! The session that devices are answered under.
use super::envelope::{Envelopes, Stand};
use crate::{
    engine::Index,
    ledger::{Ledger, LedgerLimits, Owners, Purse, PurseLimits},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tidegate_domain::{State, id::SessionId};

/// A session that the store knows, and what belongs to it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) session: SessionId,
    pub(crate) purse: Purse,
    ledger: Mutex<Ledger>,
    owners: RwLock<Arc<Owners>>,
    /// The envelope on its way, and the number of the last one that is settled.
    envelopes: Mutex<Envelopes>,
    stand: Mutex<Stand>,
}

impl Live {
    pub(crate) fn new(session: SessionId, index: &Index) -> Self {
        let purse = Purse::new(session, PurseLimits::default());
        purse.allow_catch_up(index.settings().credit);
        Self {
            session,
            purse,
            ledger: Mutex::new(Ledger::new(session, LedgerLimits::default())),
            owners: RwLock::new(Arc::new(owners(session, index))),
            envelopes: Mutex::default(),
            stand: Mutex::default(),
        }
    }

    pub(crate) fn envelopes(&self) -> MutexGuard<'_, Envelopes> {
        self.envelopes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the session stands in the view.
    pub(crate) fn stand(&self) -> Stand {
        let stand = self.stand.lock().unwrap_or_else(PoisonError::into_inner);
        stand.clone()
    }

    pub(crate) fn follow_stand(&self, state: &State) {
        let stand = Stand::of(state, self.session);
        *self.stand.lock().unwrap_or_else(PoisonError::into_inner) = stand;
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn owners(&self) -> Arc<Owners> {
        Arc::clone(&self.owners.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn follow_owners(&self, index: &Index) {
        let owners = Arc::new(owners(self.session, index));
        *self.owners.write().unwrap_or_else(PoisonError::into_inner) = owners;
    }
}

fn owners(own: SessionId, index: &Index) -> Owners {
    let open = index.open_sessions();
    let open = open.map(|(id, session)| (id, session.address.as_ref()));
    Owners::among(own, index.cited().last_session, open)
}

/// The place of the session that is live, if one is.
#[derive(Debug, Default)]
pub(crate) struct Place {
    live: RwLock<Option<Arc<Live>>>,
    /// The last session that was live: while it is being closed, its envelopes still have fates.
    followed: RwLock<Option<Arc<Live>>>,
}

impl Place {
    /// Counts under the session, if there is one. What is counted here is counted before
    /// [`Self::end`] returns, or not at all. Short, and without another look at this place: whoever
    /// ends the session waits for it, and whoever comes later waits for him.
    pub(crate) fn under<T>(&self, count: impl FnOnce(Option<&Live>) -> T) -> T {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        count(live.as_deref())
    }

    /// The session, for what counts nothing: by the time it is looked at, it may be over.
    pub(crate) fn get(&self) -> Option<Arc<Live>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone()
    }

    /// The session, or the last that there was.
    pub(crate) fn followed(&self) -> Option<Arc<Live>> {
        let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner);
        followed.clone()
    }

    /// Begins a session.
    pub(crate) fn begin(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let mut followed = self
            .followed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *followed = Some(Arc::clone(&live));
        let mut place = self.live.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::clone(&live));
        live
    }

    /// Ends the session: when this returns, everybody who counted under it has, and nobody will.
    pub(crate) fn end(&self) -> Option<Arc<Live>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Token;
    use std::{sync::mpsc, time::Duration};
    use tidegate_domain::{
        command::Operation,
        id::{Component, LogTime, Pseudonym, ReleaseName, RolloutId, WaveIndex},
        tally::Arm,
        testing::{Fleet, stratum},
    };

    fn token() -> Token {
        Token {
            session: SessionId(1),
            rollout: Some(RolloutId(1)),
            wave: WaveIndex(0),
            stratum: stratum(1),
            cohort: LogTime(0).cohort(),
            arm: Arm::Treatment,
            device: Pseudonym([1; 32]),
            attempt: 1,
            expires: LogTime(1),
            component: Component::new("os").unwrap(),
            release: ReleaseName::new("os-2").unwrap(),
            stepping_stone: false,
            signer: SessionId(1),
            original: None,
        }
    }

    /// WAVE-3: an exposure that is missing from the last report is an admission that the store
    /// grants again.
    #[test]
    fn an_exposure_in_the_making_is_in_the_last_report() {
        let place = Place::default();
        let index = Index::build(&Fleet::new().state);
        place.begin(Live::new(SessionId(1), &index));
        let (answers, begun) = mpsc::channel();
        let (signs, signed) = mpsc::channel::<()>();
        #[expect(
            clippy::disallowed_methods,
            reason = "two threads are what this is about"
        )]
        std::thread::scope(|scope| {
            let place = &place;
            scope.spawn(move || {
                place.under(|live| {
                    answers.send(()).unwrap();
                    signed.recv().unwrap();
                    live.unwrap().ledger().exposed(&token());
                });
            });
            begun.recv().unwrap();
            let closing =
                scope.spawn(move || place.end().unwrap().ledger().final_report(None).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!closing.is_finished(), "it waits for the answer");
            signs.send(()).unwrap();
            let Operation::Report { tallies, .. } = closing.join().unwrap() else {
                panic!("a report");
            };
            assert_eq!(tallies[0].counts.exposed, 1);
        });
        place.under(|live| assert!(live.is_none()));
    }
}
