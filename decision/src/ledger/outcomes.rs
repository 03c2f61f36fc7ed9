//! Who counts an outcome, and that it counts once.
use crate::engine::Token;
use std::collections::BTreeMap;
use tidegate_domain::{
    State,
    id::{Cohort, LogTime, Millis, Pseudonym, SessionId},
    node::SessionStatus,
};

const OWNER_CONTEXT: &str = "tidegate 2026-11 outcome owner v1";
const EXPOSURE_CONTEXT: &str = "tidegate 2026-11 exposure fingerprint v1";

/// What became of an exposure, as a device tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Fetched.
    Downloaded,
    /// Written.
    Installed,
    /// Runs after a boot. Final.
    Verified,
    /// Failed at some stage. Final.
    Failed,
    /// Went back by itself. Final.
    Reverted,
}

impl Fate {
    /// Whether nothing can come after it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Verified | Self::Failed | Self::Reverted)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Downloaded => 1,
            Self::Installed => 2,
            Self::Verified | Self::Failed | Self::Reverted => 4,
        }
    }
}

/// Which exposure a token speaks of, in 128 bits. Renewed tokens of one exposure agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of a token's exposure.
    pub fn of(token: &Token) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(EXPOSURE_CONTEXT);
        let rollout = token.rollout.map_or(0, |rollout| rollout.0);
        hasher
            .update(&token.session.0.to_be_bytes())
            .update(&rollout.to_be_bytes())
            .update(&token.cohort.0.to_be_bytes())
            .update(&token.attempt.to_be_bytes())
            .update(&[token.arm as u8])
            .update(&token.device.0)
            .update(token.component.as_str().as_bytes());
        Self(first_u128(&hasher.finalize()))
    }
}

fn first_u128(hash: &blake3::Hash) -> u128 {
    let words = hash.as_bytes().as_chunks::<16>().0;
    words.first().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// Whose an outcome is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// This session's.
    Here,
    /// Another's.
    There {
        /// Which.
        session: SessionId,
        /// Where its node takes forwarded outcomes; `host:port`.
        address: &'a str,
    },
    /// Not known yet: the session is newer than the snapshot, or none is open. Uncertain until a
    /// newer snapshot tells.
    Nobody,
}

/// The sessions that may own outcomes, as one snapshot has them.
///
/// The owner of an exposure is the session that made it: the one named in its token, in whose
/// budget it was drawn. The store takes from a session no more outcomes than the session has
/// exposures, and that session alone remembers which of its exposures are resolved; so it counts
/// exactly. Only when it is over does another step in: of the open sessions, the one that a
/// rendezvous hash of the device picks, so that all nodes pick the same one without talking and few
/// devices change hands when sessions come and go. The store bounds what heirs tell by what was
/// left; a device whose first answer was lost just as its session ended may be told of twice, never
/// beyond that bound.
#[derive(Clone, Debug)]
pub struct Owners {
    own: SessionId,
    /// The newest session that the snapshot knows, open or not.
    last: SessionId,
    open: BTreeMap<SessionId, String>,
}

impl Owners {
    /// The owners that a state knows, seen from one session.
    pub fn of(state: &State, own: SessionId) -> Self {
        let open = state.sessions().iter();
        let open = open.filter(|(_, session)| session.status == SessionStatus::Open);
        let open = open.map(|(id, session)| (*id, session.address.as_str()));
        Self::among(own, state.meta().last_session, open)
    }

    /// The owners among open sessions, with the addresses of their nodes, seen from one of them;
    /// `last` is the newest session that is known, open or not.
    pub fn among<'a>(
        own: SessionId,
        last: SessionId,
        open: impl IntoIterator<Item = (SessionId, &'a str)>,
    ) -> Self {
        let open = open.into_iter();
        Self {
            own,
            last,
            open: open.map(|(id, address)| (id, address.to_owned())).collect(),
        }
    }

