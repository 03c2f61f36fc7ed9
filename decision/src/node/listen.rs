//! Where gRPC is served.
use super::{desk::Desk, grpc::Service};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tidegate_proto::v1::decision_server::DecisionServer;
use tidegate_runtime::{AsyncRuntime as _, Rt, Task};
use tokio::sync::oneshot;
use tonic::transport::Server;

/// A claimed address, not served yet.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    #[cfg(not(madsim))]
    incoming: tonic::transport::server::TcpIncoming,
}

/// Why an address could not be claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another process listens there.
    #[error("{address} is in use by another process; stop it, or choose another address")]
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

#[cfg(not(madsim))]
impl ListenError {
    pub(crate) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            _ => Self::Io { address, source },
        }
    }
}

impl Listener {
    /// Claims an address; port 0 takes any free one.
    #[cfg(not(madsim))]
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError::new(address, source);
        let incoming = tonic::transport::server::TcpIncoming::bind(address)
            .map_err(failed)?
            .with_nodelay(Some(true));
        let address = incoming.local_addr().map_err(failed)?;
        Ok(Self { address, incoming })
    }

    /// Claims an address when it is served; the simulated network has no free-port search.
    #[cfg(madsim)]
    #[expect(clippy::unnecessary_wraps, reason = "the real one may fail")]
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        Ok(Self { address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until told to stop; then requests under way are finished.
pub(crate) fn serve(listener: Listener, desk: Arc<Desk>) -> (oneshot::Sender<()>, Task<()>) {
    let (stop, stopped) = oneshot::channel();
    let meters = Arc::clone(&desk.meters);
    // Runs before the request waits for a thread. Requests have at most 4 MiB, tonic's default:
    // 1,024 forwarded outcomes.
    let note_arrival = move |mut request: tonic::Request<()>| {
        request.extensions_mut().insert(meters.arrived());
        Ok(request)
    };
    let service = DecisionServer::with_interceptor(Service(desk), note_arrival);
    // A gateway that vanished sends no reset; without pings its streams would stay for ever.
    let router = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(service);
    let stopped = async {
        // A sender that was dropped means the same.
        let _ = stopped.await;
    };
    let serving = Rt::spawn(async move {
        #[cfg(not(madsim))]
        let served = router.serve_with_incoming_shutdown(listener.incoming, stopped);
        #[cfg(madsim)]
        let served = router.serve_with_shutdown(listener.address(), stopped);
        if let Err(error) = served.await {
            tracing::error!(%error, "gRPC is served no more");
        }
    });
    (stop, serving)
}
