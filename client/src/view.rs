//! A copy of the cluster's state that is shown to be equal to it.

use tidegate_domain::canonical::CanonicalError;
use tidegate_domain::command::Base;
use tidegate_domain::id::{Hash, Index};
use tidegate_domain::state::RowError;
use tidegate_domain::{Event, Inconsistent, State, evolve};

use crate::watch::Batch;
use crate::{Manifest, Position, SnapshotRows};

/// The state as of one position, folded with the same function that the store uses.
#[derive(Debug)]
pub struct View {
    state: State,
    position: Position,
    base: Base,
}

/// Why a view can't take what a node sent. The node, or this build, is wrong: the view must be
/// thrown away and taken anew, elsewhere if it happens again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The snapshot is of another cluster.
    #[error("the node belongs to cluster {found:?}, not {expected:?}")]
    OtherOrigin {
        /// The configured one.
        expected: String,
        /// The node's.
        found: String,
    },
    /// The rows are no state.
    #[error(transparent)]
    Rows(#[from] RowError),
    /// The rows don't say what the manifest says.
    #[error("the manifest speaks of {manifest}, the rows of {rows}")]
    OtherPosition {
        /// In the manifest.
        manifest: Position,
        /// In the rows.
        rows: Position,
    },
    /// The state is not the one that the cluster has.
    #[error("state root {found} at {position}, the node says {stated}: the states differ")]
    OtherRoot {
        /// Where.
        position: Position,
        /// As the node stated it.
        stated: Hash,
        /// As computed here.
        found: Hash,
    },
    /// An event is missing or came twice.
    #[error("a batch of entries {from} to {to} with {len} entries, the view stands at {position}")]
    NotNext {
        /// First entry of the batch.
        from: u64,
        /// End of the batch.
        to: u64,
        /// Entries in it.
        len: usize,
        /// Where the view stands.
        position: Position,
    },
    /// An event does not fit the state.
    #[error("entry {entry}: {source}")]
    Event {
        /// Its index.
        entry: u64,
        /// Why.
        source: Inconsistent,
    },
    /// An event does not decode.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl View {
    /// The view that a snapshot makes.
    ///
    /// # Errors
    /// It is of another cluster, its rows are damaged, or its root is not theirs.
    pub fn new(origin: &str, manifest: &Manifest, rows: SnapshotRows) -> Result<Self, ViewError> {
        if manifest.origin != origin {
            return Err(ViewError::OtherOrigin {
                expected: origin.to_owned(),
                found: manifest.origin.clone(),
            });
        }
        let state = State::from_rows(rows)?;
        let found = Position {
            incarnation: state.meta().incarnation,
            entries: state.meta().next.0,
        };
        if found != manifest.position || state.meta().origin != origin {
            return Err(ViewError::OtherPosition {
                manifest: manifest.position,
                rows: found,
            });
        }
        let base = match found.entries.checked_sub(1) {
            Some(last) => Base {
                index: Index(last),
                chain: manifest.chain_head,
            },
            None => Base::genesis(origin),
        };
        let mut view = Self {
            state,
            position: found,
            base,
        };
        view.check_root(Some(manifest.state_root))?;
        Ok(view)
    }

    /// The state. Everything that the cluster knew at [`Self::position`].
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Where the state stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// What commands that are signed on this view may name as their base: the end of the log when
    /// the view was taken.
    #[must_use]
    pub const fn base(&self) -> Base {
        self.base
    }

    /// Folds the next entries. READ-2: exactly those that follow, or an error.
    pub(crate) fn advance(&mut self, batch: &Batch) -> Result<(), ViewError> {
        let Batch {
            from,
            to,
            entries,
            bytes: _,
            state_root,
        } = batch;
        let len = entries.len();
        if *from != self.position.entries || from.checked_add(len as u64) != Some(*to) {
            return Err(ViewError::NotNext {
                from: *from,
                to: *to,
                len,
                position: self.position,
            });
        }
        for events in entries {
            self.fold(events)?;
        }
        self.check_root(*state_root)
    }

    fn fold(&mut self, events: &[Event]) -> Result<(), ViewError> {
        let entry = self.position.entries;
        for event in events {
            evolve(&mut self.state, event).map_err(|source| ViewError::Event { entry, source })?;
        }
        self.position.entries = entry.saturating_add(1);
        if self.state.meta().next.0 == self.position.entries {
            return Ok(());
        }
        // The events of one entry move the position on by one, no more and no less.
        Err(ViewError::NotNext {
            from: entry,
            to: self.state.meta().next.0,
            len: 1,
            position: self.position,
        })
    }

    fn check_root(&mut self, stated: Option<Hash>) -> Result<(), ViewError> {
        let Some(stated) = stated else {
            return Ok(());
        };
        // Nobody stores this copy's rows: only the root is of use.
        self.state.drain_changes();
        let found = self.state.root();
        if found == stated {
            return Ok(());
        }
        Err(ViewError::OtherRoot {
            position: self.position,
            stated,
            found,
        })
    }
}
