//! How the state becomes durable, what it remembers of the log then, and how its file is closed.

use std::sync::Arc;

use redb::{Durability, WriteTransaction};
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::blocking;

use super::{Shared, StateError, StateStore, StateView, Writing, tables};
use crate::storage::database::OwnDatabase;
use crate::storage::{LogMark, LogStore};

impl StateStore {
    /// From now on the state remembers with its syncs what this log has, so that an older copy of it
    /// is told apart ([`crate::storage::together`]).
    pub(crate) fn remember(&self, log: LogStore) {
        // A state has one log for all its life.
        let _ = self.shared.log.set(log);
    }

    /// What the log had when the state was last synced with that in mind.
    pub(crate) fn log_mark(&self) -> LogMark {
        self.shared.writing().log_mark
    }

    /// What the log has for certain; nothing new if that cannot be told.
    pub(super) async fn look_at_log(&self) -> Option<LogMark> {
        let log = self.shared.log.get()?;
        let vote = log.vote();
        // What is applied is committed, and may be more than this log has. An entry that was purged
        // is no sign of it: a purge up to a snapshot may be all there is, and is not durable yet.
        let committed = log.last_entry().min(self.position().applied);
        log.synced().await.ok()?;
        Some(LogMark { vote, committed })
    }

    /// Makes everything that was applied durable.
    #[cfg(test)]
    pub(in crate::storage) async fn flush(&self) -> Result<(), StateError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.flush(&mut shared.writing(), None)).await?
    }

    /// Makes everything that was applied durable, and closes the file. Clones answer errors from
    /// then on.
    ///
    /// # Errors
    /// The disk failed; the log still has what was acknowledged.
    pub(crate) async fn close(self) -> Result<(), StateError> {
        let (shared, mark) = (Arc::clone(&self.shared), self.look_at_log().await);
        let flushed = blocking(move || shared.flush(&mut shared.writing(), mark)).await;
        // Whatever became of that.
        let closed = blocking(move || self.shared.database.close()).await;
        flushed??;
        Ok(closed??)
    }

    /// Closes the file at once, as a crash of the process would: nothing more is written to it.
    pub(crate) async fn abandon(self) {
        let shared = self.shared;
        shared.database.abandon();
        let closed = blocking(move || {
            // A batch that is being applied fails, and would close the file when it ends.
            let _writing = shared.writing();
            shared.database.close()
        });
        // Nobody has to be told: what is lost is in the log.
        drop(closed.await);
    }

    /// A view of which nothing can be lost, with one lock for both.
    ///
    /// # Errors
    /// The disk failed; the node must stop.
    pub(super) fn durable_view(&self, log: Option<LogMark>) -> Result<StateView, StateError> {
        let mut writing = self.shared.writing();
        if !is_on(Mutant::UnsyncedSnapshot) {
            self.shared.flush(&mut writing, log)?;
        }
        StateView::open(&self.shared.database, self.shared.shown().installs)
    }
}

impl Shared {
    /// Syncs what was applied, and with it what the log has, if that is known.
    pub(super) fn flush(
        &self,
        writing: &mut Writing,
        log: Option<LogMark>,
    ) -> Result<(), StateError> {
        writing.check_sound()?;
        let before = writing.log_mark;
        let mark = log.map_or(before, |LogMark { vote, committed }| LogMark {
            vote,
            // A log that is empty now had that once, for certain.
            committed: committed.max(before.committed),
        });
        let committed = begin(&self.database, true).and_then(|write| {
            if mark != writing.log_mark {
                tables::put_mark(&write, &mark)?;
            }
            write.commit().map_err(redb::Error::from)?;
            Ok(())
        });
        committed.map_err(|error| writing.poison(error))?;
        writing.log_mark = mark;
        writing.unsynced_bytes = 0;
        Ok(())
    }
}

/// A durable commit takes two phases, so that the database reopens at once and without trusting a
/// checksum; the others cost no sync at all.
pub(super) fn begin(database: &OwnDatabase, durable: bool) -> Result<WriteTransaction, StateError> {
    let mut write = database.begin_write()?;
    let durability = if durable {
        Durability::Immediate
    } else {
        Durability::None
    };
    write
        .set_durability(durability)
        .map_err(redb::Error::from)?;
    write.set_two_phase_commit(durable);
    write.set_quick_repair(durable);
    Ok(write)
}
