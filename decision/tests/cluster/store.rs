//! The `Store` service over a fleet in memory.
use super::lock;
use futures::{Stream, StreamExt, stream};
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidegate_domain::{
    Command, Event, SignedCommand, canonical, command::AdvanceSession, id::SessionId,
    testing::Fleet,
};
use tidegate_proto::{
    Refusal, WireError,
    v1::{self, snapshot_part::Part, store_server, watch_update::Update},
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

pub struct Store {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    fleet: Mutex<Fleet>,
    /// Nobody reaches the store, and it says nothing more.
    cut: AtomicBool,
    /// Reads are answered, but commands are not.
    mute: AtomicBool,
    /// Commands are applied, and nobody hears what became of them.
    losing: AtomicBool,
    /// Whoever follows the store hears nothing more.
    hidden: AtomicBool,
    /// Every command that came, however often and whatever became of it.
    heard: Mutex<Vec<Vec<u8>>>,
}

impl Store {
    pub async fn start(fleet: Fleet) -> Self {
        let shared = Arc::new(Shared {
            fleet: Mutex::new(fleet),
            cut: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            losing: AtomicBool::new(false),
            hidden: AtomicBool::new(false),
            heard: Mutex::default(),
        });
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = store_server::StoreServer::new(Service(Arc::clone(&shared)));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        Self { shared, address }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn fleet(&self) -> MutexGuard<'_, Fleet> {
        lock(&self.shared.fleet)
    }

    /// Cuts the store off from everybody, or heals.
    pub fn cut(&self, cut: bool) {
        self.shared.cut.store(cut, Ordering::SeqCst);
    }

    /// Answers no command any more, or does again.
    pub fn mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::SeqCst);
    }

    /// Applies commands and loses the answers, or does no more.
    pub fn lose_answers(&self, losing: bool) {
        self.shared.losing.store(losing, Ordering::SeqCst);
    }

    /// Tells followers nothing more, or does again.
    pub fn hide(&self, hidden: bool) {
        self.shared.hidden.store(hidden, Ordering::SeqCst);
    }

    /// The envelopes of a session that came, in order, each with the bytes that were sent.
    pub fn envelopes(&self, session: SessionId) -> Vec<(AdvanceSession, Vec<u8>)> {
        let heard = lock(&self.shared.heard);
        let of_session = heard.iter().filter_map(|bytes| {
            let (_, command) = SignedCommand::from_bytes(bytes).unwrap().parse().unwrap();
            let Command::AdvanceSession(envelope) = command else {
                return None;
            };
            (envelope.session == session).then(|| (envelope, bytes.clone()))
        });
        of_session.collect()
    }
}

struct Service(Arc<Shared>);

type Parts = Pin<Box<dyn Stream<Item = Result<v1::SnapshotPart, Status>> + Send>>;
type Updates = Pin<Box<dyn Stream<Item = Result<v1::WatchUpdate, Status>> + Send>>;

