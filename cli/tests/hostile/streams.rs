//! The largest requests, on very many streams.

use std::fs;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{MEMORY_MAX, Thief, address, memory, now_ms, on_disk};
use crate::support::fleet::{Fleet, Process};

/// Streams, over so many connections.
const STREAMS: usize = 16_384;
const CONNECTIONS: usize = 64;
/// Bytes of each one's request.
const LARGE: usize = 4 << 20;
/// How many of these a node has room for in all, 96 MiB (`listen/ingress.rs`).
const FIT: usize = 24;
/// The command of a `ProposeRequest` (field 1) that is all the rest of the message, in protobuf's
/// encoding: 4 MiB less these five bytes.
const FIELD: [u8; 5] = [0x0a, 0xfb, 0xff, 0xff, 0x01];
/// Processor time that all of them may cost, in seconds: a millisecond each, and some more for what
/// goes on beside them.
const PROCESSOR_MAX_S: u64 = 25;
/// gRPC's codes.
const INVALID_ARGUMENT: &str = "3";
const PERMISSION_DENIED: &str = "7";
const RESOURCE_EXHAUSTED: &str = "8";

/// Begins a command of so many bytes, and sends the first of them.
async fn begin(sender: &SendRequest<Bytes>) -> (ResponseFuture, SendStream<Bytes>) {
    let mut sender = sender.clone().ready().await.unwrap();
    let request = Request::post("http://node/tidegate.v1.Store/Propose")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let request = request.body(()).unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(LARGE).unwrap());
    bytes.put_slice(&FIELD);
    bytes.put_bytes(0x5a, 95);
    body.send_data(bytes.freeze(), false).unwrap();
    (answer, body)
}

/// Sends what is left of a request, as fast as it is taken.
async fn finish(body: &mut SendStream<Bytes>) {
    let mut left = LARGE - 100;
    while left > 0 {
        body.reserve_capacity(left.min(1 << 16));
        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
        let part = room.unwrap().unwrap().min(left);
        left -= part;
        let part = Bytes::from(vec![0x5a; part]);
        body.send_data(part, left == 0).unwrap();
    }
}

fn status(headers: &HeaderMap) -> String {
    let status = headers.get("grpc-status").unwrap();
    status.to_str().unwrap().to_owned()
}

/// Processor time of a process, in seconds (proc(5): fields 14 and 15 of `stat`, in hundredths).
fn processor_s(process: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    let ticks = after_name.split(' ').skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum::<u64>()
        / 100
}

#[test]
fn the_largest_requests_on_very_many_streams_take_the_room_that_there_is_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, node) = Fleet::single(folder.path());
    let thief = Thief::new(folder.path());
    let (entries, bytes, spent) = (thief.entries(), on_disk(folder.path()), processor_s(&node));
    let runtime = Runtime::new().unwrap();
    let (senders, mut waiting, refused) = runtime.block_on(async {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address(folder.path())).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            senders.push(sender);
        }
        let mut begun = Vec::with_capacity(STREAMS);
        for number in 0..STREAMS {
            begun.push(begin(&senders[number % CONNECTIONS]).await);
        }
        let (mut waiting, mut refused) = (Vec::new(), 0);
        for (mut answer, body) in begun {
            // Whoever is refused is told at once, whoever is not is waited for.
            match timeout(Duration::from_secs(1), &mut answer).await {
                Err(_) => waiting.push((answer, body)),
                Ok(head) => {
                    assert_eq!(status(head.unwrap().headers()), RESOURCE_EXHAUSTED);
                    refused += 1;
                }
            }
        }
        (senders, waiting, refused)
    });
    assert_eq!((waiting.len(), refused), (FIT, STREAMS - FIT));
    // Meanwhile operators get through.
    let began = now_ms();
    fleet.done(&["variant", "register", "a/b/c/d"]);
    let took = now_ms().saturating_sub(began);
    assert!(took < 10_000, "{took} ms");
    // Those that had room are taken to their end, and are no commands.
    runtime.block_on(async {
        for (_, body) in &mut waiting {
            timeout(Duration::from_secs(20), finish(body))
                .await
                .unwrap();
        }
        for (answer, _) in waiting {
            let head = answer.await.unwrap();
            let said = status(head.headers());
            let no_command = [INVALID_ARGUMENT, PERMISSION_DENIED];
            assert!(no_command.contains(&said.as_str()), "{said}");
        }
        // And their room is free for others.
        let (mut answer, _body) = begin(&senders[0]).await;
        let early = timeout(Duration::from_secs(1), &mut answer).await;
        assert!(early.is_err(), "{early:?}");
    });
    let more = thief.entries() - entries;
    assert!(more < 100, "{more} entries: what operators and ticks did");
    let grown = on_disk(folder.path()).saturating_sub(bytes);
    assert!(grown < 4 << 20, "{grown} bytes more on disk");
    assert!(
        memory(&node) < MEMORY_MAX,
        "{} bytes of memory",
        memory(&node)
    );
    let spent = processor_s(&node) - spent;
    assert!(spent <= PROCESSOR_MAX_S, "{spent} s of processor time");
}
