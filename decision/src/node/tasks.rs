//! What a node does beside answering.
use super::{
    desk::Desk,
    session::{self, Signer},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tidegate_runtime::{AsyncRuntime as _, BootInstant, Rt, Task};

/// Between two looks for admissions to ask for when nobody calls for one.
const BUDGETS_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at outcomes that wait for their owner.
const FORWARD_EVERY: Duration = Duration::from_millis(200);
/// Least time between reports that could not wait.
const URGENT_PAUSE: Duration = Duration::from_millis(200);
/// The report interval until the store's is known.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const LAG_PROBE: Duration = Duration::from_millis(50);

pub(crate) fn start(desk: &Arc<Desk>, signer: &Signer, address: SocketAddr) -> Vec<Task<()>> {
    // Without a fixed port, the port that was found is the one to tell others.
    let advertise = match desk.config.listen.port() {
        0 if desk.config.advertise == desk.config.listen.to_string() => address.to_string(),
        _ => desk.config.advertise.clone(),
    };
    let all = || (Arc::clone(desk), signer.clone());
    let (one, two) = (all(), all());
    vec![
        Rt::spawn(session::hold(one.0, one.1, advertise)),
        Rt::spawn(work(two.0, two.1)),
        Rt::spawn(forwards(Arc::clone(desk))),
        Rt::spawn(lag(Arc::clone(desk))),
    ]
}

/// What the session asks for and tells, one envelope after the other.
async fn work(desk: Arc<Desk>, signer: Signer) {
    let mut reported = desk.clock.boot();
    let mut failed = None;
    loop {
        let snapshot = desk.known.snapshot();
        let every = snapshot.map_or(REPORT_EVERY, |snapshot| {
            Duration::from_millis(snapshot.index.settings().report_interval.0)
        });
        // Failures come in bursts: one report for those of a moment.
        let soon = failed.map(|at: BootInstant| at.after(URGENT_PAUSE));
        let report_at = reported.after(every);
        let report_at = soon.map_or(report_at, |soon| soon.min(report_at));
        let pause = report_at.since(desk.clock.boot()).min(BUDGETS_EVERY);
        tokio::select! {
            biased;
            () = desk.urgent.notified(), if failed.is_none() => {
                failed = Some(desk.clock.boot());
                continue;
            }
            () = desk.wants.notified() => {}
            () = Rt::sleep(pause) => {}
        }
        let now = desk.clock.boot();
        let due = now >= report_at;
        session::work(&desk, &signer, due).await;
        if due {
            (reported, failed) = (now, None);
        }
    }
}

async fn forwards(desk: Arc<Desk>) {
    loop {
        Rt::sleep(FORWARD_EVERY).await;
        if let Some(live) = desk.live.get() {
            desk.forward(live.session).await;
        }
    }
}

/// Measures how long work waits for a thread: a timer that comes late is work that waits.
async fn lag(desk: Arc<Desk>) {
    loop {
        let asked = desk.clock.boot();
        Rt::sleep(LAG_PROBE).await;
        let late = desk.clock.boot().since(asked).saturating_sub(LAG_PROBE);
        let lagging = late > desk.config.limits.lag_max;
        if lagging != desk.is_lagging() {
            tracing::warn!(?late, lagging, "work waits for a free thread");
        }
        desk.set_lagging(lagging);
    }
}
