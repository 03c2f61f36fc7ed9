//! A neighbour on a decision node's own machine, which no cut of the network keeps from it: it checks
//! in, and wants an answer in time (DEGR-1).

use std::net::SocketAddr;
use std::time::Duration;

use madsim::time::sleep;
use tidegate_proto::v1;
use tidegate_proto::v1::decision_client::DecisionClient;
use tonic::{Code, Status};

use super::settle;
use super::witness::Witness;
use crate::oracle::Seen;

/// Between two check-ins.
const EVERY: Duration = Duration::from_millis(900);
/// The time is counted in steps, each of which takes longer while the machine is paused: only time
/// during which it ran counts.
const STEP: Duration = Duration::from_millis(50);
/// Most steps until an answer. A call takes a few milliseconds in the simulator, and a few hundred
/// while the network is slow.
const STEPS_MAX: u32 = 40;
/// How often the server must come to a later call before a missing answer counts.
const LATER_CALLS: u32 = 2;
/// So many calls in a row do not fall victim to the loss of packets: nobody takes calls.
const REFUSALS_MAX: u32 = 40;

/// Asks again and again; never returns.
pub(super) async fn ask(address: SocketAddr, lane: &str, witness: &Witness) {
    for sequence in 1.. {
        sleep(EVERY).await;
        if let Some(waited) = unanswered(address, sequence).await {
            let waited_ms = u64::try_from(waited.as_millis()).expect("a few seconds");
            witness.see(&Seen::Unanswered { lane, waited_ms });
        }
    }
}

/// Checks in; how long it had no answer, if the node is to blame.
///
/// The simulated server may be waiting for somebody else, whom a cut holds back (see `settle`): then
/// a call that needs nothing from the node waits as well. Only when the server came to such a call,
/// the time that a check-in made before it goes unanswered is counted.
async fn unanswered(address: SocketAddr, sequence: u64) -> Option<Duration> {
    let asked = answered(address, sequence);
    let mut asked = std::pin::pin!(asked);
    for _ in 0..LATER_CALLS {
        tokio::select! {
            biased;
            () = asked.as_mut() => return None,
            () = steps(STEPS_MAX) => {}
        }
        tokio::select! {
            biased;
            () = asked.as_mut() => return None,
            () = comes_to_a_call(address) => {}
        }
    }
    tokio::select! {
        biased;
        () = asked.as_mut() => None,
        () = steps(STEPS_MAX) => Some(STEP * (LATER_CALLS * STEPS_MAX)),
    }
}

async fn steps(count: u32) {
    for _ in 0..count {
        sleep(STEP).await;
    }
}

/// Returns once the server came to a call of a service that it does not have, or when it takes none.
async fn comes_to_a_call(address: SocketAddr) {
    for _ in 0..REFUSALS_MAX {
        if settle::call(address).await == Some(Code::Unimplemented) {
            return;
        }
        sleep(STEP).await;
    }
}

/// Returns once a check-in was answered: a connection that is lost on the way is opened anew.
async fn answered(address: SocketAddr, sequence: u64) {
    while check_in(address, sequence).await.is_err() {
        sleep(STEP).await;
    }
}

async fn check_in(address: SocketAddr, sequence: u64) -> Result<(), Status> {
    let connected = DecisionClient::connect(format!("http://{address}")).await;
    let mut client = connected.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = v1::CheckInRequest {
        device_id: "neighbour".to_owned(),
        variant: "cam/r1/a/none".to_owned(),
        sequence,
        ..v1::CheckInRequest::default()
    };
    client.check_in(request).await.map(drop)
}
