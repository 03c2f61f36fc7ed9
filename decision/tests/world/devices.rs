//! Devices that check in again and again, and what they are told.
use super::{decision_address, ms, now, trace::Trace};
use madsim::{rand::Rng as _, time::timeout};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tidegate_proto::v1::{self, Verdict, decision_client::DecisionClient};
use tonic::{Status, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(2);

/// One answer, as a device heard it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Duration,
    /// The decision node that it asked.
    pub(crate) node: u8,
    pub(crate) device: String,
    pub(crate) verdict: Verdict,
    pub(crate) mode: v1::DecisionMode,
    /// Code of the first reason.
    pub(crate) reason: String,
}

/// What devices have heard so far.
#[derive(Clone, Default)]
pub(crate) struct Ears {
    heard: Arc<Mutex<Vec<Heard>>>,
    /// The exposure tokens that devices hold.
    tokens: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Ears {
    pub(crate) fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn last_of_each(&self) -> BTreeMap<String, Heard> {
        let all = self.all().into_iter();
        all.map(|heard| (heard.device.clone(), heard)).collect()
    }

    /// Devices that were ever offered the release.
    pub(crate) fn exposed(&self) -> BTreeSet<String> {
        self.tokens.lock().unwrap().keys().cloned().collect()
    }

    fn token(&self, device: &str) -> Option<Vec<u8>> {
        self.tokens.lock().unwrap().get(device).cloned()
    }
}

async fn client(node: u8) -> Result<DecisionClient<Channel>, Status> {
    let target = format!("http://{}", decision_address(node));
    let connected = DecisionClient::connect(target).await;
    connected.map_err(|error| Status::unavailable(error.to_string()))
}

/// A device that runs `os` 1.0.0 and always asks the same node; it never installs anything.
pub(crate) async fn live(device: String, node: u8, ears: Ears, trace: Trace) {
    loop {
        let request = v1::CheckInRequest {
            device_id: device.clone(),
            variant: "cam/r1/eu/none".to_owned(),
            components: vec![v1::RunningComponent {
                component: "os".to_owned(),
                version: "1.0.0".to_owned(),
                security_version: 1,
                floor: None,
            }],
            exposure_tokens: ears.token(&device).into_iter().collect(),
            ..v1::CheckInRequest::default()
        };
        let answer = timeout(PATIENCE, async {
            let answer = client(node).await?.check_in(request).await?;
            Ok::<_, Status>(answer.into_inner())
        });
        match answer.await {
            Ok(Ok(answer)) => hear(&device, node, answer, &ears, &trace),
            Ok(Err(status)) => trace.note(&format!("{device} hears {}", status.code())),
            Err(_) => trace.note(&format!("{device} hears nothing")),
        }
        let pause = madsim::rand::thread_rng().gen_range(100..400);
        madsim::time::sleep(ms(pause)).await;
    }
}

fn hear(device: &str, node: u8, answer: v1::CheckInResponse, ears: &Ears, trace: &Trace) {
    let heard = Heard {
        at: now(),
        node,
        device: device.to_owned(),
        verdict: answer.verdict(),
        mode: answer.mode(),
        reason: answer.reasons[0].code.clone(),
    };
    trace.note(&format!("{heard:?}"));
    if let Some(offer) = answer.offer {
        let mut tokens = ears.tokens.lock().unwrap();
        tokens.insert(device.to_owned(), offer.exposure_token);
    }
    ears.heard.lock().unwrap().push(heard);
}

/// Tells a node that a device's release is verified, until the node has it.
pub(crate) async fn verified(device: String, node: u8, ears: Ears, trace: Trace) {
    let report = v1::OutcomeReport {
        device_id: device.clone(),
        exposure_token: ears.token(&device).unwrap(),
        kind: v1::OutcomeKind::Verified.into(),
        ..v1::OutcomeReport::default()
    };
    loop {
        let reply = timeout(PATIENCE, async {
            let reply = client(node).await?.report_outcome(report.clone()).await?;
            Ok::<_, Status>(reply.into_inner().status())
        });
        let reply = reply.await;
        trace.note(&format!("{device} verified: {reply:?}"));
        match reply {
            Ok(Ok(v1::OutcomeStatus::Refused)) => panic!("{device}'s outcome is refused"),
            // Counted, or kept until its owner has it.
            Ok(Ok(_)) => return,
            _ => madsim::time::sleep(ms(500)).await,
        }
    }
}
