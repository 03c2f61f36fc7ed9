//! Takes the audit log out of a running cluster, as a directory that can be verified anywhere.
use anyhow::{Context, bail, ensure};
use std::{collections::BTreeMap, path::Path};
use tidegate_audit_log::{
    Policy,
    checkpoint::SignedCheckpoint,
    detached::DetachedBody,
    directory::FsDirectory,
    export::ExportWriter,
    note::{KeyName, SignatureKind, VerifierKey},
};
use tidegate_client::View;
use tidegate_domain::{
    State,
    id::{NodeId, PublicKey},
    key::{KeyStatus, Role},
};
use tidegate_proto::v1::{
    self, CheckpointRequest, CosignRequest, EntriesRequest, audit_client::AuditClient,
};
use tonic::transport::{Channel, Endpoint};

/// What an export holds.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    /// Entries in all.
    pub(crate) entries: u64,
    /// Names of the voters whose cosignatures stand under the checkpoint.
    pub(crate) cosigned: Vec<String>,
}

/// Exports the log up to the present head. `nodes` are `http://host:port` of store nodes; `view` is
/// what the keys are taken from: the export's policy demands the log's key and a majority of the
/// voters. An older export in `out` is continued. `progress` is told entries done and in all.
///
/// # Errors
/// No node answers, too few voters cosign, or the directory cannot be written. What stood there
/// before is still whole then.
pub(crate) async fn export(
    nodes: &[String],
    view: &View,
    out: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> anyhow::Result<Exported> {
    let channels = nodes
        .iter()
        .map(|url| Ok(Endpoint::from_shared(url.clone())?.connect_lazy()))
        .collect::<anyhow::Result<Vec<Channel>>>()?;
    let origin = view.state().meta().origin.clone();
    let (source, signed) = sign(&channels).await?;
    let policy = policy(view.state(), &signed)?;
    let checkpoint = policy.policy.verify(&signed).context(
        "the checkpoint does not satisfy the policy: are enough voters running and reachable?",
    )?;
    let (size, cosigned) = (checkpoint.size, checkpoint.cosigners().to_vec());
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let mut writer = ExportWriter::open(FsDirectory::new(out), &origin)
        .with_context(|| format!("{} cannot be continued", out.display()))?;
    let have = writer.size();
    ensure!(
        have <= size,
        "{} has {have} entries, the cluster only {size}",
        out.display()
    );
    fetch(&source, &mut writer, size, progress).await?;
    writer.put_keys(&policy.log, &policy.policy)?;
    writer
        .commit(&signed)
        .context("the entries that came are not those that were signed")?;
    Ok(Exported {
        entries: size,
        cosigned,
    })
}

/// A checkpoint of the first node that answers, cosigned by all voters that will.
async fn sign(channels: &[Channel]) -> anyhow::Result<(Channel, SignedCheckpoint)> {
    let mut why = anyhow::anyhow!("no node is named");
    for (at, channel) in channels.iter().enumerate() {
        let mut client = AuditClient::new(channel.clone());
        let mut note = match client.checkpoint(CheckpointRequest {}).await {
            Ok(answer) => answer.into_inner().note,
            Err(status) => {
                why = status.into();
                continue;
            }
        };
        let others = channels
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let asked = note.clone();
        for (_, other) in others {
            let request = CosignRequest {
                note: asked.clone(),
            };
            // A voter that is down or behind gives none; the policy says whether enough did.
            if let Ok(answer) = AuditClient::new(other.clone()).cosign(request).await {
                note.extend(answer.into_inner().signature_line);
            }
        }
        return Ok((channel.clone(), SignedCheckpoint::parse(&note)?));
    }
    Err(why.context("no store node gives a checkpoint"))
}

/// Appends the entries that are missing.
async fn fetch(
    source: &Channel,
    writer: &mut ExportWriter<FsDirectory>,
    size: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> anyhow::Result<()> {
    if writer.size() == size {
        return Ok(());
    }
    let request = EntriesRequest {
        from: writer.size(),
        to: size,
    };
    let mut client = AuditClient::new(source.clone()).max_decoding_message_size(16 << 20);
    let mut batches = client.entries(request).await?.into_inner();
    while let Some(batch) = batches.message().await? {
        for v1::AuditEntry {
            entry,
            detached_body,
        } in batch.entries
        {
            writer.append(&entry)?;
            if let Some(file) = detached_body {
                writer.put_detached(&DetachedBody::from_file(file)?)?;
            }
        }
        progress(writer.size(), size);
    }
    ensure!(
        writer.size() == size,
        "the node sent {} of {size} entries",
        writer.size()
    );
    Ok(())
}

struct LogPolicy {
    log: VerifierKey,
    policy: Policy,
}

/// The policy of a cluster: its log key signs, and a majority of its voters cosigns. Keys come
/// from the trusted set; which of them is the log's shows in the checkpoint itself.
fn policy(state: &State, signed: &SignedCheckpoint) -> anyhow::Result<LogPolicy> {
    let origin = &state.meta().origin;
    let role = state
        .keys()
        .role(Role::Checkpoint)
        .context("no checkpoint keys are trusted")?;
    let trusted: Vec<PublicKey> = role
        .keys
        .iter()
        .filter(|(_, entry)| entry.status == KeyStatus::Trusted)
        .map(|(key, _)| *key)
        .collect();
    let note = signed.note();
    let signs = |key: &VerifierKey| {
        note.signatures()
            .iter()
            .any(|s| key.is_named_by(s) && key.verify(note.text(), s).is_ok())
    };
    let logs = trusted
        .iter()
        .map(|key| vkey(origin, SignatureKind::Log, key))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let Some(log) = logs.into_iter().find(signs) else {
        bail!("no trusted key of role `checkpoint` signed the checkpoint as {origin}");
    };
    let voters: BTreeMap<NodeId, PublicKey> = state
        .membership()
        .members
        .iter()
        .filter(|member| member.voter)
        .filter_map(|member| Some((member.id, member.checkpoint_key?)))
        .collect();
    ensure!(
        !voters.is_empty(),
        "no voter has a checkpoint key: name them with a ChangeMembership command"
    );
    let voters = voters
        .iter()
        .map(|(id, key)| {
            ensure!(
                trusted.contains(key),
                "the checkpoint key of node {id} is not trusted"
            );
            vkey(
                &format!("{origin}/voter/{id}"),
                SignatureKind::Cosignature,
                key,
            )
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let policy = Policy::majority(&log, &voters, None)?;
    Ok(LogPolicy { log, policy })
}

fn vkey(name: &str, kind: SignatureKind, key: &PublicKey) -> anyhow::Result<VerifierKey> {
    Ok(VerifierKey::new(KeyName::new(name)?, kind, &key.0)?)
}
