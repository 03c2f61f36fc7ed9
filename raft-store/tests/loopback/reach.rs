//! Connections that went dead without a word.

use std::time::Duration;

use super::proxy::Proxy;
use super::support::{Cluster, PATIENCE, Shape, accepted, free};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_went_dead_are_opened_anew() {
    let listeners = [free(), free(), free()];
    let proxies = listeners.iter().map(|node| Proxy::to(node.address()));
    let proxies = futures::future::join_all(proxies).await;
    let reached: Vec<_> = proxies.iter().map(|proxy| proxy.address).collect();
    let mut cluster = Cluster::start_at(Shape::default(), listeners.into(), &reached).await;
    let client = cluster.client();
    let command = cluster.variant(1).to_bytes();
    accepted(&client.propose(command).await.unwrap());
    // Nobody reaches anybody; what was open stays dead.
    proxies.iter().for_each(Proxy::fall_silent);
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxies.iter().for_each(Proxy::heal);
    let command = cluster.variant(2).to_bytes();
    let healed = tokio::time::timeout(PATIENCE, async {
        let proposed = client.propose(command).await.unwrap();
        accepted(&proposed);
        for id in 1..=3 {
            cluster.catch_up(id, proposed.index.0 + 1).await;
        }
    });
    healed.await.expect("LIVE-1");
    cluster.stop().await;
}
