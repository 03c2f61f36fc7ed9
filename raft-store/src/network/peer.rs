//! The calling side: one [`Peer`] for each other node and purpose.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::v1::raft_client::RaftClient;
use tidegate_runtime::{Leg, Way};
use tonic::transport::Channel;

use super::counted::{Counted, place};
use super::link::Link;
use super::message::{Call, Reply};
use super::{FRAME_BYTES_MAX, append, channel, snapshot};
use crate::storage::{LogStore, SnapshotData};
use crate::types::{LogId, Member, NodeId, Snapshot, TypeConfig, Vote};

/// Another node of the group, as one purpose sees it: replication, heartbeats, snapshots and
/// client reads each have their own connection, so that none waits behind another's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(super) id: NodeId,
    pub(super) link: Link,
    /// This node's own log.
    pub(super) log: LogStore,
    connection: Arc<Mutex<Connection>>,
    addresses: Addresses,
    counted: Counted,
}

/// Where a peer was when it was last called.
#[derive(Debug, Default)]
struct Connection {
    address: String,
    /// Nothing if the member's address is no address; every call then fails.
    channel: Option<Channel>,
}

/// Where the members are, as last heard: a peer outlives a move.
type Addresses = Arc<Mutex<BTreeMap<NodeId, String>>>;

/// Makes [`Peer`]s for openraft.
#[derive(Clone, Debug)]
pub(crate) struct PeerFactory {
    link: Link,
    log: LogStore,
    addresses: Addresses,
    counted: Counted,
}

/// Why a call to a peer failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// No connection, or the peer refused the call.
    #[error("{0}")]
    Unreachable(String),
    /// The answer does not decode, or is the answer to something else.
    #[error("{0}")]
    Garbled(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The peer answered with an error of its own.
    #[error("{}", .0.message())]
    Refused(Box<tonic::Status>),
}

impl PeerFactory {
    pub(crate) fn new(link: Link, log: LogStore) -> Self {
        Self {
            link,
            log,
            addresses: Addresses::default(),
            counted: Counted::default(),
        }
    }

    pub(crate) fn peer(&self, id: NodeId, member: &Member) -> Peer {
        self.note_address(id, &member.addr);
        Peer {
            id,
            link: self.link.clone(),
            log: self.log.clone(),
            connection: Arc::default(),
            addresses: Arc::clone(&self.addresses),
            counted: self.counted.clone(),
        }
    }

