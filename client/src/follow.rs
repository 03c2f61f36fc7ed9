//! Keeps a view current and its lease renewed.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tidegate_domain::Event;
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::{AsyncRuntime as _, Clock, Rt, Task};

use crate::watch::WatchUpdate;
use crate::{
    ClientError, HighWater, ReadPoint, SharedLease, StoreClient, View, ViewError, WatchStream,
};

/// How a follower keeps its view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerConfig {
    /// The cluster's name. A node of another cluster is not believed.
    pub origin: String,
    /// Between two renewals of the lease; a fifth of the lease lets four fail in a row.
    pub renew_every: Duration,
    /// How long a watch may be silent before another node is asked; nodes speak once a second.
    pub silence_max: Duration,
    /// How long a node may say that there is nothing new, while a quorum has confirmed more, before
    /// another one is asked. With the time until a renewal finds a node that still has a quorum it
    /// should stay below the lease, which runs out meanwhile.
    pub behind_max: Duration,
}

impl FollowerConfig {
    /// Renews every 2 s, and asks another node after 5 s of silence or when a node has been behind
    /// for 2 s.
    #[must_use]
    pub fn new(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            renew_every: Duration::from_secs(2),
            silence_max: Duration::from_secs(5),
            behind_max: Duration::from_secs(2),
        }
    }
}

/// Whoever wants to know what the view is. Called on the follower's task, in order, before the
/// lease counts what the call shows: when a call returns, its effect must be visible to whoever
/// answers devices.
pub trait Observer: Send + 'static {
    /// There is a view, and it did not follow from the last one.
    fn replaced(&mut self, view: &View);

    /// The view moved on by these events, of one entry or of many.
    fn advanced(&mut self, view: &View, events: &[Event]);
}

/// Most entries that are folded before the observer sees the view again. More wait for the next
/// time: a halt among the first must not wait until all others have been folded.
const SHOWN_ENTRIES: usize = 1_024;
/// Most bytes of events, likewise. The update that passes a bound is still folded as a whole.
const SHOWN_BYTES: usize = 1 << 20;

/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A running pair of tasks: one follows the store, one renews the lease. They stop when it is
/// dropped.
#[derive(Debug)]
pub struct Follower {
    lease: SharedLease,
    tasks: [Task<()>; 2],
}

impl Follower {
    /// Starts following. Nothing is fresh until a snapshot was taken and a renewal confirmed it.
    pub fn start(
        client: StoreClient,
        config: FollowerConfig,
        clock: Arc<dyn Clock>,
        high_water: HighWater,
        observer: impl Observer,
    ) -> Self {
        let lease = SharedLease::default();
        let renewal = renew(
            client.clone(),
            config.clone(),
            Arc::clone(&clock),
            lease.clone(),
        );
        let follow = Follow {
            client,
            config,
            clock,
            lease: lease.clone(),
            high_water,
            observer,
        };
        Self {
            lease,
            tasks: [Rt::spawn(follow.run()), Rt::spawn(renewal)],
        }
    }

    /// The lease of the view that the observer was last shown.
    #[must_use]
    pub const fn lease(&self) -> &SharedLease {
        &self.lease
    }

    /// Stops, and returns once nothing of it runs any more.
    pub async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            // That it was cancelled is no news.
            let _ = task.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
    }
}

/// Asks a quorum again and again; each answer counts from when its question was sent. HALT-1: a
/// quorum of another cluster, behind an endpoint that is not ours, knows nothing of our halts.
async fn renew(
    client: StoreClient,
    config: FollowerConfig,
    clock: Arc<dyn Clock>,
    lease: SharedLease,
) {
    loop {
        let sent = clock.boot();
        match client.read_index().await {
            Ok(point) if point.origin == config.origin => {
                let late = is_on(Mutant::LeaseFromReceipt);
                let from = if late { clock.boot() } else { sent };
                lease.with(|lease| lease.confirmed(from, point.position));
            }
            Ok(ReadPoint { origin: found, .. }) => {
                tracing::error!(%found, "a node of another cluster does not renew the lease");
                client.nodes().move_on();
            }
            Err(error) => tracing::warn!(%error, "the lease was not renewed"),
        }
        let took = clock.boot().since(sent);
        Rt::sleep(config.renew_every.saturating_sub(took)).await;
    }
}

struct Follow<O> {
    client: StoreClient,
    config: FollowerConfig,
    clock: Arc<dyn Clock>,
    lease: SharedLease,
    high_water: HighWater,
    observer: O,
}

