//! The file's form, and the checks on the way from it to [`NodeConfig`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, KeyFiles, NodeConfig, NodeLimits, Peer, Profile, RaftTimers, TICK_EVERY};
use crate::types::{Member, NodeId};

/// Longest election time-out.
const ELECTION_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    node_id: NodeId,
    origin: String,
    region: String,
    listen: SocketAddr,
    advertise: Option<String>,
    data_dir: PathBuf,
    #[serde(default)]
    peers: Vec<RawPeer>,
    found_cluster: bool,
    tick_ms: Option<u64>,
    #[serde(default)]
    keys: RawKeys,
    #[serde(default)]
    raft: RawTimers,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    node: Option<PathBuf>,
    log: Option<PathBuf>,
    checkpoint: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    node_id: NodeId,
    address: String,
    region: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimers {
    profile: Option<Profile>,
    heartbeat_ms: Option<u64>,
    election_min_ms: Option<u64>,
    election_max_ms: Option<u64>,
    snapshot_every: Option<u64>,
    segment_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    proposals_in_flight_max: Option<u64>,
    watchers_max: Option<u64>,
    watch_entries_max: Option<u64>,
    disk_reserve_bytes: Option<u64>,
    request_timeout_ms: Option<u64>,
}

impl TryFrom<RawConfig> for NodeConfig {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let RawConfig {
            node_id,
            origin,
            region,
            listen,
            advertise,
            data_dir,
            peers,
            found_cluster,
            tick_ms,
            keys,
            raft,
            limits,
        } = raw;
        in_range("node_id", node_id, 1, u64::MAX)?;
        check_origin(&origin)?;
        check_region("region", &region)?;
        let advertise = advertise.unwrap_or_else(|| listen.to_string());
        check_address("advertise", &advertise)?;
        if listen.ip().is_unspecified() && advertise == listen.to_string() {
            return Err(invalid(
                "advertise",
                format!("must be given when `listen` is {listen}: peers cannot dial that"),
            ));
        }
        if data_dir.as_os_str().is_empty() {
            return Err(invalid("data_dir", "may not be empty"));
        }
        let peers = peers
            .into_iter()
            .filter(|peer| peer.node_id != node_id)
            .map(Peer::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let mut ids: Vec<_> = peers.iter().map(|peer| peer.node_id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            let problem = format!("names node {} twice", twice[0]);
            return Err(invalid("peers", problem));
        }
        Ok(Self {
            node_id,
            origin,
            region,
            listen,
            advertise,
            data_dir,
            peers,
            found_cluster,
            raft: raft.try_into()?,
            limits: limits.try_into()?,
            tick_every: millis("tick_ms", tick_ms, TICK_EVERY, 50, 60_000)?,
            keys: KeyFiles {
                node: keys.node,
                log: keys.log,
                checkpoint: keys.checkpoint,
            },
        })
    }
}

impl TryFrom<RawPeer> for Peer {
    type Error = ConfigError;

    fn try_from(raw: RawPeer) -> Result<Self, ConfigError> {
        let RawPeer {
            node_id,
            address,
            region,
        } = raw;
        in_range("peers.node_id", node_id, 1, u64::MAX)?;
        check_address("peers.address", &address)?;
        check_region("peers.region", &region)?;
        let member = Member {
            addr: address,
            region,
        };
        Ok(Self { node_id, member })
    }
}

impl TryFrom<RawTimers> for RaftTimers {
    type Error = ConfigError;

