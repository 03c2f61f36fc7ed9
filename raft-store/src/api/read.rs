//! Read points confirmed by a quorum, from any node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use openraft::raft::linearizable_read::{Linearizer, ReadLogId};
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::WireError;
use tidegate_runtime::{BootInstant, Clock};
use tokio::sync::{mpsc, oneshot};

use crate::group::{Group, Leader};
use crate::network::message::{Call, Reply};
use crate::network::peer::PeerError;
use crate::types::{LogId, NodeId, TypeConfig};

/// Most reads that wait for the next round.
const WAITING_MAX: usize = 65_536;

/// Why a read could not be confirmed. A read has no effect, so every one may be tried again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The node has not yet caught up with what it knew before it started.
    #[error("this node has started and is still recovering; try again, or another node")]
    Recovering,
    /// Nobody leads at the moment.
    #[error("no leader is known; a majority of the voters may be down")]
    NoLeader,
    /// This node does not lead, and the question had been forwarded to it.
    #[error("this node does not lead")]
    NotLeader {
        /// `host:port` of the leader, if known.
        leader: Option<String>,
    },
    /// The leader could not confirm with a majority that it still leads.
    #[error("the leader could not reach a majority: {0}")]
    NoQuorum(String),
    /// It took too long.
    #[error("not confirmed and applied within {0:?}")]
    TimedOut(Duration),
    /// The node has stopped.
    #[error("this node has stopped: {0}")]
    Stopped(String),
    /// Too many reads wait.
    #[error("{WAITING_MAX} reads wait on this node already; try again, or at another node")]
    Overloaded,
    /// The leader could not be asked, or refused.
    #[error("asking the leader failed: {0}")]
    ByLeader(WireError),
}

/// Confirms reads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadIndexes {
    group: Arc<Group>,
    timeout: Duration,
    waiting: mpsc::Sender<Waiting>,
    known: Arc<Known>,
}

/// What this node knows of how current it is.
#[derive(Debug, Default)]
struct Known {
    /// Whether the node has caught up with what it knew before it started.
    recovered: AtomicBool,
    /// When the last round that succeeded began.
    confirmed: Mutex<Option<BootInstant>>,
}

type Waiting = oneshot::Sender<Result<(), ReadError>>;

impl ReadIndexes {
    /// Starts the task that runs the rounds; it ends when the last clone is dropped.
    pub(crate) fn start(group: Arc<Group>, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let known = Arc::new(Known::default());
        let rounds = Rounds {
            group: Arc::clone(&group),
            clock,
            timeout,
            known: Arc::clone(&known),
        };
        tokio::spawn(rounds.run(queue));
        Self {
            group,
            timeout,
            waiting,
            known,
        }
    }

    /// Lets reads in: the node has caught up with what it knew before it started.
    pub(crate) fn recovered(&self) {
        self.known.recovered.store(true, Ordering::SeqCst);
    }

    /// Whether reads are let in.
    pub(crate) fn is_ready(&self) -> bool {
        self.known.recovered.load(Ordering::SeqCst)
    }

    /// When this node was last known not to be behind.
    pub(crate) fn last_confirmed(&self) -> Option<BootInstant> {
        *self.known.confirmed()
    }

    /// Returns once this node has applied everything that was acknowledged anywhere before the
    /// call.
    pub(crate) async fn confirm(&self) -> Result<(), ReadError> {
        if !self.is_ready() {
            return Err(ReadError::Recovering);
        }
        let (answer, confirmed) = oneshot::channel();
        let stopped = || ReadError::Stopped("shutting down".into());
        self.waiting.try_send(answer).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        confirmed.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// The entry that a linearizable read must have applied, if this node leads.
    pub(crate) async fn as_leader(&self) -> Result<LogId, ReadError> {
        tokio::time::timeout(self.timeout, read_index(&self.group))
            .await
            .unwrap_or(Err(ReadError::TimedOut(self.timeout)))
    }
}

impl Known {
    fn confirmed(&self) -> MutexGuard<'_, Option<BootInstant>> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves all who wait with one round, then all who came meanwhile with the next: nobody is served
/// by a round that began before they asked.
struct Rounds {
    group: Arc<Group>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    known: Arc<Known>,
}

impl Rounds {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        while let Some(first) = queue.recv().await {
            let mut waiting = vec![first];
            while let Ok(next) = queue.try_recv() {
                waiting.push(next);
            }
            let began = self.clock.boot();
            let result = tokio::time::timeout(self.timeout, self.round())
                .await
                .unwrap_or(Err(ReadError::TimedOut(self.timeout)));
            if result.is_ok() {
                *self.known.confirmed() = Some(began);
            }
            while is_on(Mutant::ReadJoinsRound)
                && let Ok(late) = queue.try_recv()
            {
                waiting.push(late);
            }
            for answer in waiting {
                // Whoever no longer waits needs no answer.
                let _ = answer.send(result.clone());
            }
        }
    }

    async fn round(&self) -> Result<(), ReadError> {
        let (leader, log_id) = self.read_index().await?;
        if is_on(Mutant::ReadBeforeApply) {
            return Ok(());
        }
        Linearizer::<TypeConfig>::new(leader, ReadLogId::from_log_id(log_id), None)
            .try_await_ready(&self.group.raft, Some(self.timeout))
            .await
            .map_err(|fatal| ReadError::Stopped(fatal.to_string()))?
            .map(drop)
            .map_err(|_| ReadError::TimedOut(self.timeout))
    }

    async fn read_index(&self) -> Result<(NodeId, LogId), ReadError> {
        let (peer, _) = match self.group.leader() {
            Leader::Me => return Ok((self.group.me, read_index(&self.group).await?)),
            Leader::Unknown => return Err(ReadError::NoLeader),
            Leader::Other(peer, member) => (peer, member),
        };
        match peer.call(&Call::ReadIndex, self.timeout).await {
            Ok(Reply::ReadIndex(log_id)) => Ok((peer.id(), log_id)),
            Ok(other) => Err(ReadError::NoQuorum(format!("unexpected {other:?}"))),
            Err(PeerError::Refused(status)) => Err(ReadError::ByLeader(WireError::from(&*status))),
            Err(PeerError::TimedOut(after)) => Err(ReadError::TimedOut(after)),
            Err(PeerError::Unreachable(why) | PeerError::Garbled(why)) => {
                Err(ReadError::NoQuorum(why))
            }
        }
    }
}

/// Asks a majority. Never by the leader's own lease: its clock may run slow.
async fn read_index(group: &Group) -> Result<LogId, ReadError> {
    let policy = if is_on(Mutant::LeaseRead) {
        ReadPolicy::LeaseRead
    } else {
        ReadPolicy::ReadIndex
    };
    match group.raft.get_read_linearizer(policy).await {
        Ok(linearizer) => Ok(*linearizer.read_log_id().log_id()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
            Err(ReadError::NotLeader {
                leader: group.leader_address(),
            })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
            Err(ReadError::NoQuorum(error.to_string()))
        }
        Err(RaftError::Fatal(fatal)) => Err(ReadError::Stopped(fatal.to_string())),
    }
}
