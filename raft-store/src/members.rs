//! Drives the Raft group to the members that operators approved.
//!
//! The planner decides the next step from what is and what shall be; the executor has no choices.
//! Every step is safe to repeat, so that a new leader goes on where the last one stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft_rt::watch::WatchReceiver;

use crate::api::store::Serving;
use crate::types::{Member, NodeId};

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Most entries of the log that a learner may lack when it begins to vote.
const LAG_MAX: u64 = 1_000;

/// One change of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Let a node receive the log.
    AddLearner(NodeId, Member),
    /// Exactly these vote from now on; who voted and does not any more stays a learner.
    SetVoters(BTreeSet<NodeId>),
    /// Reach a node elsewhere, or count it for another region, from now on.
    Move(NodeId, Member),
    /// Let a learner go.
    Remove(NodeId),
}

/// The group as it is.
#[derive(Clone, Debug, Default)]
struct Current {
    nodes: BTreeMap<NodeId, Member>,
    voters: BTreeSet<NodeId>,
    /// Learners that have almost all of the log.
    caught_up: BTreeSet<NodeId>,
}

/// A node as operators want it.
#[derive(Clone, Debug)]
struct Wanted {
    member: Member,
    voter: bool,
}

/// Runs for as long as the node does; acts only while it leads.
pub(crate) async fn drive(serving: Arc<Serving>, timeout: Duration) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        serving.group.look_up_addresses();
        if !serving.group.raft.is_leader() {
            continue;
        }
        let Some(step) = next_step(&current(&serving), &wanted(&serving)) else {
            continue;
        };
        tracing::info!(?step, "membership");
        match tokio::time::timeout(timeout, take(&serving, &step)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(?step, error, "membership step failed; trying again"),
            Err(_) => tracing::warn!(?step, "membership step takes long; looking again"),
        }
    }
}

/// Learners first, then votes, then good-byes: no step leaves fewer copies than there shall be.
fn next_step(is: &Current, wanted: &BTreeMap<NodeId, Wanted>) -> Option<Step> {
    if wanted.is_empty() {
        // Nobody ever said who shall be a member: those who founded the cluster stay.
        return None;
    }
    // First of all: who cannot be reached does not catch up either.
    let moved = wanted.iter().find(|(id, node)| {
        let known = is.nodes.get(*id);
        known.is_some_and(|known| *known != node.member)
    });
    if let Some((id, moved)) = moved {
        return Some(Step::Move(*id, moved.member.clone()));
    }
    let missing = wanted.iter().find(|(id, _)| !is.nodes.contains_key(id));
    if let Some((id, new)) = missing {
        return Some(Step::AddLearner(*id, new.member.clone()));
    }
    let ready = |id: &NodeId| is.voters.contains(id) || is.caught_up.contains(id);
    let shall_vote = wanted
        .iter()
        .filter(|(_, node)| node.voter)
        .map(|(id, _)| *id);
    let shall_vote: BTreeSet<NodeId> = shall_vote.collect();
    if shall_vote != is.voters {
        // One that lags would leave the group without a majority until it has caught up.
        let all_ready = !shall_vote.is_empty() && shall_vote.iter().all(ready);
        return all_ready.then_some(Step::SetVoters(shall_vote));
    }
    let gone = is.nodes.keys().find(|id| !wanted.contains_key(id));
    gone.map(|id| Step::Remove(*id))
}

async fn take(serving: &Serving, step: &Step) -> Result<(), String> {
    let raft = &serving.group.raft;
    let done = match step.clone() {
        Step::AddLearner(id, member) => raft.add_learner(id, member, false).await,
        Step::SetVoters(voters) => {
            raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), true)
                .await
        }
        Step::Move(id, member) => {
            // Safe here: a frame names the node it is for, so that a wrong address reaches nobody
            // who would vote in another's place.
            let moved = ChangeMembers::SetNodes(BTreeMap::from([(id, member)]));
            raft.change_membership(moved, true).await
        }
        Step::Remove(id) => {
            let remove = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            raft.change_membership(remove, true).await
        }
    };
    done.map(drop).map_err(|error| error.to_string())
}

