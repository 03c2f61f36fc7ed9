//! A running decision node: follows the store, holds a session, answers devices.
//!
//! [`Node::start`] is the one way in, for the binary and for the simulator: settings, keys, and a
//! [`Host`] with the edges that a node has beside the network. [`Node::shutdown`] ends it in order,
//! and dropping it as a crash would.
//!
//! ```no_run
//! use std::{net::SocketAddr, path::Path};
//! use tidegate_decision::{
//!     config::NodeConfig,
//!     node::{Node, Secrets},
//! };
//! use tidegate_domain::id::Region;
//! use tidegate_runtime::{Host, disk::DirDisk};
//!
//! # async fn run(secrets: Secrets) -> Result<(), Box<dyn std::error::Error>> {
//! let store = vec!["store-1.example:7100".to_owned()];
//! let listen = SocketAddr::from(([127, 0, 0, 1], 7200));
//! let config = NodeConfig::new("fleet.example", store, Region::new("eu")?, listen);
//! let host = Host::system(DirDisk::open(Path::new("/var/lib/tidegate"))?);
//! let node = Node::start(config, secrets, host).await?;
//! println!("{:?}", node.status().mode);
//! node.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! In the simulator gRPC runs over its network, on the port that `listen` names; there is no HTTP.
#[cfg(not(madsim))]
mod connections;
mod desk;
mod envelope;
mod grpc;
#[cfg(not(madsim))]
mod http;
mod listen;
mod live;
mod meters;
mod observer;
#[cfg(not(madsim))]
mod outbox;
mod outcomes;
mod session;
mod snapshot;
mod status;
mod tasks;
mod until;

pub use listen::ListenError;
pub use session::{AskError, CloseError};
pub use status::NodeStatus;

use crate::{config::NodeConfig, engine::PseudonymKey};
use desk::Desk;
use listen::Listener;
use observer::Shown;
use session::Signer;
use std::{io, net::SocketAddr, sync::Arc};
use tidegate_client::{
    ClientConfig, ClientError, Follower, FollowerConfig, HighWater, StoreClient,
};
use tidegate_domain::signature::SigningKey;
use tidegate_runtime::{AsyncRuntime as _, Host, Rt, Task};
use tokio::sync::oneshot;

/// What a node signs and hides with.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The node's key in role `decision`.
    pub signing: SigningKey,
    /// The fleet's pseudonym secret.
    pub pseudonyms: PseudonymKey,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store's addresses are of no use.
    #[error(transparent)]
    Store(#[from] ClientError),
    /// The high-water mark can't be read.
    #[error("cannot read the highest state seen: {0}")]
    HighWater(#[from] io::Error),
}

/// A running decision node. Dropping it stops it as a crash would: nothing is reported, the
/// session stays open. [`Self::shutdown`] is the way to end it.
#[derive(Debug)]
pub struct Node {
    desk: Arc<Desk>,
    signer: Signer,
    address: SocketAddr,
    http: Option<SocketAddr>,
    follower: Option<Follower>,
    tasks: Vec<Task<()>>,
    servers: Vec<(oneshot::Sender<()>, Task<()>)>,
}

impl Node {
    /// Starts a node. It answers at once, `wait` until it knows the store's state. On the host's
    /// disk it remembers the highest state that it has seen.
    ///
    /// # Errors
    /// An address is in use, or the disk failed.
    pub async fn start(
        config: NodeConfig,
        secrets: Secrets,
        host: Host,
    ) -> Result<Self, StartError> {
        let Host {
            disk,
            clock,
            entropy,
        } = host;
        let listener = Listener::bind(config.listen)?;
        let address = listener.address();
        #[cfg(not(madsim))]
        let http = config.http.map(Listener::bind).transpose()?;
        #[cfg(not(madsim))]
        let http_address = http.as_ref().map(Listener::address);
        #[cfg(madsim)]
        let http_address = None;
        let client = StoreClient::new(ClientConfig::new(config.store.clone()))?;
        let high_water = HighWater::open(disk).await?;
        let mut follow = FollowerConfig::new(config.origin.clone());
        follow.renew_every = config.renew_every;
        let signer = Signer::new(client.clone(), entropy);
        let Secrets {
            signing,
            pseudonyms,
        } = secrets;
        let desk = Arc::new(Desk::new(config, signing, pseudonyms, Arc::clone(&clock)));
        let shown = Shown::new(Arc::clone(&desk));
        let follower = Follower::start(client, follow, clock, high_water, shown);
        desk.known.hold(follower.lease().clone());
        let grpc = listen::serve(listener, Arc::clone(&desk));
        #[cfg(not(madsim))]
        let http = http.map(|http| http::serve(http, Arc::clone(&desk)));
        #[cfg(madsim)]
        let http = None;
        Ok(Self {
            tasks: tasks::start(&desk, &signer, address),
            desk,
            signer,
            address,
            http: http_address,
            follower: Some(follower),
            servers: [Some(grpc), http].into_iter().flatten().collect(),
        })
    }

    /// Where gRPC is served, with the port that was found.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where HTTP/JSON is served, if it is.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What the node knows of itself.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus::of(&self.desk)
    }

    /// Stops taking requests, finishes those under way, brings outcomes to their owners, reports
    /// everything and closes the session.
    ///
    /// # Errors
    /// The store did not take the final report in time: the session stays open, and what it holds
    /// is lost to others until a quorum writes it off.
    pub async fn shutdown(mut self) -> Result<(), CloseError> {
        let length = self.desk.config.limits.shutdown_max;
        let close = async {
            for (stop, mut server) in self.servers.drain(..) {
                // A server that has ended already needs no word.
                let _ = stop.send(());
                // Streams of gateways may stay open for ever: they get a while, not all of it. Then
                // connections end with their server.
                if Rt::timeout(length / 8, &mut server).await.is_err() {
                    server.abort();
                }
            }
            // What other sessions own is in this node's memory alone.
            let told = self.desk.all_forwarded();
            if Rt::timeout(length / 4, told).await.is_err() {
                tracing::warn!("outcomes are lost: their owners could not be reached in time");
            }
            self.tasks.iter().for_each(|task| task.abort());
            // One that runs right now may still begin a session or send an envelope.
            for task in self.tasks.drain(..) {
                let _ = task.await;
            }
            session::close(&self.desk, &self.signer).await
        };
        let closed = Rt::timeout(length, close).await;
        if let Some(follower) = self.follower.take() {
            follower.stop().await;
        }
        closed.unwrap_or(Err(CloseError::TimedOut { after: length }))
    }

    /// Stops at once, as a crash would.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
        self.servers.iter().for_each(|(_, server)| server.abort());
    }
}
