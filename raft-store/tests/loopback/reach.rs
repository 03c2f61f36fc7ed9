//! Connections that went dead without a word, and nodes that moved.

use std::time::Duration;

use bytes::Bytes;

use super::proxy::Proxy;
use super::support::{Cluster, PATIENCE, Shape, accepted, free};
use tidegate_domain::command::ChangeMembership;
use tidegate_domain::config::Member;
use tidegate_domain::id::{NodeId, Region};
use tidegate_proto::v1::Frame;
use tidegate_proto::v1::raft_client::RaftClient;
use tidegate_proto::{Refusal, WireError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_went_dead_are_opened_anew() {
    let listeners = [free(), free(), free()];
    let proxies = listeners.iter().map(|node| Proxy::to(node.address()));
    let proxies = futures::future::join_all(proxies).await;
    let reached: Vec<_> = proxies.iter().map(|proxy| proxy.address).collect();
    let mut cluster = Cluster::start_at(Shape::default(), listeners.into(), &reached).await;
    // One that follows: with all of them cut off, an election would bring new connections.
    let cut_off = cluster.leader().await % 3 + 1;
    let at = usize::try_from(cut_off).unwrap() - 1;
    let client = cluster.client_of(cut_off);
    let command = cluster.variant(1).to_bytes();
    accepted(&client.propose(command).await.unwrap());
    // What was open to it stays dead, the leader's connections and the client's.
    proxies[at].fall_silent();
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxies[at].heal();
    let command = cluster.variant(2).to_bytes();
    let healed = tokio::time::timeout(PATIENCE, async {
        let proposed = client.propose(command).await.unwrap();
        accepted(&proposed);
        cluster.catch_up(cut_off, proposed.index.0 + 1).await;
    });
    healed.await.expect("LIVE-1");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_is_reached_where_it_is_now() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let moving = cluster.leader().await % 3 + 1;
    let listener = free();
    let members = cluster.configs.iter().map(|config| Member {
        id: NodeId(config.node_id),
        address: match config.node_id == moving {
            true => listener.address().to_string(),
            false => config.advertise.clone(),
        },
        region: Region::new(config.region.as_str()).unwrap(),
        voter: true,
        checkpoint_key: None,
    });
    let members = members.collect();
    let command = cluster.sign(ChangeMembership { members }).to_bytes();
    accepted(&cluster.client().propose(command).await.unwrap());
    // Its peers still have their connections to where it was.
    cluster.cut_power(moving).await;
    cluster.restart_at(moving, listener).await;
    let command = cluster.variant(1).to_bytes();
    let proposed = cluster.client().propose(command).await.unwrap();
    cluster.catch_up(moving, proposed.index.0 + 1).await;
    cluster.stop().await;
}

/// After a mere end a leader tries again at once, without knowing why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_makes_no_sense_ends_with_the_reason() {
    let cluster = Cluster::start(Shape {
        nodes: 1,
        ..Shape::default()
    })
    .await;
    let address = cluster.configs[0].listen;
    let mut peer = RaftClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let nonsense = Frame {
        body: Bytes::from_static(b"\xff"),
    };
    let replies = peer
        .append(futures::stream::iter([nonsense]))
        .await
        .unwrap();
    let refused = replies.into_inner().message().await.unwrap_err();
    assert_eq!(
        WireError::from(&refused).refusal,
        Refusal::Malformed,
        "{refused}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cannot_be_reached_is_tried_with_pauses() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let dead = cluster.leader().await % 3 + 1;
    let address = cluster.configs[dead as usize - 1].listen;
    cluster.cut_power(dead).await;
    let command = cluster.variant(1).to_bytes();
    accepted(&cluster.client().propose(command).await.unwrap());
    // Whoever connects is hung up on.
    let door = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut attempts = 0_u32;
    let count = async {
        loop {
            drop(door.accept().await);
            attempts += 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), count).await;
    // A heartbeat each 50 ms may try, and replication once in half a second, of two leaders if the
    // machine is too busy for the first one. Without pauses there are thousands a second.
    assert!((1..1_000).contains(&attempts), "{attempts} attempts in 3 s");
    cluster.stop().await;
}
