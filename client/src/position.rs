//! Where a state stands in the life of its cluster.

use std::fmt;

use tidegate_domain::id::Incarnation;

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
