//! Connections: how many, how long a request may take, and what may still be written on them.
use super::{
    desk::Desk,
    outbox::{Outbox, Ticket},
    until::Until,
};
use hyper::{
    Request, Response,
    body::{Body, Buf, Bytes, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tidegate_runtime::{AsyncRuntime as _, Rt, Task};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
};
use tower::Service;

/// Most bytes of one stream that wait for the peer's flow window.
const STREAM_BUFFER_BYTES: usize = 64 << 10;
/// A gateway that vanished sends no reset; without pings its streams would stay for ever.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(10);
/// After an accept that failed, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is spoken on a listener's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 from the first byte, as gRPC.
    Http2,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the request did not arrive in time")]
    TooSlow,
}

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves until told to stop; then requests under way are finished. Aborted, it leaves no
/// connection behind.
pub(crate) fn serve<S, B>(
    listener: TcpListener,
    protocol: Protocol,
    desk: Arc<Desk>,
    service: S,
) -> (oneshot::Sender<()>, Task<()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (stop, stopped) = oneshot::channel();
    let serving = Rt::spawn(async move {
        let (closing, closed) = watch::channel(());
        let places = Arc::new(Semaphore::new(desk.config.limits.connections_max));
        let mut connections = JoinSet::new();
        let mut stopped = pin!(stopped);
        loop {
            let accepted = async {
                // Above the limit, who comes waits for a place.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            tokio::select! {
                biased;
                // A sender that was dropped means the same.
                _ = &mut stopped => break,
                Some(_) = connections.join_next() => {}
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let connection = Connection {
                            desk: Arc::clone(&desk),
                            protocol,
                            closed: closed.clone(),
                        };
                        let serving = connection.serve(stream, service.clone());
                        connections.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection was not accepted");
                        Rt::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop((listener, closing));
        while connections.join_next().await.is_some() {}
    });
    (stop, serving)
}

struct Connection {
    desk: Arc<Desk>,
    protocol: Protocol,
    /// Its sender is gone when the connection is to end.
    closed: watch::Receiver<()>,
}

impl Connection {
    async fn serve<S, B>(mut self, stream: TcpStream, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        // Without it, small answers wait for each other; with or without, they arrive.
        let _ = stream.set_nodelay(true);
        let limits = self.desk.config.limits;
        let outbox = Outbox::new(Arc::clone(&self.desk.clock));
        let io = TokioIo::new(Guarded {
            stream,
            outbox: outbox.clone(),
        });
        let begun = Arc::new(AtomicBool::new(false));
        let answer = {
            let (outbox, begun) = (outbox.clone(), Arc::clone(&begun));
            move |mut request: Request<Incoming>| {
                begun.store(true, Ordering::Relaxed);
                let until = Until::default();
                request.extensions_mut().insert(until.clone());
                let (mut service, outbox) = (service.clone(), outbox.clone());
                async move {
                    let answer = Rt::timeout(limits.request_max, service.call(request)).await;
                    let answer = answer.map_err(|_| Unanswered::TooSlow)?;
                    let response = answer.unwrap_or_else(|never| match never {});
                    Ok::<_, Unanswered>(response.map(|inner| Ticketed {
                        inner,
                        until,
                        outbox,
                    }))
                }
            }
        };
        let closed = async move {
            let _ = self.closed.changed().await;
        };
        let silent = async {
            Rt::sleep(limits.request_max).await;
            if begun.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let spoken = async {
            match self.protocol {
                Protocol::Http1 => {
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(limits.request_max)
                        .serve_connection(io, service_fn(answer));
                    drive(connection, |c| c.graceful_shutdown(), closed, &outbox).await
                }
                Protocol::Http2 => {
                    let connection = http2::Builder::new(TokioExecutor::new())
                        .timer(TokioTimer::new())
                        .keep_alive_interval(PING_EVERY)
                        .keep_alive_timeout(PING_ANSWER)
                        .max_concurrent_streams(limits.streams_max)
                        .max_send_buf_size(STREAM_BUFFER_BYTES)
                        .serve_connection(io, service_fn(answer));
                    drive(connection, |c| c.graceful_shutdown(), closed, &outbox).await
                }
            }
        };
        tokio::select! {
            biased;
            () = silent => tracing::debug!("a connection on which nothing was asked"),
            ended = spoken => if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            },
        }
    }
}

/// Runs a connection to its end, and keeps the outbox told of what was written.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    close: impl FnOnce(Pin<&mut C>),
    closed: impl Future<Output = ()>,
    outbox: &Outbox,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut closed = pin!(closed);
    let mut close = Some(close);
    poll_fn(|cx| {
        if close.is_some()
            && closed.as_mut().poll(cx).is_ready()
            && let Some(close) = close.take()
        {
            close(connection.as_mut());
        }
        let began = outbox.begin(cx.waker());
        let ended = connection.as_mut().poll(cx);
        outbox.end(began);
        ended
    })
    .await
}

/// A body whose offers are followed until they have left.
struct Ticketed<B> {
    inner: B,
    until: Until,
    outbox: Outbox,
}

/// Bytes of an answer, and the ticket of the offer in them.
struct Parcel {
    bytes: Bytes,
    _ticket: Option<Ticket>,
}

impl Buf for Parcel {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl<B> Body for Ticketed<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Parcel;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Parcel>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        if !frame.is_data() {
            return Poll::Ready(Some(Ok(frame.map_data(|bytes| Parcel {
                bytes,
                _ticket: None,
            }))));
        }
        let ticket = match self.until.take() {
            None => None,
            Some(end) => match self.outbox.take(end) {
                Some(ticket) => Some(ticket),
                None => return Poll::Ready(Some(Err(late().into()))),
            },
        };
        Poll::Ready(Some(Ok(frame.map_data(|bytes| Parcel {
            bytes,
            _ticket: ticket,
        }))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// HALT-1: what was not taken before the end of its lease is not sent.
fn late() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "an offer did not leave before its lease ended",
    )
}

/// A socket on which nothing is written once an offer is late.
struct Guarded {
    stream: TcpStream,
    outbox: Outbox,
}

impl Guarded {
    fn write(
        self: Pin<&mut Self>,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let guarded = self.get_mut();
        if guarded.outbox.is_late() {
            return Poll::Ready(Err(late()));
        }
        let wrote = write(Pin::new(&mut guarded.stream));
        guarded.outbox.set_blocked(wrote.is_pending());
        wrote
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
