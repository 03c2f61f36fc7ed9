//! The audit log as bytes: entries, hash chain, Merkle tree, checkpoints, exports, and the
//! verifier that an auditor runs against them. It knows nothing of rollouts; `docs/formats.md`
//! is the contract, and verifiers in other languages are written against that page.
//!
//! Who writes uses [`LogHead`] (the next entry, the chain and the tree in one value), [`tree`]
//! (proofs from stored hashes), [`SignedCheckpoint`] and [`export`]. Who reads uses [`verify()`]
//! on an export and [`Receipt`] for one entry. What a signature proves is decided in one place:
//! [`Policy::verify`] alone makes a [`Verified`] checkpoint.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm
)]

pub mod canonical;
pub mod checkpoint;
pub mod detached;
pub mod directory;
pub mod entry;
pub mod envelope;
pub mod export;
pub mod hash;
pub mod head;
pub mod note;
pub mod policy;
pub mod receipt;
pub mod tiles;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use entry::{Entry, EntryHeader, Kind};
pub use export::{Export, ExportWriter};
pub use hash::{ChainHash, EntryHash, NodeHash};
pub use head::{Appended, LogHead, NewEntry};
pub use policy::{Policy, Verified};
pub use receipt::Receipt;
pub use verify::{Report, verify};
