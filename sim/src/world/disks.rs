//! What store nodes would find in their logs if the power failed now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::task::NodeId as MachineId;
use tidegate_raft_store::storage::{Claim, IDENTITY_FILE, LogOptions, LogStore, is_log_file};
use tidegate_raft_store::{LogId, NodeId, Vote};
use tidegate_runtime::disk::{Disk, SimDisk};
use tidegate_runtime::sim::is_damaged;

/// The disks that logs are kept on. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disks(Arc<Mutex<BTreeMap<NodeId, Place>>>);

/// Where a node keeps its log.
#[derive(Clone, Debug)]
struct Place {
    machine: MachineId,
    disk: SimDisk,
    /// Somebody took its log away, and the node must refuse what is left.
    spoiled: bool,
    /// What it computed last was wrong from the head after so many entries on, and is on the disk.
    diverged: Option<u64>,
}

/// What is left of a log; nothing of one that cannot be opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogLeft {
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
}

impl Disks {
    /// The node `id` keeps its log on this disk of this machine.
    pub(crate) fn enter(&self, id: NodeId, machine: MachineId, disk: &SimDisk) {
        let place = Place {
            machine,
            disk: disk.clone(),
            spoiled: false,
            diverged: None,
        };
        self.places().insert(id, place);
    }

    /// Somebody was at the files of this node: what it acknowledged before may be gone, and whoever
    /// starts on them all the same has forgotten it.
    pub(crate) fn spoil(&self, id: NodeId) {
        if let Some(place) = self.places().get_mut(&id) {
            place.spoiled = true;
        }
    }

    /// Whether that is so.
    pub(crate) fn is_spoiled(&self, id: NodeId) -> bool {
        self.places().get(&id).is_some_and(|place| place.spoiled)
    }

    /// The chain of this node is another one from the head after so many entries on.
    pub(crate) fn diverge(&self, id: NodeId, entries: u64) {
        if let Some(place) = self.places().get_mut(&id) {
            place.diverged = Some(entries);
        }
    }

    /// From where on that is so.
    pub(crate) fn diverged(&self, id: NodeId) -> Option<u64> {
        self.places().get(&id)?.diverged
    }

    // Plain data, valid at every step: a panic elsewhere does not spoil it.
    fn places(&self) -> MutexGuard<'_, BTreeMap<NodeId, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a node would find if its power failed now, and everything that is not synced were lost.
    /// Nothing if its disk is not to be believed: a fault has damaged it, and nobody starts a voter
    /// on it again.
    pub(crate) async fn after_power_loss(&self, id: NodeId) -> Option<LogLeft> {
        let Place { machine, disk, .. } = self.places().get(&id).cloned()?;
        if is_damaged(machine) {
            return None;
        }
        let left = disk.after_power_loss(|name| name == IDENTITY_FILE || is_log_file(name));
        Some(
            look_into(Arc::new(left.mount()), id)
                .await
                .unwrap_or_default(),
        )
    }
}

/// What the log on a disk holds; nothing if it cannot be opened.
async fn look_into(disk: Arc<dyn Disk>, id: NodeId) -> Option<LogLeft> {
    let claim = Claim::found(disk.as_ref(), id).ok().flatten()?;
    let log = LogStore::open(disk, &claim, LogOptions::default())
        .await
        .ok()?;
    Some(LogLeft {
        vote: log.vote(),
        last: log.last(),
    })
}
