//! The state and its audit log: one transaction moves both, and how far Raft's log was applied.
//!
//! Applying does not sync: after a crash the state is an older one, and openraft applies the rest
//! of its log again, which gives the same bytes. It is synced before a snapshot is handed out,
//! because the log is purged behind it, and whenever much has gathered.
//!
//! Architecture invariant: nothing here decides anything about rollouts. `domain::apply` does, and
//! this module writes down what came of it.

mod core;
mod durable;
mod error;
mod heads;
mod machine;
mod tables;
mod view;

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use tidegate_audit_log::LogHead;
use tidegate_domain::id::{Incarnation, LogTime};
use tidegate_domain::{Stamp, State};
use tidegate_runtime::disk::Disk;
use tidegate_runtime::{Containment, blocking};

pub use self::error::StateError;
pub use self::view::{AuditEntry, StateView};

use self::durable::begin;

pub(super) use self::core::Core;
pub(super) use self::tables::Tables;
use super::database::OwnDatabase;
use super::feed::{Batch, Feed, Position, PositionWatch};
use super::{Claim, Identity, LogMark, LogStore, Poison, STATE_FILE, snapshot};
use crate::types::Entry;

/// Sizes that a state is opened with.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// redb's page cache, in bytes.
    pub page_cache_bytes: usize,
    /// Bytes of audit entries that may wait for a sync: what a restart after a crash applies again.
    pub unsynced_bytes_max: u64,
    /// Bytes of events kept in memory for watchers.
    pub feed_bytes_max: usize,
}

/// The state of a node. Clones share it.
#[derive(Clone, Debug)]
pub struct StateStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    /// Held by whoever changes the state, for as long as transactions and syncs take. Nothing on a
    /// request's path waits for it.
    writing: Mutex<Writing>,
    /// What readers look at. It changes only while `writing` is held, and is locked for one entry in
    /// memory at a time, never while something is written.
    shown: RwLock<Shown>,
    database: OwnDatabase,
    disk: Arc<dyn Disk>,
    feed: Feed,
    options: StateOptions,
    /// This node's log, from when both are open.
    log: OnceLock<LogStore>,
    /// Why nothing may be applied any more, if that is so.
    ended: Arc<OnceLock<Poison>>,
    /// The first chain head that is wrong, if a simulated memory lost a bit.
    #[cfg(madsim)]
    diverged: OnceLock<u64>,
}

#[derive(Debug)]
struct Writing {
    /// Bytes of audit entries since the last durable commit.
    unsynced_bytes: u64,
    /// What the log had when that was last written down.
    log_mark: LogMark,
    /// Why nothing may be applied any more.
    poisoned: Option<String>,
    /// The same for who must not wait for the lock.
    ended: Arc<OnceLock<Poison>>,
}

#[derive(Debug)]
struct Shown {
    core: Core,
    installs: u64,
}

impl StateStore {
    /// Opens the state on `disk`, or begins it at genesis, and verifies that its rows, its root and
    /// its audit log belong together.
    ///
    /// # Errors
    /// [`StateError`] if the disk fails, or something is damaged or not this cluster's.
    pub async fn open(
        disk: Arc<dyn Disk>,
        claim: &Claim,
        options: StateOptions,
    ) -> Result<Self, StateError> {
        let (claim, containment) = (claim.clone(), Containment::here());
        let read = move || Self::open_blocking(disk, &claim, options);
        let opened = blocking(move || containment.run(read)).await?;
        opened.map_err(|panic| StateError::Damaged(panic.to_string()))?
    }

