//! Devices: many light ones on a machine, behind a gateway with one stream to each decision node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream;
use madsim::time::{sleep, timeout};
use tidegate_decision::engine::Mode;
use tidegate_proto::v1::decision_client::DecisionClient;
use tidegate_proto::v1::{self, OutcomeStatus, Verdict};
use tidegate_runtime::{Clock as _, SystemClock};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::Channel;

use super::device::Device;
use super::witness::{Witness, now_us};
use crate::dice::Dice;
use crate::load::BETA;
use crate::oracle::{Answer, Seen};
use crate::record::Kind;

/// How long a gateway waits for a connection, an answer, or a word.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts of a gateway to connect.
const AGAIN: Duration = Duration::from_millis(300);
/// Between two looks for an outcome to report.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// After so many µs a check-in counts as not answered.
const ANSWERED_US: u64 = 3_000_000;
/// After one in so many check-ins a device is switched off, for so long.
const AWAY_ONE_IN: u64 = 12;
const AWAY_US: std::ops::Range<u64> = 4_000_000..16_000_000;
/// One device in so many is on a release channel of its own.
const BETA_ONE_IN: u32 = 4;
/// Most check-ins on their way on one stream.
const UNDER_WAY_MAX: usize = 64;

/// A gateway and its devices. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool {
    name: Arc<str>,
    nodes: Arc<Vec<(String, SocketAddr)>>,
    inner: Arc<Mutex<Inner>>,
    witness: Witness,
}

struct Inner {
    devices: Vec<Device>,
    /// Where each stands among them, by its name.
    places: BTreeMap<String, usize>,
    /// Those that have an outcome to report, by their place.
    reporting: BTreeSet<usize>,
    tally: Tally,
    dice: Dice,
    /// The stream to each decision node that is connected.
    streams: BTreeMap<usize, mpsc::Sender<v1::CheckInRequest>>,
}

/// How many check-ins of each second there were, and how many of them were answered.
#[derive(Default)]
struct Tally(BTreeMap<u64, (u64, u64)>);

impl Pool {
    /// So many devices, and the decision nodes that their gateway knows.
    pub(crate) fn new(
        name: &str,
        count: u32,
        places: &[String],
        nodes: Vec<(String, SocketAddr)>,
        dice: Dice,
        witness: &Witness,
    ) -> Self {
        let device = |(number, place): (u32, &String)| Device {
            id: format!("{name}-{number}"),
            place: place.clone(),
            channel: if number % BETA_ONE_IN == 0 { BETA } else { "" },
            version: "1.0.0".to_owned(),
            security_version: 1,
            sequence: 0,
            asked_us: 0,
            asked: v1::CheckInRequest::default(),
            offer: None,
            outcome: None,
            told: String::new(),
            away_until_us: 0,
        };
        let devices: Vec<Device> = (0..count).zip(places.iter().cycle()).map(device).collect();
        let places = (0..)
            .zip(&devices)
            .map(|(at, device)| (device.id.clone(), at));
        Self {
            name: name.into(),
            nodes: Arc::new(nodes),
            inner: Arc::new(Mutex::new(Inner {
                places: places.collect(),
                reporting: BTreeSet::new(),
                tally: Tally::default(),
                devices,
                dice,
                streams: BTreeMap::new(),
            })),
            witness: witness.clone(),
        }
    }

    /// Lets every device check in about once in so many ms, for as long as the run lasts.
    pub(crate) async fn run(self, every_ms: u64) {
        for number in 0..self.nodes.len() {
            drop(madsim::task::spawn(self.clone().connect(number)));
        }
        drop(madsim::task::spawn(self.clone().report()));
        let count = self.lock().devices.len().max(1) as u64;
        let step = Duration::from_micros(every_ms * 1_000 / count);
        for turn in 0.. {
            sleep(step).await;
            let counted = {
                let mut inner = self.lock();
                inner.ask(turn);
                inner.tally.over()
            };
            for kind in counted {
                self.witness.note(&self.name, kind);
            }
        }
    }

