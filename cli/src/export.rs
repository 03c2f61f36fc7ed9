//! Takes the audit log out of a running cluster, as a directory that can be verified anywhere.
use crate::{
    cluster::asked,
    failure::{Failure, Kind},
};
use std::{fmt::Display, path::Path};
use tidegate_audit_log::{
    Entry, ExportWriter, Policy, SignedCheckpoint,
    detached::DetachedBody,
    directory::FsDirectory,
    note::{KeyName, SignatureKind, VerifierKey},
};
use tidegate_client::{ClientError, StoreClient, View};
use tidegate_domain::{
    State,
    id::{Index, PublicKey},
    key::{KeyStatus, Role},
};
use tidegate_proto::{
    WireError,
    v1::{self, audit_client::AuditClient},
};
use tidegate_raft_store::storage::AuditBody;
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
    /// Voters that there are.
    pub(crate) voters: usize,
    /// Voters that cosigned.
    pub(crate) cosigners: usize,
    /// Whether a majority of the voters cosigned, and the policy demands it. Otherwise the policy
    /// rests on the log's key alone: whoever holds that key can make such an export of anything.
    pub(crate) majority: bool,
}

impl Exported {
    /// What an operator has to be told of an export that proves less than it should.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self {
            voters, cosigners, ..
        } = self;
        (!self.majority).then(|| match voters {
            0 => "no member of the store is approved yet, so nobody cosigned: the policy rests on the log's key alone".to_owned(),
            _ => format!(
                "only {cosigners} of {voters} voters cosigned, which is no majority: the policy rests on the log's key alone"
            ),
        })
    }
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
    let Keys {
        log,
        policy,
        voters,
        cosigners,
        majority,
    } = keys_of(state, &signed)?;
    writer.put_keys(&log, &policy).map_err(Failure::refused)?;
    writer.commit(&signed).map_err(Failure::refused)?;
    policy.verify(&signed).map_err(Failure::refused)?;
    Ok(Exported {
        entries: size,
        new: size - had,
        voters,
        cosigners,
        majority,
    })
}

/// What an entry of the running cluster's log records. Nothing is verified: that takes an export.
pub(crate) async fn recorded(client: &StoreClient, index: Index) -> Result<AuditBody, Failure> {
    let mut node = AuditNode::new(client);
    let failed = node.failed("entries");
    let request = v1::EntriesRequest {
        from: index.0,
        to: index.0.saturating_add(1),
    };
    let answer = node.client.entries(request).await.map_err(&failed)?;
    let batch = answer.into_inner().message().await.map_err(&failed)?;
    let unreadable = |why: &dyn Display| {
        Failure::refused(format!(
            "what the node says is entry {index} cannot be read: {why}"
        ))
    };
    let sent = batch.and_then(|batch| batch.entries.into_iter().next());
    let sent = sent.ok_or_else(|| unreadable(&"it sent nothing"))?;
    let entry = Entry::parse(&sent.entry).map_err(|error| unreadable(&error))?;
    let body = match sent.detached_body {
        Some(file) => DetachedBody::from_file(file)
            .map_err(|error| unreadable(&error))?
            .body()
            .to_vec(),
        None => entry.body.to_vec(),
    };
    AuditBody::from_bytes(&body).map_err(|error| unreadable(&error))
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
        if let Ok(more) = SignedCheckpoint::parse(more.as_bytes())
            && !repeats_a_key(&more)
        {
            signed = more;
        }
    }
    signed
}

/// Whether the last signature is of a key that has signed before: the node that made the checkpoint
/// has cosigned it already.
fn repeats_a_key(signed: &SignedCheckpoint) -> bool {
    let Some((last, before)) = signed.note().signatures().split_last() else {
        return false;
    };
    before
        .iter()
        .any(|one| one.name() == last.name() && one.id() == last.id())
}

/// Whose signatures an export rests on.
struct Keys {
    log: VerifierKey,
    policy: Policy,
    voters: usize,
    cosigners: usize,
    majority: bool,
}

/// The log's key and the policy that the cluster's own keys make. An auditor's own policy should
/// come from elsewhere; this one makes the export complete.
fn keys_of(state: &State, signed: &SignedCheckpoint) -> Result<Keys, Failure> {
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
    let members = state.membership().members.iter();
    let members: Vec<_> = members.filter(|member| member.voter).collect();
    let voters: Vec<VerifierKey> = members
        .iter()
        .filter_map(|member| {
            let name = format!("{origin}/voter/{}", member.id);
            key(
                name,
                SignatureKind::Cosignature,
                member.checkpoint_key.as_ref()?,
            )
        })
        .collect();
    let accepted = |voters: &[VerifierKey]| {
        let policy = Policy::majority(&log, voters, None).ok()?;
        policy.verify(signed).is_ok().then_some(policy)
    };
    let alone = |voter: &&VerifierKey| accepted(std::slice::from_ref(*voter)).is_some();
    let cosigners = voters.iter().filter(alone).count();
    // A policy that its own checkpoint does not satisfy would be a contradiction. Voters without a
    // key count as voters that did not cosign.
    let majority = accepted(&voters).filter(|_| cosigners > members.len() / 2);
    Ok(Keys {
        majority: majority.is_some(),
        policy: match majority {
            Some(policy) => policy,
            None => Policy::log_only(log.clone()).map_err(Failure::refused)?,
        },
        log,
        voters: members.len(),
        cosigners,
    })
}
