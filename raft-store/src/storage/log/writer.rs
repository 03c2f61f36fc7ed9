//! The one task that writes the log: what gathers while it syncs goes into its next commit.

use std::io;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::disk::Disk;
use tidegate_runtime::{AsyncRuntime as _, Rt, blocking};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::op::Op;
use crate::types::TypeConfig;

/// Most requests in one commit.
const BATCH_REQUESTS_MAX: usize = 4_096;

/// Why a log takes no more writes, or a state no more entries.
#[derive(Clone, Debug)]
pub struct Poison {
    /// What happened, and what to do.
    pub reason: String,
    /// There was no room; the disk itself is sound.
    pub full: bool,
}

/// Changes that belong together, and who waits for them.
pub(super) struct Request {
    /// Requests are numbered from 1 in the order in which the writer gets them.
    pub(super) number: u64,
    pub(super) ops: Vec<Op>,
    pub(super) done: Done,
}

impl Request {
    /// Whether it may ride on the next sync: nobody waits for it.
    const fn can_wait(&self) -> bool {
        matches!(self.done, Done::Nothing)
    }
}

/// Whom to tell when a request is durable.
pub(super) enum Done {
    /// openraft, which counts this node's own copy only then.
    Flushed(IOFlushed<TypeConfig>),
    /// A caller that waits.
    Answer(oneshot::Sender<io::Result<()>>),
    /// A caller that waits for the writer to end.
    Close(oneshot::Sender<io::Result<()>>),
    /// Nobody: the change rides on the next sync.
    Nothing,
}

pub(super) async fn run(
    shared: Arc<Shared>,
    mut queue: mpsc::UnboundedReceiver<Request>,
    disk: Arc<dyn Disk>,
) {
    let (mut batch, mut riding) = (Vec::new(), Vec::new());
    while queue.recv_many(&mut batch, BATCH_REQUESTS_MAX).await > 0 {
        if batch.iter().all(Request::can_wait) && batch.len() < BATCH_REQUESTS_MAX {
            continue;
        }
        let delay = disk.sync_delay();
        if !delay.is_zero() {
            // A simulated device: what arrives while it works joins the commit, as on a real one.
            Rt::sleep(delay).await;
            while let Ok(request) = queue.try_recv() {
                batch.push(request);
            }
        }
        let (mut ops, mut waiting, mut last) = (std::mem::take(&mut riding), Vec::new(), 0);
        for request in batch.drain(..) {
            ops.extend(request.ops);
            waiting.push(request.done);
            last = request.number;
        }
        let closing = waiting.iter().any(|done| matches!(done, Done::Close(_)));
        let mut result = if !closing && ops.iter().all(Op::rides) && ops.len() < BATCH_REQUESTS_MAX
        {
            // Who waits here waits for entries and votes, and all of these are durable.
            riding = ops;
            Ok(())
        } else {
            commit(&shared, ops).await
        };
        if is_on(Mutant::FailedSyncIgnored) {
            result = Ok(());
        }
        settle(&shared, last, &result);
        let mut closed = Vec::new();
        for done in waiting {
            let result = copy(&result);
            match done {
                Done::Flushed(flushed) => flushed.io_completed(result),
                // Whoever asked may have gone; that changes nothing here.
                Done::Answer(answer) => drop(answer.send(result)),
                Done::Close(answer) => closed.push((answer, result)),
                Done::Nothing => {}
            }
        }
        if result.is_ok() && shared.segments.has_garbage() {
            reclaim(&shared).await;
        }
        if result.is_err() || closing {
            // From here on senders get an error instead of waiting for ever.
            queue.close();
            drop((queue, shared));
            for (answer, result) in closed {
                drop(answer.send(result));
            }
            return;
        }
    }
}

async fn commit(shared: &Arc<Shared>, ops: Vec<Op>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    blocking(move || shared.segments.commit(&ops)).await?
}

/// Removes files that nobody needs any more, when nobody waits.
async fn reclaim(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let removed = blocking(move || shared.segments.reclaim()).await;
    if let Err(error) = removed.and_then(|removed| removed) {
        // They are there still; the next time comes, or the next start.
        tracing::warn!(%error, "purged files of the log could not be removed");
    }
}

/// Lets the cache go of what is durable, or poisons the log.
fn settle(shared: &Shared, last: u64, result: &io::Result<()>) {
    let mut view = shared.view();
    match result {
        Ok(()) => view.cache.synced(last),
        Err(error) => {
            let full = error.kind() == io::ErrorKind::StorageFull;
            let hint = if full {
                "the disk is full; make room and start the node again"
            } else {
                "the node must be restarted, and its disk looked at"
            };
            let reason = format!("the log could not be written: {error}; {hint}");
            tracing::error!("{reason}");
            view.poisoned = Some(Poison { reason, full });
        }
    }
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
