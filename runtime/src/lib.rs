//! The seam between production code and the simulator: time, randomness, tasks and disks.
//!
//! Everything above this crate runs unmodified in both worlds. Without `--cfg madsim` the seam is
//! tokio, the operating system's clocks and real files; with it, the same names mean madsim's
//! deterministic executor, clocks that can be skewed per node, and a disk that loses what was not
//! synced.
//!
//! | Need | Use | Real | Simulated |
//! |---|---|---|---|
//! | tasks, timers, openraft's channels | [`Rt`], [`Task`] | tokio | `sim::SimRuntime`, on the node's skewed clock |
//! | a watch channel with a fixed wake order | [`Watch`] | tokio | `sim::FifoWatch` |
//! | the time | [`Clock`] | [`SystemClock`] | [`SystemClock`], skewed by `sim::set_skew` |
//! | bytes that last | [`disk::Disk`] | [`disk::DirDisk`] | [`disk::SimDisk`] |
//! | random bytes | [`Entropy`] | [`SystemEntropy`] | the same; madsim seeds `getrandom` |
//! | the way to another machine | [`Way`] | nothing: the network takes its time | latencies by region |
//! | all of a node's edges | [`Host`] | [`Host::system`] | the same |

mod clock;
mod containment;
pub mod disk;
mod entropy;
mod host;
mod leg;
#[cfg(madsim)]
pub mod sim;
#[cfg(not(madsim))]
mod way;

pub use clock::{BootInstant, Clock, SystemClock, WallMs};
pub use containment::Containment;
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use host::Host;
pub use leg::Leg;
pub use openraft_rt::AsyncRuntime;
#[cfg(madsim)]
pub use sim::{Passing, Way};
#[cfg(not(madsim))]
pub use way::{Passing, Way};

/// openraft's runtime: real tokio outside the simulator, madsim inside.
#[cfg(not(madsim))]
pub type Rt = openraft_rt_tokio::TokioRuntime;
/// openraft's runtime: real tokio outside the simulator, madsim inside.
#[cfg(madsim)]
pub type Rt = sim::SimRuntime;

/// The watch channel that code above this crate uses instead of `tokio::sync::watch`, whose wake
/// order depends on what ran earlier in the process and would break replay of a seed.
pub type Watch = <Rt as AsyncRuntime>::Watch;

/// A task begun by `Rt::spawn`. Dropping it lets the task run on; `abort` ends it.
pub type Task<T> = <Rt as AsyncRuntime>::JoinHandle<T>;

/// How many processors the executor works on: one in the simulator, whatever the machine has.
///
/// # Panics
/// Outside an executor.
#[must_use]
pub fn processors() -> usize {
    #[cfg(not(madsim))]
    return tokio::runtime::Handle::current().metrics().num_workers();
    #[cfg(madsim)]
    return 1;
}

/// Runs `work`, which may block on a disk, on the executor's pool of threads for such work.
///
/// In the simulator it runs inline and takes no virtual time; the disk adds its own delays.
///
/// # Errors
/// Fails if the runtime is shutting down or `work` panicked.
pub async fn blocking<T, F>(work: F) -> std::io::Result<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // Not `Rt::spawn_blocking`: openraft's runtime for tokio starts and ends a thread for each call.
    #[cfg(not(madsim))]
    return tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other);
    #[cfg(madsim)]
    return Rt::spawn_blocking(work).await;
}
