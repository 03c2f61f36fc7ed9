//! The settings of one decision node, read from `decide.toml`.
//!
//! What must be the same everywhere is replicated (`ClusterConfig`) and is not here. Each field
//! says what an attacker who controls it can do.
mod raw;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tidegate_domain::id::Region;

/// The validated settings of one decision node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The cluster's name in every signature; 1 to 200 printable ASCII characters without spaces.
    /// *Attacker*: separates the node from its cluster, no more: a state of another one is refused.
    pub origin: String,
    /// `host:port` of store nodes, nearest first; 1 to 64. *Attacker*: their node can withhold and
    /// delay, so that the node goes stale, and **lie**: renew the lease past a halt, and give a
    /// made-up state at a position above what this node has seen. It cannot sign what devices check
    /// themselves: releases. A node of another cluster, there by mistake, is not believed.
    pub store: Vec<String>,
    /// Where the node stands. *Attacker*: nothing; it is told to operators only.
    pub region: Region,
    /// Where devices, gateways and other nodes reach gRPC. *Attacker*: exposes the node to another
    /// network, or hides it.
    pub listen: SocketAddr,
    /// Where devices reach HTTP/JSON; without it there is none. *Attacker*: as `listen`.
    pub http: Option<SocketAddr>,
    /// `host:port` where other nodes forward outcomes to; the listen address if not given.
    /// *Attacker*: gets outcomes of devices, or lets them go uncounted; then they count as silent.
    pub advertise: String,
    /// Between two renewals of the lease; a fifth of the lease lets four in a row fail. 50 ms to
    /// 60 s. *Attacker*: makes the node stale, or a load on the store.
    pub renew_every: Duration,
    /// Limits on what devices may ask at once.
    pub limits: NodeLimits,
}

impl NodeConfig {
    /// Between two renewals of the default lease.
    pub const RENEW_EVERY: Duration = Duration::from_secs(2);

    /// A node that answers gRPC alone, with defaults for everything else; other nodes find it where
    /// it listens.
    #[must_use]
    pub fn new(
        origin: impl Into<String>,
        store: Vec<String>,
        region: Region,
        listen: SocketAddr,
    ) -> Self {
        Self {
            origin: origin.into(),
            store,
            region,
            listen,
            http: None,
            advertise: listen.to_string(),
            renew_every: Self::RENEW_EVERY,
            limits: NodeLimits::default(),
        }
    }
}

/// Limits of one node. *Attacker*: exhausts the node's memory, or makes it turn devices away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Most check-ins and outcomes that have arrived and wait for their answer; over it they are
    /// told to come again.
    /// 1 to 1,000,000.
    pub in_flight_max: usize,
    /// The longest that work may wait for a free thread; beyond it devices are told to come again,
    /// before every answer is slow. 10 ms to 10 s.
    pub lag_max: Duration,
    /// Largest body of an HTTP request, in bytes; 1 KiB to 1 MiB.
    pub body_bytes_max: usize,
    /// Most outcomes that wait for their owner; 1 to 10,000,000.
    pub forwarding_max: usize,
    /// Most connections of one listener at once; who comes above it waits for a place. Each may take
    /// a file descriptor and, with all its streams and buffers, some 100 KiB and more. 1 to
    /// 1,000,000.
    pub connections_max: usize,
    /// Most requests of one gRPC connection that are open at once, streams too; 1 to 100,000.
    pub streams_max: u32,
    /// How long a client may take to send one request, and how long a connection stays open before
    /// the first one, over HTTP/1 also between two; 100 ms to 5 min. What a stream carries may take
    /// as long as it likes.
    pub request_max: Duration,
    /// How long a shutdown may take to report and close the session; 100 ms to 5 min.
    pub shutdown_max: Duration,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            in_flight_max: 10_000,
            lag_max: Duration::from_millis(250),
            body_bytes_max: 64 << 10,
            forwarding_max: 100_000,
            connections_max: 10_000,
            streams_max: 1_000,
            request_max: Duration::from_secs(20),
            shutdown_max: Duration::from_secs(10),
        }
    }
}

/// Everything in `decide.toml`: the node's settings and where its files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecideFile {
    /// The node's settings.
    pub node: NodeConfig,
    /// Directory of what the node must not forget: the highest state it has seen. *Attacker*:
    /// deleting it lets the node believe an older state once.
    pub data_dir: PathBuf,
    /// File of the node's key in role `decision`; mode 0600. *Attacker*: signs exposures, reports
    /// and budgets as this node, until the key is revoked: can waste admissions and falsify
    /// tallies, can offer nothing that the release keys did not sign.
    pub key: PathBuf,
    /// File of the fleet's pseudonym secret; 64 hexadecimal digits, mode 0600, the same on all
    /// nodes. *Attacker*: can tell which log entries speak of a device whose id is known.
    pub pseudonym_key: PathBuf,
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
    /// Not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("{}: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value outside its range.
    #[error("`{field}` must be {expected}, not {found}")]
    Range {
        /// The field.
        field: &'static str,
        /// What would be accepted.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
}

impl DecideFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It can't be read, or says something that is refused.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a file; `path` is for messages, and relative paths in it are taken from
    /// the file's directory.
    ///
    /// # Errors
    /// It says something that is refused.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: raw::RawFile = toml::from_str(text).map_err(|source| ConfigError::Form {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        raw.check(path.parent().unwrap_or(Path::new("")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"
origin = "fleet.example"
store = ["127.0.0.1:7101", "127.0.0.1:7102"]
region = "eu"
listen = "127.0.0.1:7201"
data_dir = "data"
key = "decide.key"
pseudonym_key = "pseudonym.key"
"#;

    fn parse(text: &str) -> Result<DecideFile, ConfigError> {
        DecideFile::parse(text, Path::new("/etc/tidegate/decide.toml"))
    }

    #[test]
    fn a_plain_file_is_accepted_with_defaults() {
        let file = parse(PLAIN).unwrap();
        assert_eq!(file.data_dir, Path::new("/etc/tidegate/data"));
        assert_eq!(file.node.advertise, "127.0.0.1:7201");
        assert_eq!(file.node.http, None);
        assert_eq!(file.node.limits, NodeLimits::default());
    }

    #[track_caller]
    fn check(change: (&str, &str), expect: &str) {
        let text = PLAIN.replace(change.0, change.1);
        assert_ne!(text, PLAIN);
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains(expect), "{message}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(("region", "regoin"), "unknown field `regoin`");
        check(("origin = \"fleet.example\"", ""), "missing field `origin`");
        check(("fleet.example", "two words"), "`origin` must be");
        check(
            ("[\"127.0.0.1:7101\", \"127.0.0.1:7102\"]", "[]"),
            "`store` must be",
        );
        check(("127.0.0.1:7102", "nowhere"), "`store` must be");
        check(("\"eu\"", "\"no spaces\""), "`region` must be");
        check(
            ("data_dir", "limits.in_flight_max = 0\ndata_dir"),
            "`limits.in_flight_max` must be",
        );
        check(
            ("data_dir", "limits.connections_max = 0\ndata_dir"),
            "`limits.connections_max` must be",
        );
        check(
            ("data_dir", "limits.request_max_ms = 1\ndata_dir"),
            "`limits.request_max_ms` must be",
        );
        check(
            ("data_dir", "limits.lag_max_ms = 99999\ndata_dir"),
            "`limits.lag_max_ms` must be",
        );
    }
}
