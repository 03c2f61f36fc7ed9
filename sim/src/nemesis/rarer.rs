//! Faults of which one blow is enough, and what delays and suspends a machine.

use tidegate_runtime::sim::{break_streams, set_lag};

use super::{Nemesis, ms, snapshot};
use crate::schedule::Fault;
use crate::world::machine::Breakable as _;
use crate::world::store::address;

impl Nemesis {
    pub(super) fn strike_rarer(&self, fault: Fault) {
        match fault {
            Fault::SnapshotTwice { at, apart_ms } => self.at(&at, |store| {
                snapshot(&store);
                self.world.errands.spawn(async move {
                    madsim::time::sleep(ms(apart_ms)).await;
                    snapshot(&store);
                });
            }),
            Fault::FailIo { at, reads, after } => self.at(&at, |store| {
                let disk = store.machine.disk();
                if reads {
                    disk.fail_read_after(after);
                } else {
                    disk.fail_write_after(after);
                }
            }),
            Fault::Misdirect { at, after, sectors } => self.at(&at, |store| {
                store.machine.ruin();
                let sectors = usize::try_from(sectors).unwrap_or(1);
                store.machine.disk().misdirect_after(after, sectors);
            }),
            Fault::Disconnect { at } => self.at(&at, |store| {
                break_streams(address(store.spec.id).ip());
            }),
            Fault::Suspend {
                at,
                for_ms,
                apart_ms,
            } => self.at(&at, |store| {
                let peers = self.world.peers(store.spec.id);
                if !peers.is_empty() {
                    self.cut(
                        self.between(std::slice::from_ref(&at), &peers),
                        for_ms + apart_ms,
                    );
                }
                store.machine.suspend();
                self.later(for_ms, "suspension", move |_| store.machine.resume());
            }),
            Fault::Lag {
                at,
                extra_us,
                for_ms,
            } => self.on(&at, |at| {
                let machine = at.id();
                set_lag(machine, extra_us);
                self.later(for_ms, "lag", move |_| set_lag(machine, 0));
            }),
            Fault::Diverge { at } => self.at(&at, |store| self.world.diverge(&store)),
            Fault::Forge { at } => self.at(&at, |store| self.world.forge(&store)),
            Fault::Duplicate { for_ms } => {
                self.world.send_twice(true);
                self.later(for_ms, "duplication", |nemesis| {
                    nemesis.world.send_twice(false);
                });
            }
            other => unreachable!("{other} is brought about elsewhere"),
        }
    }
}
