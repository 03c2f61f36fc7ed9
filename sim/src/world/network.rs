//! Cuts between machines. Overlapping cuts are counted, so that one that ends early does not mend
//! another's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::net::NetSim;
use madsim::task::NodeId;

/// What every message takes inside a region, in µs: from, to.
const NEAR_US: (u64, u64) = (200, 800);

/// The network between all machines. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network(Arc<Mutex<Cuts>>);

#[derive(Debug, Default)]
struct Cuts {
    /// How many cuts there are on a link, one way.
    links: BTreeMap<(NodeId, NodeId), u32>,
    /// Rises when everything is mended: cuts of before have no end to come.
    generation: u64,
}

/// A cut that was made and will be mended.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    links: Vec<(NodeId, NodeId)>,
    generation: u64,
}

impl Network {
    /// A network without faults.
    pub(crate) fn new() -> Self {
        let network = Self::default();
        network.slow_down(0);
        network.lose(0);
        network
    }

    /// Nothing gets over these links any more.
    pub(crate) fn cut(&self, links: Vec<(NodeId, NodeId)>) -> Cut {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for link in &links {
            let count = cuts.links.entry(*link).or_insert(0);
            *count += 1;
            NetSim::current().clog_link(link.0, link.1);
        }
        Cut {
            links,
            generation: cuts.generation,
        }
    }

    /// Ends a cut.
    pub(crate) fn mend(&self, cut: Cut) {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cut.generation != cuts.generation {
            return;
        }
        for link in cut.links {
            let Some(count) = cuts.links.get_mut(&link) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                cuts.links.remove(&link);
                NetSim::current().unclog_link(link.0, link.1);
            }
        }
    }

    /// Ends all cuts, losses and delays.
    pub(crate) fn heal(&self) {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.generation += 1;
        for (from, to) in std::mem::take(&mut cuts.links).into_keys() {
            NetSim::current().unclog_link(from, to);
        }
        drop(cuts);
        self.slow_down(0);
        self.lose(0);
    }

    /// Every message takes up to this much longer.
    #[allow(clippy::unused_self, reason = "the network is what is slowed down")]
    pub(crate) fn slow_down(&self, extra_us: u64) {
        let (from, to) = NEAR_US;
        NetSim::current().update_config(|config| {
            config.send_latency = Duration::from_micros(from)..Duration::from_micros(to + extra_us);
        });
    }

    /// So many packets in a million are lost, and sent again.
    #[allow(clippy::unused_self, reason = "the network is what loses")]
    pub(crate) fn lose(&self, ppm: u32) {
        let rate = f64::from(ppm) / 1_000_000.0;
        NetSim::current().update_config(|config| config.packet_loss_rate = rate);
    }
}
