//! What Tidegate's Raft group is made of: the types that openraft is instantiated with.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::type_config::alias;
use tidegate_domain::Examined;

use crate::storage::SnapshotData;

/// Number of a node within its cluster, given once and never again: a node that lost its disk
/// comes back under a new number (a voter without its memory could vote twice in one term).
pub type NodeId = u64;

openraft::declare_raft_types!(
    /// The types of Tidegate's Raft group.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = NodeId,
        Node = Member,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = tidegate_runtime::Rt,
);

/// The term of the leader that wrote an entry; of one term there is one leader at most.
pub type CommittedLeader = alias::CommittedLeaderIdOf<TypeConfig>;
/// Position of an entry in the Raft log, with the term that wrote it.
pub type LogId = alias::LogIdOf<TypeConfig>;
/// A vote, kept durable before it is answered.
pub type Vote = alias::VoteOf<TypeConfig>;
/// An entry of the Raft log.
pub type Entry = alias::EntryOf<TypeConfig>;
/// What a Raft log entry carries.
pub type EntryPayload = alias::EntryPayloadOf<TypeConfig>;
/// Who votes and who learns.
pub type Membership = openraft::Membership<NodeId, Member>;
/// A membership and the entry that brought it.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// What openraft needs to know of a snapshot.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;

/// A snapshot of the state with the whole audit log, and what openraft needs to know of it.
pub type Snapshot = alias::SnapshotOf<TypeConfig, SnapshotData>;

/// openraft, running on our storage.
pub type Raft = openraft::Raft<TypeConfig, crate::storage::StateStore>;

/// A signed command as it travels, and what examining it on this node has shown. Clones share both,
/// so that a command is examined once although it stands in the log, its cache and a batch.
#[derive(Clone)]
pub struct Envelope {
    bytes: Bytes,
    examination: Arc<Mutex<Examination>>,
}

/// How far this node has examined a command.
#[derive(Default)]
enum Examination {
    #[default]
    Due,
    Done(Examined),
    /// It was, and whoever applied it has what it showed.
    Taken,
}

impl Envelope {
    /// The canonical bytes: body, signatures, detached arguments. Raft does not look inside.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Examines the command, if nobody has.
    pub(crate) fn examine(&self) {
        let mut examination = self.examination();
        if !matches!(*examination, Examination::Done(_)) {
            *examination = Examination::Done(Examined::of(&self.bytes));
        }
    }

    /// Remembers what examining it showed.
    pub(crate) fn put_examined(&self, examined: Examined) {
        *self.examination() = Examination::Done(examined);
    }

    /// What examining it showed, for whoever applies it: nobody needs it after that.
    pub(crate) fn take_examined(&self) -> Examined {
        match std::mem::replace(&mut *self.examination(), Examination::Taken) {
            Examination::Done(examined) => examined,
            Examination::Due | Examination::Taken => Examined::of(&self.bytes),
        }
    }

    /// Whether the next to ask need not examine it.
    pub(crate) fn is_examined(&self) -> bool {
        matches!(*self.examination(), Examination::Done(_))
    }

    /// Whether it was examined here at some time.
    pub(crate) fn was_examined(&self) -> bool {
        !matches!(*self.examination(), Examination::Due)
    }

    fn examination(&self) -> MutexGuard<'_, Examination> {
        self.examination
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Bytes> for Envelope {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            examination: Arc::default(),
        }
    }
}

/// What was found out about the bytes is no part of them.
impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Envelope {}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Envelope").field(&self.bytes).finish()
    }
}

/// What the leader asks the group to agree on: one signed command, and the leader's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Log time in milliseconds since the Unix epoch, as the leader proposes it. `apply` takes the
    /// larger of this and the previous entry's.
    pub stamp_ms: u64,
    /// The signed command.
    pub command: Envelope,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stamp_ms, command } = self;
        write!(
            f,
            "command of {} B proposed at {stamp_ms} ms",
            command.bytes().len()
        )
    }
}

/// What became of a log entry when it was applied; the answer to whoever proposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The first entry of a leader's term, which carries nothing and is not chained.
    Blank,
    /// The entry stands in the audit log.
    Chained {
        /// Its audit leaf index.
        index: u64,
        /// The chain head after it.
        chain: [u8; 32],
        /// The outcome exactly as the audit entry records it (CBOR): accepted with its events, or
        /// rejected with the reason.
        outcome: Bytes,
    },
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Chained { index, .. } => write!(f, "audit entry {index}"),
        }
    }
}

/// How to reach a node, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// `host:port` of its Raft and API endpoint.
    pub addr: String,
    /// The region that it counts for.
    pub region: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.addr, self.region)
    }
}
