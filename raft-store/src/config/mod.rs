//! The settings of one store node, read from TOML.
//!
//! What must be the same on all nodes is replicated (`ClusterConfig` in the domain) and is not
//! here. Each field says what an attacker who controls it can do.

mod raw;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use raw::check_member;
use serde::Deserialize;

use crate::types::{Member, NodeId};

/// The validated settings of one store node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// This node's number, at least 1; given once and never again, also not after the node lost
    /// its disk. *Attacker*: with another node's number on an empty disk, votes without memory.
    pub node_id: NodeId,
    /// The cluster's name in every signature and checkpoint; 1 to 200 printable ASCII characters
    /// without spaces. *Attacker*: separates the node from its cluster, no more: peers refuse it.
    pub origin: String,
    /// The region that this node counts for; a region name. *Attacker*: makes a placement look
    /// safer than it is.
    pub region: String,
    /// Where the node listens. *Attacker*: exposes it to another network, or hides it.
    pub listen: SocketAddr,
    /// `host:port` where peers and clients reach the node; the listen address if not given.
    /// *Attacker*: points peers elsewhere; they then talk to whom the attacker chose.
    pub advertise: String,
    /// Directory of all durable data; created if it is not there. *Attacker*: an older copy of the
    /// directory makes the node forget votes.
    pub data_dir: PathBuf,
    /// How peers reach each other before they have a common log; this node may stand among them.
    /// Empty for a single node. *Attacker*: as `advertise`.
    pub peers: Vec<Peer>,
    /// Found the cluster with this node and `peers` as voters if the data directory is empty.
    /// Exactly one node of a new cluster has it. *Attacker*: founds a second cluster of the same
    /// origin from empty disks; its chain and its checkpoints then differ.
    pub found_cluster: bool,
    /// Timers of Raft.
    pub raft: RaftTimers,
    /// Limits on what clients may ask of this node at once.
    pub limits: NodeLimits,
    /// How often a leader with a key in role `node` looks whether something is due, and moves log
    /// time on if so; 50 ms to 60 s. *Attacker*: lets gates and expiries come late.
    pub tick_every: Duration,
    /// Files of the keys that the node holds.
    pub keys: KeyFiles,
}

/// Files of the keys that a node holds, each of mode 0600, as `tidegate key new` writes them. Every
/// one may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// Role `node`: signs `Tick`. *Attacker*: moves log time on by up to the allowed lead.
    pub node: Option<PathBuf>,
    /// Signs checkpoints in the origin's name. *Attacker*: signs forks; a policy still demands the
    /// cosignatures of a majority of voters.
    pub log: Option<PathBuf>,
    /// Role `checkpoint`: cosigns as this voter. *Attacker*: is one voter of those a policy counts.
    pub checkpoint: Option<PathBuf>,
}

/// A member of the first cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub node_id: NodeId,
    /// Where it is reached, and its region.
    pub member: Member,
}

/// How far apart the nodes of a group are: what its timers follow from. None of them can break safety.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// One machine: round trips of 25 ms at most, a busy scheduler's included. After the leader is
    /// lost, nobody leads for about 0.5 s (docs/benchmarks.md).
    Loopback,
    /// One region, or several that are close: round trips of 75 ms at most. Nobody leads for about 1.3 s.
    #[default]
    Region,
    /// Regions around the globe: round trips of 300 ms at most. Nobody leads for about 5 s, by the sum
    /// that [`RaftTimers`] tells.
    Wan,
}

/// How fast a group notices a dead leader. None of them can break safety.
///
/// openraft lets a follower wait for the leader's lease, which is `election_max`, and only then for
/// a time between `election_min` and `election_max` of its own: of two followers the first calls an
/// election after 12 heartbeats of silence in the mean ([`Self::of_heartbeat`]), 11 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTimers {
    /// Between two heartbeats of a leader; 10 ms to 10 s. Longer by a third or more than a round trip
    /// between any two nodes takes at most: an answer that takes longer than three quarters of a
    /// heartbeat counts as none, and a node that is further away never catches up. (openraft gives a
    /// heartbeat no more time than there is until the next.) *Attacker*: load, or slow elections.
    pub heartbeat: Duration,
    /// Least silence, beside the lease, before a follower calls an election; at least three
    /// heartbeats. *Attacker*: constant elections, or a long wait for one.
    pub election_min: Duration,
    /// Most silence, beside the lease, before it does, and the lease; more than `election_min`, at
    /// most 60 s.
    pub election_max: Duration,
    /// Entries between two snapshots, after which the log is purged; 100 to 10,000,000.
    /// *Attacker*: fills the disk with log.
    pub snapshot_every: u64,
    /// Bytes after which the log goes on in another file; 1 MiB to 1 GiB. A file is removed once all
    /// its entries are purged. *Attacker*: keeps that much more of a purged log on the disk.
    pub segment_bytes: u64,
}

