//! Clients that do not read, do not write, or come in numbers.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, LEASE, check_in, device, lock, until_told};
use futures::channel::mpsc;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tidegate_decision::config::NodeLimits;
use tidegate_domain::{
    command::HaltRollout,
    id::RolloutId,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{CheckInRequest, Verdict, decision_client::DecisionClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::transport::{Channel, Endpoint};

const REQUEST: Duration = Duration::from_millis(500);

fn rolled_out(fleet: &mut Fleet) {
    fleet.launch(testing::rollout("os-2"));
}

/// Stands between a client and a node, takes whatever the node sends at once, and keeps a copy.
struct Relay {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Relay {
    async fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&sent);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let node = TcpStream::connect(node).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_node, mut to_node) = node.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_node).await });
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from_node.read(&mut buffer).await {
                lock(&copy).extend_from_slice(&buffer[..read]);
                if to_client.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        });
        Self { address, sent }
    }

    /// What the node has sent so far.
    fn sent(&self) -> Vec<u8> {
        lock(&self.sent).clone()
    }

    /// A client that takes so many bytes of a stream before it has read some.
    async fn client(&self, window: u32) -> DecisionClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let endpoint = endpoint.initial_stream_window_size(window);
        DecisionClient::new(endpoint.connect().await.unwrap())
    }
}

fn offers(release: &str, bytes: &[u8]) -> bool {
    bytes
        .windows(release.len())
        .any(|part| part == release.as_bytes())
}

/// A device's check-in that is offered the release again and again.
async fn echo(node: &tidegate_decision::node::Node) -> CheckInRequest {
    let mut client = device(node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let mut echo = check_in("d1", "1.0.0");
    echo.exposure_tokens = vec![offered.offer.unwrap().exposure_token];
    echo
}

/// HALT-1, through all buffers: what lies in the node when the lease ends stays there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_did_not_take_is_not_sent_after_the_lease() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let echo = echo(&node).await;
    let relay = Relay::to(node.address()).await;
    let mut client = relay.client(1_000).await;
    let (ask, asks) = mpsc::unbounded();
    for _ in 0..200 {
        ask.unbounded_send(echo.clone()).unwrap();
    }
    let mut answers = client.check_in_stream(asks).await.unwrap().into_inner();
    tokio::time::sleep(LEASE / 3).await;
    assert!(offers("os-2", &relay.sent()), "the window is full of them");
    cluster.store.cut(true);
    cluster.fleet().accept(HaltRollout {
        rollout: RolloutId(1),
        reason: testing::reason(),
    });
    tokio::time::sleep(LEASE * 2).await;
    let before = relay.sent().len();
    while let Ok(Ok(Some(_))) = timeout(LEASE, answers.message()).await {}
    let late = relay.sent().split_off(before);
    assert!(!offers("os-2", &late), "{} bytes came late", late.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_keeps_its_stream_for_longer_than_a_lease() {
    let cluster = Cluster::start(rolled_out).await;
    let node = cluster.ready(0).await;
    let echo = echo(&node).await;
    let mut client = device(&node).await;
    let (ask, asks) = mpsc::unbounded();
    let mut answers = client.check_in_stream(asks).await.unwrap().into_inner();
    for _ in 0..4 {
        for _ in 0..100 {
            ask.unbounded_send(echo.clone()).unwrap();
        }
        for _ in 0..100 {
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!(answer.verdict(), Verdict::Offer, "{answer:?}");
        }
        tokio::time::sleep(LEASE).await;
    }
}

/// Whether the node closes the connection by itself.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let ended = timeout(REQUEST * 6, stream.read_to_end(&mut rest)).await;
    ended.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_what_he_wants_is_shown_out() {
    let cluster = Cluster::start(rolled_out).await;
    let limits = NodeLimits {
        request_max: REQUEST,
        ..NodeLimits::default()
    };
    let node = cluster.node_within(0, limits).await;
    let http = node.http_address().unwrap();
    let said: [(SocketAddr, &str); 5] = [
        (http, ""),
        (http, "POST /v1/check-in HTTP/1.1\r\nhost:"),
        (
            http,
            "POST /v1/check-in HTTP/1.1\r\nhost: n\r\ncontent-length: 9\r\n\r\n{",
        ),
        (node.address(), ""),
        (node.address(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ];
    for (address, text) in said {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        assert!(is_closed(stream).await, "after {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_above_the_limit_waits_for_a_place() {
    let cluster = Cluster::start(rolled_out).await;
    let limits = NodeLimits {
        connections_max: 2,
        ..NodeLimits::default()
    };
    let node = cluster.node_within(0, limits).await;
    let address = format!("http://{}", node.address());
    let connect = || DecisionClient::connect(address.clone());
    let mut first = connect().await.unwrap();
    let mut second = connect().await.unwrap();
    for client in [&mut first, &mut second] {
        client.check_in(check_in("d1", "9.0.0")).await.unwrap();
    }
    let mut third = Endpoint::from_shared(address.clone())
        .map(|endpoint| DecisionClient::new(endpoint.connect_lazy()))
        .unwrap();
    let asked = timeout(REQUEST, third.check_in(check_in("d2", "9.0.0"))).await;
    assert!(asked.is_err(), "there is no place");
    drop(first);
    let asked = timeout(REQUEST * 6, third.check_in(check_in("d2", "9.0.0"))).await;
    asked.unwrap().unwrap();
}