    fn open_blocking(
        disk: Arc<dyn Disk>,
        claim: &Claim,
        options: StateOptions,
    ) -> Result<Self, StateError> {
        let identity = &claim.owner().identity;
        let Identity {
            origin,
            incarnation,
            node: _,
        } = identity;
        snapshot::remove_leftovers(disk.as_ref())?;
        let database = OwnDatabase::open(&disk, STATE_FILE, claim, options.page_cache_bytes)?;
        tables::create(&database)?;
        let core = match tables::load(&database)? {
            Some(core) => core,
            None => {
                let state = State::new(origin.clone(), Incarnation(*incarnation));
                let mut core = Core::new(state, LogHead::genesis(origin));
                let write = begin(&database, true)?;
                Tables::open(&write)?.save(core.settle())?;
                write.commit().map_err(redb::Error::from)?;
                core
            }
        };
        core.check_known_rules()?;
        if core.state.meta().origin != *origin || core.state.meta().incarnation.0 != *incarnation {
            let found = core.state.meta();
            return Err(StateError::Damaged(format!(
                "it is of {:?}, incarnation {}",
                found.origin, found.incarnation
            )));
        }
        let feed = Feed::new(core.position(0), options.feed_bytes_max);
        let ended = Arc::default();
        let shared = Shared {
            identity: identity.clone(),
            writing: Mutex::new(Writing {
                unsynced_bytes: 0,
                log_mark: tables::mark(&database)?,
                poisoned: None,
                ended: Arc::clone(&ended),
            }),
            shown: RwLock::new(Shown { core, installs: 0 }),
            database,
            disk,
            feed,
            options,
            log: OnceLock::new(),
            ended,
            #[cfg(madsim)]
            diverged: OnceLock::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The cluster's origin, which never changes.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.shared.identity.origin
    }

    /// The number of the cluster's life, which lasts as long as the data directory.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.shared.identity.incarnation)
    }

    /// Why nothing may be applied any more, or `None` while it may. Cheap.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.shared.ended.get().cloned()
    }

    /// Where the state stands. Cheap.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.feed.position()
    }

    /// Wakes whenever the position moves.
    #[must_use]
    pub fn subscribe(&self) -> PositionWatch {
        self.shared.feed.subscribe()
    }

    /// Looks at the state in memory. It never waits for a disk: at most for one entry that is being
    /// applied, or for what a batch has changed to be collected. Entries wait while it looks.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.shown().core.state)
    }

    /// As [`Self::read`], with the stamp that the next entry would carry at log time `time`.
    pub fn read_next<T>(&self, time: LogTime, look: impl FnOnce(&State, Stamp) -> T) -> T {
        let core = &self.shared.shown().core;
        look(&core.state, core.stamp(time))
    }

    /// State and audit log as of now. Reads the disk; while it is held, old pages are not reused.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn view(&self) -> Result<StateView, StateError> {
        StateView::open(&self.shared.database, self.shared.shown().installs)
    }

    /// The next changes for a watcher whose state covers `after` entries, with at most `bytes_max`
    /// of events or one larger entry, if they are still in memory. Cheap.
    #[must_use]
    pub fn recent_after(&self, after: u64, bytes_max: usize) -> Option<Batch> {
        self.shared.feed.batch_after(after, bytes_max)
    }

    /// As [`Self::recent_after`], but what has left the memory is read from the audit log. `None`
    /// if there are none yet. Reads the disk.
    ///
    /// # Errors
    /// The database cannot be read, or `after` is more than there is ([`StateError::Refused`]).
    pub fn changes_after(&self, after: u64, bytes_max: usize) -> Result<Option<Batch>, StateError> {
        if let batch @ Some(_) = self.recent_after(after, bytes_max) {
            return Ok(batch);
        }
        let view = self.view()?;
        let entries = view.position().entries;
        if after > entries {
            return Err(StateError::Refused(format!(
                "{after} entries claimed, there are {entries}"
            )));
        }
        view.changes_after(after, bytes_max)
    }

    pub(super) fn shared_disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.shared.disk)
    }

    /// Runs `change` on the core within one transaction, swaps in what it returns, and makes it
    /// durable. Readers go on meanwhile: they wait for the swap alone.
    pub(super) fn install(
        &self,
        change: impl FnOnce(&mut Tables<'_>, &Core) -> Result<Core, StateError>,
    ) -> Result<(), StateError> {
        let Shared { database, feed, .. } = &*self.shared;
        let mut writing = self.shared.writing();
        writing.check_sound()?;
        let write = begin(database, false)?;
        let mut core = {
            let mut tables = Tables::open(&write)?;
            let mut core = change(&mut tables, &self.shared.shown().core)?;
            tables.save(core.settle())?;
            core
        };
        core.check_known_rules()?;
        {
            // A view has the number of installs that its rows come from.
            let mut shown = self.shared.shown_to_change();
            if let Err(error) = write.commit() {
                return Err(writing.poison(redb::Error::from(error).into()));
            }
            std::mem::swap(&mut shown.core, &mut core);
            shown.installs += 1;
            feed.replace(shown.core.position(shown.installs));
        }
        self.shared.flush(&mut writing, None)
    }

    #[cfg(test)]
    pub(super) fn apply_for_test(&self, entry: &Entry) {
        self.apply(std::slice::from_ref(entry)).unwrap();
    }

    /// Applies entries in order, all in one transaction.
    pub(super) fn apply(
        &self,
        entries: &[Entry],
    ) -> Result<Vec<crate::types::Applied>, StateError> {
        self.shared.apply(entries)
    }
}

