//! The file's form, and the checks on the way from it to [`DecideFile`].
use super::{ConfigError, DecideFile, NodeConfig, NodeLimits};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tidegate_domain::id::Region;

const ORIGIN_BYTES_MAX: usize = 200;
const ADDRESS_BYTES_MAX: usize = 256;
const STORE_NODES_MAX: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    origin: String,
    store: Vec<String>,
    region: String,
    listen: SocketAddr,
    http: Option<SocketAddr>,
    advertise: Option<String>,
    data_dir: PathBuf,
    key: PathBuf,
    pseudonym_key: PathBuf,
    renew_every_ms: Option<u64>,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    in_flight_max: Option<u64>,
    lag_max_ms: Option<u64>,
    body_bytes_max: Option<u64>,
    forwarding_max: Option<u64>,
    connections_max: Option<u64>,
    streams_max: Option<u64>,
    request_max_ms: Option<u64>,
    shutdown_max_ms: Option<u64>,
}

impl RawFile {
    pub(super) fn check(self, directory: &Path) -> Result<DecideFile, ConfigError> {
        let Self {
            origin,
            store,
            region,
            listen,
            http,
            advertise,
            data_dir,
            key,
            pseudonym_key,
            renew_every_ms,
            limits,
        } = self;
        let advertise = advertise.unwrap_or_else(|| listen.to_string());
        let node = NodeConfig {
            origin,
            store,
            region: Region::new(region.clone()).map_err(|_| ConfigError::Range {
                field: "region",
                expected: "1 to 32 ASCII letters, digits, '.', '-', '_' and '+'",
                found: format!("{region:?}"),
            })?,
            listen,
            http,
            advertise,
            renew_every: match renew_every_ms {
                Some(n) => length("renew_every_ms", n, 50..=60_000, "50 to 60,000")?,
                None => NodeConfig::RENEW_EVERY,
            },
            limits: limits.check()?,
        };
        check_node(&node)?;
        Ok(DecideFile {
            node,
            data_dir: directory.join(data_dir),
            key: directory.join(key),
            pseudonym_key: directory.join(pseudonym_key),
        })
    }
}

fn check_node(node: &NodeConfig) -> Result<(), ConfigError> {
    let origin = &node.origin;
    let graphic = origin.bytes().all(|b| b.is_ascii_graphic());
    if origin.is_empty() || origin.len() > ORIGIN_BYTES_MAX || !graphic {
        return Err(ConfigError::Range {
            field: "origin",
            expected: "1 to 200 printable ASCII characters without spaces",
            found: format!("{origin:?}"),
        });
    }
    if node.store.is_empty() || node.store.len() > STORE_NODES_MAX {
        return Err(ConfigError::Range {
            field: "store",
            expected: "1 to 64 addresses of store nodes",
            found: format!("{} of them", node.store.len()),
        });
    }
    for address in &node.store {
        check_address("store", address)?;
    }
    check_address("advertise", &node.advertise)
}

/// `host:port`; names are looked up when they are used.
fn check_address(field: &'static str, address: &str) -> Result<(), ConfigError> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some() && address.len() <= ADDRESS_BYTES_MAX {
        return Ok(());
    }
    Err(ConfigError::Range {
        field,
        expected: "host:port",
        found: format!("{address:?}"),
    })
}

impl RawLimits {
    fn check(self) -> Result<NodeLimits, ConfigError> {
        let Self {
            in_flight_max,
            lag_max_ms,
            body_bytes_max,
            forwarding_max,
            connections_max,
            streams_max,
            request_max_ms,
            shutdown_max_ms,
        } = self;
        let mut limits = NodeLimits::default();
        if let Some(n) = in_flight_max {
            let expected = "1 to 1,000,000";
            limits.in_flight_max = size("limits.in_flight_max", n, 1..=1_000_000, expected)?;
        }
        if let Some(n) = lag_max_ms {
            limits.lag_max = length("limits.lag_max_ms", n, 10..=10_000, "10 to 10,000")?;
        }
        if let Some(n) = body_bytes_max {
            let expected = "1,024 to 1,048,576";
            limits.body_bytes_max = size("limits.body_bytes_max", n, 1_024..=1 << 20, expected)?;
        }
        if let Some(n) = forwarding_max {
            let expected = "1 to 10,000,000";
            limits.forwarding_max = size("limits.forwarding_max", n, 1..=10_000_000, expected)?;
        }
        if let Some(n) = connections_max {
            let expected = "1 to 1,000,000";
            limits.connections_max = size("limits.connections_max", n, 1..=1_000_000, expected)?;
        }
        if let Some(n) = streams_max {
            let n = in_range("limits.streams_max", n, 1..=100_000, "1 to 100,000")?;
            limits.streams_max = u32::try_from(n).unwrap_or(u32::MAX);
        }
        if let Some(n) = request_max_ms {
            let expected = "100 to 300,000";
            limits.request_max = length("limits.request_max_ms", n, 100..=300_000, expected)?;
        }
        if let Some(n) = shutdown_max_ms {
            let expected = "100 to 300,000";
            limits.shutdown_max = length("limits.shutdown_max_ms", n, 100..=300_000, expected)?;
        }
        Ok(limits)
    }
}

fn in_range(
    field: &'static str,
    found: u64,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<u64, ConfigError> {
    if range.contains(&found) {
        return Ok(found);
    }
    Err(ConfigError::Range {
        field,
        expected,
        found: found.to_string(),
    })
}

fn size(
    field: &'static str,
    found: u64,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<usize, ConfigError> {
    let found = in_range(field, found, range, expected)?;
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

fn length(
    field: &'static str,
    found: u64,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<Duration, ConfigError> {
    in_range(field, found, range, expected).map(Duration::from_millis)
}