    /// All peers with this number are reached there from their next call on.
    pub(crate) fn note_address(&self, id: NodeId, address: &str) {
        let mut addresses = held(&self.addresses);
        if addresses.get(&id).is_none_or(|known| known != address) {
            addresses.insert(id, address.to_owned());
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerFactory {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Peer {
        self.peer(target, node)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Member) -> Peer {
        self.peer(target, node)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Member) -> Peer {
        self.peer(target, node)
    }
}

impl Peer {
    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }

    pub(super) fn client(&self) -> Result<RaftClient<Channel>, PeerError> {
        let channel = self.channel().ok_or_else(|| {
            PeerError::Unreachable(format!("node {} has no usable address", self.id))
        })?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(FRAME_BYTES_MAX))
    }

    /// How messages get there.
    pub(super) fn way(&self) -> Way {
        let addresses = held(&self.addresses);
        Way::to(addresses.get(&self.id).map_or("", String::as_str))
    }

    /// The connection, a new one if the member has moved.
    fn channel(&self) -> Option<Channel> {
        let mut connection = held(&self.connection);
        let addresses = held(&self.addresses);
        let address = addresses.get(&self.id)?;
        if connection.address != *address {
            let opened = channel(address).inspect_err(
                |error| tracing::warn!(id = self.id, %address, %error, "no usable address"),
            );
            *connection = Connection {
                address: address.clone(),
                channel: opened.ok(),
            };
        }
        connection.channel.clone()
    }

    /// One call, one reply.
    ///
    /// # Errors
    /// As [`PeerError`] says. Only `Refused` with an effect of `none` says that nothing happened.
    pub(crate) async fn call(
        &self,
        call: &Call,
        ttl: std::time::Duration,
    ) -> Result<Reply, PeerError> {
        let mut client = self.client()?;
        let frame = self.link.seal(self.id, |out| call.encode(out));
        let way = self.way();
        let asked = async {
            way.pass(Leg::There).await;
            let answer = client.call(frame).await;
            way.pass(Leg::Back).await;
            answer
        };
        let answer = tokio::time::timeout(ttl, asked)
            .await
            .map_err(|_| PeerError::TimedOut(ttl))?
            .map_err(|status| PeerError::Refused(Box::new(status)))?;
        let (_, body) = self
            .link
            .open(answer.into_inner())
            .map_err(|error| PeerError::Garbled(error.to_string()))?;
        Reply::decode(&body).map_err(|error| PeerError::Garbled(error.to_string()))
    }

    /// The peer acknowledged all entries up to `last` to this node, which leads with `vote`.
    pub(super) fn acknowledged(&self, vote: &Vote, last: Option<&LogId>) {
        self.counted.note(self.id, vote, last);
    }

    /// The peer does not have the entry at `missing`. If it acknowledged it once, it is told, and
    /// openraft is not: it knows no way on from there.
    ///
    /// # Errors
    /// [`PeerError::Unreachable`] if the peer acknowledged it: it is no use any more.
    pub(super) async fn may_miss(
        &self,
        vote: &Vote,
        missing: &LogId,
        ttl: std::time::Duration,
    ) -> Result<(), PeerError> {
        let Some(entry) = self.counted.lost(self.id, vote, missing) else {
            return Ok(());
        };
        let lost = format!(
            "node {} lost {}, which it had acknowledged: it must be replaced",
            self.id,
            place(&entry)
        );
        tracing::error!("{lost}");
        if let Err(error) = self.call(&Call::Lost(*vote, entry), ttl).await {
            tracing::warn!(id = self.id, %error, "it could not be told, and will be again");
        }
        Err(PeerError::Unreachable(lost))
    }

    /// A call of openraft's, with its errors.
    async fn raft_call(
        &self,
        call: Call,
        kind: RPCTypes,
        option: &RPCOption,
    ) -> Result<Reply, RPCError<TypeConfig>> {
        let answer = self.call(&call, option.soft_ttl()).await;
        answer.map_err(|error| self.raft_error(error, kind))
    }

    pub(super) fn raft_error(&self, error: PeerError, kind: RPCTypes) -> RPCError<TypeConfig> {
        match error {
            PeerError::TimedOut(timeout) => RPCError::Timeout(Timeout {
                action: kind,
                id: self.link.me(),
                target: self.id,
                timeout,
            }),
            PeerError::Garbled(message) => RPCError::Network(NetworkError::from_string(message)),
            // Back off: the peer is down, or not ready, and asking at once again will not help.
            PeerError::Unreachable(message) => {
                RPCError::Unreachable(Unreachable::from_string(message))
            }
            PeerError::Refused(status) => {
                RPCError::Unreachable(Unreachable::from_string(status.message()))
            }
        }
    }
}

/// The reply that belongs to the call, or an error that names both.
macro_rules! expect {
    ($reply:expr, $kind:ident) => {
        match $reply {
            Reply::$kind(response) => Ok(response),
            other => Err(RPCError::Network(NetworkError::from_string(format!(
                concat!("expected a reply of kind ", stringify!($kind), ", got {:?}"),
                other
            )))),
        }
    };
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let kind = RPCTypes::AppendEntries;
        let (vote, before) = (rpc.vote, rpc.prev_log_id);
        let reply = self.raft_call(Call::Append(rpc), kind, &option).await?;
        let answer = expect!(reply, Append)?;
        if let (AppendEntriesResponse::Conflict, Some(missing)) = (&answer, before) {
            let told = self.may_miss(&vote, &missing, option.soft_ttl()).await;
            told.map_err(|error| self.raft_error(error, kind))?;
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let asked = rpc.vote;
        let reply = self
            .raft_call(Call::Vote(rpc), RPCTypes::Vote, &option)
            .await?;
        let mut answer = expect!(reply, Vote)?;
        if is_on(Mutant::RefusalCountsAsVote) {
            (answer.vote, answer.vote_granted) = (asked, true);
        }
        Ok(answer)
    }

    /// Never granted by default: a peer that can't be asked is an error, or an isolated node would
    /// grant itself a quorum.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let reply = self
            .raft_call(Call::PreVote(rpc), RPCTypes::Vote, &option)
            .await?;
        expect!(reply, Vote)
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let call = Call::TransferLeader(rpc);
        let reply = self
            .raft_call(call, RPCTypes::TransferLeader, &option)
            .await?;
        expect!(reply, TransferLeader)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendReplies<'s>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let replies: AppendReplies<'s> = append::open(self, input, option.soft_ttl()).await?;
            Ok(replies)
        })
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let last = snapshot.meta.last_log_id;
        let answer = snapshot::send(self, vote, snapshot, cancel, option.soft_ttl()).await?;
        if answer.vote == vote {
            self.acknowledged(&vote, last.as_ref());
        }
        Ok(answer)
    }
}

// Plain data, valid at every step: a panic elsewhere does not spoil it.
fn held<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The replies to pipelined appends, in the order of the requests.
pub(super) type AppendReplies<'s> =
    BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;
