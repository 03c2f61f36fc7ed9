//! Answers devices: the hot path. Nothing here waits for the store.
use super::{
    live::{Live, Place},
    meters::{Arrival, Meters},
    snapshot::{Known, Standing},
};
use crate::{
    config::NodeConfig,
    engine::{Budgets, CheckIn, Decision, DeviceId, Draw, PseudonymKey, Reason, TableOnly, decide},
    ledger::{Forwarding, Metrics},
    wire::{self, Answer},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidegate_domain::{
    id::{LogTime, Millis, Pseudonym, SessionId},
    node::PoolKey,
    signature::SigningKey,
};
use tidegate_proto::v1;
use tidegate_runtime::Clock;
use tokio::sync::Notify;

/// How often devices that are answered without a snapshot come back.
const POLL_WITHOUT_SNAPSHOT: Millis = Millis(300_000);

/// Admissions on their way back to the store.
#[derive(Debug)]
struct Returns {
    session: SessionId,
    pools: Vec<(PoolKey, u64)>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) config: NodeConfig,
    pub(crate) signing: SigningKey,
    pub(crate) pseudonyms: PseudonymKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) known: Known,
    pub(crate) meters: Arc<Meters>,
    pub(crate) forwarding: Mutex<Forwarding<v1::OutcomeReport>>,
    /// The session, while it is open.
    pub(crate) live: Place,
    /// Admissions on their way back, and of which session.
    returns: Mutex<Option<Returns>>,
    /// Work waits too long for a free thread.
    lagging: AtomicBool,
    /// There is something to ask the store for, or to tell it at once.
    pub(crate) wants: Notify,
    pub(crate) urgent: Notify,
    /// The snapshot or the session changed.
    pub(crate) moved: Notify,
}

impl Desk {
    pub(crate) fn new(
        config: NodeConfig,
        signing: SigningKey,
        pseudonyms: PseudonymKey,
        clock: Arc<dyn Clock>,
    ) -> Self {
        const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
        let forwarding = Forwarding::new(config.limits.forwarding_max, BACKOFF);
        Self {
            config,
            signing,
            pseudonyms,
            clock,
            known: Known::default(),
            meters: Arc::default(),
            forwarding: Mutex::new(forwarding),
            live: Place::default(),
            returns: Mutex::new(None),
            lagging: AtomicBool::new(false),
            wants: Notify::new(),
            urgent: Notify::new(),
            moved: Notify::new(),
        }
    }

    pub(crate) fn forwarding(&self) -> MutexGuard<'_, Forwarding<v1::OutcomeReport>> {
        self.forwarding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes admissions to give back: they can't be spent any more.
    pub(crate) fn queue_returns(&self, session: SessionId, more: Vec<(PoolKey, u64)>) {
        let mut returns = self.returns.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *returns {
            Some(queued) if queued.session == session => queued.pools.extend(more),
            other => {
                *other = Some(Returns {
                    session,
                    pools: more,
                });
            }
        }
        drop(returns);
        self.wants.notify_one();
    }

    /// Takes what [`Self::queue_returns`] noted for a session.
    pub(crate) fn take_returns(&self, session: SessionId) -> Vec<(PoolKey, u64)> {
        let mut returns = self.returns.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = returns.take().filter(|queued| queued.session == session);
        taken.map(|queued| queued.pools).unwrap_or_default()
    }

    pub(crate) fn set_lagging(&self, lagging: bool) {
        self.lagging.store(lagging, Ordering::Relaxed);
    }

    pub(crate) fn is_lagging(&self) -> bool {
        self.lagging.load(Ordering::Relaxed)
    }

    pub(crate) fn standing(&self) -> Standing {
        self.known.standing(&*self.clock)
    }

    /// Answers one check-in.
    pub(crate) fn answer(
        &self,
        request: &v1::CheckInRequest,
        arrival: &Arrival,
    ) -> v1::CheckInResponse {
        let standing = self.standing();
        if !arrival.is_within(self.config.limits.in_flight_max) || self.is_lagging() {
            let device = DeviceId::new(request.device_id.as_str());
            let seed = device.map(|device| self.pseudonyms.pseudonym(&device));
            // Spread, or all that are turned away would come back together.
            let seed = seed.unwrap_or(Pseudonym([0; 32]));
            return self.refuse(request, &standing, Reason::Overloaded, &seed);
        }
        let index = standing.snapshot.as_ref().map(|snapshot| &snapshot.index);
        match wire::parse(request, &self.pseudonyms, index, standing.now) {
            Ok(check_in) => self
                .live
                .under(|live| self.decide(request, &check_in, &standing, live)),
            Err(refused) => self.refuse(request, &standing, refused.reason, &refused.pseudonym),
        }
    }

