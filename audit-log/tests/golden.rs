//! The golden vectors: bytes that an independent implementation fixed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
mod support;

use serde_json::Value;
use support::{ExampleLog, ORIGIN, golden_body, log_key};
use tidegate_audit_log::canonical::{self, CanonicalError, Reason};
use tidegate_audit_log::tree::{
    consistency_proof, inclusion_proof, root_at, verify_consistency, verify_inclusion,
};
use tidegate_audit_log::{ChainHash, Entry, EntryHash, NodeHash, Policy, SignedCheckpoint, hash};

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/audit-v1.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn node(value: &Value) -> NodeHash {
    NodeHash(bytes(value).try_into().unwrap())
}

fn nodes(value: &Value) -> Vec<NodeHash> {
    value.as_array().unwrap().iter().map(node).collect()
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

#[test]
fn contexts_and_genesis() {
    let vectors = vectors();
    assert_eq!(vectors["origin"], ORIGIN);
    assert_eq!(vectors["contexts"]["genesis"], hash::GENESIS_CONTEXT);
    assert_eq!(vectors["contexts"]["entry"], hash::ENTRY_CONTEXT);
    assert_eq!(vectors["contexts"]["chain"], hash::CHAIN_CONTEXT);
    assert_eq!(bytes(&vectors["genesis"]), ChainHash::genesis(ORIGIN).0);
}

#[test]
fn entries_and_their_hashes() {
    let vectors = vectors();
    let mut log = ExampleLog::new();
    for golden in list(&vectors, "entries") {
        let index = golden["index"].as_u64().unwrap();
        let appended = log.append(&golden_body(index));
        assert_eq!(appended.entry, bytes(&golden["entry"]));
        assert_eq!(appended.index, index);
        assert_eq!(appended.chain.0[..], bytes(&golden["chain"]));
        assert_eq!(appended.leaf, node(&golden["leaf"]));
        assert_eq!(
            EntryHash::of(&appended.entry).0[..],
            bytes(&golden["entry_hash"])
        );

        let parsed = Entry::parse(&appended.entry).unwrap();
        assert_eq!(parsed.header.encode(parsed.body).unwrap(), appended.entry);
        assert_eq!(parsed.chain(), appended.chain);
        assert_eq!(parsed.leaf(), appended.leaf);
    }
}

#[test]
fn bodies_of_the_vectors_are_not_deterministic() {
    // The body rule writes its second integer in five bytes whatever its value.
    let refused = CanonicalError {
        offset: 37,
        reason: Reason::NotShortest,
    };
    assert_eq!(canonical::check(&golden_body(2)), Err(refused));
    assert_eq!(canonical::check(&golden_body(0x1_0000)), Ok(()));
}

#[test]
fn logs_of_every_size_and_their_checkpoints() {
    let vectors = vectors();
    assert_eq!(vectors["log_vkey"], log_key().verifier().to_string());
    let policy = Policy::log_only(log_key().verifier().clone()).unwrap();
    let mut log = ExampleLog::new();
    for golden in list(&vectors, "logs") {
        while log.head.size() < golden["size"].as_u64().unwrap() {
            log.append(&golden_body(log.head.size()));
        }
        assert_eq!(log.head.chain().0[..], bytes(&golden["chain_head"]));
        assert_eq!(log.head.root(), node(&golden["root"]));

        let expected = golden["checkpoint"].as_str().unwrap();
        assert_eq!(log.signed().to_string(), expected);
        let parsed = SignedCheckpoint::parse(expected.as_bytes()).unwrap();
        let verified = policy.verify(&parsed).unwrap();
        assert_eq!(*verified, log.checkpoint());
    }
    assert_eq!(log.head.size(), 65_537);
}

#[test]
fn inclusion_proofs() {
    let vectors = vectors();
    let log = ExampleLog::with_entries(1000, golden_body);
    for golden in list(&vectors, "inclusion") {
        let (size, index) = (
            golden["size"].as_u64().unwrap(),
            golden["index"].as_u64().unwrap(),
        );
        let path = inclusion_proof(&log.hashes, index, size).unwrap();
        assert_eq!(path, nodes(&golden["path"]));
        let root = node(&golden["root"]);
        assert_eq!(root_at(&log.hashes, size).unwrap(), root);
        assert_eq!(
            verify_inclusion(node(&golden["leaf"]), index, size, &path, &root),
            Ok(())
        );
    }
}

#[test]
fn consistency_proofs() {
    let vectors = vectors();
    let log = ExampleLog::with_entries(1000, golden_body);
    for golden in list(&vectors, "consistency") {
        let (old, new) = (
            golden["old"].as_u64().unwrap(),
            golden["new"].as_u64().unwrap(),
        );
        let proof = consistency_proof(&log.hashes, old, new).unwrap();
        assert_eq!(proof, nodes(&golden["proof"]));
        let (old_root, new_root) = (node(&golden["old_root"]), node(&golden["new_root"]));
        assert_eq!(root_at(&log.hashes, old).unwrap(), old_root);
        assert_eq!(
            verify_consistency((old, &old_root), (new, &new_root), &proof),
            Ok(())
        );
    }
}
