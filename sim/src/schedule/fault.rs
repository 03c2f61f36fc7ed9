//! What can go wrong. A fault says how long it lasts, so that each can be taken out of a schedule
//! and the rest still means the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine of the world by its name (`s3`, `d1`), or `leader`: whoever leads at that moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spot(pub String);

impl Spot {
    /// Whoever leads when the fault strikes.
    pub const LEADER: &'static str = "leader";

    /// The spot of a decision node.
    #[must_use]
    pub fn decision(number: u8) -> Self {
        Self(format!("d{number}"))
    }

    /// The spot of a store node.
    #[must_use]
    pub fn store(id: u64) -> Self {
        Self(format!("s{id}"))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A fault. Times are in ms of simulated time; `for_ms` is how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Fault {
    /// The machine loses power, and with it what its disk had not synced; it is back later.
    Crash { at: Spot, for_ms: u64 },
    /// The process dies and the machine lives: nothing that was written is lost.
    Kill { at: Spot, for_ms: u64 },
    /// The process is told to stop, does so in good order, and is started again.
    Restart { at: Spot, for_ms: u64 },
    /// The machine's disk is gone for good: operators replace the node by a new one.
    Replace { at: Spot },
    /// All tasks of the process stand still, as under SIGSTOP; its clocks run on.
    Pause { at: Spot, for_ms: u64 },
    /// The machine is suspended, and its clocks with it: for them the time was not. Its peers reach
    /// it, and it them, only a while after it goes on.
    Suspend {
        at: Spot,
        for_ms: u64,
        apart_ms: u64,
    },
    /// Nothing gets from any of these to any of those; one way only.
    Cut {
        from: Vec<Spot>,
        to: Vec<Spot>,
        for_ms: u64,
    },
    /// Nothing gets between these and those, in both directions; without `from`, between these and
    /// all others.
    Isolate {
        these: Vec<Spot>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<Spot>,
        for_ms: u64,
    },
    /// Nothing gets between these and all others, off and on with this period.
    Flap {
        these: Vec<Spot>,
        period_ms: u64,
        for_ms: u64,
    },
    /// Packets are lost everywhere, in parts per million, and sent again.
    Loss { ppm: u32, for_ms: u64 },
    /// Everything between all machines takes up to this much longer, each message its own time:
    /// what goes over different streams is reordered.
    Delay { extra_us: u64, for_ms: u64 },
    /// What store nodes answer to a machine, or ask it, takes this much longer to reach it.
    Lag {
        at: Spot,
        extra_us: u64,
        for_ms: u64,
    },
    /// Syncs take this long.
    SlowDisk { at: Spot, sync_us: u64, for_ms: u64 },
    /// The sync after the next `after` answers EIO and loses what it should have persisted.
    FailSync { at: Spot, after: u64 },
    /// Power fails amid the disk's work: at the change after the next `after`.
    TearPower { at: Spot, after: u64, for_ms: u64 },
    /// One bit of a file flips: `place_ppm` of its length. `log` stands for the files of Raft's log, one
    /// behind the other.
    FlipBit {
        at: Spot,
        file: String,
        place_ppm: u32,
        bit: u8,
    },
    /// Only this much more fits on the disk.
    FullDisk {
        at: Spot,
        free_bytes: u64,
        for_ms: u64,
    },
    /// Somebody kills the node, empties one of its files, and starts it again after a while.
    EmptyFile { at: Spot, file: String, for_ms: u64 },
    /// As before, and the file keeps so much of its length, to a whole page.
    CutFile {
        at: Spot,
        file: String,
        kept_ppm: u32,
        for_ms: u64,
    },
    /// As before, and the file becomes a copy of another node's.
    SwapFile {
        at: Spot,
        file: String,
        with: Spot,
        for_ms: u64,
    },
    /// A file is copied, or all of them if none is named, and put back in the same way when the node
    /// has gone on for `age_ms`.
    OldCopy {
        at: Spot,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        age_ms: u64,
        for_ms: u64,
    },
    /// The clocks run at this speed, and the wall clock is off by this much.
    Clock {
        at: Spot,
        rate_ppm: u32,
        wall_ms: i64,
        for_ms: u64,
    },
    /// The leader hands over.
    Transfer { to: Spot },
    /// The node takes a snapshot now.
    Snapshot { at: Spot },
    /// One device in so many loses power, and forgets what it had not installed.
    DevicePower { one_in: u64 },
    /// The node takes two snapshots in quick succession.
    SnapshotTwice { at: Spot, apart_ms: u64 },
    /// The write, or the read, after the next `after` answers EIO.
    FailIo { at: Spot, reads: bool, after: u64 },
    /// The write after the next `after` lands so many sectors further back in its file.
    Misdirect { at: Spot, after: u64, sectors: u32 },
    /// All streams to the node end: watches, and what other nodes send it.
    Disconnect { at: Spot },
    /// Operators send every command twice, to two nodes at the same time.
    Duplicate { for_ms: u64 },
    /// Operators make a learner of a voter, or a voter of a learner.
    Vote { at: Spot, voter: bool },
    /// From now on the node computes another chain than its peers: its memory or build is at fault.
    Diverge { at: Spot },
    /// The node, if it leads, chains a command of which no signature is good: its build lets it by.
    Forge { at: Spot },
    /// Operators halt every rollout that runs.
    Halt,
}

impl Fault {
    /// All classes.
    pub const CLASSES: [&'static str; 33] = [
        "crash",
        "kill",
        "restart",
        "replace",
        "pause",
        "suspension",
        "one-way cut",
        "partition",
        "flapping",
        "loss",
        "delay",
        "lag",
        "slow disk",
        "failed sync",
        "failed I/O",
        "torn write",
        "bit flip",
        "misdirected write",
        "full disk",
        "emptied file",
        "shortened file",
        "swapped file",
        "older copy",
        "clock",
        "transfer",
        "snapshot",
        "two snapshots",
        "disconnect",
        "duplication",
        "device power",
        "membership",
        "divergence",
        "forgery",
    ];

    /// The class of the fault: what swarm testing leaves out as a whole, and coverage counts.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::Kill { .. } => "kill",
            Self::Restart { .. } => "restart",
            Self::Replace { .. } => "replace",
            Self::Pause { .. } => "pause",
            Self::Suspend { .. } => "suspension",
            Self::Cut { .. } => "one-way cut",
            Self::Isolate { .. } => "partition",
            Self::Flap { .. } => "flapping",
            Self::Loss { .. } => "loss",
            Self::Delay { .. } => "delay",
            Self::Lag { .. } => "lag",
            Self::SlowDisk { .. } => "slow disk",
            Self::FailSync { .. } => "failed sync",
            Self::TearPower { .. } => "torn write",
            Self::FlipBit { .. } => "bit flip",
            Self::FullDisk { .. } => "full disk",
            Self::EmptyFile { .. } => "emptied file",
            Self::CutFile { .. } => "shortened file",
            Self::SwapFile { .. } => "swapped file",
            Self::OldCopy { .. } => "older copy",
            Self::Clock { .. } => "clock",
            Self::Transfer { .. } => "transfer",
            Self::Snapshot { .. } => "snapshot",
            Self::DevicePower { .. } => "device power",
            Self::SnapshotTwice { .. } => "two snapshots",
            Self::FailIo { .. } => "failed I/O",
            Self::Misdirect { .. } => "misdirected write",
            Self::Disconnect { .. } => "disconnect",
            Self::Duplicate { .. } => "duplication",
            Self::Vote { .. } => "membership",
            Self::Diverge { .. } => "divergence",
            Self::Forge { .. } => "forgery",
            Self::Halt => "halt",
        }
    }

