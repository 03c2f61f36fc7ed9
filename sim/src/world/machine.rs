//! A machine of the world: what survives its crashes, and the process that runs on it now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::runtime::Handle;
use madsim::task::NodeId;
use tidegate_runtime::Host;
use tidegate_runtime::disk::{Disk, SimDisk};
use tidegate_runtime::sim::{set_damaged, set_region, start_clocks, stop_clocks};
use tokio::sync::oneshot;

use super::witness::{Witness, now_us};
use crate::dice::Dice;
use crate::record::Kind;

/// A machine that runs a process of type `N`. Cheap to clone; clones are the same machine.
pub(crate) struct Machine<N>(Arc<Inner<N>>);

struct Inner<N> {
    lane: String,
    /// A fault damaged what its disk holds, beyond what any process could bear.
    ruined: AtomicBool,
    /// It is suspended: nothing on it runs, or starts.
    suspended: AtomicBool,
    id: NodeId,
    disk: SimDisk,
    process: Process<N>,
    /// When it is started again if it is down, in µs; never if there is none.
    back_at_us: Mutex<Option<u64>>,
}

/// What runs on a machine now. Cheap to clone; clones are the same.
pub(crate) struct Process<N>(Arc<Mutex<Running<N>>>);

struct Running<N> {
    node: Option<N>,
    /// The disk as this process sees it; dead once the power failed.
    mount: Option<Arc<dyn Disk>>,
    stop: Option<oneshot::Sender<()>>,
    /// It was started and refused.
    refused: bool,
}

/// What faults do to a machine, whatever runs on it.
pub(crate) trait Breakable {
    fn lane(&self) -> &str;
    fn id(&self) -> NodeId;
    fn disk(&self) -> &SimDisk;
    /// Whether a process runs.
    fn is_up(&self) -> bool;
    /// Whether the process was started and found its disk unusable.
    fn refused(&self) -> bool;
    /// Whether a fault damaged what its disk holds.
    fn is_ruined(&self) -> bool;
    /// Notes that a fault damaged what its disk holds.
    fn ruin(&self);
    /// Whether the power failed under the process.
    fn lost_power(&self) -> bool;
    /// Notes that its process must refuse its disk: it is replaced when it has.
    fn spoil(&self);
    /// The machine loses power, and with it what was not synced.
    fn cut_power(&self, dice: &mut Dice);
    /// The process dies and the machine lives.
    fn kill(&self);
    /// The process stands still; the machine's clocks run.
    fn pause(&self);
    /// The process goes on, unless the machine is suspended.
    fn unpause(&self);
    /// The machine stands still, its clocks too.
    fn suspend(&self);
    /// Whatever stood still goes on.
    fn resume(&self);
    /// Starts the machine again after a while.
    fn back_after(&self, length_ms: u64);
    /// Tells the process to stop in good order; answers whether there was one.
    fn ask_to_stop(&self) -> bool;
}

