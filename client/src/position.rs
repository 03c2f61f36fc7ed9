//! Where a state stands in the life of its cluster.

use std::fmt;

use tidegate_domain::id::{Incarnation, LogTime};

/// A point in a cluster's history. Ordered: a later life of the cluster is higher, whatever its
/// length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The cluster's life; a restore begins the next one.
    pub incarnation: Incarnation,
    /// Number of audit entries covered: the index of the last one is one less.
    pub entries: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of life {}", self.entries, self.incarnation)
    }
}

/// What a quorum confirmed: every command acknowledged before the question was asked is covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// The cluster whose quorum it was, as the node says. Whoever rests a promise on the answer
    /// must compare it with the cluster that is meant.
    pub origin: String,
    /// How far a view must have got to cover it.
    pub position: Position,
    /// Log time there.
    pub log_time: LogTime,
}
