//! Shows the node what the store's state has become, before the lease counts it.
use super::{
    desk::Desk,
    snapshot::{Snapshot, is_outdated},
};
use std::{sync::Arc, time::Duration};
use tidegate_client::{Observer, View};
use tidegate_domain::Event;
use tidegate_mutant::{Mutant, is_on};
use tidegate_runtime::BootInstant;

/// Builds snapshots on the follower's task, off the hot path, and swaps them in.
#[derive(Debug)]
pub(crate) struct Shown {
    desk: Arc<Desk>,
    followed_at: Option<BootInstant>,
}

impl Shown {
    pub(crate) const fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            followed_at: None,
        }
    }

    fn rebuild(&mut self, view: &View) {
        self.desk.known.show(Arc::new(Snapshot::of(view)));
        self.desk.moved.notify_waiters();
    }

    /// Tells the session's purse and ledger where the store stands.
    fn follow(&mut self, view: &View, changed: bool) {
        let Self { desk, followed_at } = self;
        let (state, now) = (view.state(), desk.clock.boot());
        if let Some(followed) = desk.live.followed() {
            followed.follow_stand(state);
        }
        desk.live.under(|live| {
            let Some(live) = live else { return };
            live.purse.follow(state, now);
            if let (true, Some(snapshot)) = (changed, desk.known.snapshot()) {
                live.follow_owners(&snapshot.index);
            }
            let interval = Duration::from_millis(state.config().report_interval.0);
            if followed_at.is_none_or(|at| now.since(at) >= interval) {
                *followed_at = Some(now);
                live.ledger().follow(state);
                let returns = live.purse.take_returns(state, now);
                if !returns.is_empty() {
                    desk.queue_returns(live.session, returns);
                }
            }
        });
    }
}

impl Observer for Shown {
    fn replaced(&mut self, view: &View) {
        if !is_on(Mutant::HaltLostAtResync) || self.desk.known.snapshot().is_none() {
            self.rebuild(view);
        }
        self.follow(view, true);
    }

    fn advanced(&mut self, view: &View, events: &[Event]) {
        let shown = self.desk.known.snapshot();
        let changed = shown.is_none_or(|shown| is_outdated(shown.sessions, view.state(), events));
        if changed {
            self.rebuild(view);
        }
        self.follow(view, changed);
    }
}
