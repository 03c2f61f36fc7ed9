//! What store nodes would find in their logs if the power failed now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use madsim::task::NodeId as MachineId;
use tidegate_raft_store::storage::{LOG_FILE, LogOptions, LogStore};
use tidegate_raft_store::{LogId, NodeId, Vote};
use tidegate_runtime::disk::SimDisk;
use tidegate_runtime::sim::is_damaged;

/// The disks that logs are kept on. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disks(Arc<Mutex<BTreeMap<NodeId, (MachineId, SimDisk)>>>);

/// What is left of a log; nothing of one that cannot be opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogLeft {
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
}

impl Disks {
    /// The node `id` keeps its log on this disk of this machine.
    pub(crate) fn enter(&self, id: NodeId, machine: MachineId, disk: &SimDisk) {
        let mut disks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        disks.insert(id, (machine, disk.clone()));
    }

    /// What a node would find if its power failed now, and everything that is not synced were lost.
    /// Nothing if its disk is not to be believed: a fault has damaged it, and nobody starts a voter
    /// on it again.
    pub(crate) async fn after_power_loss(&self, id: NodeId) -> Option<LogLeft> {
        let (machine, disk) = {
            let disks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            disks.get(&id).cloned()?
        };
        if is_damaged(machine) {
            return None;
        }
        let left = disk.after_power_loss(LOG_FILE);
        let log = LogStore::open(Arc::new(left.mount()), LogOptions::default()).await;
        let left = log.map(|log| LogLeft {
            vote: log.vote(),
            last: log.last(),
        });
        Some(left.unwrap_or_default())
    }
}