    /// Some devices lose power: what was not installed yet is forgotten.
    pub(crate) fn cut_power(&self, one_in: u64) {
        let mut inner = self.lock();
        let Inner {
            devices,
            dice,
            reporting,
            ..
        } = &mut *inner;
        for (place, device) in devices.iter_mut().enumerate() {
            if dice.one_in(one_in) {
                device.offer = None;
                device.outcome = None;
                reporting.remove(&place);
            }
        }
    }

    /// Keeps a stream to one decision node.
    async fn connect(self, number: usize) {
        loop {
            // However it ends, it is begun anew.
            let _ = self.stream(number).await;
            self.lock().streams.remove(&number);
            sleep(AGAIN).await;
        }
    }

    async fn stream(&self, number: usize) -> Result<(), Status> {
        let (lane, address) = &self.nodes[number];
        let silent = |_| Status::deadline_exceeded("silent");
        let mut client = timeout(PATIENCE, client(*address))
            .await
            .map_err(silent)??;
        let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
        let requests = stream::unfold(receiver, |mut receiver| async move {
            let request = receiver.recv().await?;
            Some((request, receiver))
        });
        let opened = timeout(PATIENCE, client.check_in_stream(Box::pin(requests)));
        let mut answers = opened.await.map_err(silent)??.into_inner();
        self.lock().streams.insert(number, sender);
        loop {
            let answer = timeout(PATIENCE, answers.message())
                .await
                .map_err(silent)??;
            let Some(answer) = answer else {
                return Ok(());
            };
            self.hear(lane, &answer);
        }
    }

    fn hear(&self, lane: &str, answer: &v1::CheckInResponse) {
        let mut inner = self.lock();
        let Inner {
            devices,
            places,
            reporting,
            tally,
            dice,
            ..
        } = &mut *inner;
        let Some(place) = places.get(&answer.device_id).copied() else {
            return;
        };
        let device = &mut devices[place];
        if answer.sequence != device.sequence {
            // Too late: the device asked again meanwhile.
            return;
        }
        tally.answered(device.asked_us);
        self.show(lane, device, answer);
        device.hear(answer, dice);
        if device.outcome.is_some() {
            reporting.insert(place);
        }
    }

    fn show(&self, lane: &str, device: &mut Device, answer: &v1::CheckInResponse) {
        let verdict = format!("{:?}", answer.verdict()).to_lowercase();
        let offer = answer.offer.as_ref();
        let release = offer.map(|offer| offer.release.clone()).unwrap_or_default();
        let told = format!("{verdict} {release}");
        if device.told != told {
            let told_now = Kind::Told {
                device: device.id.clone(),
                verdict,
                release,
            };
            self.witness.note(lane, told_now);
            device.told = told;
        }
        self.witness.see(&Seen::Told {
            lane,
            device: &device.id,
            place: &device.place,
            asked_us: device.asked_us,
            answer: &told_of(answer, device.security_version),
        });
        self.witness.see(&Seen::Decided {
            lane,
            wall_ms: SystemClock.wall().0,
            request: &device.asked,
            response: answer,
        });
        if answer.mode() == v1::DecisionMode::Fresh {
            let what = &format!("a lease at {lane}");
            self.witness.see(&Seen::Progress { what });
        }
    }

    /// Reports what became of installs, one after the other, until a node has it.
    async fn report(self) {
        loop {
            let Some((place, report, address)) = self.next_report() else {
                sleep(REPORT_EVERY).await;
                continue;
            };
            let reply = timeout(PATIENCE, async {
                let reply = client(address)
                    .await?
                    .report_outcome(report.clone())
                    .await?;
                Ok::<_, Status>(reply.into_inner().status())
            });
            match reply.await {
                Ok(Ok(status)) if status != OutcomeStatus::Unspecified => {
                    let mut inner = self.lock();
                    inner.devices[place].outcome = None;
                    inner.reporting.remove(&place);
                }
                _ => sleep(REPORT_EVERY).await,
            }
        }
    }

