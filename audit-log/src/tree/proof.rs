//! Inclusion and consistency proofs (RFC 9162 §2.1.3 and §2.1.4).

use super::{HashReader, NodeId, TREE_SIZE_MAX, split};
use crate::hash::NodeHash;

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// Those of the reader.
pub fn root_at<R: HashReader>(reader: &R, size: u64) -> Result<NodeHash, R::Error> {
    if size == 0 {
        return Ok(NodeHash::empty_tree());
    }
    range_root(reader, 0, size)
}

/// The path from leaf `index` to the root of the tree of `size` leaves, leaf's sibling first.
///
/// # Errors
/// Those of the reader. None is read, and the path is empty, if `index` is not below `size`.
pub fn inclusion_proof<R: HashReader>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<NodeHash>, R::Error> {
    let mut path = Vec::new();
    let (mut low, mut high) = (0u64, if index < size { size } else { 0 });
    while high.saturating_sub(low) > 1 {
        let middle = low.saturating_add(split(high.saturating_sub(low)));
        if index < middle {
            path.push(range_root(reader, middle, high)?);
            high = middle;
        } else {
            path.push(range_root(reader, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves.
///
/// # Errors
/// Those of the reader. The proof is empty if `old` is 0 or not below `new`.
pub fn consistency_proof<R: HashReader>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<NodeHash>, R::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut low, mut high) = (0u64, new);
    // RFC 9162 §2.1.4.1, SUBPROOF: ends at the subtree whose right edge is the old tree's.
    while old != high {
        let middle = low.saturating_add(split(high.saturating_sub(low)));
        if old <= middle {
            proof.push(range_root(reader, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(reader, low, middle)?);
            low = middle;
        }
    }
    if low != 0 {
        proof.push(range_root(reader, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root over leaves `low..high`, where `low` is a multiple of the largest power of two that
/// is not above the width: so every full part of it is a stored node.
fn range_root<R: HashReader>(reader: &R, low: u64, high: u64) -> Result<NodeHash, R::Error> {
    let width = high.saturating_sub(low);
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        let id = NodeId {
            level: u8::try_from(level).unwrap_or(u8::MAX),
            index: low.wrapping_shr(level),
        };
        return reader.node(id);
    }
    let middle = low.saturating_add(split(width));
    let left = range_root(reader, low, middle)?;
    let right = range_root(reader, middle, high)?;
    Ok(NodeHash::node(&left, &right))
}

/// Checks that `leaf` is at `index` in the tree of `size` leaves with this root
/// (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError`] says which part does not fit.
pub fn verify_inclusion(
    leaf: NodeHash,
    index: u64,
    size: u64,
    path: &[NodeHash],
    root: &NodeHash,
) -> Result<(), ProofError> {
    if size > TREE_SIZE_MAX || index >= size {
        return Err(ProofError::IndexOutsideTree { index, size });
    }
    let (mut node, mut last) = (index, size.saturating_sub(1));
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = NodeHash::node(sibling, &hash);
            if node & 1 == 0 {
                let zeros = node.trailing_zeros().min(63);
                node = node.wrapping_shr(zeros);
                last = last.wrapping_shr(zeros);
            }
        } else {
            hash = NodeHash::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::Root { computed: hash })
    }
}

/// Checks that the tree of `old` leaves is a prefix of the tree of `new` leaves
/// (RFC 9162 §2.1.4.2). A tree of no leaves is a prefix of every tree.
///
/// # Errors
/// [`ProofError`] says which part does not fit.
pub fn verify_consistency(
    (old, old_root): (u64, &NodeHash),
    (new, new_root): (u64, &NodeHash),
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    if old > new || new > TREE_SIZE_MAX {
        return Err(ProofError::IndexOutsideTree {
            index: old,
            size: new,
        });
    }
    if old == 0 || old == new {
        let expected = if old == 0 {
            &NodeHash::empty_tree()
        } else {
            new_root
        };
        return match (proof.is_empty(), old_root == expected) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::OldRoot {
                computed: *expected,
            }),
            (true, true) => Ok(()),
        };
    }
    // A power of two is itself a node of the new tree, so the proof leaves it out.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let (mut node, mut last) = (old.saturating_sub(1), new.saturating_sub(1));
    let ones = node.trailing_ones().min(63);
    node = node.wrapping_shr(ones);
    last = last.wrapping_shr(ones);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = NodeHash::node(sibling, &old_hash);
            new_hash = NodeHash::node(sibling, &new_hash);
            if node & 1 == 0 {
                let zeros = node.trailing_zeros().min(63);
                node = node.wrapping_shr(zeros);
                last = last.wrapping_shr(zeros);
            }
        } else {
            new_hash = NodeHash::node(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_hash != *old_root {
        return Err(ProofError::OldRoot { computed: old_hash });
    }
    if new_hash != *new_root {
        return Err(ProofError::Root { computed: new_hash });
    }
    Ok(())
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The index is not below the size, or the old size above the new.
    #[error("proof: {index} is outside the tree of {size}")]
    IndexOutsideTree {
        /// Leaf index, or the old tree's size.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// Too many or too few hashes for this index and size.
    #[error("proof: the number of hashes does not fit the index and size")]
    Length,
    /// The hashes lead to another old root.
    #[error("proof: leads to the old root {computed}")]
    OldRoot {
        /// Root that the proof gives.
        computed: NodeHash,
    },
    /// The hashes lead to another root.
    #[error("proof: leads to the root {computed}")]
    Root {
        /// Root that the proof gives.
        computed: NodeHash,
    },
}
