//! The `Audit` service: entries, proofs and checkpoints, none of which has to be trusted.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use tidegate_audit_log::NodeHash;
use tidegate_audit_log::checkpoint::{Checkpoint, SignedCheckpoint};
use tidegate_audit_log::note::{KeyName, NoteKey, SignatureKind};
use tidegate_audit_log::tree::{
    ReadError as TreeError, TileHashes, consistency_proof, inclusion_proof, root_at,
};
use tidegate_domain::signature::SigningKey;
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::v1::{self, audit_server};
use tidegate_proto::{Refusal, WireError};
use tonic::{Request, Response, Status};

use super::store::{Serving, on_disk};
use crate::config::NodeConfig;
use crate::node::NodeKeys;
use crate::storage::{AuditEntry, StateError, StateStore, StateView};

/// Bytes of entries in one batch; a single larger entry stands alone.
const BATCH_BYTES: usize = 512 << 10;

/// The keys with which a node signs what it has seen of the log, as far as it has them.
pub(crate) struct CheckpointKeys {
    /// The origin, as the name of the log's key.
    origin: KeyName,
    /// Signs checkpoints in the origin's name.
    log: Option<NoteKey>,
    /// Cosigns as this voter.
    voter: Option<NoteKey>,
}

impl CheckpointKeys {
    /// The keys under their names: the origin, and `<origin>/voter/<node id>`. `None` if the
    /// origin makes no key name.
    pub(crate) fn new(config: &NodeConfig, keys: &NodeKeys) -> Option<Self> {
        let named = |name: String, kind, key: &Option<SigningKey>| {
            let name = KeyName::new(name).ok()?;
            let key = key.clone().map(|key| NoteKey::new(name.clone(), kind, key));
            Some((name, key.transpose().ok()?))
        };
        let NodeConfig {
            origin, node_id, ..
        } = config;
        let (name, log) = named(origin.clone(), SignatureKind::Log, &keys.log)?;
        let voter = format!("{origin}/voter/{node_id}");
        let (_, voter) = named(voter, SignatureKind::Cosignature, &keys.checkpoint)?;
        Some(Self {
            origin: name,
            log,
            voter,
        })
    }
}

/// Answers the `Audit` service.
pub(crate) struct AuditService {
    pub(crate) serving: Arc<Serving>,
    pub(crate) keys: CheckpointKeys,
}

type Batches = Pin<Box<dyn Stream<Item = Result<v1::EntryBatch, Status>> + Send>>;

#[tonic::async_trait]
impl audit_server::Audit for AuditService {
    async fn head(
        &self,
        _: Request<v1::HeadRequest>,
    ) -> Result<Response<v1::HeadResponse>, Status> {
        let view = self.view().await?;
        let head = view.head();
        Ok(Response::new(v1::HeadResponse {
            origin: self.serving.origin(),
            entries: head.size(),
            chain_head: head.chain().0.to_vec(),
            tree_root: head.root().0.to_vec(),
        }))
    }

    type EntriesStream = Batches;

    async fn entries(
        &self,
        request: Request<v1::EntriesRequest>,
    ) -> Result<Response<Batches>, Status> {
        let v1::EntriesRequest { from, to } = request.into_inner();
        let slot = self.serving.exports.slot()?;
        let head = self.view().await?.head().size();
        let to = if to == 0 { head } else { to };
        if from > to || to > head {
            return Err(out_of_range(format!("entries {from} to {to} of {head}")));
        }
        let rest = Some((self.serving.state.clone(), from, to));
        let batches = stream::unfold(rest, next_batch);
        let batches = slot.pace(batches, |batch| batch.entries.iter().map(entry_bytes).sum());
        Ok(Response::new(Box::pin(batches)))
    }

