//! The audit service: what it serves holds for someone who trusts nobody.

use super::support::{Cluster, Shape, accepted};
use tidegate_audit_log::checkpoint::{Checkpoint, SignedCheckpoint};
use tidegate_audit_log::note::{KeyName, NoteKey, SignatureKind};
use tidegate_audit_log::tree::{verify_consistency, verify_inclusion};
use tidegate_audit_log::{Entry, LogHead, NodeHash};
use tidegate_domain::key::Role;
use tidegate_domain::testing::Fleet;
use tidegate_proto::v1;
use tidegate_proto::v1::audit_client::AuditClient;
use tidegate_proto::{Refusal, WireError};
use tonic::transport::Channel;

fn audit(cluster: &Cluster, id: u64) -> AuditClient<Channel> {
    AuditClient::new(cluster.client_of(id).channel().1)
}

async fn entries(cluster: &Cluster, id: u64) -> Vec<Vec<u8>> {
    let request = v1::EntriesRequest { from: 0, to: 0 };
    let mut batches = audit(cluster, id)
        .entries(request)
        .await
        .unwrap()
        .into_inner();
    let mut entries = Vec::new();
    while let Some(batch) = batches.message().await.unwrap() {
        assert_eq!(batch.from, entries.len() as u64, "gapless");
        entries.extend(batch.entries.into_iter().map(|entry| entry.entry));
    }
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_chain_up_to_the_head_and_proofs_verify() {
    let mut cluster = Cluster::start(Shape::default()).await;
    for number in 0..30 {
        accepted(
            &cluster
                .client()
                .propose(cluster.variant(number).to_bytes())
                .await
                .unwrap(),
        );
    }
    let count = cluster
        .client()
        .read_index()
        .await
        .unwrap()
        .position
        .entries;
    for id in 1..=3 {
        cluster.catch_up(id, count).await;
        let bytes = entries(&cluster, id).await;
        let mut head = LogHead::genesis(Fleet::ORIGIN);
        let mut roots = vec![head.root()];
        for entry in &bytes {
            head.follow(&Entry::parse(entry).unwrap(), |_, _| {})
                .unwrap();
            roots.push(head.root());
        }
        let size = bytes.len() as u64;
        assert!(size >= count);
        check_proofs(&mut audit(&cluster, id), &bytes, &roots).await;
        let past = v1::ProveInclusionRequest {
            index: size + 1_000,
            size: size + 2_000,
        };
        let refused = audit(&cluster, id).prove_inclusion(past).await.unwrap_err();
        assert_eq!(WireError::from(&refused).refusal, Refusal::OutOfRange);
    }
    cluster.stop().await;
}

async fn check_proofs(audit: &mut AuditClient<Channel>, entries: &[Vec<u8>], roots: &[NodeHash]) {
    let size = entries.len() as u64;
    for (index, entry) in (0..).zip(entries) {
        let request = v1::ProveInclusionRequest { index, size };
        let proof = audit.prove_inclusion(request).await.unwrap().into_inner();
        let root = roots.last().unwrap();
        assert_eq!(proof.root, root.0);
        verify_inclusion(NodeHash::leaf(entry), index, size, &hashes(&proof), root).unwrap();
    }
    for old_size in 1..=size {
        let request = v1::ProveConsistencyRequest {
            old_size,
            new_size: size,
        };
        let proof = audit.prove_consistency(request).await.unwrap().into_inner();
        let (old, new) = (&roots[old_size as usize], roots.last().unwrap());
        verify_consistency((old_size, old), (size, new), &hashes(&proof)).unwrap();
    }
}

fn hashes(proof: &v1::TreeProof) -> Vec<NodeHash> {
    let hash = |hash: &Vec<u8>| NodeHash(hash.as_slice().try_into().unwrap());
    proof.hashes.iter().map(hash).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_cosign_what_they_have_and_nothing_else() {
    let mut cluster = Cluster::start(Shape::default()).await;
    accepted(
        &cluster
            .client()
            .propose(cluster.variant(1).to_bytes())
            .await
            .unwrap(),
    );
    let request = v1::CheckpointRequest {};
    let note = audit(&cluster, 1)
        .checkpoint(request)
        .await
        .unwrap()
        .into_inner()
        .note;
    let signed = SignedCheckpoint::parse(&note).unwrap();
    assert_eq!(signed.unverified_claim().origin.as_str(), Fleet::ORIGIN);
    for id in 1..=3 {
        let request = v1::CosignRequest { note: note.clone() };
        let line = audit(&cluster, id)
            .cosign(request)
            .await
            .unwrap()
            .into_inner();
        let line = String::from_utf8(line.signature_line).unwrap();
        assert!(
            line.starts_with(&format!("— {}/voter/{id} ", Fleet::ORIGIN)),
            "{line}"
        );
        let both = [note.as_slice(), line.as_bytes()].concat();
        let parsed = SignedCheckpoint::parse(&both);
        // Node 1 cosigned its own checkpoint before.
        assert!(id == 1 || parsed.unwrap().note().signatures().len() == 3);
    }
    let key = cluster.fleet.keys.key(Role::Checkpoint, 3).clone();
    let name = KeyName::new(Fleet::ORIGIN).unwrap();
    let log = NoteKey::new(name.clone(), SignatureKind::Log, key).unwrap();
    let size = signed.unverified_claim().size;
    for (size, expect) in [
        (size, Refusal::Mismatch),
        (size + 1_000, Refusal::OutOfRange),
    ] {
        let mut forked = SignedCheckpoint::unsigned(Checkpoint {
            origin: name.clone(),
            size,
            root: NodeHash([7; 32]),
        });
        forked.sign(&log, 1).unwrap();
        let request = v1::CosignRequest {
            note: forked.note().to_string().into_bytes(),
        };
        let refused = audit(&cluster, 2).cosign(request).await.unwrap_err();
        assert_eq!(WireError::from(&refused).refusal, expect, "{refused}");
    }
    cluster.stop().await;
}
