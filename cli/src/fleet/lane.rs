//! One connection's share of a fleet: a stream of check-ins, and the outcomes that follow.
use super::{
    Plan,
    counters::Counters,
    device::{Device, Install},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_proto::v1::{
    CheckInRequest, CheckInResponse, OutcomeReport, Verdict, decision_client::DecisionClient,
};
use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Endpoint};

/// Answers are awaited this long before a stream is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Check-ins on their way at once, per connection.
const IN_FLIGHT_MAX: usize = 64;
/// Pause before a lost connection is tried at the next node.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A connection and the devices that use it.
pub(super) struct Lane {
    plan: Plan,
    node: usize,
    devices: Vec<Device>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    in_flight: VecDeque<(usize, u64, Instant)>,
    counters: Arc<Counters>,
}

impl Lane {
    /// The lane that serves every `of`-th device.
    #[allow(
        clippy::disallowed_methods,
        reason = "a load generator runs on real time only"
    )]
    pub(super) fn new(plan: &Plan, number: u64, of: u64, counters: Arc<Counters>) -> Self {
        let now = Instant::now();
        let mut lane = Self {
            node: usize::try_from(number).unwrap_or(0) % plan.nodes.len().max(1),
            plan: plan.clone(),
            devices: Vec::new(),
            due: BinaryHeap::new(),
            in_flight: VecDeque::new(),
            counters,
        };
        for at in (number..plan.devices).step_by(usize::try_from(of).unwrap_or(1)) {
            let share = at as f64 / plan.devices.max(1) as f64;
            let first = now + plan.interval.mul_f64(share);
            lane.due.push(Reverse((first, lane.devices.len())));
            lane.devices.push(lane.plan.device(plan.first + at));
        }
        lane
    }

    /// Runs until told to stop; a lost connection goes on at the next node.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let Some(url) = self.plan.nodes.get(self.node) else {
                return;
            };
            if let Ok(endpoint) = Endpoint::from_shared(url.clone()) {
                let channel = endpoint.tcp_nodelay(true).connect_lazy();
                if self.stream(channel, &mut stopped).await.is_ok() {
                    return;
                }
            }
            self.counters.reconnected();
            self.abandon_in_flight();
            self.node = (self.node + 1) % self.plan.nodes.len();
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Serves one stream. `Ok` when told to stop, the error when the stream is lost.
    #[allow(
        clippy::disallowed_methods,
        reason = "a load generator runs on real time only"
    )]
    async fn stream(
        &mut self,
        channel: Channel,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), tonic::Status> {
        let mut client = DecisionClient::new(channel.clone());
        let (requests, outgoing) = mpsc::channel::<CheckInRequest>(IN_FLIGHT_MAX);
        let outgoing = futures::stream::unfold(outgoing, |mut outgoing| async {
            outgoing.recv().await.map(|request| (request, outgoing))
        });
        let mut answers = client.check_in_stream(outgoing).await?.into_inner();
        loop {
            let full = self.in_flight.len() >= IN_FLIGHT_MAX;
            let next = self
                .due
                .peek()
                .map(|Reverse((at, _))| *at)
                .filter(|_| !full);
            let oldest = self
                .in_flight
                .front()
                .map(|(_, _, sent)| *sent + ANSWER_TIMEOUT);
            tokio::select! {
                biased;
                _ = stopped.changed() => return Ok(()),
                answer = answers.message() => {
                    let answer = answer?.ok_or_else(|| tonic::Status::unavailable("stream ended"))?;
                    self.answered(&answer, Instant::now());
                }
                () = until(next) => self.serve_next(&requests, &channel).await?,
                () = until(oldest) => return Err(tonic::Status::deadline_exceeded("no answer")),
            }
        }
    }

    /// Serves the device whose time has come: ends its install, then checks it in.
    #[allow(
        clippy::disallowed_methods,
        reason = "a load generator runs on real time only"
    )]
    async fn serve_next(
        &mut self,
        requests: &mpsc::Sender<CheckInRequest>,
        channel: &Channel,
    ) -> Result<(), tonic::Status> {
        let Some(Reverse((_, at))) = self.due.pop() else {
            return Ok(());
        };
        let now = Instant::now();
        let Some(device) = self.devices.get_mut(at) else {
            return Ok(());
        };
        let Some(variant) = self.plan.variants.get(device.variant) else {
            return Ok(());
        };
        if let Some(install) = device.install.take_if(|install| install.done_at <= now) {
            let going_back = install.going_back;
            let behaviour = self.plan.behaviour.as_ref();
            let report = device.finish(install, &self.plan.component, variant, behaviour);
            self.counters.finished(report.failure.is_some(), going_back);
            tokio::spawn(report_until_heard(channel.clone(), report));
        }
        let behaviour = self.plan.behaviour.as_ref();
        let request = device.check_in(&self.plan.component, variant, behaviour);
        self.in_flight.push_back((at, request.sequence, now));
        let lost = |_| tonic::Status::unavailable("stream ended");
        requests.send(request).await.map_err(lost)
    }

    fn answered(&mut self, answer: &CheckInResponse, now: Instant) {
        let asked = |(at, sequence, _): &(usize, u64, Instant)| {
            let device = self.devices.get(*at);
            *sequence == answer.sequence && device.is_some_and(|d| d.id == answer.device_id)
        };
        let Some(position) = self.in_flight.iter().position(asked) else {
            return;
        };
        let Some((at, _, sent)) = self.in_flight.remove(position) else {
            return;
        };
        self.counters.answered(answer, now - sent, now);
        let Some(device) = self.devices.get_mut(at) else {
            return;
        };
        let mut again = now + self.plan.interval;
        if let Some(offer) = device.take_answer(answer) {
            let done_at = now + self.plan.install_time;
            let going_back = answer.verdict() == Verdict::Return;
            device.install = Some(Install::of(offer, going_back, done_at));
            again = done_at;
        }
        self.due.push(Reverse((again, at)));
    }

    /// Devices whose answers were lost with the stream check in again soon.
    #[allow(
        clippy::disallowed_methods,
        reason = "a load generator runs on real time only"
    )]
    fn abandon_in_flight(&mut self) {
        let soon = Instant::now() + RECONNECT_PAUSE;
        for (at, _, _) in self.in_flight.drain(..) {
            self.due.push(Reverse((soon, at)));
        }
    }
}

/// Outcomes are owned: a device repeats its report until a node has taken it.
async fn report_until_heard(channel: Channel, report: OutcomeReport) {
    const TRIES: u32 = 5;
    for attempt in 0..TRIES {
        let mut client = DecisionClient::new(channel.clone());
        if client.report_outcome(report.clone()).await.is_ok() {
            return;
        }
        tokio::time::sleep(RECONNECT_PAUSE * 2_u32.pow(attempt)).await;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
