//! What is asked of a store, ours or another, so that both are loaded by the same code.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::stream::BoxStream;
use tonic::transport::{Channel, Endpoint};

use crate::server::{NODES, Servers};

/// How long one answer may take.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a cluster may take until it serves.
const READY_MAX: Duration = Duration::from_secs(60);
/// Bytes of payload in a write.
pub(crate) const PAYLOAD_BYTES: usize = 256;

/// What a write is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// [`PAYLOAD_BYTES`], without signature arithmetic.
    Plain,
    /// What an operator signs. Elsewhere, where nothing is signed, the same as [`Self::Plain`].
    Signed,
}

/// Positions of writes that a watcher was told of.
pub(crate) type Told = BoxStream<'static, Result<Range<u64>>>;

/// A cluster that runs.
pub(crate) trait System {
    type Client: Client;

    fn servers(&mut self) -> &mut Servers;

    /// A connection of its own to one node.
    fn connect(&self, node: usize) -> Result<Self::Client>;

    /// Which node leads; fails while none does.
    async fn leader(&self) -> Result<usize>;

    /// The highest term that any node knows: it rises with every election.
    async fn term(&self) -> Result<u64>;

    /// Hands leadership over.
    async fn transfer(&self, from: usize, to: usize) -> Result<()>;

    /// Processor time in µs that one signature of a [`Work::Signed`] takes to verify, on this
    /// machine and now; `None` where nothing is signed.
    fn verification_us(&self) -> Option<f64>;

    /// Brings a cluster to rest that was stopped or lost a node: it has a leader who stays, and
    /// every node answers.
    async fn settle(&mut self) -> Result<()> {
        let settled = async {
            loop {
                self.servers().check()?;
                if self.is_settled().await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let settled = tokio::time::timeout(READY_MAX, settled).await;
        settled.context("the cluster did not come to rest in time")?
    }

    async fn is_settled(&self) -> Result<()> {
        let leader = self.leader().await?;
        for node in 0..NODES {
            let client = self.connect(node)?;
            client.write(client.make(Work::Plain)).await?;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        if self.leader().await? != leader {
            bail!("the leader has changed");
        }
        Ok(())
    }
}

/// A connection to one node. Clones share it.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// A write, ready to be sent.
    type Op: Clone + Send + Sync + 'static;

    fn make(&self, work: Work) -> Self::Op;

    /// Writes, and answers at which position: each write has one of its own, and they rise.
    fn write(&self, op: Self::Op) -> impl Future<Output = Result<u64>> + Send;

    /// A linearizable read.
    fn read(&self) -> impl Future<Output = Result<()>> + Send;

    /// The writes from now on.
    fn watch(&self) -> impl Future<Output = Result<Told>> + Send;

    /// How far the node has applied the log, once it serves.
    fn applied(&self) -> impl Future<Output = Result<u64>> + Send;
}

/// A connection that is opened when it is first used.
pub(crate) fn channel(port: u16) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(1))
        .timeout(ANSWER_MAX)
        .tcp_nodelay(true)
        .connect_lazy())
}
