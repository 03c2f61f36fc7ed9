//! What a node does beside answering.
use super::{
    desk::Desk,
    session::{self, Signer},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tidegate_runtime::{AsyncRuntime as _, Rt, Task};

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
    let (one, two, three) = (all(), all(), all());
    vec![
        Rt::spawn(session::hold(one.0, one.1, advertise)),
        Rt::spawn(budgets(two.0, two.1)),
        Rt::spawn(reports(three.0, three.1)),
        Rt::spawn(forwards(Arc::clone(desk))),
        Rt::spawn(lag(Arc::clone(desk))),
    ]
}

async fn budgets(desk: Arc<Desk>, signer: Signer) {
    loop {
        let wanted = desk.wants.notified();
        let _ = Rt::timeout(BUDGETS_EVERY, wanted).await;
        session::budgets(&desk, &signer).await;
    }
}

async fn reports(desk: Arc<Desk>, signer: Signer) {
    loop {
        let snapshot = desk.known.snapshot();
        let every = snapshot.map_or(REPORT_EVERY, |snapshot| {
            Duration::from_millis(snapshot.index.settings().report_interval.0)
        });
        let urgent = desk.urgent.notified();
        if Rt::timeout(every, urgent).await.is_ok() {
            // Failures come in bursts: one report for those of a moment.
            Rt::sleep(URGENT_PAUSE).await;
        }
        // What went wrong was said; what was not told is told next time.
        let _ = session::report(&desk, &signer).await;
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
