//! The RFC 6962 / RFC 9162 Merkle tree over the entries: what a writer keeps to append, and the
//! proofs that a reader makes from stored hashes and anyone checks.

mod compact;
mod proof;
mod reader;

pub use compact::{CompactRange, CompactRangeError};
pub use proof::{
    ProofError, consistency_proof, inclusion_proof, root_at, verify_consistency, verify_inclusion,
};
pub use reader::{HashReader, MemoryHashes, ReadError, TileHashes, TileSource};

/// Most leaves of a tree: proofs then have at most [`PATH_MAX`] hashes.
pub const TREE_SIZE_MAX: u64 = 1 << 62;
/// Most hashes of an inclusion path; a consistency proof has at most one more.
pub const PATH_MAX: usize = 62;

/// A node that covers a full subtree: leaves `index · 2^level` up to `(index + 1) · 2^level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId {
    /// Height above the leaves; 0 is a leaf.
    pub level: u8,
    /// Place within the level, from 0.
    pub index: u64,
}

/// `2^level`, the number of leaves under a full subtree of that height.
fn leaves_under(level: u8) -> u64 {
    1u64.wrapping_shl(u32::from(level))
}

/// The largest power of two below `leaves`, where RFC 6962 splits a tree. `leaves` is at least 2.
fn split(leaves: u64) -> u64 {
    1u64.wrapping_shl(63u32.saturating_sub(leaves.saturating_sub(1).leading_zeros()))
}
