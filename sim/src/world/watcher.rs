//! Watches the store with bare hands: what comes off the wire goes to the oracles as it is.

use std::time::Duration;

use madsim::time::{sleep, timeout};
use tidegate_proto::v1;
use tidegate_proto::v1::store_client::StoreClient;
use tidegate_proto::v1::watch_update::Update;
use tonic::Status;

use super::client::Client;
use super::store::address;
use crate::dice::Dice;
use crate::oracle::Seen;

/// How long it waits for a connection, an answer, or a word.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two watches.
const AGAIN: Duration = Duration::from_millis(200);
/// The first life of a cluster.
const INCARNATION: u64 = 1;

/// Watches at one node after the other, for as long as the run lasts. It joins where it stands, and
/// sometimes a little before: in the middle of what a node has at hand.
pub(super) async fn watch(client: Client, stores: Vec<u64>, mut dice: Dice) {
    let mut entries: u64 = 0;
    loop {
        let id = dice.pick(&stores).copied().unwrap_or(1);
        let from = if dice.one_in(2) {
            entries
        } else {
            dice.within(entries.saturating_sub(20)..entries + 1)
        };
        // A node that catches up is worth watching until it has.
        let most = *dice.pick(&[12, 120]).unwrap_or(&12);
        let updates = dice.within(1..most);
        if let Ok(reached) = stretch(&client, id, from, updates).await {
            entries = reached;
        }
        sleep(AGAIN).await;
    }
}

/// Takes so many updates from one node; answers how many entries it has then.
async fn stretch(client: &Client, id: u64, from: u64, updates: u64) -> Result<u64, Status> {
    let silent = |_| Status::deadline_exceeded("silent");
    let connecting = StoreClient::connect(format!("http://{}", address(id)));
    let mut store = timeout(PATIENCE, connecting)
        .await
        .map_err(silent)?
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let opening = store.watch(v1::WatchRequest {
        after_entries: from,
        incarnation: INCARNATION,
    });
    let mut watch = timeout(PATIENCE, opening)
        .await
        .map_err(silent)??
        .into_inner();
    let (witness, lane, mut entries) = (client.witness(), client.lane(), from);
    witness.see(&Seen::WatchBegan { lane, entries });
    for _ in 0..updates {
        let update = timeout(PATIENCE, watch.message()).await.map_err(silent)??;
        match update.and_then(|update| update.update) {
            Some(Update::Batch(batch)) => {
                let batch = v1::WatchBatch::from_bytes(batch)
                    .map_err(|error| Status::data_loss(error.to_string()))?;
                let (from, to) = (batch.from, batch.to);
                let events = batch.entries.iter().map(|entry| entry.events.to_vec());
                let events: Vec<Vec<u8>> = events.collect();
                witness.see(&Seen::WatchBatch {
                    lane,
                    from,
                    to,
                    events: &events,
                });
                entries = to;
            }
            Some(Update::Idle(idle)) => witness.see(&Seen::WatchIdle {
                lane,
                entries: idle.entries,
            }),
            Some(Update::Resync(_)) | None => break,
        }
    }
    Ok(entries)
}
