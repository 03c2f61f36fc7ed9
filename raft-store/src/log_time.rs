//! Whether log time has run away from the clocks, which only a faulty leader lets it.
//!
//! Log time cannot be turned back, and `apply` takes every stamp, since refusing one would stop a
//! group whose clocks were wrong before. What a voter can do is to tell, and to sign no checkpoint
//! that covers such a stamp, until the clocks have caught up.

use std::sync::Arc;
use std::time::Duration;

use crate::api::store::Serving;
use crate::network::message::Call;

/// Between two looks. Voters that have not spoken to each other otherwise learn each other's time
/// from the question.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a voter may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the other voters for their time, and raises the alarm when log time is too far ahead of it.
pub(crate) async fn watch(serving: Arc<Serving>) {
    let mut alarmed = false;
    loop {
        let asked = serving.group.other_voters();
        let asked = asked.iter().map(|voter| voter.call(&Call::Hello, PATIENCE));
        // Their time stands on the answer's envelope; who does not answer has no say.
        futures::future::join_all(asked).await;
        let excess = serving.too_far_ahead_ms(serving.state.position().log_time_ms);
        match excess {
            Some(ahead_ms) if !alarmed => tracing::error!(
                ahead_ms,
                "log time is ahead of the voters' clocks: a leader stamped what no honest one \
                 does; this node cosigns no checkpoint that covers it"
            ),
            None if alarmed => tracing::info!("the clocks have caught up with log time"),
            _ => {}
        }
        alarmed = excess.is_some();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