    /// How long the fault lasts, in ms; 0 if it is a single blow.
    #[must_use]
    pub fn for_ms(&self) -> u64 {
        self.clone().length_mut().copied().unwrap_or(0)
    }

    /// How long the fault lasts, in ms, if it lasts at all.
    pub const fn length_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Crash { for_ms, .. }
            | Self::Kill { for_ms, .. }
            | Self::Restart { for_ms, .. }
            | Self::Pause { for_ms, .. }
            | Self::Suspend { for_ms, .. }
            | Self::Cut { for_ms, .. }
            | Self::Isolate { for_ms, .. }
            | Self::Flap { for_ms, .. }
            | Self::Loss { for_ms, .. }
            | Self::Delay { for_ms, .. }
            | Self::Lag { for_ms, .. }
            | Self::SlowDisk { for_ms, .. }
            | Self::TearPower { for_ms, .. }
            | Self::FullDisk { for_ms, .. }
            | Self::EmptyFile { for_ms, .. }
            | Self::CutFile { for_ms, .. }
            | Self::SwapFile { for_ms, .. }
            | Self::OldCopy { for_ms, .. }
            | Self::Duplicate { for_ms }
            | Self::Clock { for_ms, .. } => Some(for_ms),
            Self::Replace { .. }
            | Self::FailSync { .. }
            | Self::FlipBit { .. }
            | Self::Transfer { .. }
            | Self::Snapshot { .. }
            | Self::DevicePower { .. }
            | Self::SnapshotTwice { .. }
            | Self::FailIo { .. }
            | Self::Misdirect { .. }
            | Self::Disconnect { .. }
            | Self::Vote { .. }
            | Self::Diverge { .. }
            | Self::Forge { .. }
            | Self::Halt => None,
        }
    }

    /// The machines that it strikes, by name: not those from which it parts others.
    #[must_use]
    pub fn struck(&self) -> Vec<Spot> {
        match self {
            Self::Isolate { these, .. } => these.clone(),
            Self::SwapFile { at, .. } => vec![at.clone()],
            other => other
                .clone()
                .spots_mut()
                .into_iter()
                .map(|spot| spot.clone())
                .collect(),
        }
    }

    /// Every machine that the fault names.
    pub fn spots_mut(&mut self) -> Vec<&mut Spot> {
        match self {
            Self::Crash { at, .. }
            | Self::Kill { at, .. }
            | Self::Restart { at, .. }
            | Self::Replace { at }
            | Self::Pause { at, .. }
            | Self::Suspend { at, .. }
            | Self::Lag { at, .. }
            | Self::SlowDisk { at, .. }
            | Self::FailSync { at, .. }
            | Self::TearPower { at, .. }
            | Self::FlipBit { at, .. }
            | Self::FullDisk { at, .. }
            | Self::EmptyFile { at, .. }
            | Self::CutFile { at, .. }
            | Self::OldCopy { at, .. }
            | Self::Clock { at, .. }
            | Self::Snapshot { at }
            | Self::SnapshotTwice { at, .. }
            | Self::FailIo { at, .. }
            | Self::Misdirect { at, .. }
            | Self::Disconnect { at }
            | Self::Vote { at, .. }
            | Self::Diverge { at }
            | Self::Forge { at }
            | Self::Transfer { to: at } => vec![at],
            Self::SwapFile { at, with, .. } => vec![at, with],
            Self::Cut { from, to, .. }
            | Self::Isolate {
                these: to, from, ..
            } => from.iter_mut().chain(to).collect(),
            Self::Flap { these, .. } => these.iter_mut().collect(),
            Self::Loss { .. }
            | Self::Delay { .. }
            | Self::DevicePower { .. }
            | Self::Duplicate { .. }
            | Self::Halt => Vec::new(),
        }
    }
}