    fn try_from(raw: RawTimers) -> Result<Self, ConfigError> {
        let RawTimers {
            profile,
            heartbeat_ms,
            election_min_ms,
            election_max_ms,
            snapshot_every,
            segment_bytes,
        } = raw;
        let usual = profile.unwrap_or_default().heartbeat();
        let heartbeat = millis("raft.heartbeat_ms", heartbeat_ms, usual, 10, 10_000)?;
        let mut default = Self::of_heartbeat(heartbeat);
        default.election_max = default.election_max.min(ELECTION_MAX);
        let election_min = election_min_ms.map_or(default.election_min, Duration::from_millis);
        let election_max = election_max_ms.map_or(default.election_max, Duration::from_millis);
        if election_min < heartbeat * 3 {
            let problem = format!("must be at least three heartbeats ({:?})", heartbeat * 3);
            return Err(invalid("raft.election_min_ms", problem));
        }
        if election_max <= election_min || election_max > ELECTION_MAX {
            let problem = format!("must be more than {election_min:?} and at most 60 s");
            return Err(invalid("raft.election_max_ms", problem));
        }
        let snapshot_every = snapshot_every.unwrap_or(default.snapshot_every);
        in_range("raft.snapshot_every", snapshot_every, 100, 10_000_000)?;
        let segment_bytes = segment_bytes.unwrap_or(default.segment_bytes);
        in_range("raft.segment_bytes", segment_bytes, 1 << 20, 1 << 30)?;
        Ok(Self {
            heartbeat,
            election_min,
            election_max,
            snapshot_every,
            segment_bytes,
        })
    }
}

impl TryFrom<RawLimits> for NodeLimits {
    type Error = ConfigError;

    fn try_from(raw: RawLimits) -> Result<Self, ConfigError> {
        let RawLimits {
            proposals_in_flight_max,
            watchers_max,
            watch_entries_max,
            disk_reserve_bytes,
            request_timeout_ms,
        } = raw;
        let default = Self::default();
        let disk_reserve_bytes = disk_reserve_bytes.unwrap_or(default.disk_reserve_bytes);
        in_range(
            "limits.disk_reserve_bytes",
            disk_reserve_bytes,
            1 << 20,
            1 << 40,
        )?;
        Ok(Self {
            disk_reserve_bytes,
            proposals_in_flight_max: count(
                "limits.proposals_in_flight_max",
                proposals_in_flight_max,
                default.proposals_in_flight_max,
                65_536,
            )?,
            watchers_max: count(
                "limits.watchers_max",
                watchers_max,
                default.watchers_max,
                65_536,
            )?,
            watch_entries_max: count(
                "limits.watch_entries_max",
                watch_entries_max,
                default.watch_entries_max,
                1_000_000,
            )?,
            request_timeout: millis(
                "limits.request_timeout_ms",
                request_timeout_ms,
                default.request_timeout,
                100,
                60_000,
            )?,
        })
    }
}

/// Checks what every member of a cluster must fulfil.
pub(crate) fn check_member(node_id: NodeId, member: &Member) -> Result<(), ConfigError> {
    in_range("node_id", node_id, 1, u64::MAX)?;
    check_address("address", &member.addr)?;
    check_region("region", &member.region)
}

fn invalid(field: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        field,
        problem: problem.into(),
    }
}

fn in_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("is {value}, must be {min} to {max}"),
    ))
}

fn count(
    field: &'static str,
    value: Option<u64>,
    default: usize,
    max: u64,
) -> Result<usize, ConfigError> {
    let Some(value) = value else {
        return Ok(default);
    };
    in_range(field, value, 1, max)?;
    usize::try_from(value).map_err(|_| invalid(field, "does not fit this machine"))
}

fn millis(
    field: &'static str,
    value: Option<u64>,
    default: Duration,
    min: u64,
    max: u64,
) -> Result<Duration, ConfigError> {
    let Some(value) = value else {
        return Ok(default);
    };
    in_range(field, value, min, max)?;
    Ok(Duration::from_millis(value))
}

fn check_origin(origin: &str) -> Result<(), ConfigError> {
    let printable = origin.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    if printable && (1..=200).contains(&origin.len()) {
        return Ok(());
    }
    let problem = "must be 1 to 200 printable ASCII characters without spaces and `+`, \
                   such as \"fleet.example/prod\"";
    Err(invalid("origin", problem))
}

fn check_region(field: &'static str, region: &str) -> Result<(), ConfigError> {
    tidegate_domain::id::Region::new(region)
        .map(drop)
        .map_err(|error| invalid(field, format!("is not a region: {error}")))
}

fn check_address(field: &'static str, address: &str) -> Result<(), ConfigError> {
    let port = address
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse::<u16>()));
    match port {
        Some((host, Ok(1..))) if !host.is_empty() && address.len() <= 255 => Ok(()),
        _ => Err(invalid(
            field,
            format!("is {address:?}, must be host:port with at most 255 bytes"),
        )),
    }
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
