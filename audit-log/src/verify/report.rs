//! What the verifier found.

use crate::canonical::CanonicalError;
use crate::checkpoint::CheckpointError;
use crate::detached::DetachedError;
use crate::entry::{EntryError, Kind};
use crate::hash::{ChainHash, NodeHash};
use crate::note::KeyError;
use crate::policy::{PolicyError, VerifyError};

use super::BodyFault;

/// Most opaque kinds that a report lists one by one.
pub const OPAQUE_KINDS_MAX: usize = 256;

/// What the verifier found out about an export.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Nothing is wrong with it.
    pub ok: bool,
    /// It is `ok`, and the auditor's own policy accepted its checkpoint. Without a policy an
    /// export is at best self-consistent.
    pub authentic: bool,
    /// Entries verified; all of them if `ok`.
    pub entries: u64,
    /// The first place that is wrong.
    pub first_bad: Option<FirstBad>,
    /// Origin that the checkpoint names, once its signatures were accepted.
    pub origin: Option<String>,
    /// Entries that the checkpoint vouches for.
    pub size: u64,
    /// Root that the checkpoint vouches for.
    pub root: Option<NodeHash>,
    /// Chain up to and including the last entry whose hashes were verified.
    pub head: Option<ChainHash>,
    /// Names of the cosigners whose cosignatures were good, as the policy has them.
    pub cosigners: Vec<String>,
    /// Signatures on the checkpoint by keys that the policy does not know; they were ignored.
    pub unknown_signatures: usize,
    /// Kinds and versions whose bodies were not looked into, at most [`OPAQUE_KINDS_MAX`].
    pub opaque: Vec<OpaqueKind>,
    /// Detached bodies met.
    pub detached: DetachedCount,
}

/// Entries whose bodies were not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpaqueKind {
    /// Layout version of the entries.
    pub version: u8,
    /// Their kind; 0 for entries of a version whose layout is not known.
    pub kind: Kind,
    /// How many there are.
    pub entries: u64,
    /// How many of their bodies are not deterministic CBOR, which is no fault in an opaque body.
    pub not_deterministic: u64,
}

/// How many detached bodies were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetachedCount {
    /// Present, and what their entries committed to.
    pub present: u64,
    /// Absent: erased, or withheld.
    pub absent: u64,
}

/// The first place of an export that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index}{}: {what}", .file.as_ref().map(|f| format!(" ({f})")).unwrap_or_default())]
pub struct FirstBad {
    /// The lowest leaf index that the fault leaves unproven: the entry itself if one is wrong,
    /// the first entry under a wrong tile hash, 0 if the checkpoint is wrong, and the size of
    /// the export if entries are missing at its end or stand beyond it.
    pub index: u64,
    /// The file that is wrong, relative to the export.
    pub file: Option<String>,
    /// What is wrong.
    pub what: Fault,
}

/// What is wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A file is missing.
    #[error("the file is missing")]
    Missing,
    /// A file is shorter or longer than the checkpoint's size demands.
    #[error("the file should have {expected} bytes")]
    Length {
        /// Bytes that a file of this name has.
        expected: usize,
    },
    /// The checkpoint does not parse.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint's signatures are bad or do not suffice.
    #[error("checkpoint: {0}")]
    Signatures(#[from] VerifyError),
    /// `log.vkey` does not parse.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `log.vkey` is not a log's key in the policy.
    #[error("the key is not one that the policy lists for the log")]
    KeyNotInPolicy,
    /// The export's own policy does not parse.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The bundle ends inside or before this entry.
    #[error("the bundle ends before the end of this entry")]
    BundleEnds,
    /// Bytes follow the last entry of the bundle.
    #[error("bytes follow the last entry of the bundle")]
    BundleTrailing,
    /// The entry's header is wrong.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Another entry stands in this place.
    #[error("index: the entry in this place says {found}")]
    Index {
        /// Index in the entry's header.
        found: u64,
    },
    /// The entry does not hash to its leaf, and the tile with the leaf is sound.
    #[error("the entry is not the one that the tree covers")]
    Leaf,
    /// The entry does not hash to its leaf because the tile is wrong.
    #[error("the tile's hash is not that of this entry, nor one that the tree covers")]
    TileLeaf,
    /// A hash of an upper tile is not the root of the tile below.
    #[error("the tile's hash is not the root of the tile below it")]
    TileNode,
    /// The entries do not lead to the checkpoint's root.
    #[error("the entries lead to the root {computed}, which is not the checkpoint's")]
    Root {
        /// Root over the entries.
        computed: NodeHash,
    },
    /// The entry does not follow the one before it.
    #[error("prev_chain: the entry does not continue the chain, which is at {expected}")]
    PrevChain {
        /// Chain up to the entry before.
        expected: ChainHash,
    },
    /// A header field that never falls is below that of an earlier entry.
    #[error("{field}: lower than in an entry before it")]
    RanBack {
        /// The field.
        field: &'static str,
    },
    /// The body is not deterministic CBOR.
    #[error("body: {0}")]
    Body(#[from] CanonicalError),
    /// The body is well formed but wrong.
    #[error("body: {0}")]
    BodyRefused(#[from] BodyFault),
    /// The commitment or the detached body is wrong.
    #[error(transparent)]
    Detached(#[from] DetachedError),
    /// Entries or hashes beyond those that the checkpoint vouches for.
    #[error("entries beyond the checkpoint, which nothing vouches for")]
    BeyondCheckpoint,
    /// A file that does not belong among tiles.
    #[error("the file does not belong here")]
    Unexpected,
    /// A partial tile of an earlier checkpoint differs from what replaced it.
    #[error("the partial tile is not the beginning of the one that replaced it")]
    StalePartial,
    /// A known checkpoint is of another log.
    #[error("the known checkpoint is of the log {known}")]
    OtherLog {
        /// Origin of the known checkpoint.
        known: String,
    },
    /// A known checkpoint has other entries.
    #[error("forked: a known checkpoint of size {known_size} has other entries")]
    Forked {
        /// Size of the known checkpoint.
        known_size: u64,
    },
    /// A known checkpoint is newer, and nothing shows that the export is a prefix of it.
    #[error("truncated: a known checkpoint has {known_size} entries")]
    Truncated {
        /// Size of the known checkpoint.
        known_size: u64,
    },
}
