//! A node whose chain becomes another one than its peers'.

use super::World;
use super::machine::Breakable as _;
use super::store::Store;
use crate::oracle::Seen;

impl World {
    /// From its last head on, this node's chain is another one, for as long as its disk lives. A node
    /// that is down, or has no entries yet, computes nothing that could be wrong.
    pub(crate) fn diverge(&self, store: &Store) {
        let state = store.machine.with(|node| node.state().clone());
        let Some(state) = state.filter(|state| state.position().entries > 0) else {
            return;
        };
        let entries = state.position().entries;
        state.diverge(entries);
        self.disks.diverge(store.spec.id, entries);
        // It is replaced once it has stopped.
        store.machine.spoil();
        let lane = store.machine.lane();
        self.witness.see(&Seen::Diverged { lane });
    }
}
