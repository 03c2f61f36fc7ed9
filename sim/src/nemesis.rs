//! Brings the schedule's faults about, and mends what they broke when their time is over.

mod core;
mod files;
mod rarer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use madsim::task::NodeId;
use tidegate_runtime::sim::{Skew, set_lag, set_skew};

use self::files::place_in;
use crate::dice::Dice;
use crate::record::Kind;
use crate::schedule::{Fault, Schedule, Spot};
use crate::world::World;
use crate::world::machine::Breakable;
use crate::world::store::Store;
use crate::world::witness::now_us;

/// How often a fuse is looked at.
const FUSE_EVERY: Duration = Duration::from_millis(2);
/// How often it is looked whether a process has begun to stop.
const STOPPED_EVERY: Duration = Duration::from_millis(100);
/// How long a process has to stop in good order.
const STOP: Duration = Duration::from_secs(4);

/// What faults call Raft's log, which is several files.
const LOG: &str = "log";

/// Whoever breaks things. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Nemesis {
    world: World,
    seed: u64,
    /// All faults are over: what is still under way breaks nothing more.
    healed: Arc<AtomicBool>,
}

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

impl Nemesis {
    pub(crate) fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            seed,
            healed: Arc::default(),
        }
    }

    /// Brings about all faults of a schedule, each at its time, until it is time to heal.
    pub(crate) async fn storm(&self, schedule: &Schedule) {
        let began = now_us();
        self.world.witness.note("world", Kind::Loaded);
        for timed in &schedule.faults {
            let due = began + timed.at_ms * 1_000;
            madsim::time::sleep(Duration::from_micros(due.saturating_sub(now_us()))).await;
            if self.world.witness.is_broken() {
                return;
            }
            self.strike(&timed.fault);
        }
        let due = began + schedule.heal_at_ms * 1_000;
        madsim::time::sleep(Duration::from_micros(due.saturating_sub(now_us()))).await;
    }

    /// Everything works again, but for what is lost for good.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
        self.world.network.heal();
        self.world.send_twice(false);
        for store in self.world.members() {
            store.machine.disk().set_sync_delay(self.world.sync_delay());
            restore(&store.machine);
        }
        for machine in self.world.decisions() {
            restore(&machine);
        }
        self.world.witness.note("world", Kind::Healed);
    }

    fn strike(&self, fault: &Fault) {
        let fault = self.resolved(fault);
        self.note(&fault);
        match fault.clone() {
            Fault::Crash { at, for_ms } => self.on(&at, |at| self.crash(&*at, for_ms)),
            Fault::Kill { at, for_ms } => self.on(&at, |at| {
                at.kill();
                self.stopped(at.lane(), "killed");
                at.back_after(for_ms);
            }),
            Fault::Restart { at, for_ms } => self.on(&at, |at| self.restart(at, for_ms)),
            Fault::Replace { at } => self.at(&at, |store| self.world.replace(&store)),
            Fault::Pause { at, for_ms } => self.on(&at, |at| {
                at.pause();
                self.later(for_ms, "pause", move |_| at.unpause());
            }),
            Fault::Cut { from, to, for_ms } => {
                let (from, to) = (self.machines(&from), self.machines(&to));
                self.cut(pairs(&from, &to), for_ms);
            }
            Fault::Isolate {
                these,
                from,
                for_ms,
            } => self.cut(self.between(&these, &from), for_ms),
            Fault::Flap {
                these,
                period_ms,
                for_ms,
            } => self.flap(self.between(&these, &[]), period_ms, for_ms),
            Fault::Loss { ppm, for_ms } => {
                self.world.network.lose(ppm);
                self.later(for_ms, "loss", |nemesis| nemesis.world.network.lose(0));
            }
            Fault::Delay { extra_us, for_ms } => {
                self.world.network.slow_down(extra_us);
                self.later(for_ms, "delay", |nemesis| {
                    nemesis.world.network.slow_down(0)
                });
            }
            Fault::Transfer { to } => self.transfer(&to),
            Fault::Snapshot { at } => self.at(&at, |store| snapshot(&store)),
            Fault::Halt => self.world.halt(),
            Fault::DevicePower { one_in } => self.world.cut_device_power(one_in),
            Fault::Vote { at, voter } => {
                self.at(&at, |store| self.world.set_voter(store.spec.id, voter));
            }
            Fault::Clock { .. }
            | Fault::SlowDisk { .. }
            | Fault::FailSync { .. }
            | Fault::TearPower { .. }
            | Fault::FlipBit { .. }
            | Fault::FullDisk { .. } => self.strike_machine(fault),
            Fault::EmptyFile { .. }
            | Fault::CutFile { .. }
            | Fault::SwapFile { .. }
            | Fault::OldCopy { .. } => self.strike_files(fault),
            Fault::SnapshotTwice { .. }
            | Fault::FailIo { .. }
            | Fault::Misdirect { .. }
            | Fault::Disconnect { .. }
            | Fault::Suspend { .. }
            | Fault::Lag { .. }
            | Fault::Diverge { .. }
            | Fault::Forge { .. }
            | Fault::Duplicate { .. } => self.strike_rarer(fault),
        }
    }

    /// Faults of one machine's disk and clocks.
    fn strike_machine(&self, fault: Fault) {
        match fault {
            Fault::SlowDisk {
                at,
                sync_us,
                for_ms,
            } => self.at(&at, |store| {
                let disk = store.machine.disk().clone();
                disk.set_sync_delay(Duration::from_micros(sync_us));
                self.later(for_ms, "slow disk", move |nemesis| {
                    disk.set_sync_delay(nemesis.world.sync_delay());
                });
            }),
            Fault::FailSync { at, after } => {
                self.at(&at, |store| {
                    store.machine.ruin();
                    store.machine.disk().fail_sync_after(after);
                });
            }
            Fault::TearPower { at, after, for_ms } => {
                self.at(&at, |store| self.tear_power(store, after, for_ms));
            }
            Fault::FlipBit {
                at,
                file,
                place_ppm,
                bit,
            } => self.at(&at, |store| {
                store.machine.ruin();
                let disk = store.machine.disk();
                if let Some((file, place)) = place_in(disk, &file, place_ppm) {
                    disk.flip_bit(&file, place, bit);
                }
            }),
            Fault::FullDisk {
                at,
                free_bytes,
                for_ms,
            } => self.at(&at, |store| {
                let disk = store.machine.disk().clone();
                disk.set_capacity(Some(disk.stats().bytes + free_bytes));
                self.later(for_ms, "full disk", move |_| disk.set_capacity(None));
            }),
            Fault::Clock {
                at,
                rate_ppm,
                wall_ms,
                for_ms,
            } => self.on(&at, |at| {
                let machine = at.id();
                let skew = Skew {
                    rate_ppm,
                    wall_offset_ms: wall_ms,
                };
                set_skew(machine, skew);
                self.later(for_ms, "clock", move |_| set_skew(machine, Skew::NONE));
            }),
            other => unreachable!("{other} is no fault of one machine's parts"),
        }
    }

    fn crash(&self, at: &dyn Breakable, for_ms: u64) {
        let mut dice = Dice::new(self.seed ^ now_us(), at.lane());
        at.cut_power(&mut dice);
        self.stopped(at.lane(), "lost power");
        at.back_after(for_ms);
    }

    fn restart(&self, at: Box<dyn Breakable + Send>, for_ms: u64) {
        if !at.ask_to_stop() {
            return;
        }
        let nemesis = self.clone();
        self.world.errands.spawn(async move {
            // It stops when it has done so, and that may be after everything else is healed.
            while at.is_up() {
                madsim::time::sleep(STOPPED_EVERY).await;
            }
            let wait_ms = if nemesis.is_over() { 0 } else { for_ms };
            madsim::time::sleep(STOP).await;
            if !at.is_up() && !at.refused() {
                at.kill();
                at.back_after(wait_ms);
            }
        });
    }

    /// The power fails at some change of the disk, or never if it has nothing to do.
    fn tear_power(&self, store: Store, after: u64, for_ms: u64) {
        let machine = store.machine;
        machine.disk().fail_power_after(after);
        let nemesis = self.clone();
        self.world.errands.spawn(async move {
            let gives_up = now_us() + for_ms * 1_000;
            while !machine.lost_power() {
                if now_us() > gives_up || nemesis.is_over() {
                    return machine.disk().fail_power_never();
                }
                madsim::time::sleep(FUSE_EVERY).await;
            }
            nemesis.crash(&machine, for_ms);
        });
    }

    fn transfer(&self, to: &Spot) {
        let (Some(leader), Some(to)) = (self.world.leader(), self.world.store(to)) else {
            return;
        };
        let Some(raft) = leader.machine.with(|node| node.raft().clone()) else {
            return;
        };
        leader.machine.spawn(async move {
            // Whether it succeeds is the cluster's affair.
            let _ = raft.trigger().transfer_leader(to.spec.id).await;
        });
    }

    fn cut(&self, links: Vec<(NodeId, NodeId)>, for_ms: u64) {
        let cut = self.world.network.cut(links);
        self.later(for_ms, "cut", |nemesis| nemesis.world.network.mend(cut));
    }

    fn flap(&self, links: Vec<(NodeId, NodeId)>, period_ms: u64, for_ms: u64) {
        let nemesis = self.clone();
        self.world.errands.spawn(async move {
            let network = &nemesis.world.network;
            let ends = now_us() + for_ms * 1_000;
            while now_us() < ends && !nemesis.is_over() {
                let cut = network.cut(links.clone());
                madsim::time::sleep(ms(period_ms / 2)).await;
                network.mend(cut);
                madsim::time::sleep(ms(period_ms / 2)).await;
            }
        });
    }

    /// Mends something after a while.
    fn later(&self, for_ms: u64, what: &str, mend: impl FnOnce(&Self) + Send + 'static) {
        let (nemesis, what) = (self.clone(), what.to_owned());
        self.world.errands.spawn(async move {
            madsim::time::sleep(ms(for_ms)).await;
            if nemesis.is_over() {
                return;
            }
            mend(&nemesis);
            nemesis.world.witness.note("world", Kind::Mended { what });
        });
    }

    fn is_over(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// Does something to a machine, whatever runs on it.
    fn on(&self, spot: &Spot, strike: impl FnOnce(Box<dyn Breakable + Send>)) {
        if let Some(machine) = self.world.machine(spot) {
            strike(machine);
        }
    }

    /// Does something to a store node.
    fn at(&self, spot: &Spot, strike: impl FnOnce(Store)) {
        if let Some(store) = self.world.store(spot) {
            strike(store);
        }
    }

    /// The fault with `leader` replaced by who leads now, so that the record says whom it hit.
    fn resolved(&self, fault: &Fault) -> Fault {
        let mut fault = fault.clone();
        for spot in fault.spots_mut() {
            if spot.0 == Spot::LEADER
                && let Some(leader) = self.world.leader()
            {
                *spot = Spot::store(leader.spec.id);
            }
        }
        fault
    }

    fn machines(&self, spots: &[Spot]) -> Vec<NodeId> {
        let machines = spots.iter().filter_map(|spot| self.world.machine(spot));
        machines.map(|machine| machine.id()).collect()
    }

    /// All links between these and those, in both directions; between these and all others if those
    /// are nobody.
    fn between(&self, these: &[Spot], those: &[Spot]) -> Vec<(NodeId, NodeId)> {
        let inside = self.machines(these);
        let outside = match those {
            [] => self.world.everyone_but(&inside),
            those => self.machines(those),
        };
        let mut links = pairs(&inside, &outside);
        links.extend(pairs(&outside, &inside));
        links
    }

    fn note(&self, fault: &Fault) {
        let fault = fault.clone();
        self.world.witness.note("world", Kind::Fault { fault });
    }

    fn stopped(&self, lane: &str, why: &str) {
        let why = why.to_owned();
        self.world.witness.note(lane, Kind::Stopped { why });
    }
}

fn pairs(from: &[NodeId], to: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let of = |from: &NodeId| {
        let from = *from;
        to.iter().map(move |to| (from, *to))
    };
    let all = from.iter().flat_map(of);
    all.filter(|(from, to)| from != to).collect()
}

/// A snapshot at a bad moment; the log is dropped behind it, as far as the settings say.
fn snapshot(store: &Store) {
    let Some(raft) = store.machine.with(|node| node.raft().clone()) else {
        return;
    };
    store.machine.spawn(async move {
        // A node that stops meanwhile takes no snapshot.
        let _ = raft.trigger().snapshot().await;
    });
}

/// A machine runs again, and as it should.
fn restore(machine: &impl Breakable) {
    machine.resume();
    set_skew(machine.id(), Skew::NONE);
    set_lag(machine.id(), 0);
    machine.disk().mend();
    if !machine.is_up() {
        machine.kill();
        machine.back_after(0);
    }
}