/// Limits on what clients may ask of one node at once. *Attacker*: exhausts the node's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Most proposals that wait for their outcome; 1 to 65,536.
    pub proposals_in_flight_max: usize,
    /// Most open watch streams; 1 to 65,536.
    pub watchers_max: usize,
    /// Most entries that a watcher may be behind; 1 to 1,000,000. One that is further behind must
    /// resync: from there on a snapshot is cheaper.
    pub watch_entries_max: usize,
    /// Bytes of the data directory's volume that are kept free; 1 MiB to 1 TiB. Below it the node
    /// refuses new commands, but for those that stop harm, and reads go on; below half of it the node
    /// takes nothing but votes. *Attacker*: with a large one, refuses all commands; with a small
    /// one, lets the node meet the end of its disk, where it stops.
    pub disk_reserve_bytes: u64,
    /// How long a proposal or read may take, forwarding included; 100 ms to 60 s.
    pub request_timeout: Duration,
}

/// How often a leader looks what is due if the file does not say.
const TICK_EVERY: Duration = Duration::from_secs(1);

impl Profile {
    /// Between two heartbeats of a leader.
    #[must_use]
    pub const fn heartbeat(self) -> Duration {
        Duration::from_millis(match self {
            Self::Loopback => 35,
            Self::Region => 100,
            Self::Wan => 400,
        })
    }
}

impl RaftTimers {
    /// The timers that go with a heartbeat: a node calls an election when four to seven in a row
    /// stay away after the lease.
    #[must_use]
    pub const fn of_heartbeat(heartbeat: Duration) -> Self {
        Self {
            heartbeat,
            election_min: heartbeat.saturating_mul(4),
            election_max: heartbeat.saturating_mul(7),
            snapshot_every: 20_000,
            segment_bytes: 16 << 20,
        }
    }
}

impl Default for RaftTimers {
    fn default() -> Self {
        Self::of_heartbeat(Profile::default().heartbeat())
    }
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            proposals_in_flight_max: 4_096,
            watchers_max: 4_096,
            watch_entries_max: 65_536,
            disk_reserve_bytes: 128 << 20,
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no TOML of this shape; says line, column and what was expected.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A value is outside its range.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field, as written in the file.
        field: &'static str,
        /// What is wrong and what is right.
        problem: String,
    },
}

impl NodeConfig {
    /// Reads and checks a TOML file.
    ///
    /// # Errors
    /// The file is unreadable, has an unknown key, or has a value outside its range.
    pub fn read(path: &std::path::Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Parses and checks TOML text.
    ///
    /// # Errors
    /// An unknown key, a missing one, or a value outside its range.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str::<raw::RawConfig>(text)?.try_into()
    }

    /// The settings of a node that is a whole cluster by itself, with defaults for all limits.
    #[must_use]
    pub fn single(node_id: NodeId, origin: &str, region: &str, listen: SocketAddr) -> Self {
        Self {
            node_id,
            origin: origin.to_owned(),
            region: region.to_owned(),
            listen,
            advertise: listen.to_string(),
            data_dir: PathBuf::new(),
            peers: Vec::new(),
            found_cluster: true,
            raft: RaftTimers::default(),
            limits: NodeLimits::default(),
            tick_every: TICK_EVERY,
            keys: KeyFiles::default(),
        }
    }

    /// The members of the first cluster: the peers and this node.
    #[must_use]
    pub fn first_members(&self) -> std::collections::BTreeMap<NodeId, Member> {
        let this = Member {
            addr: self.advertise.clone(),
            region: self.region.clone(),
        };
        let peers = self.peers.iter().map(|p| (p.node_id, p.member.clone()));
        peers.chain([(self.node_id, this)]).collect()
    }
}