fn wanted(serving: &Serving) -> BTreeMap<NodeId, Wanted> {
    serving.state.read(|state| {
        let members = state.membership().members.iter().map(|member| {
            let wanted = Wanted {
                member: Member {
                    addr: member.address.clone(),
                    region: member.region.to_string(),
                },
                voter: member.voter,
            };
            (member.id.0, wanted)
        });
        members.collect()
    })
}

fn current(serving: &Serving) -> Current {
    let metrics = serving.group.raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = metrics.replication.iter().flatten();
    let near = matched.filter(|(_, matched)| {
        let has = matched.as_ref().map_or(0, |matched| matched.index);
        matched.is_some() && last.saturating_sub(has) <= LAG_MAX
    });
    Current {
        nodes: membership
            .nodes()
            .map(|(id, member)| (*id, member.clone()))
            .collect(),
        voters: membership.voter_ids().collect(),
        caught_up: near.map(|(id, _)| *id).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(voters: &[NodeId], learners: &[NodeId], caught_up: &[NodeId]) -> Current {
        let nodes = voters
            .iter()
            .chain(learners)
            .map(|id| (*id, Member::default()));
        Current {
            nodes: nodes.collect(),
            voters: voters.iter().copied().collect(),
            caught_up: caught_up.iter().copied().collect(),
        }
    }

    fn check(is: &Current, voters: &[NodeId], learners: &[NodeId], expect: Option<Step>) {
        let node = |voter: bool| {
            move |id: &NodeId| {
                let member = Member::default();
                (*id, Wanted { member, voter })
            }
        };
        let voters = voters.iter().map(node(true));
        let wanted = voters.chain(learners.iter().map(node(false))).collect();
        assert_eq!(next_step(is, &wanted), expect);
    }

    #[test]
    fn a_replacement_is_added_caught_up_voted_in_and_then_the_old_node_goes() {
        let add = Step::AddLearner(4, Member::default());
        check(&current(&[1, 2, 3], &[], &[]), &[1, 2, 4], &[], Some(add));
        check(&current(&[1, 2, 3], &[4], &[]), &[1, 2, 4], &[], None);
        let vote = Step::SetVoters(BTreeSet::from([1, 2, 4]));
        check(
            &current(&[1, 2, 3], &[4], &[4]),
            &[1, 2, 4],
            &[],
            Some(vote),
        );
        check(
            &current(&[1, 2, 4], &[3], &[]),
            &[1, 2, 4],
            &[],
            Some(Step::Remove(3)),
        );
        check(&current(&[1, 2, 4], &[], &[]), &[1, 2, 4], &[], None);
    }

    #[test]
    fn a_node_that_moved_is_reached_anew_before_anything_waits_for_it() {
        let is = current(&[1, 2], &[3], &[]);
        let elsewhere = Member {
            addr: "10.0.0.9:7000".to_owned(),
            ..Member::default()
        };
        let mut wanted: BTreeMap<NodeId, Wanted> = [1, 2, 3, 4]
            .map(|id| {
                let member = Member::default();
                (
                    id,
                    Wanted {
                        member,
                        voter: true,
                    },
                )
            })
            .into();
        wanted.get_mut(&3).unwrap().member = elsewhere.clone();
        let step = next_step(&is, &wanted);
        assert_eq!(step, Some(Step::Move(3, elsewhere)));
    }

    #[test]
    fn nothing_happens_before_operators_said_who_is_a_member() {
        assert_eq!(
            next_step(&current(&[1, 2, 3], &[], &[]), &BTreeMap::new()),
            None
        );
    }

    #[test]
    fn the_last_voter_is_never_voted_out() {
        check(&current(&[1], &[], &[]), &[], &[1], None);
    }

    #[test]
    fn a_demoted_voter_stays_a_learner() {
        let vote = Step::SetVoters(BTreeSet::from([1, 2, 3]));
        check(
            &current(&[1, 2, 3, 4], &[], &[]),
            &[1, 2, 3],
            &[4],
            Some(vote),
        );
        check(&current(&[1, 2, 3], &[4], &[4]), &[1, 2, 3], &[4], None);
    }
}
