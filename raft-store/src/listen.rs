//! Where a node listens, claimed before anything else is touched.

use std::io;
use std::net::SocketAddr;

#[cfg(not(madsim))]
use futures::Stream;

#[cfg(not(madsim))]
mod counted;
#[cfg(not(madsim))]
mod ingress;

#[cfg(not(madsim))]
pub(crate) use ingress::Bounded;

/// Most connections of peers and clients at once. Below the 1,024 files that many systems allow a
/// process, so that the databases keep theirs.
#[cfg(not(madsim))]
const CONNECTIONS_MAX: usize = 900;

/// A claimed address, not served yet.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    #[cfg(not(madsim))]
    incoming: tonic::transport::server::TcpIncoming,
}

/// Why an address could not be claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another process listens there.
    #[error(
        "{address} is in use by another process; stop it, or choose another `listen` address \
         (who has it: `ss -ltnp 'sport = :{}'`)", address.port()
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl Listener {
    /// Claims an address; port 0 takes any free one.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    #[cfg(not(madsim))]
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Io { address, source },
        };
        let incoming = tonic::transport::server::TcpIncoming::bind(address)
            .map_err(failed)?
            .with_nodelay(Some(true));
        let address = incoming.local_addr().map_err(failed)?;
        Ok(Self { address, incoming })
    }

    /// Claims an address when it is served; the simulated network has no free-port search.
    ///
    /// # Errors
    /// Never here.
    #[cfg(madsim)]
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        Ok(Self { address })
    }

    /// The claimed address, with the port that was found.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that come, up to [`CONNECTIONS_MAX`] at once; more are closed at once.
    #[cfg(not(madsim))]
    pub(crate) fn into_incoming(self) -> impl Stream<Item = io::Result<counted::Connection>> {
        counted::limit(self.incoming, CONNECTIONS_MAX)
    }
}
