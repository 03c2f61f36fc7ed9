//! The simulated side of the seam; compiled only under `--cfg madsim`.

pub mod channel;
mod damage;
pub mod runtime;
mod skew;
pub mod watch;
mod way;

pub use channel::{SimMpsc, SimMutex, SimOneshot};
pub use damage::{clear_damaged, contain, is_contained, is_damaged, set_damaged};
pub use runtime::{SimInstant, SimRng, SimRuntime};
pub use skew::{Skew, clear_skew, set_skew, start_clocks, stop_clocks};
pub use watch::FifoWatch;
pub use way::{Passing, Way, break_streams, clear_ways, set_lag, set_region, set_way};

pub(crate) use skew::{boot, wall};
