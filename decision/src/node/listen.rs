//! Where gRPC is served.
#[cfg(not(madsim))]
use super::connections::{self, Protocol};
use super::{desk::Desk, grpc::Service};
use std::{io, net::SocketAddr, sync::Arc};
use tidegate_proto::v1::decision_server::DecisionServer;
use tidegate_runtime::Task;
#[cfg(madsim)]
use tidegate_runtime::{AsyncRuntime as _, Rt};
use tokio::sync::oneshot;

/// A claimed address, not served yet.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    #[cfg(not(madsim))]
    pub(crate) inner: tokio::net::TcpListener,
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
    fn new(address: SocketAddr, source: io::Error) -> Self {
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
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let inner = tokio::net::TcpListener::from_std(listener)?;
            let address = inner.local_addr()?;
            Ok(Self { address, inner })
        };
        bind().map_err(|source| ListenError::new(address, source))
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
#[cfg(not(madsim))]
pub(crate) fn serve(listener: Listener, desk: Arc<Desk>) -> (oneshot::Sender<()>, Task<()>) {
    let service = DecisionServer::with_interceptor(Service(Arc::clone(&desk)), note_arrival(&desk));
    let routes = tonic::service::Routes::new(service).prepare();
    connections::serve(listener.inner, Protocol::Http2, desk, routes)
}

/// Serves until told to stop; then requests under way are finished.
#[cfg(madsim)]
pub(crate) fn serve(listener: Listener, desk: Arc<Desk>) -> (oneshot::Sender<()>, Task<()>) {
    let (stop, stopped) = oneshot::channel();
    let service = DecisionServer::with_interceptor(Service(Arc::clone(&desk)), note_arrival(&desk));
    let router = tonic::transport::Server::builder().add_service(service);
    let stopped = async {
        // A sender that was dropped means the same.
        let _ = stopped.await;
    };
    let serving = Rt::spawn(async move {
        let served = router.serve_with_shutdown(listener.address(), stopped);
        if let Err(error) = served.await {
            tracing::error!(%error, "gRPC is served no more");
        }
    });
    (stop, serving)
}

/// Notes that a request came, before it waits for a thread.
fn note_arrival(
    desk: &Desk,
) -> impl Fn(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Clone + use<> {
    let meters = Arc::clone(&desk.meters);
    move |mut request| {
        request.extensions_mut().insert(meters.arrived());
        Ok(request)
    }
}
