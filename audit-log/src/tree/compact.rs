//! The appender: O(log n) hashes are all that a growing tree needs.

use super::{NodeId, TREE_SIZE_MAX};
use crate::hash::{HASH_BYTES, NodeHash};

/// The tree of the first `size` leaves, kept as the roots of its full subtrees, largest first.
/// Invariant: there are as many roots as `size` has bits set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    peaks: Vec<NodeHash>,
}

impl CompactRange {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. `on_node` is given every node that becomes full by it, leaf first: store
    /// those whose level is a multiple of 8 and [`TileHashes`](super::TileHashes) proves from
    /// them, or store all and read them directly.
    ///
    /// # Panics
    /// At [`TREE_SIZE_MAX`] leaves, which no log can reach.
    pub fn append(&mut self, leaf: NodeHash, mut on_node: impl FnMut(NodeId, &NodeHash)) {
        assert!(self.size < TREE_SIZE_MAX, "a log cannot have 2^62 entries");
        let mut hash = leaf;
        let mut id = NodeId {
            level: 0,
            index: self.size,
        };
        on_node(id, &hash);
        while id.index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = NodeHash::node(&left, &hash);
            id = NodeId {
                level: id.level.saturating_add(1),
                index: id.index >> 1,
            };
            on_node(id, &hash);
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The Merkle tree hash.
    pub fn root(&self) -> NodeHash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return NodeHash::empty_tree();
        };
        peaks.fold(*last, |right, left| NodeHash::node(left, &right))
    }

    /// `size (u64 big-endian) ‖ roots, largest first`: what a writer persists.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            out.extend_from_slice(&peak.0);
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`CompactRangeError`] if the number of hashes does not fit the size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CompactRangeError> {
        let error = CompactRangeError { bytes: bytes.len() };
        let (size, rest) = bytes.split_first_chunk().ok_or(error)?;
        let size = u64::from_be_bytes(*size);
        let (chunks, tail) = rest.as_chunks::<HASH_BYTES>();
        let expected = usize::try_from(size.count_ones()).map_err(|_| error)?;
        if size > TREE_SIZE_MAX || !tail.is_empty() || chunks.len() != expected {
            return Err(error);
        }
        Ok(Self {
            size,
            peaks: chunks.iter().copied().map(NodeHash).collect(),
        })
    }
}

/// Stored bytes are not a compact range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compact range: {bytes} bytes do not hold a size and one hash per bit set in it")]
pub struct CompactRangeError {
    /// Bytes found.
    pub bytes: usize,
}
