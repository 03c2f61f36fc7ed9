//! Bounds on what arrives: bytes of requests that are not answered yet, of one connection and of all,
//! and how long a message may take to arrive.
//!
//! A message's bytes are set aside as soon as its length is known, and are free again once it is
//! answered, or in a stream once the next one is asked for. Where there is no room the request is
//! refused at once: one that waited would keep the connection's window from those that have room.
//! Small messages, peers' messages and others have room of their own each: nobody's megabytes keep a
//! command that stops harm, or replication, from arriving.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tidegate_proto::v1::raft_server;
use tidegate_proto::{Refusal, WireError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::network::FRAME_BYTES_MAX;

/// Most bytes of a small message: any command but a release or a large configuration.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// What room is counted in.
const UNIT_BYTES: usize = 1 << 10;
/// How long a small message may take to arrive, its call's beginning included.
const SMALL_ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// How long another may take.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// What a message has before it: whether it is compressed, and its length (gRPC over HTTP/2).
const PREFIX_BYTES: usize = 5;

/// Room for messages, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    small: usize,
    large: usize,
    peers: usize,
}

/// On one connection.
const EACH: Bounds = Bounds {
    small: 8 << 20,
    large: 24 << 20,
    peers: 64 << 20,
};
/// On all of them: a third of a gigabyte.
const ALL: Bounds = Bounds {
    small: 64 << 20,
    large: 96 << 20,
    peers: 192 << 20,
};

/// Room that is left.
#[derive(Debug)]
struct Rooms {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    peers: Arc<Semaphore>,
}

impl Rooms {
    fn new(bounds: Bounds) -> Arc<Self> {
        let room = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Arc::new(Self {
            small: room(bounds.small),
            large: room(bounds.large),
            peers: room(bounds.peers),
        })
    }

    fn set_aside(&self, kind: Kind, units: u32) -> Option<OwnedSemaphorePermit> {
        let room = match kind {
            Kind::Small => &self.small,
            Kind::Large => &self.large,
            Kind::Peers => &self.peers,
        };
        Arc::clone(room).try_acquire_many_owned(units).ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Small,
    Large,
    Peers,
}

impl Kind {
    const fn arrives_within(self) -> Duration {
        match self {
            Self::Small => SMALL_ARRIVES_WITHIN,
            Self::Large | Self::Peers => ARRIVES_WITHIN,
        }
    }
}

/// The room of all connections.
#[derive(Clone, Debug)]
pub(super) struct Ingress(Arc<Rooms>);

/// The room of one connection, which its requests carry.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRoom {
    own: Arc<Rooms>,
    all: Arc<Rooms>,
}

/// Bytes that are set aside for one message.
#[derive(Debug)]
struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Ingress {
    pub(super) fn new() -> Self {
        Self(Rooms::new(ALL))
    }

    pub(super) fn connection(&self) -> ConnectionRoom {
        ConnectionRoom {
            own: Rooms::new(EACH),
            all: Arc::clone(&self.0),
        }
    }
}

impl ConnectionRoom {
    fn set_aside(&self, kind: Kind, bytes: usize) -> Option<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?;
        Some(Room {
            _own: self.own.set_aside(kind, units)?,
            _all: self.all.set_aside(kind, units)?,
        })
    }
}

/// Puts requests of connections that have [`ConnectionRoom`] within its bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded;

#[derive(Clone, Debug)]
pub(crate) struct BoundedService<S>(S);

impl<S> Layer<S> for Bounded {
    type Service = BoundedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BoundedService(inner)
    }
}

impl<S, B> Service<Request<Body>> for BoundedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(room) = request.extensions_mut().remove::<ConnectionRoom>() else {
            unreachable!("every connection of the listener has room of its own");
        };
        let is_peer = is_of_peers(request.uri().path());
        let held = Arc::new(Mutex::new(Held::default()));
        let metered = Arc::clone(&held);
        let request = request.map(|inner| Body::new(Arriving::new(inner, room, is_peer, metered)));
        let answered = self.0.call(request);
        Box::pin(async move {
            let answer = answered.await;
            lock(&held).answered();
            answer
        })
    }
}

/// Whether a method is one that peers call: `/service/method` (gRPC over HTTP/2).
fn is_of_peers(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    service.is_some_and(|(service, _)| service == raft_server::SERVICE_NAME)
}