    async fn checkpoint(
        &self,
        _: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::CheckpointResponse>, Status> {
        let key = self.keys.log.as_ref().ok_or_else(|| missing("log_key"))?;
        // Only committed sizes are signed, and whatever was applied is committed.
        let view = self.view().await?;
        let head = view.head();
        let claim = Checkpoint {
            origin: self.keys.origin.clone(),
            size: head.size(),
            root: head.root(),
        };
        let honest = self.check_log_time(view.position().log_time_ms).is_ok();
        let voter = self.keys.voter.as_ref().filter(|_| honest);
        let time_s = self.serving.clock.wall().0 / 1_000;
        let mut signed = SignedCheckpoint::unsigned(claim);
        for key in std::iter::once(key).chain(voter) {
            signed.sign(key, time_s).map_err(internal)?;
        }
        let note = signed.note().to_string().into_bytes();
        Ok(Response::new(v1::CheckpointResponse { note }))
    }

    /// LOG-3: this voter cosigns a claim only if its own log has the same root at that size, and
    /// log time there is one that an honest leader may have stamped.
    async fn cosign(
        &self,
        request: Request<v1::CosignRequest>,
    ) -> Result<Response<v1::CosignResponse>, Status> {
        let key = self
            .keys
            .voter
            .as_ref()
            .ok_or_else(|| missing("checkpoint_key"))?;
        let v1::CosignRequest { note } = request.into_inner();
        let malformed = |message: String| WireError::refused(Refusal::Malformed, message);
        if note.len() > NOTE_BYTES_MAX {
            return Err(malformed(format!("a note of {} bytes", note.len())).into());
        }
        let signed = SignedCheckpoint::parse(&note).map_err(|e| malformed(e.to_string()))?;
        let claim = signed.unverified_claim();
        let origin = &self.keys.origin;
        if claim.origin != *origin {
            let message = format!("a checkpoint of {}, this is {origin}", claim.origin);
            return Err(WireError::refused(Refusal::OtherCluster, message).into());
        }
        self.serving.reads.confirm().await?;
        let (own, log_time_ms) = self.at(claim.size).await?;
        self.check_log_time(log_time_ms)?;
        if own != claim.root && !is_on(Mutant::CosignedUnseen) {
            let message = format!("this node has another root at size {}", claim.size);
            return Err(WireError::refused(Refusal::Mismatch, message).into());
        }
        let time_s = self.serving.clock.wall().0 / 1_000;
        let signature = key.sign(signed.note().text(), time_s).map_err(internal)?;
        Ok(Response::new(v1::CosignResponse {
            signature_line: format!("{signature}\n").into_bytes(),
        }))
    }

    async fn prove_inclusion(
        &self,
        request: Request<v1::ProveInclusionRequest>,
    ) -> Result<Response<v1::TreeProof>, Status> {
        let v1::ProveInclusionRequest { index, size } = request.into_inner();
        let view = self.view().await?;
        let head = view.head().size();
        if index >= size || size > head {
            return Err(out_of_range(format!(
                "entry {index} in a tree of {size} of {head}"
            )));
        }
        prove(view, size, move |hashes| {
            inclusion_proof(hashes, index, size)
        })
        .await
    }

    async fn prove_consistency(
        &self,
        request: Request<v1::ProveConsistencyRequest>,
    ) -> Result<Response<v1::TreeProof>, Status> {
        let v1::ProveConsistencyRequest { old_size, new_size } = request.into_inner();
        let view = self.view().await?;
        let head = view.head().size();
        if old_size == 0 || old_size > new_size || new_size > head {
            return Err(out_of_range(format!(
                "trees of {old_size} and {new_size} of {head}"
            )));
        }
        prove(view, new_size, move |hashes| {
            consistency_proof(hashes, old_size, new_size)
        })
        .await
    }
}

/// Longest note that is cosigned, in bytes.
const NOTE_BYTES_MAX: usize = 16 << 10;

impl AuditService {
    async fn view(&self) -> Result<StateView, Status> {
        let state = self.serving.state.clone();
        on_disk(move || state.view()).await
    }

    /// Refuses a log that ends at a time too far ahead of the voters' clocks.
    fn check_log_time(&self, log_time_ms: u64) -> Result<(), WireError> {
        let Some(ahead) = self.serving.too_far_ahead_ms(log_time_ms) else {
            return Ok(());
        };
        let message = format!(
            "log time is {} s ahead of the voters' clocks: this voter cosigns nothing that covers \
             it until they have caught up",
            ahead / 1_000
        );
        Err(WireError::refused(Refusal::NotAllowed, message))
    }

    /// The root of the first `size` entries, and log time at their end.
    async fn at(&self, size: u64) -> Result<(NodeHash, u64), Status> {
        let view = self.view().await?;
        let head = view.head().size();
        if size > head {
            return Err(out_of_range(format!(
                "a tree of {size}, this node has {head} entries"
            )));
        }
        on_disk(move || {
            let root = root_at(&TileHashes::new(&view, head), size).map_err(unreadable)?;
            Ok((root, view.log_time_at(size)?))
        })
        .await
    }
}

async fn prove(
    view: StateView,
    size: u64,
    make: impl FnOnce(&TileHashes<&StateView>) -> Result<Vec<NodeHash>, TreeError<StateError>>
    + Send
    + 'static,
) -> Result<Response<v1::TreeProof>, Status> {
    on_disk(move || {
        let head = view.head().size();
        let hashes = TileHashes::new(&view, head);
        let proof = make(&hashes).map_err(unreadable)?;
        let root = root_at(&hashes, size).map_err(unreadable)?;
        Ok(Response::new(v1::TreeProof {
            hashes: proof.into_iter().map(|hash| hash.0.to_vec()).collect(),
            root: root.0.to_vec(),
        }))
    })
    .await
}

type Rest = Option<(StateStore, u64, u64)>;

/// Entries never change: each batch is read from a view of its own, and none is held meanwhile.
async fn next_batch(rest: Rest) -> Option<(Result<v1::EntryBatch, Status>, Rest)> {
    let (state, from, to) = rest?;
    if from >= to {
        return None;
    }
    let read = on_disk(move || {
        let mut entries = state.view()?.entries(from, BATCH_BYTES)?;
        entries.retain(|entry| entry.index < to);
        Ok((state, entries))
    });
    match read.await {
        Ok((state, entries)) => {
            let next = entries.last()?.index + 1;
            let entries = entries.into_iter().map(wire_entry).collect();
            let batch = v1::EntryBatch { from, entries };
            Some((Ok(batch), Some((state, next, to))))
        }
        Err(status) => Some((Err(status), None)),
    }
}

fn entry_bytes(entry: &v1::AuditEntry) -> usize {
    entry.entry.len() + entry.detached_body.as_ref().map_or(0, Vec::len)
}

fn wire_entry(entry: AuditEntry) -> v1::AuditEntry {
    let AuditEntry {
        index: _,
        bytes,
        detached,
    } = entry;
    v1::AuditEntry {
        entry: bytes.to_vec(),
        detached_body: detached.map(|file| file.to_vec()),
    }
}

fn unreadable(error: TreeError<StateError>) -> StateError {
    StateError::Damaged(format!("the audit tree: {error}"))
}

fn missing(field: &str) -> WireError {
    let message = format!("this node has no `{field}`; ask another voter");
    WireError::refused(Refusal::NotAllowed, message)
}

fn out_of_range(message: String) -> Status {
    WireError::refused(Refusal::OutOfRange, format!("out of range: {message}")).into()
}

fn internal(error: impl std::fmt::Display) -> Status {
    WireError::refused(Refusal::Internal, error.to_string()).into()
}
