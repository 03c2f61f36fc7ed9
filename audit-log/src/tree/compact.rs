//! The appender: O(log n) hashes are all that a growing tree needs.

use super::{HashReader, NodeId, TREE_SIZE_MAX};
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

    /// The tree of the first `size` leaves, from stored hashes.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn from_reader<R: HashReader>(reader: &R, size: u64) -> Result<Self, R::Error> {
        let mut peaks = Vec::new();
        let mut first = 0u64;
        while first < size {
            let level = size.saturating_sub(first).ilog2();
            let index = first.wrapping_shr(level);
            peaks.push(reader.node(NodeId {
                level: u8::try_from(level).unwrap_or(63),
                index,
            })?);
            first = first.saturating_add(1u64.wrapping_shl(level));
        }
        Ok(Self { size, peaks })
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
        self.root_before(None)
    }

    /// The root of these leaves and, to the right of them, a smaller subtree. Each leaf may
    /// itself be the root of a full subtree, if `right` has fewer leaves than each.
    pub(crate) fn root_before(&self, right: Option<NodeHash>) -> NodeHash {
        let join = |right: Option<NodeHash>, left: &NodeHash| match right {
            None => Some(*left),
            Some(right) => Some(NodeHash::node(left, &right)),
        };
        self.peaks
            .iter()
            .rev()
            .fold(right, join)
            .unwrap_or_else(NodeHash::empty_tree)
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
