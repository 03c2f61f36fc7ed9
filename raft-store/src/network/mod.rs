//! Traffic between the nodes of one group.
//!
//! | File | What |
//! |---|---|
//! | `link` | the header of every frame: version, cluster, from, to, wall clock |
//! | `message` | what the frames carry, and its encoding |
//! | `cbor` | the items that messages are made of |
//! | `peer` | the calling side, as openraft wants it: [`Peer`] |
//! | `counted` | what a leader counts on, and what follows when it is gone |
//! | `forward` | commands for the leader, in batches on one stream for each peer |
//! | `append` | pipelined replication on one stream for each peer, and how a dead one is noticed |
//! | `snapshot` | a snapshot, piece by piece |
//! | `service` | the answering side |
//! | `clocks` | what the voters' clocks say |
//!
//! Bodies are our own bytes in an opaque frame: openraft's types change between its versions, and
//! the simulator moves messages without serializing them, so only this way does the codec run in it.

mod append;
mod cbor;
pub(crate) mod clocks;
mod counted;
pub(crate) mod forward;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod peer;
pub(crate) mod service;
mod snapshot;

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

pub use clocks::STAMP_AHEAD_MAX_MS;

/// Largest frame that is accepted, in bytes: one piece of a snapshot may hold an audit entry of the
/// largest size, with all that came of it.
pub(crate) const FRAME_BYTES_MAX: usize = 24 << 20;

/// How long opening a connection to a peer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Between two pings on a connection to a peer.
const PING_EVERY: Duration = Duration::from_secs(2);

/// How long the answer to a ping may take before the connection is given up and opened anew. A
/// partition resets nothing, and by itself TCP tries a connection that went dead ever more rarely:
/// after a minute of silence the next time may come long after the partition has healed (LIVE-1).
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A channel that connects when it is first used and again when the connection breaks.
///
/// # Errors
/// `address` is no `host:port`.
pub(crate) fn channel(address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}
