//! What oracles are told.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_decision::engine::Mode;
use tidegate_domain::{Event, Outcome};
use tidegate_proto::v1;
use tidegate_raft_store::storage::{AuditEntry, Position};

/// One observation, by whoever saw it.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// A store node stands here now.
    Position {
        /// The node.
        lane: &'a str,
        /// Where.
        position: &'a Position,
    },
    /// A store node's audit log has these entries.
    Entries {
        /// The node.
        lane: &'a str,
        /// Consecutive entries.
        entries: &'a [AuditEntry],
    },
    /// A client begins an operation.
    Began {
        /// Its number, unique in a run.
        op: u64,
        /// What it proposes, if it does.
        command: Option<&'a [u8]>,
    },
    /// A client gave a command up.
    Failed {
        /// What it had proposed.
        command: &'a [u8],
        /// Whether the store said that it has no effect.
        without_effect: bool,
    },
    /// The store acknowledged a command.
    Acknowledged {
        /// The operation.
        op: u64,
        /// The bytes that were proposed.
        command: &'a [u8],
        /// The entry that the store named.
        index: u64,
        /// What the store said that came of it.
        outcome: &'a Outcome,
    },
    /// A linearizable read was answered.
    Read {
        /// The operation.
        op: u64,
        /// Audit entries that the answer covers.
        entries: u64,
        /// The state root, if the answer has the whole state.
        root: Option<[u8; 32]>,
    },
    /// A client's view does not follow from its last one.
    Replaced {
        /// The client.
        lane: &'a str,
        /// Audit entries that it covers.
        entries: u64,
    },
    /// A client's view moved on.
    Advanced {
        /// The client.
        lane: &'a str,
        /// Audit entries that it covers now.
        entries: u64,
        /// The events that moved it.
        events: &'a [Event],
    },
    /// A client got a state that is not what it is said to be.
    Damaged {
        /// The client.
        lane: &'a str,
        /// What is wrong with it.
        what: &'a str,
    },
    /// A device was told something.
    Told {
        /// The decision node.
        lane: &'a str,
        /// The device.
        device: &'a str,
        /// The region of the device's variant.
        place: &'a str,
        /// When it asked, in µs of simulated time.
        asked_us: u64,
        /// What it was told.
        answer: &'a Answer,
    },
    /// A device was told something, whole: with what it had asked.
    Decided {
        /// The decision node.
        lane: &'a str,
        /// The wall clock of the world when it heard, in ms since 1970.
        wall_ms: u64,
        /// What it had asked.
        request: &'a v1::CheckInRequest,
        /// What it was told.
        response: &'a v1::CheckInResponse,
    },
    /// A decision node that runs left a check-in of its own machine without an answer.
    Unanswered {
        /// The decision node.
        lane: &'a str,
        /// How long, in ms during which the machine ran.
        waited_ms: u64,
    },
    /// Somebody signed for the log.
    Checkpoint {
        /// The store node.
        lane: &'a str,
        /// How many entries.
        size: u64,
        /// The root of the tree over them.
        root: [u8; 32],
    },
    /// A raw watch was opened by a client that has so many entries.
    WatchBegan {
        /// The client.
        lane: &'a str,
        /// Audit entries that it has.
        entries: u64,
    },
    /// A raw watch delivered entries.
    WatchBatch {
        /// The client.
        lane: &'a str,
        /// Index of the first.
        from: u64,
        /// Entries after the batch.
        to: u64,
        /// The events of each, as they came.
        events: &'a [Vec<u8>],
    },
    /// A raw watch said that there is nothing new.
    WatchIdle {
        /// The client.
        lane: &'a str,
        /// Audit entries that it is said to have.
        entries: u64,
    },
    /// What a store node believes of the membership.
    Membership {
        /// The node.
        lane: &'a str,
        /// The last Raft entry that it has applied.
        applied: u64,
        /// The Raft entry of the membership that it believes in.
        believed: u64,
    },
    /// A store node believes that it has won an election.
    Elected {
        /// The node.
        lane: &'a str,
        /// The term that it leads.
        term: u64,
        /// Who may vote; of each of these sets a majority must.
        voters: &'a [BTreeSet<u64>],
        /// Voters whose disks, if the power failed now, would not remember a vote for it or one in a
        /// later term.
        forgetful: &'a BTreeSet<u64>,
    },
    /// What a leader counts of the others' copies.
    Counted {
        /// By node, term and index of the last committed entry of which it has a copy.
        copies: &'a BTreeMap<u64, (u64, u64)>,
    },
    /// A store node has started on a sound disk.
    Restarted {
        /// The node.
        node: u64,
        /// The same, by its lane.
        lane: &'a str,
        /// Term and index of the last entry that it has for good, in its log or applied.
        left: Option<(u64, u64)>,
    },
    /// A store node's chain is another one than its peers' from now on.
    Diverged {
        /// The node.
        lane: &'a str,
    },
    /// A store node has stopped since a majority of the voters contradicts its chain.
    Outvoted {
        /// The node.
        lane: &'a str,
        /// A fault had been at what it holds.
        ruined: bool,
    },
    /// Operators replace a store node by another one.
    WrittenOff {
        /// The node that is no more.
        lane: &'a str,
    },
    /// All faults are over.
    Healed {
        /// By when, in µs of simulated time, everything must have made progress.
        deadline_us: u64,
        /// What must happen again.
        awaited: &'a [String],
    },
    /// Something that must happen again after healing did.
    Progress {
        /// What.
        what: &'a str,
    },
}

/// What a device was told, as far as oracles care.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// It was offered something; otherwise sent back to something, or given nothing.
    pub is_offer: bool,
    /// Number of the rollout; absent for a baseline.
    pub rollout: Option<u64>,
    /// Its wave, from 0.
    pub wave: Option<u32>,
    /// The release that was given.
    pub release: Option<String>,
    /// Public keys of those who signed it.
    pub signers: Vec<[u8; 32]>,
    /// Rollouts whose wave is said not to be open for the device.
    pub wave_not_open: Vec<u64>,
    /// How much the node knew.
    pub mode: Option<Mode>,
    /// Security version of what it was given.
    pub security_version: Option<u64>,
    /// The floor as the node sees it.
    pub floor: Option<u64>,
    /// Security version that the device runs.
    pub running: u64,
    /// Audit entries that the cited snapshot covers.
    pub entries: Option<u64>,
}