/// Why a stretch of following ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0} fell silent")]
    Silent(String),
    #[error("{0} shows less than a quorum confirmed")]
    Behind(String),
    #[error("{0} ended the watch")]
    Ended(String),
    #[error("the node asks to resync: {0}")]
    Resync(&'static str),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("the node's state is older than one that was already used ({0})")]
    Older(crate::Position),
    #[error("the high-water mark cannot be written: {0}")]
    HighWater(#[from] std::io::Error),
}

impl Interruption {
    /// Whether the view stands, and can be followed on from another node.
    const fn keeps_view(&self) -> bool {
        match self {
            Self::Client(_) | Self::Silent(_) | Self::Behind(_) | Self::Ended(_) => true,
            Self::Resync(_) | Self::View(_) | Self::Older(_) | Self::HighWater(_) => false,
        }
    }

    /// Asks another node than the one that failed. The renewal may have found a good one meanwhile:
    /// that one stays, since each attempt at a dead one costs the lease time. (LIVE-1)
    fn turn(&self, client: &StoreClient) {
        match self {
            Self::Client(ClientError { endpoint: node, .. })
            | Self::Silent(node)
            | Self::Behind(node)
            | Self::Ended(node) => client.nodes().move_on_from(node),
            Self::View(_) | Self::Older(_) | Self::HighWater(_) => client.nodes().move_on(),
            Self::Resync(_) => {}
        }
    }
}

impl<O: Observer> Follow<O> {
    async fn run(mut self) {
        let mut view = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let before = view.as_ref().map(View::position);
            let why = match self.stretch(&mut view).await {
                Ok(never) => match never {},
                Err(why) => why,
            };
            match why {
                Interruption::View(_) | Interruption::Older(_) => {
                    tracing::error!(%why, "a node sent a state that must not be used");
                }
                _ => tracing::info!(%why, "following was interrupted"),
            }
            if !why.keeps_view() {
                // The last view shown stays what it is, and its lease runs out by itself.
                view = None;
            }
            why.turn(&self.client);
            // Progress since the last interruption shows that the store is there: begin anew.
            let moved = view.as_ref().map(View::position) != before;
            pause = if moved {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            Rt::sleep(pause).await;
        }
    }

    /// Follows until something interrupts.
    async fn stretch(
        &mut self,
        view: &mut Option<View>,
    ) -> Result<std::convert::Infallible, Interruption> {
        let view = match view {
            Some(view) => view,
            None => view.insert(self.take().await?),
        };
        let mut watch = self.client.watch(view.position()).await?;
        loop {
            let first = next_update(&mut watch, self.config.silence_max).await?;
            if matches!(first, WatchUpdate::Idle) {
                if self.is_behind() {
                    return Err(Interruption::Behind(watch.node()));
                }
                continue;
            }
            let before = view.position();
            let Gathered {
                events,
                interrupted,
            } = gather(view, first, || arrived(&mut watch))?;
            if view.position() != before {
                self.high_water.raise(view.position()).await?;
                self.observer.advanced(view, &events);
                self.lease.with(|lease| lease.reached(view.position()));
            }
            if let Some(why) = interrupted {
                return Err(why);
            }
        }
    }

    /// Whether a quorum has confirmed for too long what this node does not show: it may be cut off
    /// from the others and not know.
    fn is_behind(&self) -> bool {
        if is_on(Mutant::NeverBehind) {
            return false;
        }
        let since = self.lease.with(|lease| lease.behind_since());
        since.is_some_and(|since| self.clock.boot().since(since) > self.config.behind_max)
    }

    /// Takes a snapshot and shows it.
    async fn take(&mut self) -> Result<View, Interruption> {
        let least = self.high_water.mark().unwrap_or_default();
        let (manifest, rows) = self.client.snapshot(least).await?;
        if !self.high_water.allows(manifest.position) {
            return Err(Interruption::Older(manifest.position));
        }
        let view = View::new(&self.config.origin, &manifest, rows)?;
        self.high_water.raise(view.position()).await?;
        self.observer.replaced(&view);
        self.lease.with(|lease| lease.reached(view.position()));
        Ok(view)
    }
}

/// What was folded at once.
#[derive(Debug, Default)]
struct Gathered {
    /// The events, in order. To be shown whatever interrupted: the view is past them.
    events: Vec<Event>,
    /// Why there will be no more.
    interrupted: Option<Interruption>,
}

/// Folds an update and those that arrived behind it, within bounds. Many small commits then cost
/// one durable mark and one index together: paid for each, a busy store would be ahead for good, and
/// a halt would wait behind everything before it.
fn gather(
    view: &mut View,
    first: WatchUpdate,
    mut arrived: impl FnMut() -> Option<Result<WatchUpdate, Interruption>>,
) -> Result<Gathered, ViewError> {
    let mut gathered = Gathered::default();
    let (mut next, mut entries, mut bytes) = (Some(Ok(first)), 0, 0);
    while let Some(update) = next {
        match update {
            Ok(WatchUpdate::Batch(batch)) => {
                view.advance(&batch)?;
                entries += batch.entries.len();
                bytes += batch.bytes;
                gathered.events.extend(batch.entries.into_iter().flatten());
            }
            Ok(WatchUpdate::Idle) => {}
            Ok(WatchUpdate::Resync(reason)) => {
                gathered.interrupted = Some(Interruption::Resync(reason.as_str_name()));
            }
            Err(why) => gathered.interrupted = Some(why),
        }
        let full = entries >= SHOWN_ENTRIES || bytes >= SHOWN_BYTES;
        if full || gathered.interrupted.is_some() {
            break;
        }
        next = arrived();
    }
    Ok(gathered)
}

/// The next update, if it is here already.
fn arrived(watch: &mut WatchStream) -> Option<Result<WatchUpdate, Interruption>> {
    let next = watch.next().now_or_never()?;
    Some(said(next, watch))
}

async fn next_update(
    watch: &mut WatchStream,
    silence_max: Duration,
) -> Result<WatchUpdate, Interruption> {
    match Rt::timeout(silence_max, watch.next()).await {
        Ok(next) => said(next, watch),
        Err(_) => Err(Interruption::Silent(watch.node())),
    }
}

fn said(
    next: Result<Option<WatchUpdate>, ClientError>,
    watch: &WatchStream,
) -> Result<WatchUpdate, Interruption> {
    next?.ok_or_else(|| Interruption::Ended(watch.node()))
}

#[cfg(test)]
mod tests;
