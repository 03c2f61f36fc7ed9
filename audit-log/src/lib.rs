//! The audit log as bytes: entries, hash chain, Merkle tree, checkpoints, exports, and the
//! verifier that an auditor runs against them. It knows nothing of rollouts; `docs/formats.md`
//! is the contract, and verifiers in other languages are written against that page.
//!
//! Who writes uses [`LogHead`] (the next entry, the chain and the tree in one value), [`tree`]
//! (proofs from stored hashes), [`SignedCheckpoint`] and [`export`]. Who reads uses [`verify()`]
//! on an export and [`Receipt`] for one entry. What a signature proves is decided in one place:
//! [`Policy::verify`] alone makes a [`Verified`] checkpoint.
//!
//! ```
//! use tidegate_keys::SigningKey;
//! use tidegate_audit_log::directory::MemoryDirectory;
//! use tidegate_audit_log::note::{KeyName, NoteKey, SignatureKind};
//! use tidegate_audit_log::verify::{AnyDeterministic, Options};
//! use tidegate_audit_log::*;
//!
//! let origin = KeyName::new("fleet.example/log")?;
//! let key = NoteKey::new(origin.clone(), SignatureKind::Log, SigningKey::from_bytes(&[7; 32]))?;
//! let policy = Policy::log_only(key.verifier().clone())?;
//!
//! // One entry, whose body is the CBOR map {1: 2}.
//! let mut head = LogHead::genesis(origin.as_str());
//! let body = [0xa1, 0x01, 0x02];
//! let new =
//!     NewEntry { detached: false, kind: Kind(1), raft_term: 1, t_ms: 0, key_epoch: 1, body: &body };
//! let appended = head.append(&new, |_node, _hash| ())?;
//! let claim = Checkpoint { origin, size: head.size(), root: head.root() };
//! let mut signed = SignedCheckpoint::unsigned(claim);
//! signed.sign(&key, 1_790_000_000)?;
//!
//! let mut writer = ExportWriter::open(MemoryDirectory::new(), "fleet.example/log")?;
//! writer.append(&appended.entry)?;
//! writer.put_keys(key.verifier(), &policy)?;
//! writer.commit(&signed)?;
//!
//! let options = Options { policy: Some(&policy), ..Options::default() };
//! let report = verify(writer.directory(), &options, &mut AnyDeterministic)?;
//! assert!(report.ok && report.authentic && report.entries == 1);
//!
//! let receipt = Export::new(writer.directory()).receipt(0, None)?;
//! assert!(receipt.verify(&appended.entry, &policy).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