impl Shared {
    fn apply(&self, entries: &[Entry]) -> Result<Vec<crate::types::Applied>, StateError> {
        let mut writing = self.writing();
        writing.check_sound()?;
        // The state in memory may be ahead of the database after an error.
        self.apply_batch(&mut writing, entries)
            .map_err(|error| writing.poison(error))
    }

    fn apply_batch(
        &self,
        writing: &mut Writing,
        entries: &[Entry],
    ) -> Result<Vec<crate::types::Applied>, StateError> {
        let first = self.shown().core.head.size();
        let due = writing.unsynced_bytes > self.options.unsynced_bytes_max;
        let write = begin(&self.database, due)?;
        let (mut answers, mut events, mut bytes) = (Vec::with_capacity(entries.len()), vec![], 0);
        let position = {
            let mut tables = Tables::open(&write)?;
            for entry in entries {
                let (answer, chained) = self
                    .shown_to_change()
                    .core
                    .apply(entry, self.identity.node)?;
                answers.push(answer);
                if let Some(chained) = chained {
                    bytes += tables.put_chained(&chained)?;
                    events.push(chained.events);
                }
            }
            let (settled, position) = {
                let mut shown = self.shown_to_change();
                let settled = shown.core.settle();
                (settled, shown.core.position(shown.installs))
            };
            tables.save(settled)?;
            position
        };
        write.commit().map_err(redb::Error::from)?;
        writing.unsynced_bytes = if due {
            0
        } else {
            writing.unsynced_bytes + bytes
        };
        let batch = Batch {
            from: first,
            events,
            root: Some(position.root),
            log_time_ms: position.log_time_ms,
        };
        self.feed.publish(batch, position);
        Ok(answers)
    }

    // A panic while it was held leaves the memory ahead of the disk: the poison is kept.
    fn writing(&self) -> MutexGuard<'_, Writing> {
        let poisoned = self.writing.is_poisoned();
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if poisoned && writing.poisoned.is_none() {
            writing.poisoned = Some("applying an entry panicked".to_owned());
        }
        writing
    }

    fn shown(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For whoever holds `writing`.
    fn shown_to_change(&self) -> RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn check_sound(&self) -> Result<(), StateError> {
        match &self.poisoned {
            Some(reason) => Err(StateError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    fn poison(&mut self, error: StateError) -> StateError {
        tracing::error!("{error}");
        let reason = error.to_string();
        self.poisoned = Some(reason.clone());
        // The first reason stays.
        let _ = self.ended.set(Poison {
            reason,
            full: error.is_full_disk(),
        });
        error
    }
}

#[cfg(test)]
mod tests;
