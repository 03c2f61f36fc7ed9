//! Takes the audit log out of a running cluster, as a directory that can be verified anywhere.
use crate::{
    cluster::asked,
    failure::{Failure, Kind},
};
use std::path::Path;
use tidegate_audit_log::{
    ExportWriter, Policy, SignedCheckpoint,
    detached::DetachedBody,
    directory::FsDirectory,
    note::{KeyName, SignatureKind, VerifierKey},
};
use tidegate_client::{ClientError, StoreClient, View};
use tidegate_domain::{
    State,
    id::PublicKey,
    key::{KeyStatus, Role},
};
use tidegate_proto::{
    WireError,
    v1::{self, audit_client::AuditClient},
};
use tonic::{Status, transport::Channel};

/// Largest answer that is accepted, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What an export holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exported {
    /// Entries in all.
    pub(crate) entries: u64,
    /// Entries that were not there before.
    pub(crate) new: u64,
    /// Voters whose cosignatures the policy demands and found.
    pub(crate) cosigners: usize,
}

/// Exports the log up to the present head into `directory`, or adds to an earlier export there
/// what is new. `progress` is told entries done and in all.
///
/// # Errors
/// No node answers, the directory cannot be written, or it holds another log or a longer one. What
/// stood there before is still whole then.
pub(crate) async fn export(
    client: &StoreClient,
    view: &View,
    directory: &Path,
    progress: impl Fn(u64, u64),
) -> Result<Exported, Failure> {
    let state = view.state();
    let origin = &state.meta().origin;
    let mut node = AuditNode::new(client);
    let signed = node.checkpoint().await?;
    let signed = cosigned(client, signed).await;
    let size = signed.unverified_claim().size;
    std::fs::create_dir_all(directory).map_err(|error| {
        Failure::refused(format!("cannot make {}: {error}", directory.display()))
    })?;
    let files = FsDirectory::new(directory);
    let mut writer = ExportWriter::open(files, origin).map_err(Failure::refused)?;
    let had = writer.size();
    if had > size {
        return Err(Failure::refused(format!(
            "{} has {had} entries, the node's checkpoint only {size}",
            directory.display()
        ))
        .next("ask a node that has caught up; if none has, the cluster lost entries: keep this export"));
    }
    node.entries(&mut writer, size, |done| progress(done, size))
        .await?;
    let (log, policy) = keys_of(state, &signed)?;
    writer.put_keys(&log, &policy).map_err(Failure::refused)?;
    writer.commit(&signed).map_err(Failure::refused)?;
    let verified = policy.verify(&signed).map_err(Failure::refused)?;
    Ok(Exported {
        entries: size,
        new: size - had,
        cosigners: verified.cosigners().len(),
    })
}

/// The node that is asked for the log.
struct AuditNode {
    endpoint: String,
    client: AuditClient<Channel>,
}

impl AuditNode {
    fn new(client: &StoreClient) -> Self {
        let (endpoint, channel) = client.channel();
        let client = AuditClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { endpoint, client }
    }

    fn failed(&self, operation: &'static str) -> impl Fn(Status) -> Failure + use<> {
        let endpoint = self.endpoint.clone();
        move |status| {
            asked(ClientError {
                operation,
                endpoint: endpoint.clone(),
                error: WireError::from(&status),
            })
        }
    }

    async fn checkpoint(&mut self) -> Result<SignedCheckpoint, Failure> {
        let failed = self.failed("checkpoint");
        let answer = self.client.checkpoint(v1::CheckpointRequest {}).await;
        let note = answer.map_err(failed)?.into_inner().note;
        SignedCheckpoint::parse(&note)
            .map_err(|error| Failure::refused(format!("the node's checkpoint: {error}")))
    }

    /// Appends the entries that the export lacks.
    async fn entries(
        &mut self,
        writer: &mut ExportWriter<FsDirectory>,
        to: u64,
        progress: impl Fn(u64),
    ) -> Result<(), Failure> {
        let failed = self.failed("entries");
        let from = writer.size();
        if from == to {
            return Ok(());
        }
        let request = v1::EntriesRequest { from, to };
        let answer = self.client.entries(request).await;
        let mut batches = answer.map_err(&failed)?.into_inner();
        while let Some(batch) = batches.message().await.map_err(&failed)? {
            for v1::AuditEntry {
                entry,
                detached_body,
            } in batch.entries
            {
                writer.append(&entry).map_err(Failure::refused)?;
                if let Some(file) = detached_body {
                    let body = DetachedBody::from_file(file).map_err(Failure::refused)?;
                    writer.put_detached(&body).map_err(Failure::refused)?;
                }
            }
            progress(writer.size());
        }
        if writer.size() == to {
            return Ok(());
        }
        let what = format!(
            "the export broke off after {} of {to} entries",
            writer.size()
        );
        Err(Failure::new(Kind::Unreachable, what).next("run it again: it goes on from there"))
    }
}

/// The checkpoint with the cosignatures of all nodes that give theirs. A node that is behind, or
/// cannot be reached, gives none; whether those that did suffice is for a policy to say.
async fn cosigned(client: &StoreClient, mut signed: SignedCheckpoint) -> SignedCheckpoint {
    let note = signed.to_string().into_bytes();
    for channel in client.channels() {
        let request = v1::CosignRequest { note: note.clone() };
        let Ok(answer) = AuditClient::new(channel).cosign(request).await else {
            continue;
        };
        let line = answer.into_inner().signature_line;
        let more = format!("{signed}{}", String::from_utf8_lossy(&line));
        if let Ok(more) = SignedCheckpoint::parse(more.as_bytes()) {
            signed = more;
        }
    }
    signed
}

/// The log's key and the policy that the cluster's own keys make. An auditor's own policy should
/// come from elsewhere; this one makes the export complete.
fn keys_of(state: &State, signed: &SignedCheckpoint) -> Result<(VerifierKey, Policy), Failure> {
    let origin = &state.meta().origin;
    let key = |name: String, kind, key: &PublicKey| {
        let name = KeyName::new(name).ok()?;
        VerifierKey::new(name, kind, &key.0).ok()
    };
    let checkpoint_keys = state.keys().role(Role::Checkpoint);
    let trusted = checkpoint_keys.iter().flat_map(|keys| &keys.keys);
    let mut log_keys = trusted
        .filter(|(_, entry)| entry.status == KeyStatus::Trusted)
        .filter_map(|(raw, _)| key(origin.clone(), SignatureKind::Log, raw));
    let signatures = signed.note().signatures();
    let log = log_keys
        .find(|key| {
            signatures
                .iter()
                .any(|signature| key.is_named_by(signature))
        })
        .ok_or_else(|| {
            Failure::refused("no trusted key of role checkpoint has signed the node's checkpoint")
                .next("name the log's key in the next key rotation, and give it to the nodes")
        })?;
    let voters = state
        .membership()
        .members
        .iter()
        .filter(|member| member.voter);
    let voters: Vec<VerifierKey> = voters
        .filter_map(|member| {
            let name = format!("{origin}/voter/{}", member.id);
            key(
                name,
                SignatureKind::Cosignature,
                member.checkpoint_key.as_ref()?,
            )
        })
        .collect();
    // A policy that its own checkpoint does not satisfy would be a contradiction.
    let majority = Policy::majority(&log, &voters, None);
    let majority = majority.ok().filter(|policy| policy.verify(signed).is_ok());
    let policy = match majority {
        Some(policy) => policy,
        None => Policy::log_only(log.clone()).map_err(Failure::refused)?,
    };
    Ok((log, policy))
}
