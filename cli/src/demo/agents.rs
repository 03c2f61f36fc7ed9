//! The devices of the demo that do everything for real: fifty agents with slots on disk.
use super::agent::{Agent, Work};
use crate::fleet::{Behaviour, Counters, Device, Install, Plan};
use std::{path::Path, sync::Arc, time::Instant};
use tidegate_domain::key::KeySet;
use tidegate_proto::v1::{Verdict, decision_client::DecisionClient};
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::{Channel, Endpoint};

/// The agents at work.
pub(super) struct Agents {
    /// What they have done.
    pub(super) work: Arc<Work>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What all agents share.
#[derive(Clone)]
struct Site {
    plan: Plan,
    keys: Arc<KeySet>,
    counters: Arc<Counters>,
    work: Arc<Work>,
}

impl Agents {
    /// Provisions one agent for each device of the plan and sets them to work.
    pub(super) fn start(
        plan: &Plan,
        dir: &Path,
        factory_image: &Path,
        keys: KeySet,
        counters: Arc<Counters>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let site = Site {
            plan: plan.clone(),
            keys: Arc::new(keys),
            counters,
            work: Arc::new(Work::default()),
        };
        let mut tasks = JoinSet::new();
        for number in plan.first..plan.first + plan.devices {
            let device = plan.device(number);
            let agent = Agent::provision(dir.join(&device.id), factory_image)?;
            tasks.spawn(site.clone().run(device, agent, stopped.clone()));
        }
        Ok(Self {
            work: site.work,
            stop,
            tasks,
        })
    }

    /// Stops all agents and waits until they have.
    pub(super) async fn stop(mut self) {
        // The receivers are gone only when the tasks are.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Site {
    async fn run(self, mut device: Device, mut agent: Agent, mut stopped: watch::Receiver<bool>) {
        let mut node = usize::try_from(device.number).unwrap_or(0);
        while !*stopped.borrow() {
            let url = &self.plan.nodes[node % self.plan.nodes.len()];
            if let Ok(endpoint) = Endpoint::from_shared(url.clone()) {
                let mut client = DecisionClient::new(endpoint.connect_lazy());
                // A node that does not answer costs one round; the next one is asked then.
                if self
                    .round(&mut client, &mut device, &mut agent)
                    .await
                    .is_err()
                {
                    node += 1;
                }
            }
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                () = tokio::time::sleep(self.plan.interval) => {}
            }
        }
    }

    /// Checks in once, and does what the answer says.
    #[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
    async fn round(
        &self,
        client: &mut DecisionClient<Channel>,
        device: &mut Device,
        agent: &mut Agent,
    ) -> anyhow::Result<()> {
        let variant = &self.plan.variants[device.variant];
        let asked = Instant::now();
        let request = device.check_in(&self.plan.component, variant, self.plan.behaviour.as_ref());
        let answer = client.check_in(request).await?.into_inner();
        self.counters
            .answered(&answer, asked.elapsed(), Instant::now());
        let Some(offer) = device.take_answer(&answer) else {
            return Ok(());
        };
        // The first agent loses its first connection half way, to show that it goes on from there.
        let first = device.number == self.plan.first && agent.boots() == 1;
        let size = offer.payload.as_ref().map_or(0, |payload| payload.size);
        let cut_at = first.then_some(size / 2);
        agent.install(offer, &self.keys, cut_at, &self.work).await?;
        let going_back = answer.verdict() == Verdict::Return;
        let install = Install::of(offer, going_back, Instant::now());
        let behaviour = self.plan.behaviour.as_ref();
        let report = device.finish(install, &self.plan.component, variant, behaviour);
        let failed = report.failure.is_some();
        if failed {
            agent.boot_back().await?;
        }
        self.counters.finished(failed, going_back);
        client.report_outcome(report).await?;
        Ok(())
    }
}

/// Which release fails where: on one variant, most installs do not come up again.
pub(super) struct BrokenOn {
    /// The release.
    pub(super) release: String,
    /// The hardware model on which it fails.
    pub(super) model: String,
}

impl Behaviour for BrokenOn {
    fn fails(
        &self,
        release: &str,
        device: u64,
        variant: &tidegate_domain::variant::VariantTraits,
    ) -> bool {
        release == self.release
            && variant.model.as_str() == self.model
            && !device.is_multiple_of(10)
    }

    fn metrics(&self, _: &str, device: u64) -> tidegate_proto::v1::ReleaseMetrics {
        crate::fleet::healthy_metrics(device)
    }
}
