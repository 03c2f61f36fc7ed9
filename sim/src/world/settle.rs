//! When a network that was healed is whole again.
//!
//! madsim's network tries what a cut held back again after up to 10 s, and madsim-tonic's server
//! waits for the first message of one connection before it looks at the next: a connection that was
//! cut off before its first message keeps everybody from its server for that long after healing. A
//! real server has no such queue, so that this is not counted against what it serves. Whoever is cut
//! off for good is cut off only then: one lost first message would keep a server for good. (LIVE-1)

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_proto::v1::Frame;
use tidegate_proto::v1::raft_client::RaftClient;
use tokio::sync::oneshot;

use super::World;
use super::machine::Breakable as _;
use super::store::address;

/// Longest time until the network has delivered what it held back, and a little more.
const HELD_MAX: Duration = Duration::from_secs(11);

impl World {
    /// Returns once each store node that runs takes calls, at the latest when the network holds
    /// nothing back any more.
    pub(crate) async fn settle(&self) {
        let members = self.members();
        let up = members.iter().filter(|store| store.machine.is_up());
        let asked = up.map(|store| {
            let (heard, hears) = oneshot::channel::<()>();
            let address = address(store.spec.id);
            store.machine.spawn(async move {
                call(address).await;
                // Nobody waits any more if that took too long.
                let _ = heard.send(());
            });
            hears
        });
        let all = futures::future::join_all(asked);
        // A process that ends meanwhile takes no calls, and one that starts has no queue.
        let _ = madsim::time::timeout(HELD_MAX, all).await;
    }
}

/// Calls a server on the same machine, where no cut comes between. Any answer will do.
async fn call(address: SocketAddr) {
    if let Ok(mut client) = RaftClient::connect(format!("http://{address}")).await {
        let _ = client.call(Frame::default()).await;
    }
}
