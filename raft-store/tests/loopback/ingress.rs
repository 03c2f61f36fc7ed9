//! Connections of strangers: what they send and do not send costs a node what it has set aside for
//! them, and keeps nobody else away.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::join_all;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tidegate_runtime::{BootInstant, Clock as _, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::{Cluster, PATIENCE, Shape, accepted};

/// Bytes that a node sets aside for large requests of one connection (`listen/ingress.rs`).
const LARGE_EACH: usize = 24 << 20;
/// A large request.
const LARGE: usize = 4 << 20;
/// How long a small request, or the first byte of a connection, may take to arrive.
const SMALL_WITHIN: Duration = Duration::from_secs(10);
/// gRPC's codes.
const RESOURCE_EXHAUSTED: &str = "8";
const DEADLINE_EXCEEDED: &str = "4";

fn since(earlier: BootInstant) -> Duration {
    SystemClock.boot().since_boot() - earlier.since_boot()
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Begins a call, and sends the prefix of a message of so many bytes, and some bytes of it.
async fn begin(
    sender: &SendRequest<Bytes>,
    method: &str,
    length: Option<usize>,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut sender = sender.clone().ready().await.unwrap();
    let request = Request::post(format!("http://node/tidegate.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut body) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    if let Some(length) = length {
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(length).unwrap());
        bytes.put_bytes(0, length.min(100));
        body.send_data(bytes.freeze(), false).unwrap();
    }
    (answer, body)
}

/// The status of a call that was refused before its request was there.
async fn status(answer: ResponseFuture) -> String {
    let head = answer.await.unwrap();
    let status = head.headers().get("grpc-status").unwrap();
    status.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_requests_take_no_more_room_than_there_is() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let address = cluster.configs[0].listen;
    let sender = connect(address).await;
    let mut waiting = Vec::new();
    let mut refused = 0;
    for _ in 0..1_000 {
        let (mut answer, body) = begin(&sender, "Store/Propose", Some(LARGE)).await;
        // Those that fit are waited for, those that do not are told so at once.
        match timeout(Duration::from_millis(300), &mut answer).await {
            Err(_) => waiting.push((answer, body)),
            Ok(head) => {
                let head = head.unwrap();
                assert_eq!(head.headers()["grpc-status"], RESOURCE_EXHAUSTED);
                refused += 1;
            }
        }
    }
    assert_eq!(
        (waiting.len(), refused),
        (LARGE_EACH / LARGE, 1_000 - LARGE_EACH / LARGE)
    );
    // On that connection and on others, a command of usual size gets through.
    let (mut small, mut body) = begin(&sender, "Store/Status", Some(0)).await;
    body.send_data(Bytes::new(), true).unwrap();
    let answered = timeout(Duration::from_secs(5), &mut small)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answered.status(), 200);
    let command = cluster.variant(1).to_bytes();
    accepted(&cluster.client_of(1).propose(command).await.unwrap());
    // What they held is free once they are gone.
    drop(waiting);
    let gone = SystemClock.boot();
    loop {
        let again = begin(&sender, "Store/Propose", Some(LARGE)).await;
        if timeout(Duration::from_millis(300), again.0).await.is_err() {
            break;
        }
        assert!(since(gone) < PATIENCE, "nothing becomes free");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_arrive_is_given_up() {
    let cluster = Cluster::start(Shape::default()).await;
    let address = cluster.configs[0].listen;
    let sender = connect(address).await;
    let began = SystemClock.boot();
    let within = SMALL_WITHIN..SMALL_WITHIN + Duration::from_secs(10);
    // Half a message, and none at all.
    let half = begin(&sender, "Store/Propose", Some(2_000)).await;
    let none = begin(&sender, "Store/Propose", None).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut hesitant = TcpStream::connect(address).await.unwrap();
    hesitant.write_all(b"PRI * ").await.unwrap();
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(&[0x16; 4_096]).await.unwrap();
    let (statuses, (), ()) = tokio::join!(
        join_all([status(half.0), status(none.0)]),
        async {
            // The server says hello, and then no more.
            let (mut said, mut said_too) = (Vec::new(), Vec::new());
            let ended = join_all([
                silent.read_to_end(&mut said),
                hesitant.read_to_end(&mut said_too),
            ]);
            drop(timeout(PATIENCE, ended).await.unwrap());
            assert!(within.contains(&since(began)), "{:?}", since(began));
        },
        async {
            let mut said = Vec::new();
            let ended = timeout(Duration::from_secs(5), garbage.read_to_end(&mut said));
            assert!(ended.await.is_ok(), "garbage keeps a connection");
        }
    );
    assert_eq!(statuses, [DEADLINE_EXCEEDED, DEADLINE_EXCEEDED]);
    assert!(within.contains(&since(began)), "{:?}", since(began));
    cluster.stop().await;
}