impl Service {
    fn reachable(&self) -> Result<MutexGuard<'_, Fleet>, Status> {
        if self.0.cut.load(Ordering::SeqCst) {
            return Err(WireError::refused(Refusal::NoQuorum, "cut off").into());
        }
        Ok(lock(&self.0.fleet))
    }

    fn snapshot(&self) -> Result<Response<Parts>, Status> {
        let mut fleet = self.reachable()?;
        let state_root = fleet.state.root().0.to_vec();
        let rows = fleet
            .state
            .rows()
            .map(|(key, value)| v1::StateRow { key, value });
        let rows: Vec<_> = rows.collect();
        let meta = fleet.state.meta();
        let manifest = v1::SnapshotManifest {
            origin: meta.origin.clone(),
            incarnation: meta.incarnation.0,
            entries: meta.next.0,
            state_root,
            chain_head: fleet.chain.0.to_vec(),
            log_time_ms: meta.time.0,
            rows: rows.len() as u64,
            age_ms: None,
        };
        let parts = [
            Part::Manifest(manifest),
            Part::Chunk(v1::SnapshotChunk { rows }),
        ];
        let parts = parts.map(|part| Ok(v1::SnapshotPart { part: Some(part) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }
}

/// What a watcher has not seen: one batch, or a sign of life.
fn update(shared: &Shared, after: u64) -> Result<(v1::WatchUpdate, u64), Status> {
    let mut fleet = lock(&shared.fleet);
    let to = fleet.state.meta().next.0;
    let update = if to == after {
        Update::Idle(v1::WatchIdle { entries: to })
    } else {
        let root = fleet.state.root().0.to_vec();
        let entries = fleet.log[after as usize..].iter().map(|(_, _, applied)| {
            let events: Vec<Event> = applied.events().cloned().collect();
            v1::WatchEntry {
                events: canonical::encode(&events).into(),
            }
        });
        let batch = v1::WatchBatch {
            from: after,
            to,
            entries: entries.collect(),
            state_root: Some(root),
            log_time_ms: fleet.state.meta().time.0,
        };
        Update::Batch(batch.to_bytes())
    };
    Ok((
        v1::WatchUpdate {
            update: Some(update),
        },
        to,
    ))
}

#[tonic::async_trait]
impl store_server::Store for Service {
    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        let mut fleet = self.reachable()?;
        let command = &request.get_ref().command;
        lock(&self.0.heard).push(command.clone());
        if self.0.mute.load(Ordering::SeqCst) {
            return Err(WireError::refused(Refusal::NoQuorum, "mute").into());
        }
        // A repeat gets its first outcome, as from the real store.
        let before = fleet.log.iter().position(|(bytes, ..)| bytes == command);
        let index = before.unwrap_or(fleet.log.len());
        if before.is_none() {
            fleet.apply(command);
        }
        if self.0.losing.load(Ordering::SeqCst) {
            return Err(WireError::unknown(Refusal::Internal, "the answer is lost").into());
        }
        Ok(Response::new(v1::ProposeResponse {
            index: index as u64,
            outcome: canonical::encode(&fleet.log[index].2.outcome),
            duplicate: before.is_some(),
            incarnation: fleet.state.meta().incarnation.0,
        }))
    }

    async fn read_index(
        &self,
        _: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        let fleet = self.reachable()?;
        let meta = fleet.state.meta();
        Ok(Response::new(v1::ReadIndexResponse {
            incarnation: meta.incarnation.0,
            entries: meta.next.0,
            log_time_ms: meta.time.0,
            origin: meta.origin.clone(),
        }))
    }

    async fn get_rows(
        &self,
        _: Request<v1::GetRowsRequest>,
    ) -> Result<Response<v1::GetRowsResponse>, Status> {
        Err(Status::unimplemented("nobody asks in these tests"))
    }

    type GetSnapshotStream = Parts;

    async fn get_snapshot(
        &self,
        _: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<Parts>, Status> {
        self.snapshot()
    }

    type WatchStream = Updates;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Updates>, Status> {
        drop(self.reachable()?);
        let shared = Arc::clone(&self.0);
        let updates = stream::unfold(request.get_ref().after_entries, move |after| {
            let shared = Arc::clone(&shared);
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                while [&shared.cut, &shared.hidden].map(|off| off.load(Ordering::SeqCst))
                    != [false; 2]
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                match update(&shared, after) {
                    Ok((update, to)) => Some((Ok(update), to)),
                    Err(status) => Some((Err(status), after)),
                }
            }
        });
        Ok(Response::new(updates.boxed()))
    }

    type StaleReadStream = Parts;

    async fn stale_read(
        &self,
        _: Request<v1::StaleReadRequest>,
    ) -> Result<Response<Parts>, Status> {
        self.snapshot()
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Err(Status::unimplemented("nobody asks in these tests"))
    }
}