    /// Whose the outcomes of an exposure are.
    pub fn owner(&self, token: &Token) -> Owner<'_> {
        if token.session == self.own {
            return Owner::Here;
        }
        if token.session > self.last {
            return Owner::Nobody;
        }
        let made = self.open.get_key_value(&token.session);
        match made.or_else(|| self.heir(&token.device)) {
            Some((session, _)) if *session == self.own => Owner::Here,
            Some((session, address)) => Owner::There {
                session: *session,
                address,
            },
            None => Owner::Nobody,
        }
    }

    /// Where an open session's node takes forwarded outcomes; `None` if the session is over.
    pub fn address(&self, session: SessionId) -> Option<&str> {
        self.open.get(&session).map(String::as_str)
    }

    /// Rendezvous: of all open sessions, the one whose hash with the device is greatest.
    fn heir(&self, device: &Pseudonym) -> Option<(&SessionId, &String)> {
        self.open.iter().max_by_key(|(session, _)| {
            let mut hasher = blake3::Hasher::new_derive_key(OWNER_CONTEXT);
            hasher.update(&session.0.to_be_bytes()).update(&device.0);
            (first_u128(&hasher.finalize()), **session)
        })
    }
}

/// What is known of the exposures whose outcomes count here: which steps and which end were
/// counted. Bounded; the oldest hours are forgotten first, and all after the silence horizon.
#[derive(Debug)]
pub(super) struct Resolved {
    by_cohort: BTreeMap<Cohort, BTreeMap<Fingerprint, u8>>,
    len: usize,
    max: usize,
}

impl Resolved {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            by_cohort: BTreeMap::new(),
            len: 0,
            max,
        }
    }

    /// Marks a fate; whether it is new. After a final one nothing is.
    pub(super) fn mark(&mut self, cohort: Cohort, exposure: Fingerprint, fate: Fate) -> bool {
        let known = self.by_cohort.entry(cohort).or_default();
        let bits = known.entry(exposure).or_insert_with(|| {
            self.len = self.len.saturating_add(1);
            0
        });
        let is_new = *bits & (fate.bit() | Fate::Verified.bit()) == 0;
        *bits |= fate.bit();
        while self.len > self.max && self.by_cohort.len() > 1 {
            self.forget_oldest();
        }
        is_new
    }

    /// Forgets hours that are past the longest silence horizon.
    pub(super) fn expire(&mut self, now: LogTime, horizon: Millis) {
        while let Some((cohort, _)) = self.by_cohort.first_key_value()
            && cohort.end().after(horizon) <= now
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_cohort.pop_first();
        let forgotten = oldest.map_or(0, |(_, exposures)| exposures.len());
        self.len = self.len.saturating_sub(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(own: u64, open: &[u64]) -> Owners {
        let address = |id: &u64| (SessionId(*id), format!("decide-{id}.example:7443"));
        Owners {
            own: SessionId(own),
            last: SessionId(9),
            open: open.iter().map(address).collect(),
        }
    }

    fn device(n: u64) -> Pseudonym {
        Pseudonym(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    #[test]
    fn heirs_share_the_devices_evenly_and_few_change_hands() {
        let before = owners(1, &[1, 2, 3, 4, 5]);
        let after = owners(1, &[1, 2, 4, 5]);
        let mut shares = BTreeMap::new();
        for n in 0..5_000 {
            let heir = *before.heir(&device(n)).unwrap().0;
            *shares.entry(heir).or_insert(0) += 1;
            let next = *after.heir(&device(n)).unwrap().0;
            assert!(
                heir == next || heir == SessionId(3),
                "only 3's devices move"
            );
        }
        assert!(
            shares.values().all(|share| (850..1_150).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_final_fate_counts_once_and_nothing_counts_after_it() {
        let mut resolved = Resolved::new(10);
        let mut mark = |fate| resolved.mark(Cohort(1), Fingerprint(7), fate);
        assert!(mark(Fate::Downloaded) && !mark(Fate::Downloaded));
        assert!(mark(Fate::Installed));
        assert!(mark(Fate::Failed));
        assert!(!mark(Fate::Failed) && !mark(Fate::Verified) && !mark(Fate::Reverted));
        assert!(!mark(Fate::Installed));
    }

    #[test]
    fn memory_is_bounded_by_number_and_by_time() {
        let mut resolved = Resolved::new(100);
        for n in 0..1_000_u32 {
            let exposure = Fingerprint(u128::from(n));
            assert!(resolved.mark(Cohort(n / 10), exposure, Fate::Verified));
        }
        assert!(resolved.len <= 100);
        assert_eq!(
            resolved.len,
            resolved
                .by_cohort
                .values()
                .map(BTreeMap::len)
                .sum::<usize>()
        );
        assert!(
            !resolved.mark(Cohort(99), Fingerprint(999), Fate::Verified),
            "the newest stay"
        );
        resolved.expire(Cohort(99).end(), Millis(0));
        assert_eq!(resolved.len, 0);
    }
}
