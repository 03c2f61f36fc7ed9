//! A neighbour on a decision node's own machine, which no cut of the network keeps from it: it checks
//! in, and wants an answer in time (DEGR-1).

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use madsim::time::sleep;
use tidegate_proto::v1;
use tidegate_proto::v1::decision_client::DecisionClient;
use tonic::Status;

use super::settle;
use super::witness::Witness;
use crate::oracle::Seen;

/// Between two check-ins.
const EVERY: Duration = Duration::from_millis(900);
/// The time is counted in steps, each of which takes longer while the machine is paused: only time
/// during which it ran counts.
const STEP: Duration = Duration::from_millis(50);
/// Most steps until an answer. A call takes a few milliseconds in the simulator.
const STEPS_MAX: u32 = 40;
/// Most steps until an answer once the server has come to a call that was made after it.
const STEPS_AFTER: u32 = 4;

/// Asks again and again; never returns.
pub(super) async fn ask(address: SocketAddr, lane: &str, witness: &Witness) {
    for sequence in 1.. {
        sleep(EVERY).await;
        let asked = answered(address, sequence);
        let mut asked = std::pin::pin!(asked);
        if within(STEPS_MAX, asked.as_mut()).await {
            continue;
        }
        // Whose turn is it? The simulated server may be waiting for somebody else whom a cut holds
        // back (see `settle`); then a call that needs nothing from the node waits as well.
        tokio::select! {
            biased;
            () = asked.as_mut() => continue,
            () = settle::call(address) => {}
        }
        if !within(STEPS_AFTER, asked).await {
            let waited_ms = u64::from(STEPS_MAX) * 50;
            witness.see(&Seen::Unanswered { lane, waited_ms });
        }
    }
}

/// Whether something came about within so many steps.
async fn within(steps: u32, mut what: Pin<&mut impl Future<Output = ()>>) -> bool {
    for _ in 0..steps {
        tokio::select! {
            biased;
            () = what.as_mut() => return true,
            () = sleep(STEP) => {}
        }
    }
    false
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
