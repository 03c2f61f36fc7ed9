//! The door: nothing is chained that leaves the state as it is and could come again.

use std::time::Duration;

use futures::future::join_all;
use tidegate_domain::command::{SignedCommand, seal};
use tidegate_domain::id::{CommandId, LogTime, Millis, SignatureBytes};
use tidegate_domain::testing::Fleet;
use tidegate_domain::{Command, command::Base, command::Proposal, command::RegisterVariant};
use tidegate_proto::Refusal;
use tidegate_runtime::{Clock as _, SystemClock};

use super::support::{Cluster, Shape, accepted};

/// How often each command is sent that must leave no trace.
const TIMES: usize = 40;

/// A command that is signed by whom it takes, with its proposal changed first.
fn signed(cluster: &mut Cluster, number: u32, change: impl FnOnce(&mut Proposal)) -> SignedCommand {
    let fleet = &mut cluster.fleet;
    fleet.now = LogTime(SystemClock.wall().0);
    let traits = tidegate_domain::testing::traits(&format!("door-{number}/r1/eu/none"));
    let mut proposal = fleet.proposal(Command::from(RegisterVariant { traits }));
    proposal.not_before = LogTime(fleet.now.0.saturating_sub(120_000));
    proposal.base = Base::genesis(Fleet::ORIGIN);
    change(&mut proposal);
    let signers = fleet.signers(&proposal.command);
    seal(&proposal, &signers.iter().collect::<Vec<_>>())
}

async fn entries(cluster: &Cluster) -> u64 {
    let point = cluster.client().read_index().await.unwrap();
    point.position.entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_stands_in_the_log_once_however_often_it_is_sent() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let before = entries(&cluster).await;
    let mut command = signed(&mut cluster, 1, |_| ());
    // The same command with one approval more is the same command.
    let other = cluster
        .fleet
        .keys
        .key(tidegate_domain::key::Role::Operator, 1);
    let mut again = command.clone();
    again.sign(other);
    command.signatures.truncate(1);
    let clients: Vec<_> = (1..=3).map(|id| cluster.client_of(id)).collect();
    let calls = (0..3 * TIMES).map(|call| {
        let command = if call % 2 == 0 { &command } else { &again };
        clients[call % 3].propose(command.to_bytes())
    });
    for proposed in join_all(calls).await {
        accepted(&proposed.unwrap());
    }
    assert_eq!(entries(&cluster).await, before + 1);
    cluster.stop().await;
}

/// A leader applies many entries in one transaction: in memory one by one, on its disk together. A
/// command that is sent again meanwhile is known to the memory, and its outcome is not stored yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_of_a_command_is_told_while_its_batch_is_applied() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let commands: Vec<_> = (0..300)
        .map(|number| signed(&mut cluster, number, |_| ()).to_bytes())
        .collect();
    let clients: Vec<_> = (1..=3).map(|id| cluster.client_of(id)).collect();
    let calls = commands.iter().zip(0..).flat_map(|(command, number)| {
        clients.iter().zip(0..).map(move |(client, of)| async move {
            for again in 0..6 {
                // A time of its own for each, so that some come while a batch is under way.
                tokio::time::sleep(Duration::from_millis((7 * number + 13 * of) % 40 * again))
                    .await;
                accepted(&client.propose(command.clone()).await.unwrap());
            }
        })
    });
    let before = entries(&cluster).await;
    join_all(calls).await;
    assert_eq!(entries(&cluster).await, before + commands.len() as u64);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_applied_is_refused_and_leaves_no_trace() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let spent = CommandId([7; 16]);
    let first = signed(&mut cluster, 1, |proposal| proposal.id = spent);
    accepted(&cluster.client().propose(first.to_bytes()).await.unwrap());
    // What came of a command is told before anybody's signature is looked at.
    let mut replayed = first.clone();
    replayed.signatures[0].signature = SignatureBytes([0; 64]);
    let told = cluster.client().propose(replayed.to_bytes()).await.unwrap();
    assert!(told.duplicate, "{told:?}");
    let over = signed(&mut cluster, 2, |proposal| {
        proposal.not_after = LogTime(proposal.not_before.0 + 1);
    });
    let early = signed(&mut cluster, 3, |proposal| {
        proposal.not_before = proposal.not_after.after(Millis(3_600_000));
        proposal.not_after = proposal.not_before.after(Millis(3_600_000));
    });
    let long = signed(&mut cluster, 4, |proposal| {
        proposal.not_after = proposal.not_after.after(Millis(30 * 86_400_000));
    });
    let taken = signed(&mut cluster, 5, |proposal| proposal.id = spent);
    let before = entries(&cluster).await;
    for (command, says) in [
        (over, "log time is"),
        (early, "log time is"),
        (long, "at most"),
        (taken, "spent on another command"),
    ] {
        for call in 0..TIMES {
            let client = cluster.client_of(1 + call as u64 % 3);
            let refused = client.propose(command.to_bytes()).await.unwrap_err();
            assert_eq!(refused.refusal(), Refusal::NotAllowed, "{refused}");
            assert!(!refused.is_effect_unknown(), "{refused}");
            assert!(refused.to_string().contains(says), "{refused}");
        }
    }
    assert_eq!(entries(&cluster).await, before, "something was logged");
    cluster.stop().await;
}
