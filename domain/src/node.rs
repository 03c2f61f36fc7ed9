//! What decision nodes hold: sessions, budgets, and the anchors of their journals.
use crate::{
    id::{
        Hash, Index, Instance, LogTime, PublicKey, Region, Revision, RolloutId, Sequence,
        SessionId, WaveIndex,
    },
    tally::{Arm, Stratum},
};
use minicbor::{Decode, Encode};

/// Whether a session can still admit devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SessionStatus {
    /// It can.
    #[n(0)]
    Open,
    /// Closed with its final anchor: all that it did is known.
    #[n(1)]
    Closed {
        /// When.
        #[n(0)]
        at: LogTime,
    },
    /// Given up by a quorum: what it held and did not report stays within the caps, frees its
    /// credit, and has no known fate.
    #[n(2)]
    WrittenOff {
        /// When.
        #[n(0)]
        at: LogTime,
    },
}

/// One life of a decision node, from start to stop.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Session {
    /// Its number.
    #[n(0)]
    pub id: SessionId,
    /// The node's key, in role `decision`: signs the session's commands and exposure tokens.
    #[n(1)]
    pub key: PublicKey,
    /// The node's region.
    #[n(2)]
    pub region: Region,
    /// Where other nodes forward outcomes to; `host:port`.
    #[n(3)]
    pub address: String,
    /// Whether it can still admit.
    #[n(4)]
    pub status: SessionStatus,
    /// Which life of the node works under it: 1 since it was opened.
    #[n(5)]
    pub instance: Instance,
    /// The last accepted anchor of its journal.
    #[n(6)]
    pub anchor: Option<Anchor>,
    /// When it was opened.
    #[n(7)]
    pub opened_at: LogTime,
    /// The entry that last changed it.
    #[n(8)]
    pub revision: Revision,
    /// The number of its last envelope; 0 before the first.
    #[n(9)]
    pub sequence: Sequence,
    /// What came of its last envelope.
    #[n(10)]
    pub last: Option<LastEnvelope>,
}

/// What a session's last envelope was, and what came of it: enough to tell its sender when the
/// reply was lost.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LastEnvelope {
    /// Digest of the body that was signed.
    #[n(0)]
    pub digest: Hash,
    /// The entry.
    #[n(1)]
    pub index: Index,
    /// The last log time at which it could be applied. The row of a session that is over stays as
    /// long: its sender may still ask.
    #[n(2)]
    pub not_after: LogTime,
    /// The operations that were refused, by their place from 0, ascending.
    #[n(3)]
    pub refused: Vec<u32>,
}

/// A commitment to a decision node's journal (formats.md, "Decision record").
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Anchor {
    /// Origin of the journal: `<org>/journal/<node>`.
    #[n(1)]
    pub origin: String,
    /// Number of records.
    #[n(2)]
    pub size: u64,
    /// Merkle root over the records (SHA-256, RFC 6962).
    #[n(3)]
    pub root: Hash,
    /// Chain head over flushed frames (BLAKE3).
    #[n(5)]
    pub frame_chain: Hash,
}

/// What a budget is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct BudgetKey {
    /// The session that holds it.
    #[n(0)]
    pub session: SessionId,
    /// Where it may be spent.
    #[n(1)]
    pub pool: PoolKey,
}

/// What admissions are limited by: the stratum of a wave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct PoolKey {
    /// The rollout.
    #[n(0)]
    pub rollout: RolloutId,
    /// The wave.
    #[n(1)]
    pub wave: WaveIndex,
    /// The stratum.
    #[n(2)]
    pub stratum: Stratum,
    /// Offers or returns.
    #[n(3)]
    pub arm: Arm,
}

/// Admissions that a session was granted in one pool. The row stays while the session is open, so
/// that its sums never begin again, or the rollout is not folded away; of a session that is over it
/// goes once everything came back or is resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Budget {
    /// Granted so far. Only rises.
    #[n(0)]
    pub granted: u64,
    /// Returned unused, by the session's own word. Only rises.
    #[n(1)]
    pub returned: u64,
    /// Exposures that reports have accounted for, or that a quorum has given up. Only rises.
    #[n(2)]
    pub spent: u64,
    /// Of what was spent: resolved, be it by another session's word after this one is over, or
    /// silent past the horizon. Only rises.
    #[n(3)]
    pub resolved: u64,
    /// The entry that last changed it.
    #[n(4)]
    pub revision: Revision,
}

impl Budget {
    /// Admissions that the session may still use, or has used without having reported it.
    pub const fn held(&self) -> u64 {
        self.granted
            .saturating_sub(self.returned)
            .saturating_sub(self.spent)
    }

    /// Whether everything that was granted came back or is resolved.
    pub const fn is_settled(&self) -> bool {
        self.granted <= self.returned.saturating_add(self.resolved)
    }
}

impl Pool {
    /// Admissions whose fate is not known yet, whether used or not.
    pub const fn unresolved(&self) -> u64 {
        self.admitted.saturating_sub(self.resolved)
    }
}

impl PoolKey {
    /// The least key of a rollout's pools.
    pub(crate) fn first(rollout: RolloutId) -> Self {
        Self {
            rollout,
            wave: WaveIndex(0),
            stratum: Stratum::first(),
            arm: Arm::Treatment,
        }
    }
}

/// All sessions' budgets in one pool together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pool {
    /// Granted and not returned.
    #[n(0)]
    pub admitted: u64,
    /// Of these, resolved (silence past the horizon included).
    #[n(1)]
    pub resolved: u64,
    /// Most that may be unresolved at once.
    #[n(2)]
    pub credit: u64,
}
