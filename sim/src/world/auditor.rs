//! An auditor, who collects what nodes sign and believes none of them; and somebody who would have
//! them sign what is not so.

use std::time::Duration;

use madsim::time::{sleep, timeout};
use tidegate_audit_log::checkpoint::{Checkpoint, SignedCheckpoint};
use tidegate_audit_log::note::{KeyName, NoteKey, SignatureKind};
use tidegate_domain::key::Role;
use tidegate_domain::testing::{Fleet, Keyring};
use tidegate_proto::v1;
use tidegate_proto::v1::audit_client::AuditClient;
use tonic::Status;
use tonic::transport::Channel;

use super::client::Client;
use super::store::address;
use crate::dice::Dice;
use crate::oracle::Seen;

/// How long an auditor waits for one node.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two rounds, in ms.
const PAUSE_MS: std::ops::Range<u64> = 300..1_500;

/// Asks one node for a checkpoint and another for its cosignature, again and again.
pub(super) async fn audit(client: Client, stores: Vec<u64>, mut dice: Dice) {
    loop {
        sleep(Duration::from_millis(dice.within(PAUSE_MS))).await;
        let (Some(from), Some(to)) = (dice.pick(&stores).copied(), dice.pick(&stores).copied())
        else {
            return;
        };
        let Ok(note) = checkpoint(from).await else {
            continue;
        };
        let Ok(signed) = SignedCheckpoint::parse(&note) else {
            continue;
        };
        let claim = signed.unverified_claim();
        show(&client, from, claim);
        let (asked, claim) = match forged(claim).filter(|_| dice.one_in(3)) {
            Some((note, claim)) => (note, claim),
            None => (note, claim.clone()),
        };
        if cosign(to, asked).await.is_ok() {
            show(&client, to, &claim);
        }
    }
}

fn show(client: &Client, id: u64, claim: &Checkpoint) {
    client.witness().see(&Seen::Checkpoint {
        lane: &format!("s{id}"),
        size: claim.size,
        root: claim.root.0,
    });
}

/// The same size with another root, signed with the log's own key: what a stolen key can say.
fn forged(claim: &Checkpoint) -> Option<(Vec<u8>, Checkpoint)> {
    let mut claim = claim.clone();
    claim.root.0[0] ^= 1;
    let ring = Keyring::default();
    let stolen = ring.key(Role::Checkpoint, Keyring::PER_ROLE - 1).clone();
    let name = KeyName::new(Fleet::ORIGIN.to_owned()).ok()?;
    let key = NoteKey::new(name, SignatureKind::Log, stolen).ok()?;
    let mut signed = SignedCheckpoint::unsigned(claim.clone());
    signed.sign(&key, 0).ok()?;
    Some((signed.note().to_string().into_bytes(), claim))
}

async fn connect(id: u64) -> Result<AuditClient<Channel>, Status> {
    let connecting = AuditClient::connect(format!("http://{}", address(id)));
    let connected = timeout(PATIENCE, connecting).await;
    connected
        .map_err(|_| Status::deadline_exceeded("silent"))?
        .map_err(|error| Status::unavailable(error.to_string()))
}

async fn checkpoint(id: u64) -> Result<Vec<u8>, Status> {
    let mut audit = connect(id).await?;
    let answer = timeout(PATIENCE, audit.checkpoint(v1::CheckpointRequest {})).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded("silent"))??;
    Ok(answer.into_inner().note)
}

async fn cosign(id: u64, note: Vec<u8>) -> Result<(), Status> {
    let mut audit = connect(id).await?;
    let answer = timeout(PATIENCE, audit.cosign(v1::CosignRequest { note })).await;
    answer.map_err(|_| Status::deadline_exceeded("silent"))??;
    Ok(())
}