impl<N> Clone for Machine<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N> Clone for Process<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N: Send + 'static> Machine<N> {
    /// Builds the machine and switches it on; `life` is one life of its process.
    pub(crate) fn build<F>(
        lane: &str,
        (address, region): (std::net::SocketAddr, &str),
        disk: SimDisk,
        process: Process<N>,
        life: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = Handle::current();
        let builder = world.create_node().name(lane).ip(address.ip());
        let node = builder.init(life).build();
        set_region(node.id(), address.ip(), region);
        Self(Arc::new(Inner {
            lane: lane.to_owned(),
            ruined: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            id: node.id(),
            disk,
            process,
            back_at_us: Mutex::default(),
        }))
    }

    /// Looks at the running process, if there is one.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&N) -> T) -> Option<T> {
        self.0.process.running().node.as_ref().map(look)
    }

    /// Runs a task as part of the process that runs now. A handle would be of no use: it belongs to
    /// the process that ran when it was made.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(node) = Handle::current().get_node(self.id()) {
            drop(node.spawn(task));
        }
    }

    /// Whether it will be started again.
    pub(crate) fn is_due(&self) -> bool {
        self.back_at().is_some()
    }

    /// Starts the process again if its time has come; answers whether it did.
    pub(crate) fn start_if_due(&self) -> bool {
        if self.0.suspended.load(Ordering::Relaxed) {
            return false;
        }
        let due = self.back_at().take_if(|at| *at <= now_us()).is_some();
        if due {
            // Only of the attempt before: else a process that takes long to start is ended by the
            // next attempt.
            self.0.process.running().refused = false;
            Handle::current().restart(self.id());
        }
        due
    }

    fn down(&self) {
        Handle::current().kill(self.id());
        self.0.process.clear();
        *self.back_at() = None;
    }

    fn back_at(&self) -> MutexGuard<'_, Option<u64>> {
        let back_at = self.0.back_at_us.lock();
        back_at.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: Send + 'static> Breakable for Machine<N> {
    fn lane(&self) -> &str {
        &self.0.lane
    }

    fn id(&self) -> NodeId {
        self.0.id
    }

    fn disk(&self) -> &SimDisk {
        &self.0.disk
    }

    fn is_up(&self) -> bool {
        self.0.process.running().node.is_some()
    }

    fn refused(&self) -> bool {
        self.0.process.running().refused
    }

    fn is_ruined(&self) -> bool {
        self.0.ruined.load(Ordering::Relaxed)
    }

    fn ruin(&self) {
        self.spoil();
        set_damaged(self.id());
    }

    fn spoil(&self) {
        self.0.ruined.store(true, Ordering::Relaxed);
    }

    fn lost_power(&self) -> bool {
        let mount = self.0.process.running().mount.clone();
        mount.is_some_and(|mount| mount.free_bytes().is_err())
    }

    fn cut_power(&self, dice: &mut Dice) {
        // The disk first: killing the process drops its databases, which would close in good order.
        self.0.disk.lose_power(&mut || dice.number());
        self.down();
    }

    fn kill(&self) {
        self.0.disk.kill();
        self.down();
    }

    fn pause(&self) {
        Handle::current().pause(self.id());
    }

    fn unpause(&self) {
        if !self.0.suspended.load(Ordering::Relaxed) {
            Handle::current().resume(self.id());
        }
    }

    fn suspend(&self) {
        self.0.suspended.store(true, Ordering::Relaxed);
        Handle::current().pause(self.id());
        stop_clocks(self.id());
    }

    fn resume(&self) {
        start_clocks(self.id());
        self.0.suspended.store(false, Ordering::Relaxed);
        self.unpause();
    }

    fn back_after(&self, length_ms: u64) {
        *self.back_at() = Some(now_us() + length_ms * 1_000);
    }

    fn ask_to_stop(&self) -> bool {
        let stop = self.0.process.running().stop.take();
        stop.is_some_and(|stop| stop.send(()).is_ok())
    }
}

impl<N> Default for Process<N> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Running {
            node: None,
            mount: None,
            stop: None,
            refused: false,
        })))
    }
}

impl<N> Process<N> {
    /// The process serves; answers what tells it to stop.
    pub(crate) fn serves(&self, node: N, host: &Host) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        *self.running() = Running {
            node: Some(node),
            mount: Some(Arc::clone(&host.disk)),
            stop: Some(stop),
            refused: false,
        };
        stopped
    }

    /// The process found that it cannot start.
    pub(crate) fn refuse(&self, witness: &Witness, lane: &str, why: &str) {
        self.running().refused = true;
        let why = why.to_owned();
        witness.note(lane, Kind::Refused { why });
    }

    /// What runs, to be ended by whoever takes it.
    pub(crate) fn take(&self) -> Option<N> {
        self.running().node.take()
    }

    fn clear(&self) {
        let gone = {
            let mut running = self.running();
            running.refused = false;
            running.stop = None;
            running.mount = None;
            running.node.take()
        };
        drop(gone);
    }

    fn running(&self) -> MutexGuard<'_, Running<N>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_runs_on_a_machine_that_was_started_again() {
        madsim::runtime::Runtime::new().block_on(async {
            let place = (([10, 0, 0, 1], 7_000).into(), "a");
            let life = std::future::pending::<()>;
            let machine: Machine<()> =
                Machine::build("s1", place, SimDisk::new(), Process::default(), life);
            machine.kill();
            machine.back_after(0);
            assert!(machine.start_if_due());
            let (ran, runs) = oneshot::channel();
            machine.spawn(async move {
                let _ = ran.send(());
            });
            assert!(runs.await.is_ok(), "it never ran");
        });
    }
}
