// Real time and real connections.
#![cfg(not(madsim))]

use super::*;
use tidegate_proto::v1::{self, snapshot_part::Part, store_client::StoreClient, store_server};
use tidegate_runtime::SystemClock;
use tonic::codegen::BoxStream;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response};

const STALL: Duration = Duration::from_millis(300);
const DAY: Duration = Duration::from_secs(86_400);

fn streams(streams_max: usize, stall_max: Duration, rate_min: Option<u64>) -> PacedStreams {
    let pace = Pace {
        stall_max,
        rate_min,
    };
    PacedStreams::new(streams_max, pace, Arc::new(SystemClock))
}

/// Endless parts that hold something, as a view is held.
fn parts(view: &Arc<()>) -> impl Stream<Item = Result<u64, Status>> + Send + 'static {
    let view = Arc::clone(view);
    stream::iter(0..).map(move |part| {
        let _held = &view;
        Ok(part)
    })
}

fn nothing(_: &u64) -> usize {
    0
}

async fn let_go_of(view: &Arc<()>) {
    let waited = async {
        while Arc::strong_count(view) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited)
        .await
        .expect("the view is still held");
}

async fn let_another_in(streams: &PacedStreams) {
    while streams.slot().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_stops_reading_loses_the_view_and_is_told() {
    let streams = streams(1, STALL, None);
    let view = Arc::new(());
    let mut reading = Box::pin(streams.slot().unwrap().pace(parts(&view), nothing));
    for expected in 0..100 {
        assert_eq!(reading.next().await.unwrap().unwrap(), expected);
    }
    let refused = streams.slot().map(drop).unwrap_err();
    let refused = WireError::from(&refused);
    assert_eq!(refused.refusal, Refusal::Overloaded);
    let_go_of(&view).await;
    let_another_in(&streams).await;
    assert_eq!(
        reading.next().await.unwrap().unwrap(),
        100,
        "it was on its way"
    );
    let ended = reading.next().await.unwrap().unwrap_err();
    assert_eq!(WireError::from(&ended).refusal, Refusal::TimedOut);
    assert!(reading.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_was_dropped_or_is_over_holds_nothing() {
    let streams = streams(1, DAY, None);
    let view = Arc::new(());
    drop(streams.slot().unwrap().pace(parts(&view), nothing));
    let_go_of(&view).await;
    let_another_in(&streams).await;
    let few = streams.slot().unwrap();
    let few = few.pace(parts(&view).take(3), nothing);
    assert_eq!(few.collect::<Vec<_>>().await.len(), 3);
    let_go_of(&view).await;
    let_another_in(&streams).await;
}

/// Whatever a reader does, its stream has run for at most the allowance and what its bytes earned.
#[test]
fn patience_is_earned_by_what_was_taken() {
    let (seconds, mib) = (Duration::from_secs, 1 << 20);
    let pace = Pace {
        stall_max: seconds(30),
        rate_min: Some(mib),
    };
    assert_eq!(pace.patience(seconds(0), 0), seconds(30));
    assert_eq!(pace.patience(seconds(29), 0), seconds(1));
    assert_eq!(pace.patience(seconds(30), 0), Duration::ZERO);
    assert_eq!(pace.patience(seconds(30), 10 * mib), seconds(10));
    assert_eq!(pace.patience(seconds(45), 10 * mib), Duration::ZERO);
    let ahead = pace.patience(seconds(1), 1_000 * mib);
    assert_eq!(ahead, seconds(30), "but no part takes longer than that");
    let any = Pace {
        rate_min: None,
        ..pace
    };
    assert_eq!(any.patience(DAY, 0), seconds(30));
}

/// Bytes in a part of the snapshot below.
const PART: usize = 64 << 10;
const PARTS: usize = 160;

/// A store that has nothing but a snapshot, and notes how long its view was held.
struct Snapshots {
    streams: PacedStreams,
    held: mpsc::UnboundedSender<Duration>,
}

/// Says when it is let go of.
struct View(BootInstant, mpsc::UnboundedSender<Duration>);

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.1.send(SystemClock.boot().since(self.0));
    }
}

fn elsewhere<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nobody asks"))
}

