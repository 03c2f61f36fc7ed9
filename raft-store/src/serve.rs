//! The services of a node on its listener.

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::command::ENVELOPE_BYTES_MAX;
use tidegate_proto::v1::admin_server::AdminServer;
use tidegate_proto::v1::audit_server::AuditServer;
use tidegate_proto::v1::raft_server::RaftServer;
use tidegate_proto::v1::store_server::StoreServer;
use tokio::sync::oneshot;
use tonic::transport::Server;

use crate::api::admin::AdminService;
use crate::api::audit::{AuditService, CheckpointKeys};
use crate::api::store::{Serving, StoreService};
#[cfg(not(madsim))]
use crate::listen::Bounded;
use crate::listen::Listener;
use crate::network::FRAME_BYTES_MAX;
use crate::network::link::Link;
use crate::network::service::RaftService;

/// Largest request of a client, in bytes: a command and what is around it.
const REQUEST_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 1_024;
/// Largest answer to a client, in bytes.
const ANSWER_BYTES_MAX: usize = 24 << 20;
/// Most calls under way on one connection: a follower forwards all its clients' on one.
const CALLS_PER_CONNECTION_MAX: u32 = 16_384;

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: Listener,
    serving: Arc<Serving>,
    link: Link,
    checkpoints: CheckpointKeys,
    stop: oneshot::Receiver<()>,
) -> Result<(), tonic::transport::Error> {
    let raft = RaftServer::new(RaftService {
        raft: serving.group.raft.clone(),
        link,
        writes: serving.writes.clone(),
        reads: serving.reads.clone(),
        log: serving.log.clone(),
        state: serving.state.clone(),
        heads: Arc::clone(&serving.heads),
    })
    .max_decoding_message_size(FRAME_BYTES_MAX)
    .max_encoding_message_size(FRAME_BYTES_MAX);
    let store = StoreServer::new(StoreService(Arc::clone(&serving)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let audit = AuditServer::new(AuditService {
        serving: Arc::clone(&serving),
        keys: checkpoints,
    })
    .max_encoding_message_size(ANSWER_BYTES_MAX);
    let admin = AdminServer::new(AdminService(serving));
    // A peer whose machine vanished sends no reset; without pings its streams would stay for ever.
    let server = Server::builder();
    #[cfg(not(madsim))]
    let server = server.layer(Bounded);
    let mut server = server
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX);
    let router = server
        .add_service(raft)
        .add_service(store)
        .add_service(audit)
        .add_service(admin);
    let stopped = async {
        // A sender that was dropped means the same.
        let _ = stop.await;
    };
    #[cfg(not(madsim))]
    let served = router.serve_with_incoming_shutdown(listener.into_incoming(), stopped);
    #[cfg(madsim)]
    let served = router.serve_with_shutdown(listener.address(), stopped);
    served.await
}