    fn decide(
        &self,
        request: &v1::CheckInRequest,
        check_in: &CheckIn,
        standing: &Standing,
        live: Option<&Live>,
    ) -> v1::CheckInResponse {
        let Some(snapshot) = &standing.snapshot else {
            return self.refuse(request, standing, Reason::Blind, &check_in.pseudonym);
        };
        let mut drawer = Drawer {
            desk: self,
            live,
            drawn: None,
        };
        let index = &snapshot.index;
        let decision = decide(
            index,
            standing.now,
            standing.mode,
            check_in,
            &TableOnly,
            &mut drawer,
        );
        let drawn = drawer.drawn;
        if let (Some(live), Some(variant)) = (live, decision.variant) {
            self.measure(request, check_in, snapshot, live, variant, standing.now);
        }
        let Some(grant) = &decision.grant else {
            return self.send(request, standing, &decision);
        };
        let token = live
            .zip(decision.variant)
            .and_then(|(live, variant)| index.grant_token(grant, check_in, variant, live.session));
        let Some((token, live)) = token.zip(live) else {
            // An echo without a session to renew it under: the device keeps what it has.
            return self.refuse(
                request,
                standing,
                Reason::BudgetPending,
                &check_in.pseudonym,
            );
        };
        let signed = token.sign(&self.signing);
        let response = wire::response(
            &request.device_id,
            request.sequence,
            Answer {
                decision: &decision,
                index: Some(index),
                token: Some(&signed),
            },
        );
        // HALT-1: the offer is whole, and nothing is left to do but to send it.
        if !standing.holds(&*self.clock) {
            if let Some(pool) = &drawn {
                live.purse.refund(pool);
            }
            return self.refuse(request, standing, Reason::LeaseLost, &check_in.pseudonym);
        }
        if grant.exposure.echo.is_none() {
            live.ledger().exposed(&token);
        }
        self.meters.count(&decision);
        response
    }

    fn measure(
        &self,
        request: &v1::CheckInRequest,
        check_in: &CheckIn,
        snapshot: &super::snapshot::Snapshot,
        live: &Live,
        variant: tidegate_domain::id::VariantId,
        now: LogTime,
    ) {
        let mut measured = Vec::new();
        for v1::ComponentMetrics { component, metrics } in
            request.metrics.iter().take(crate::engine::COMPONENTS_MAX)
        {
            let (Ok(component), Some(metrics)) = (component.parse(), metrics) else {
                continue;
            };
            match metrics_of(metrics) {
                Ok(metrics) => {
                    let keys = snapshot
                        .comparisons
                        .tallied_under(check_in, variant, &component, now);
                    measured.extend(keys.into_iter().map(|key| (key, metrics.clone())));
                }
                Err(error) => tracing::debug!(%error, "a device's measurements are not believed"),
            }
        }
        if !measured.is_empty() {
            let each = measured.iter().map(|(key, metrics)| (key, metrics));
            live.ledger()
                .measured(check_in.pseudonym, check_in.sequence, each);
        }
    }

    fn send(
        &self,
        request: &v1::CheckInRequest,
        standing: &Standing,
        decision: &Decision,
    ) -> v1::CheckInResponse {
        self.meters.count(decision);
        let answer = Answer {
            decision,
            index: standing.snapshot.as_ref().map(|snapshot| &snapshot.index),
            token: None,
        };
        wire::response(&request.device_id, request.sequence, answer)
    }

    /// An answer that says only why there is no decision.
    fn refuse(
        &self,
        request: &v1::CheckInRequest,
        standing: &Standing,
        reason: Reason,
        seed: &Pseudonym,
    ) -> v1::CheckInResponse {
        let settings = standing
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.index.settings());
        let poll = settings.map_or(POLL_WITHOUT_SNAPSHOT, |settings| settings.poll_interval);
        let decision = Decision::without_looking(standing.mode, reason, poll, seed);
        self.send(request, standing, &decision)
    }
}

/// Checks what a device measured.
pub(crate) fn metrics_of(
    metrics: &v1::ReleaseMetrics,
) -> Result<Metrics, crate::ledger::MetricsError> {
    let v1::ReleaseMetrics {
        errors,
        operations,
        correct,
        labelled,
        latency_counts,
    } = metrics;
    Metrics::new(
        (*errors, *operations),
        (*correct, *labelled),
        latency_counts,
    )
}

/// Draws from the session's purse, and remembers what it drew.
struct Drawer<'a> {
    desk: &'a Desk,
    live: Option<&'a Live>,
    drawn: Option<PoolKey>,
}

impl Budgets for Drawer<'_> {
    fn draw(&mut self, pool: crate::engine::Pool<'_>, now: LogTime) -> Draw {
        let Some(live) = self.live else {
            return Draw::Pending;
        };
        let draw = (&live.purse).draw(pool, now);
        match draw {
            Draw::Granted => {
                self.drawn = pool.rollout.map(|rollout| PoolKey {
                    rollout,
                    wave: pool.wave,
                    stratum: tidegate_domain::tally::Stratum {
                        variant: pool.variant,
                        channel: pool.channel.clone(),
                    },
                    arm: pool.arm,
                });
            }
            Draw::Pending => self.desk.wants.notify_one(),
            Draw::Exhausted | Draw::CapReached => {}
        }
        draw
    }
}