/// What a call has set aside.
#[derive(Debug, Default)]
struct Held {
    room: Option<Room>,
    /// The head of the answer is there: of a call with one request, all of it.
    answered: bool,
    /// A message has not arrived to its end.
    midway: bool,
}

impl Held {
    fn answered(&mut self) {
        self.answered = true;
        if !self.midway {
            self.room = None;
        }
    }
}

// Plain data, valid at every step.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request's body, message by message.
struct Arriving {
    inner: Body,
    room: ConnectionRoom,
    is_peer: bool,
    held: Arc<Mutex<Held>>,
    at: At,
    /// Whether any message has begun.
    begun: bool,
    kind: Kind,
    /// Until when what is awaited may take, once it is awaited.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Where in the stream of messages the next byte stands.
#[derive(Clone, Copy, Debug)]
enum At {
    Prefix([u8; PREFIX_BYTES], usize),
    Message(usize),
}

const BETWEEN: At = At::Prefix([0; PREFIX_BYTES], 0);

impl Arriving {
    fn new(inner: Body, room: ConnectionRoom, is_peer: bool, held: Arc<Mutex<Held>>) -> Self {
        Self {
            inner,
            room,
            is_peer,
            held,
            at: BETWEEN,
            begun: false,
            kind: Kind::Small,
            deadline: None,
        }
    }

    /// Follows bytes that came, and sets room aside for each message that begins in them.
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Prefix(prefix, have) => {
                    if *have == 0 {
                        self.begun = true;
                        let mut held = lock(&self.held);
                        // Whoever reads asked for more, so the message before is in other hands.
                        held.room = None;
                        held.midway = true;
                    }
                    prefix[*have] = byte;
                    *have += 1;
                    bytes = rest;
                    if *have == PREFIX_BYTES {
                        let [_, length @ ..] = *prefix;
                        self.begin(u32::from_be_bytes(length) as usize)?;
                    }
                }
                At::Message(left) => {
                    let came = bytes.len().min(*left);
                    *left -= came;
                    bytes = &bytes[came..];
                    if *left == 0 {
                        self.end();
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: usize) -> Result<(), WireError> {
        self.kind = match length {
            _ if self.is_peer => Kind::Peers,
            0..=SMALL_BYTES_MAX => Kind::Small,
            _ => Kind::Large,
        };
        // A longer message is refused by whoever decodes it, before it arrives.
        if length <= FRAME_BYTES_MAX {
            let room = self.room.set_aside(self.kind, length);
            lock(&self.held).room = Some(room.ok_or_else(|| no_room(length))?);
        }
        self.deadline = None;
        self.at = At::Message(length);
        if length == 0 {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.at = BETWEEN;
        self.deadline = None;
        lock(&self.held).midway = false;
    }

    /// Whether somebody waits for bytes that should have been sent.
    fn is_due(&self) -> bool {
        let held = lock(&self.held);
        held.midway || !(self.begun || held.answered)
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        {
            let mut held = lock(&this.held);
            if held.answered && !held.midway {
                held.room = None;
            }
        }
        let Poll::Ready(came) = Pin::new(&mut this.inner).poll_frame(cx) else {
            if this.is_due() {
                let within = this.kind.arrives_within();
                let sleep = || Box::pin(tokio::time::sleep(within));
                ready!(this.deadline.get_or_insert_with(sleep).as_mut().poll(cx));
                return Poll::Ready(Some(Err(too_slow(within).into())));
            }
            return Poll::Pending;
        };
        let bytes = came.as_ref().and_then(|came| came.as_ref().ok());
        if let Some(bytes) = bytes.and_then(Frame::data_ref)
            && let Err(refused) = this.follow(bytes)
        {
            return Poll::Ready(Some(Err(refused.into())));
        }
        Poll::Ready(came)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn no_room(bytes: usize) -> WireError {
    let message = format!(
        "there is no room for a request of {bytes} bytes beside those that are not answered yet; send \
         fewer at a time, and this one again"
    );
    WireError::refused(Refusal::Overloaded, message)
}

fn too_slow(within: Duration) -> WireError {
    let message = format!("the request did not arrive within {} s", within.as_secs());
    WireError::refused(Refusal::TimedOut, message)
}
