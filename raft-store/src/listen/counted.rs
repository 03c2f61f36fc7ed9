//! A limit on open connections, and on the time until their clients say hello.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use super::ingress::{ConnectionRoom, Ingress};

/// How long a client may take to say hello. From then on pings tell whether anybody is there.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of that hello (RFC 9113, 3.4, "HTTP/2 Connection Preface").
const HELLO_BYTES: usize = 24;

/// A connection that counts for as long as it is open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    room: ConnectionRoom,
    /// Until when the client must have said hello; `None` once it has.
    hello: Option<Pin<Box<Sleep>>>,
    /// Bytes of it that came.
    heard: usize,
    _slot: OwnedSemaphorePermit,
}

/// Lets `max` of the connections that come be open at once, and closes those beyond.
pub(super) fn limit(
    incoming: impl Stream<Item = io::Result<TcpStream>>,
    max: usize,
) -> impl Stream<Item = io::Result<Connection>> {
    let slots = Arc::new(Semaphore::new(max));
    let ingress = Ingress::new();
    incoming.filter_map(move |accepted| {
        let counted = accepted.map(|stream| {
            let slot = Arc::clone(&slots).try_acquire_owned();
            let _slot = slot
                .inspect_err(|_| tracing::warn!(max, "too many connections; one was closed"))
                .ok()?;
            Some(Connection {
                stream,
                room: ingress.connection(),
                hello: Some(Box::pin(sleep(HELLO_WITHIN))),
                heard: 0,
                _slot,
            })
        });
        std::future::ready(counted.transpose())
    })
}

impl Connected for Connection {
    type ConnectInfo = ConnectionRoom;

    fn connect_info(&self) -> ConnectionRoom {
        self.room.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(hello) = &mut self.hello {
            if read.is_pending() && hello.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.heard += buf.filled().len() - before;
            if self.heard >= HELLO_BYTES {
                self.hello = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_too_many_is_closed_until_another_has_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = futures::stream::unfold(listener, async |listener| {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        });
        let mut served = Box::pin(limit(accepting, 1));
        let _first = TcpStream::connect(address).await.unwrap();
        let first = served.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let _third = TcpStream::connect(address).await.unwrap();
        // Nothing comes of those two, and they are told so.
        let mut serving = tokio::spawn(async move { (served.next().await, served) });
        let ended = second.read(&mut [0; 1]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        drop(first);
        let _fourth = TcpStream::connect(address).await.unwrap();
        let (next, _served) = (&mut serving).await.unwrap();
        assert!(next.unwrap().is_ok());
    }
}
