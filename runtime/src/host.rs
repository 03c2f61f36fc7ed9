//! What a node stands on.

use std::sync::Arc;

use crate::disk::Disk;
use crate::{Clock, Entropy, SystemClock, SystemEntropy};

/// The edges of one node, real or simulated: all that it takes from the machine beside the network
/// and the executor, which are [`Rt`](crate::Rt)'s.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it keeps what it must not forget.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for the ids of commands that the node itself signs.
    pub entropy: Arc<dyn Entropy>,
}

impl Host {
    /// This machine, with `disk` for the node: the operating system's clocks and randomness. In
    /// the simulator both are the simulated machine's.
    pub fn system(disk: impl Disk) -> Self {
        Self {
            disk: Arc::new(disk),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}
