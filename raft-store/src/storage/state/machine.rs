//! openraft's view of the state.

use std::io;
use std::time::Duration;

use futures::future::try_join_all;
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::{blocking, processors};

use super::StateStore;
use crate::storage::snapshot::{self, SnapshotData};
use crate::types::{
    Entry, EntryPayload, Envelope, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig,
};

/// Most entries in one transaction: bounds how long readers of the state wait.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Most bytes of commands in one transaction.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Fewest commands that are worth a thread of their own to examine them.
const SHARE_MIN: usize = 4;

impl RaftStateMachine<TypeConfig> for StateStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let shown = self.shared.shown();
        Ok((shown.core.applied, shown.core.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut more = true;
        while more {
            let (mut batch, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
            while batch.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
                let Some(next) = entries.next().await else {
                    more = false;
                    break;
                };
                let (entry, responder): (Entry, _) = next?;
                if let EntryPayload::Normal(proposal) = &entry.payload {
                    bytes += proposal.command.bytes().len();
                }
                batch.push(entry);
                waiting.push(responder);
            }
            if batch.is_empty() {
                break;
            }
            examine(&batch).await?;
            let store = self.clone();
            let applied = blocking(move || store.apply(&batch)).await??;
            for (responder, applied) in waiting.into_iter().zip(applied) {
                if let Some(responder) = responder {
                    responder.send(applied);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> io::Result<()> {
        let (store, meta) = (self.clone(), meta.clone());
        Ok(blocking(move || snapshot::install(&store, &meta, data)).await??)
    }

    // The state is persistent: as it stands, it *is* the newest snapshot.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshot = self.build_snapshot().await?;
        Ok(snapshot.meta.last_log_id.is_some().then_some(snapshot))
    }
}

/// Examines the commands of a batch that this node has not examined yet, on all processors, before
/// anybody waits for their turn. On a leader the door has done it.
async fn examine(batch: &[Entry]) -> io::Result<()> {
    let unexamined = batch.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::Normal(proposal) => Some(&proposal.command),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    });
    let unexamined: Vec<Envelope> = unexamined
        .filter(|command| !command.is_examined())
        .cloned()
        .collect();
    if unexamined.is_empty() {
        return Ok(());
    }
    let share = unexamined.len().div_ceil(processors()).max(SHARE_MIN);
    let shares = unexamined.chunks(share).map(|commands| {
        let commands = commands.to_vec();
        blocking(move || commands.iter().for_each(Envelope::examine))
    });
    try_join_all(shares).await.map(drop)
}

impl RaftSnapshotBuilder<TypeConfig> for StateStore {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        // openraft purges the log up to what this snapshot covers, and goes on applying meanwhile.
        let (store, log) = (self.clone(), self.look_at_log().await);
        let view = blocking(move || store.durable_view(log)).await??;
        let mut last_log_id = view.position().applied;
        if let Some(last) = last_log_id
            .as_mut()
            .filter(|_| is_on(Mutant::SnapshotSaysLess))
        {
            last.index = last.index.saturating_sub(1);
        }
        if is_on(Mutant::SnapshotClaimsLate) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            last_log_id = self.position().applied;
        }
        let meta = SnapshotMeta {
            last_log_id,
            last_membership: view.membership().clone(),
        };
        let identity = (self.origin().to_owned(), self.incarnation().0);
        let snapshot = SnapshotData::of_view(view, meta.clone(), identity);
        Ok(Snapshot { meta, snapshot })
    }
}
