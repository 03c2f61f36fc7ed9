//! Clocks of simulated nodes: madsim has one global clock, so drift and jumps are added here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use madsim::task::NodeId;
use madsim::time::TimeHandle;

use crate::{BootInstant, WallMs};

/// How a node's clocks differ from the simulator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Speed of the node's clocks in parts per million: 1,000,000 is true, 1,000,200 gains 200 µs
    /// a second. Must be above zero.
    pub rate_ppm: u32,
    /// What the node's wall clock is off by, in milliseconds. Changing it is a jump.
    pub wall_offset_ms: i64,
}

impl Skew {
    /// A perfect clock.
    pub const NONE: Self = Self {
        rate_ppm: PPM,
        wall_offset_ms: 0,
    };
}

const PPM: u32 = 1_000_000;
/// Every simulated machine booted this long before the simulation began, so that "now minus a
/// lease" never underflows.
const BOOTED_BEFORE_NS: i128 = 1_000_000_000_000;
/// Wall time at the start of a simulation: 2026-11-01T00:00:00Z.
const WALL_START_MS: i128 = 1_793_491_200_000;

#[derive(Clone, Copy)]
struct NodeClock {
    skew: Skew,
    /// Local time at the moment the rate last changed, and the global time of that moment: local
    /// time stays continuous when the rate changes.
    local_ns: i128,
    global_ns: i128,
    /// The machine is suspended.
    stands: bool,
    /// For how long it was: the wall clock gets that time back when the machine goes on, the boot
    /// clock never.
    missed_ns: i128,
}

thread_local! {
    // One simulation owns one thread, so its clocks may live there.
    static CLOCKS: RefCell<BTreeMap<NodeId, NodeClock>> = const { RefCell::new(BTreeMap::new()) };
}

/// Changes the clocks of `node` from now on. The boot clock stays continuous; the wall clock jumps
/// by the difference of the offsets.
///
/// # Panics
/// If the rate is zero: a clock that stands still would stop every timer.
pub fn set_skew(node: NodeId, skew: Skew) {
    assert!(skew.rate_ppm > 0, "a clock must run");
    change(node, |clock| clock.skew = skew);
}

/// Stops the clocks of `node`, as a machine that is suspended does. Nothing may run on it meanwhile:
/// its timers would not know of it.
pub fn stop_clocks(node: NodeId) {
    change(node, |clock| clock.stands = true);
}

/// Lets stopped clocks go on: the boot clock where it stood, the wall clock at the right time.
pub fn start_clocks(node: NodeId) {
    change(node, |clock| clock.stands = false);
}

fn change(node: NodeId, how: impl FnOnce(&mut NodeClock)) {
    let mut clock = clock_of(node).moved_to(global_ns());
    how(&mut clock);
    CLOCKS.with_borrow_mut(|clocks| clocks.insert(node, clock));
}

/// Makes every clock of this thread perfect again; call between two simulations on one thread.
pub fn clear_skew() {
    CLOCKS.with_borrow_mut(BTreeMap::clear);
}

/// The boot clock of the calling node.
pub(crate) fn boot() -> BootInstant {
    BootInstant::from_boot(Duration::from_nanos(to_u64(here().local_at(global_ns()))))
}

/// The wall clock of the calling node.
pub(crate) fn wall() -> WallMs {
    let clock = here();
    let since_start_ns = clock.local_at(global_ns()) + clock.missed_ns - BOOTED_BEFORE_NS;
    let ms = WALL_START_MS + since_start_ns / 1_000_000 + i128::from(clock.skew.wall_offset_ms);
    WallMs(to_u64(ms))
}

/// How long, on the simulator's clock, the calling node must sleep for `local` to pass on its own.
pub(crate) fn to_global(local: Duration) -> Duration {
    let rate = u128::from(here().skew.rate_ppm);
    if rate == u128::from(PPM) {
        return local;
    }
    let ns = local.as_nanos().saturating_mul(u128::from(PPM)) / rate;
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

impl NodeClock {
    fn moved_to(self, global_ns: i128) -> Self {
        let stood_ns = if self.stands {
            global_ns - self.global_ns
        } else {
            0
        };
        Self {
            local_ns: self.local_at(global_ns),
            global_ns,
            missed_ns: self.missed_ns + stood_ns,
            ..self
        }
    }

    fn local_at(&self, global_ns: i128) -> i128 {
        if self.stands {
            return self.local_ns;
        }
        self.local_ns
            + (global_ns - self.global_ns) * i128::from(self.skew.rate_ppm) / i128::from(PPM)
    }
}

fn here() -> NodeClock {
    clock_of(madsim::plugin::node())
}

fn clock_of(node: NodeId) -> NodeClock {
    let perfect = NodeClock {
        skew: Skew::NONE,
        local_ns: BOOTED_BEFORE_NS,
        global_ns: 0,
        stands: false,
        missed_ns: 0,
    };
    CLOCKS.with_borrow(|clocks| clocks.get(&node).copied().unwrap_or(perfect))
}

fn global_ns() -> i128 {
    i128::try_from(TimeHandle::current().elapsed().as_nanos()).unwrap_or(i128::MAX)
}

fn to_u64(value: i128) -> u64 {
    u64::try_from(value.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};

    #[test]
    fn a_fast_clock_gains_and_stays_continuous() {
        let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
        runtime.block_on(async {
            let node = madsim::runtime::Handle::current().create_node().build();
            let id = node.id();
            let task = node.spawn(async move {
                let boot = SystemClock.boot();
                let wall = SystemClock.wall();
                set_skew(
                    id,
                    Skew {
                        rate_ppm: 1_500_000,
                        wall_offset_ms: 0,
                    },
                );
                assert!(SystemClock.boot().since(boot) < Duration::from_millis(1));
                madsim::time::sleep(Duration::from_secs(10)).await;
                let gained = SystemClock.boot().since(boot);
                assert!(gained >= Duration::from_millis(14_999), "{gained:?}");
                set_skew(
                    id,
                    Skew {
                        rate_ppm: 1_500_000,
                        wall_offset_ms: -60_000,
                    },
                );
                assert!(SystemClock.wall() < wall, "the wall clock jumped back");
                assert!(
                    SystemClock.boot().since(boot) >= gained,
                    "the boot clock did not"
                );
            });
            task.await.unwrap();
        });
        clear_skew();
    }

    #[test]
    fn a_suspended_machine_misses_the_time_and_is_told_what_it_is_afterwards() {
        let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
        runtime.block_on(async {
            let node = madsim::runtime::Handle::current().create_node().build();
            let id = node.id();
            let read = || async { (SystemClock.boot(), SystemClock.wall()) };
            let (boot, wall) = node.spawn(read()).await.unwrap();
            stop_clocks(id);
            madsim::time::sleep(Duration::from_secs(7)).await;
            // Other changes do not set it going.
            set_skew(id, Skew::NONE);
            madsim::time::sleep(Duration::from_secs(3)).await;
            start_clocks(id);
            let (boot_then, wall_then) = node.spawn(read()).await.unwrap();
            assert!(boot_then.since(boot) < Duration::from_millis(1));
            assert!((10_000..10_002).contains(&(wall_then.0 - wall.0)));
        });
        clear_skew();
    }
}