    fn next_report(&self) -> Option<(usize, v1::OutcomeReport, SocketAddr)> {
        let mut inner = self.lock();
        let place = inner.reporting.first().copied()?;
        let report = inner.devices[place].outcome.clone()?;
        let (_, address) = inner.dice.pick(&self.nodes)?;
        Some((place, report, *address))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next device checks in, at any node that is connected, unless it is switched off. Those
    /// that come back are who wants something long after it was there to be had.
    fn ask(&mut self, turn: usize) {
        let (count, now) = (self.devices.len(), now_us());
        let device = self.devices.get_mut(turn % count.max(1));
        let Some(device) = device.filter(|device| device.away_until_us <= now) else {
            return;
        };
        self.tally.asked(now);
        let connected: Vec<usize> = self.streams.keys().copied().collect();
        let Some(to) = self.dice.pick(&connected).copied() else {
            return;
        };
        let request = device.check_in();
        if self.dice.one_in(AWAY_ONE_IN) {
            device.away_until_us = now + self.dice.within(AWAY_US);
        }
        if let Some(stream) = self.streams.get(&to) {
            // A stream that is full or gone is a check-in that nobody hears.
            let _ = stream.try_send(request);
        }
    }
}

impl Tally {
    fn asked(&mut self, at_us: u64) {
        self.0.entry(at_us / 1_000_000).or_default().0 += 1;
    }

    fn answered(&mut self, asked_us: u64) {
        if let Some((_, answered)) = self.0.get_mut(&(asked_us / 1_000_000)) {
            *answered += 1;
        }
    }

    /// The seconds whose answers count no more.
    fn over(&mut self) -> Vec<Kind> {
        let open = now_us().saturating_sub(ANSWERED_US) / 1_000_000;
        let left = self.0.split_off(&open);
        let over = std::mem::replace(&mut self.0, left);
        let counted = over
            .into_iter()
            .map(|(second, (asked, answered))| Kind::CheckIns {
                from_us: second * 1_000_000,
                asked,
                answered,
            });
        counted.collect()
    }
}

async fn client(address: SocketAddr) -> Result<DecisionClient<Channel>, Status> {
    let connected = DecisionClient::connect(format!("http://{address}")).await;
    connected.map_err(|error| Status::unavailable(error.to_string()))
}

/// What oracles need to know of an answer.
fn told_of(answer: &v1::CheckInResponse, running: u64) -> Answer {
    let offer = answer.offer.as_ref();
    let signers = offer.into_iter().flat_map(|offer| &offer.signatures);
    let not_open = answer.reasons.iter().filter(|r| r.code == "wave_not_open");
    let rollouts = not_open.flat_map(|reason| &reason.params);
    let rollouts = rollouts.filter(|param| param.name == "rollout");
    Answer {
        is_offer: answer.verdict() == Verdict::Offer,
        rollout: offer.and_then(|offer| offer.rollout.parse().ok()),
        wave: offer.and_then(|offer| offer.wave),
        release: offer.map(|offer| offer.release.clone()),
        signers: signers
            .filter_map(|signature| signature.public_key.as_slice().try_into().ok())
            .collect(),
        wave_not_open: rollouts
            .filter_map(|param| param.value.parse().ok())
            .collect(),
        mode: match answer.mode() {
            v1::DecisionMode::Fresh => Some(Mode::Fresh),
            v1::DecisionMode::Stale => Some(Mode::Stale),
            v1::DecisionMode::Blind => Some(Mode::Blind),
            v1::DecisionMode::Unspecified => None,
        },
        security_version: offer.map(|offer| offer.security_version),
        floor: offer.map(|offer| offer.floor),
        running,
        entries: answer.snapshot_entries,
    }
}
