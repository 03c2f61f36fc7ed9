//! The `Admin` service.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::errors::{InitializeError, RaftError};
use openraft_rt::watch::WatchReceiver;
use tidegate_proto::v1::{self, admin_server};
use tidegate_proto::{Refusal, WireError};
use tonic::{Request, Response, Status};

use super::store::Serving;
use crate::types::{Member, NodeId};

/// Most voters of a new cluster.
const VOTERS_MAX: usize = 9;

/// Answers the `Admin` service.
pub(crate) struct AdminService(pub(crate) Arc<Serving>);

#[tonic::async_trait]
impl admin_server::Admin for AdminService {
    async fn initialize(
        &self,
        request: Request<v1::InitializeRequest>,
    ) -> Result<Response<v1::InitializeResponse>, Status> {
        let voters = read_voters(request.into_inner())?;
        let already_done = initialize(&self.0.group.raft, voters).await?;
        Ok(Response::new(v1::InitializeResponse { already_done }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let v1::TransferLeaderRequest { to } = request.into_inner();
        let group = &self.0.group;
        if !group.voters().contains(&to) {
            let message = format!("node {to} is not a voter");
            return Err(WireError::refused(Refusal::NotAllowed, message).into());
        }
        let raft = &group.raft;
        if raft.metrics().borrow_watched().current_leader != Some(to) {
            if !raft.is_leader() {
                let error = WireError::refused(Refusal::NotLeader, "only the leader hands over");
                return Err(error.with_leader(group.leader_address()).into());
            }
            let asked = raft.trigger().transfer_leader(to).await;
            asked.map_err(|fatal| WireError::refused(Refusal::Stopped, fatal.to_string()))?;
        }
        let wait = Some(self.0.limits.request_timeout);
        let led = raft
            .wait(wait)
            .current_leader(to, "leadership transfer")
            .await;
        let metrics = led.map_err(|error| {
            let message = format!("node {to} did not take over: {error}; ask again");
            WireError::refused(Refusal::TimedOut, message)
        })?;
        Ok(Response::new(v1::TransferLeaderResponse {
            term: metrics.current_term,
        }))
    }
}

/// Makes the voters a cluster; answers whether they were exactly that before.
///
/// # Errors
/// This node is not among them, or has a log of another cluster or other members.
pub(crate) async fn initialize(
    raft: &crate::types::Raft,
    voters: BTreeMap<NodeId, Member>,
) -> Result<bool, WireError> {
    let error = match raft.initialize(voters.clone()).await {
        Ok(()) => return Ok(false),
        Err(error) => error,
    };
    match error {
        RaftError::APIError(InitializeError::NotAllowed(_)) => {
            let metrics = raft.metrics();
            let membership = metrics.borrow_watched().membership_config.clone();
            let existing: BTreeMap<NodeId, Member> = membership
                .membership()
                .nodes()
                .map(|(id, member)| (*id, member.clone()))
                .collect();
            if existing == voters {
                return Ok(true);
            }
            let message = "this node has a log already, with other members";
            Err(WireError::refused(Refusal::AlreadyInitialized, message))
        }
        RaftError::APIError(InitializeError::NotInMembers(error)) => {
            Err(WireError::refused(Refusal::Malformed, error.to_string()))
        }
        RaftError::Fatal(fatal) => Err(WireError::refused(Refusal::Stopped, fatal.to_string())),
    }
}

fn read_voters(request: v1::InitializeRequest) -> Result<BTreeMap<NodeId, Member>, WireError> {
    let malformed = |message: String| WireError::refused(Refusal::Malformed, message);
    let v1::InitializeRequest { voters } = request;
    let count = voters.len();
    if count == 0 || count > VOTERS_MAX {
        return Err(malformed(format!(
            "{count} voters, expected 1 to {VOTERS_MAX}"
        )));
    }
    let mut members = BTreeMap::new();
    for v1::ClusterNode {
        node_id,
        address,
        region,
    } in voters
    {
        let member = Member {
            addr: address,
            region,
        };
        crate::config::check_member(node_id, &member)
            .map_err(|error| malformed(format!("voter {node_id}: {error}")))?;
        if members.insert(node_id, member).is_some() {
            return Err(malformed(format!("node {node_id} is named twice")));
        }
    }
    Ok(members)
}
