//! The example log of the golden vectors, rebuilt from its body rule.

pub(crate) mod example;

use sha2::{Digest, Sha256};
use tidegate_audit_log::detached::DetachedBody;
use tidegate_audit_log::directory::{MemoryDirectory, WritableDirectory};
use tidegate_audit_log::note::{KeyName, NoteKey, SignatureKind};
use tidegate_audit_log::tree::MemoryHashes;
use tidegate_audit_log::{
    Appended, Checkpoint, ExportWriter, Kind, LogHead, NewEntry, NodeHash, Policy, SignedCheckpoint,
};
use tidegate_keys::SigningKey;

pub(crate) const ORIGIN: &str = "tidegate.example/fleet-a";

/// `body_rule` of the vectors. Its second integer is deliberately not in shortest form.
pub(crate) fn golden_body(index: u64) -> Vec<u8> {
    let mut body = vec![0xa2, 0x01, 0x58, 0x20];
    body.extend_from_slice(&Sha256::digest(index.to_be_bytes()));
    body.extend_from_slice(&[0x02, 0x1a]);
    body.extend_from_slice(&u32::try_from(index).unwrap().to_be_bytes());
    body
}

/// A body in deterministic form, so that verifiers that look into bodies accept it.
pub(crate) fn plain_body(index: u64) -> Vec<u8> {
    let mut body = Vec::new();
    let digest = Sha256::digest(index.to_be_bytes());
    let mut encoder = minicbor::Encoder::new(&mut body);
    encoder
        .map(2)
        .unwrap()
        .u8(1)
        .unwrap()
        .bytes(&digest)
        .unwrap()
        .u8(2)
        .unwrap();
    encoder.u64(index).unwrap();
    body
}

/// A log with everything that a test compares against.
pub(crate) struct ExampleLog {
    pub(crate) head: LogHead,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<NodeHash>,
    pub(crate) hashes: MemoryHashes,
    pub(crate) detached: Vec<DetachedBody>,
}

impl ExampleLog {
    pub(crate) fn new() -> Self {
        let head = LogHead::genesis(ORIGIN);
        Self {
            head,
            entries: Vec::new(),
            leaves: Vec::new(),
            hashes: MemoryHashes::default(),
            detached: Vec::new(),
        }
    }

    pub(crate) fn with_entries(size: u64, body: impl Fn(u64) -> Vec<u8>) -> Self {
        let mut log = Self::new();
        for index in 0..size {
            log.append(&body(index));
        }
        log
    }

    pub(crate) fn append(&mut self, body: &[u8]) -> Appended {
        self.append_flagged(body, false)
    }

    pub(crate) fn append_flagged(&mut self, body: &[u8], detached: bool) -> Appended {
        let index = self.head.size();
        let new = NewEntry {
            detached,
            kind: Kind(0x0010),
            raft_term: 3,
            t_ms: 1_790_000_000_000 + index,
            key_epoch: 7,
            body,
        };
        let hashes = &mut self.hashes;
        let appended = self
            .head
            .append(&new, |id, hash| hashes.push(id, hash))
            .unwrap();
        self.entries.push(appended.entry.clone());
        self.leaves.push(appended.leaf);
        appended
    }

    pub(crate) fn append_detached(&mut self, body: &[u8]) -> DetachedBody {
        let salt = Sha256::digest(self.head.size().to_le_bytes()).into();
        let detached = DetachedBody::new(salt, body).unwrap();
        self.append_flagged(&detached.commitment().encode(), true);
        self.detached.push(detached.clone());
        detached
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let origin = KeyName::new(ORIGIN).unwrap();
        Checkpoint {
            origin,
            size: self.head.size(),
            root: self.head.root(),
        }
    }

    pub(crate) fn signed(&self) -> SignedCheckpoint {
        let mut signed = SignedCheckpoint::unsigned(self.checkpoint());
        signed.sign(&log_key(), 0).unwrap();
        signed
    }
}

pub(crate) fn key(seed: &str, name: &str, kind: SignatureKind) -> NoteKey {
    let signing = SigningKey::from_bytes(&Sha256::digest(seed).into());
    NoteKey::new(KeyName::new(name).unwrap(), kind, signing).unwrap()
}

/// The key of the golden vectors.
pub(crate) fn log_key() -> NoteKey {
    key("lab log key", ORIGIN, SignatureKind::Log)
}

pub(crate) fn voter_key(number: u32) -> NoteKey {
    let name = format!("voter{number}.example");
    key(&name, &name, SignatureKind::Cosignature)
}

/// RFC 9162 §2.1.1 as it is written, in O(n).
pub(crate) fn dumb_root(leaves: &[NodeHash]) -> NodeHash {
    match leaves {
        [] => NodeHash::empty_tree(),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            NodeHash::node(&dumb_root(&leaves[..k]), &dumb_root(&leaves[k..]))
        }
    }
}

/// RFC 9162 §2.1.3.1 as it is written.
pub(crate) fn dumb_path(m: usize, leaves: &[NodeHash]) -> Vec<NodeHash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if m < k {
        (dumb_path(m, &leaves[..k]), dumb_root(&leaves[k..]))
    } else {
        (dumb_path(m - k, &leaves[k..]), dumb_root(&leaves[..k]))
    };
    path.push(sibling);
    path
}

/// RFC 9162 §2.1.4.1 as it is written.
pub(crate) fn dumb_consistency(m: usize, leaves: &[NodeHash], complete: bool) -> Vec<NodeHash> {
    if m == leaves.len() {
        return if complete {
            Vec::new()
        } else {
            vec![dumb_root(leaves)]
        };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) = if m <= k {
        (
            dumb_consistency(m, &leaves[..k], complete),
            dumb_root(&leaves[k..]),
        )
    } else {
        (
            dumb_consistency(m - k, &leaves[k..], false),
            dumb_root(&leaves[..k]),
        )
    };
    proof.push(sibling);
    proof
}

/// The policy that exports of these tests are verified under: two of three voters, and a witness.
pub(crate) fn policy() -> Policy {
    let voters: Vec<_> = (1..=3).map(|n| voter_key(n).verifier().clone()).collect();
    let witness = voter_key(9);
    Policy::majority(log_key().verifier(), &voters, Some(witness.verifier())).unwrap()
}

/// Signs as the log, two voters and the witness do.
pub(crate) fn cosigned(checkpoint: Checkpoint) -> SignedCheckpoint {
    let mut signed = SignedCheckpoint::unsigned(checkpoint);
    signed.sign(&log_key(), 0).unwrap();
    for number in [1, 2, 9] {
        signed.sign(&voter_key(number), 1_790_000_000).unwrap();
    }
    signed
}

/// Exports what the log holds by now, in one step.
pub(crate) fn export(log: &ExampleLog) -> MemoryDirectory {
    export_into(MemoryDirectory::new(), log)
}

/// Continues the export in `directory` up to the end of the log.
pub(crate) fn export_into<D: WritableDirectory>(directory: D, log: &ExampleLog) -> D {
    let mut writer = ExportWriter::open(&directory, ORIGIN).unwrap();
    writer.put_keys(log_key().verifier(), &policy()).unwrap();
    for detached in &log.detached {
        writer.put_detached(detached).unwrap();
    }
    while writer.size() < log.head.size() {
        writer
            .append(&log.entries[usize::try_from(writer.size()).unwrap()])
            .unwrap();
    }
    writer.commit(&cosigned(log.checkpoint())).unwrap();
    directory
}