#[tonic::async_trait]
impl store_server::Store for Snapshots {
    type GetSnapshotStream = BoxStream<v1::SnapshotPart>;
    type WatchStream = BoxStream<v1::WatchUpdate>;
    type StaleReadStream = BoxStream<v1::SnapshotPart>;

    async fn get_snapshot(
        &self,
        _: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<Self::GetSnapshotStream>, Status> {
        let slot = self.streams.slot()?;
        let view = View(SystemClock.boot(), self.held.clone());
        let parts = stream::iter(0..PARTS).map(move |_| {
            let _held = &view;
            let row = v1::StateRow {
                key: Vec::new(),
                value: vec![7; PART],
            };
            let part = Part::Chunk(v1::SnapshotChunk { rows: vec![row] });
            Ok(v1::SnapshotPart { part: Some(part) })
        });
        let paced = slot.pace(parts, crate::api::store::row_bytes);
        Ok(Response::new(Box::pin(paced)))
    }

    async fn propose(
        &self,
        _: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        elsewhere()
    }

    async fn read_index(
        &self,
        _: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        elsewhere()
    }

    async fn get_rows(
        &self,
        _: Request<v1::GetRowsRequest>,
    ) -> Result<Response<v1::GetRowsResponse>, Status> {
        elsewhere()
    }

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        elsewhere()
    }

    async fn stale_read(
        &self,
        _: Request<v1::StaleReadRequest>,
    ) -> Result<Response<Self::StaleReadStream>, Status> {
        elsewhere()
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        elsewhere()
    }
}

/// Reads a snapshot over a real connection, a part in `every`. Answers how many parts came, how the
/// stream ended, and how long the view was held.
async fn read(streams: PacedStreams, every: Duration) -> (usize, Option<WireError>, Duration) {
    let (held, mut was_held) = mpsc::unbounded_channel();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let service = store_server::StoreServer::new(Snapshots { streams, held });
    let server = tonic::transport::Server::builder().add_service(service);
    let server = tokio::spawn(server.serve_with_incoming(incoming));
    // A window of one part, so that little is under way.
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.initial_stream_window_size(u32::try_from(PART).unwrap());
    let mut client = StoreClient::new(channel.connect().await.unwrap());
    let request = v1::GetSnapshotRequest {
        min_entries: 0,
        incarnation: 1,
    };
    let mut parts = client.get_snapshot(request).await.unwrap().into_inner();
    let mut came = 0;
    let ended = loop {
        match parts.message().await {
            Ok(Some(_)) => came += 1,
            Ok(None) => break None,
            Err(status) => break Some(WireError::from(&status)),
        }
        tokio::time::sleep(every).await;
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), was_held.recv());
    let held = waited.await.expect("the view is still held").unwrap();
    server.abort();
    (came, ended, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_held_no_longer_than_its_rows_take_at_the_least_rate() {
    let rate = 1 << 20;
    // Each part comes well before it would count as standing still: at a quarter of the rate.
    let every = Duration::from_millis(250);
    let (came, ended, held) = read(streams(1, STALL, Some(rate)), every).await;
    let ended = ended.expect("it was cut off");
    assert_eq!(ended.refusal, Refusal::TimedOut, "{ended}");
    assert!(ended.message.contains("at 1024 KiB/s"), "{ended}");
    assert!(came < PARTS / 2, "{came} parts");
    let all = Duration::from_millis((PARTS * PART) as u64 * 1_000 / rate);
    assert!(held < STALL + all, "held for {held:?}");
    // What was sent by then earned it that much, and what was under way is a handful of parts.
    let sent = Duration::from_millis(((came + 16) * PART) as u64 * 1_000 / rate);
    assert!(held < STALL + sent, "held for {held:?}, {came} parts came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_the_rate_gets_all_of_it() {
    let (came, ended, _) = read(streams(1, STALL, Some(1 << 20)), Duration::ZERO).await;
    assert_eq!((came, ended), (PARTS, None));
    // Without a rate, slow but steady is enough.
    let streams = streams(1, STALL, None);
    let (came, ended, held) = read(streams, Duration::from_millis(20)).await;
    assert_eq!((came, ended), (PARTS, None));
    assert!(held > STALL * 2, "{held:?}");
}
