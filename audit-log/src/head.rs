//! The head of a growing log: everything that the next entry needs, and nothing that grows with
//! the log but by its logarithm.

use crate::entry::{Entry, EntryError, EntryHeader, Kind};
use crate::hash::{ChainHash, EntryHash, HASH_BYTES, NodeHash};
use crate::tree::{CompactRange, CompactRangeError, NodeId};

/// Chain head and tree of the entries so far. The head assigns index and chain link, so that
/// whoever proposes an entry can choose neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    chain: ChainHash,
    tree: CompactRange,
}

/// What the caller decides about an entry; the head adds the rest.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// `body` is a [`Commitment`](crate::detached::Commitment), not the body itself.
    pub detached: bool,
    /// What the entry records.
    pub kind: Kind,
    /// Raft term in which the entry was proposed.
    pub raft_term: u64,
    /// Log time in milliseconds since 1970.
    pub t_ms: u64,
    /// Generation of the trusted key set.
    pub key_epoch: u32,
    /// Deterministic CBOR, at most [`BODY_BYTES_MAX`](crate::entry::BODY_BYTES_MAX) bytes.
    pub body: &'a [u8],
}

/// An entry that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in the log.
    pub index: u64,
    /// Its bytes: store these.
    pub entry: Vec<u8>,
    /// Its leaf in the tree.
    pub leaf: NodeHash,
    /// The chain up to and including it.
    pub chain: ChainHash,
}

impl LogHead {
    /// The head of the empty log with this origin.
    pub fn genesis(origin: &str) -> Self {
        Self {
            chain: ChainHash::genesis(origin),
            tree: CompactRange::new(),
        }
    }

    /// Number of entries; also the index of the next.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The chain up to and including the last entry.
    pub fn chain(&self) -> ChainHash {
        self.chain
    }

    /// The root of the tree over all entries.
    pub fn root(&self) -> NodeHash {
        self.tree.root()
    }

    /// The tree's appender state.
    pub fn tree(&self) -> &CompactRange {
        &self.tree
    }

    /// Builds the next entry and moves the head past it. `on_node` is given every tree node that
    /// becomes full ([`CompactRange::append`]).
    ///
    /// # Errors
    /// [`EntryError::TooLong`]; the head has not moved then.
    pub fn append(
        &mut self,
        new: &NewEntry<'_>,
        on_node: impl FnMut(NodeId, &NodeHash),
    ) -> Result<Appended, EntryError> {
        let NewEntry {
            detached,
            kind,
            raft_term,
            t_ms,
            key_epoch,
            body,
        } = *new;
        let index = self.size();
        let prev_chain = self.chain;
        let header = EntryHeader {
            detached,
            kind,
            index,
            raft_term,
            t_ms,
            key_epoch,
            prev_chain,
        };
        let entry = header.encode(body)?;
        let leaf = NodeHash::leaf(&entry);
        self.chain = prev_chain.next(&EntryHash::of(&entry));
        self.tree.append(leaf, on_node);
        Ok(Appended {
            index,
            entry,
            leaf,
            chain: self.chain,
        })
    }

    /// Moves the head past an entry that another built, if it is the next one.
    ///
    /// # Errors
    /// [`FollowError`] if it is not; the head has not moved then.
    pub fn follow(
        &mut self,
        entry: &Entry<'_>,
        on_node: impl FnMut(NodeId, &NodeHash),
    ) -> Result<NodeHash, FollowError> {
        let (expected, found) = (self.size(), entry.header.index);
        if expected != found {
            return Err(FollowError::Index { expected, found });
        }
        if self.chain != entry.header.prev_chain {
            return Err(FollowError::PrevChain { index: found });
        }
        let leaf = entry.leaf();
        self.chain = entry.chain();
        self.tree.append(leaf, on_node);
        Ok(leaf)
    }

    /// Continues from the last entry of a log and the tree over all of them.
    pub(crate) fn resume(chain: ChainHash, tree: CompactRange) -> Self {
        Self { chain, tree }
    }

    /// `chain head [32] ‖ compact range`: what a writer persists beside its entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.chain.0.to_vec();
        out.extend(self.tree.to_bytes());
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`CompactRangeError`] if the bytes are not a head.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CompactRangeError> {
        let (chain, tree) = bytes
            .split_first_chunk::<HASH_BYTES>()
            .ok_or(CompactRangeError { bytes: bytes.len() })?;
        Ok(Self {
            chain: ChainHash(*chain),
            tree: CompactRange::from_bytes(tree)?,
        })
    }
}

/// Why an entry is not the next of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// Its index is not the next.
    #[error("index: found {found}, the next entry is {expected}")]
    Index {
        /// Index of the next entry.
        expected: u64,
        /// Index found.
        found: u64,
    },
    /// It follows another entry than the log's last.
    #[error("prev_chain: entry {index} does not continue this log's chain")]
    PrevChain {
        /// Index of the entry.
        index: u64,
    },
}
