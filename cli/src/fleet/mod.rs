//! A fleet of simulated devices that check in over real connections: the load of `fleet simulate`,
//! and the crowd of the demo.
mod counters;
mod device;
mod lane;

pub(crate) use counters::{Counters, Totals};
pub(crate) use device::{Behaviour, Device, Healthy, Install, Running, healthy_metrics};
use lane::Lane;
use std::{sync::Arc, time::Duration};
use tidegate_domain::variant::VariantTraits;
use tokio::{sync::watch, task::JoinSet};

/// What a fleet looks like.
#[derive(Clone)]
pub(crate) struct Plan {
    /// How many devices.
    pub(crate) devices: u64,
    /// Number of the first device; ids are `dev-<number>`.
    pub(crate) first: u64,
    /// Decision nodes, as `http://host:port`.
    pub(crate) nodes: Vec<String>,
    /// Connections to each node; each carries one stream of check-ins.
    pub(crate) connections_per_node: u64,
    /// How often each device checks in.
    pub(crate) interval: Duration,
    /// How long an install takes.
    pub(crate) install_time: Duration,
    /// The variants; devices are spread over them evenly.
    pub(crate) variants: Arc<Vec<VariantTraits>>,
    /// The component that they update.
    pub(crate) component: Arc<str>,
    /// What they run at first.
    pub(crate) running: Running,
    /// How releases behave on them.
    pub(crate) behaviour: Arc<dyn Behaviour>,
}

impl Plan {
    /// A device of this fleet, as it leaves the factory.
    pub(crate) fn device(&self, number: u64) -> Device {
        let variants = self.variants.len().max(1) as u64;
        Device {
            number,
            id: format!("dev-{number:07}"),
            variant: usize::try_from(number % variants).unwrap_or(0),
            running: self.running.clone(),
            boots: 1,
            sequence: 0,
            install: None,
            token: None,
        }
    }
}

/// A running fleet.
pub(crate) struct Fleet {
    stop: watch::Sender<bool>,
    lanes: JoinSet<()>,
}

impl Fleet {
    /// Starts all devices; their first check-ins are spread over one interval.
    pub(crate) fn start(plan: &Plan, counters: &Arc<Counters>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let count = plan.connections_per_node.max(1) * plan.nodes.len().max(1) as u64;
        let mut lanes = JoinSet::new();
        for number in 0..count {
            let lane = Lane::new(plan, number, count, Arc::clone(counters));
            lanes.spawn(lane.run(stopped.clone()));
        }
        Self { stop, lanes }
    }

    /// Stops all devices and waits until they have.
    pub(crate) async fn stop(mut self) {
        // The receivers are gone only when the lanes are.
        let _ = self.stop.send(true);
        while self.lanes.join_next().await.is_some() {}
    }
}
