//! When a network that was healed is whole again.
//!
//! madsim's network tries what a cut held back again after up to 10 s, and madsim-tonic's server
//! waits for the first message of one connection before it looks at the next: a connection that was
//! cut off before its first message keeps everybody from its server for that long after healing, and
//! for good if it stays cut off. A real server has no such queue, so that this is not counted against
//! what it serves: whoever calls here waits until each server takes calls. (LIVE-1)

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_proto::v1::Frame;
use tidegate_proto::v1::raft_client::RaftClient;
use tokio::sync::oneshot;
use tonic::Code;

use super::World;
use super::machine::Breakable as _;
use super::store::address;

/// Longest time until a healed network has delivered what it held back, and a little more.
pub(crate) const HELD_MAX: Duration = Duration::from_secs(11);

impl World {
    /// Returns once each store node that runs takes calls, but for these; answers whether that came
    /// about in time.
    pub(crate) async fn settle(&self, but: &BTreeSet<u64>, patience: Duration) -> bool {
        let members = self.members();
        let asked = members.iter().filter(|store| !but.contains(&store.spec.id));
        let up = asked.filter(|store| store.machine.is_up());
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
        madsim::time::timeout(patience, all).await.is_ok()
    }
}

/// Calls a server on the same machine, where no cut comes between. Any answer will do: its code, or
/// nothing if no connection came about.
pub(super) async fn call(address: SocketAddr) -> Option<Code> {
    let connected = RaftClient::connect(format!("http://{address}")).await;
    let answer = connected.ok()?.call(Frame::default()).await;
    Some(answer.map_or_else(|status| status.code(), |_| Code::Ok))
}
