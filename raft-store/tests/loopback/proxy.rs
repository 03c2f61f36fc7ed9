//! A network between a node and whoever reaches it, which can fall silent.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes bytes on, until it is told to fall silent.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// How often it fell silent, and whether it is silent now.
    silence: Arc<watch::Sender<(u64, bool)>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silence = Arc::new(watch::Sender::new((0, false)));
        let state = Arc::clone(&silence);
        let accepting = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(near, upstream, state.subscribe()));
            }
        });
        Self {
            address,
            silence,
            accepting,
        }
    }

    /// From now on nothing gets through, and nothing is closed or reset.
    pub(crate) fn fall_silent(&self) {
        self.silence
            .send_modify(|(times, silent)| (*times, *silent) = (*times + 1, true));
    }

    /// New connections get through again. Those that were open stay silent for ever, as to their
    /// owners they seem for long: TCP tries them ever more rarely.
    pub(crate) fn heal(&self) {
        self.silence.send_modify(|(_, silent)| *silent = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Silence = watch::Receiver<(u64, bool)>;

async fn connect(near: TcpStream, upstream: SocketAddr, mut silence: Silence) {
    // A connection that begins in silence is not accepted as far as its owner can tell.
    let open = silence.wait_for(|(_, silent)| !silent).await;
    let Ok(times) = open.map(|state| state.0) else {
        return;
    };
    let Ok(far) = TcpStream::connect(upstream).await else {
        return;
    };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let silent = silence.clone();
    tokio::join!(
        pass(from_near, to_far, silent, times),
        pass(from_far, to_near, silence, times)
    );
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silence: Silence, times: u64) {
    let passing = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            if to.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        _ = silence.wait_for(|(now, _)| *now != times) => {}
        () = passing => return,
    }
    // Holds both ends open until the proxy goes.
    let _ = silence.wait_for(|_| false).await;
}
