//! What becomes of the exposures of a node that crashed, over real connections.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, LEASE, ask, check_in, codes, device, outcome, until_told, wait_for};
use tidegate_domain::{
    command::WriteOffBudget,
    id::SessionId,
    testing::{self, Fleet},
};
use tidegate_proto::v1::{OutcomeKind, OutcomeStatus, Verdict};

/// What the store counts as exposed and as verified.
fn counts(fleet: &Fleet) -> (u64, u64) {
    let rows = fleet.state.cohorts().iter();
    rows.fold((0, 0), |(exposed, verified), (_, counts)| {
        (exposed + counts.exposed, verified + counts.verified)
    })
}

/// Its session stays open in the store: nobody else knows which of its exposures are resolved, and
/// a node that is only cut off would go on. So nobody counts for it until a quorum writes it off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_of_a_crashed_session_are_uncertain_until_it_is_written_off() {
    let cluster = Cluster::start(|fleet| {
        fleet.launch(testing::rollout("os-2"));
    })
    .await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let mut tokens = Vec::new();
    for name in ["d0", "d1", "d2"] {
        if name == "d2" {
            // Of this one no report tells.
            wait_for("the first two", || counts(&cluster.fleet()) == (2, 0)).await;
            wait_for("an admission ahead", || node.status().admissions_held > 0).await;
            cluster.store.mute(true);
        }
        let told = until_told(&mut client, &check_in(name, "1.0.0"), Verdict::Offer).await;
        tokens.push((name, told.offer.unwrap().exposure_token));
    }
    node.kill();
    cluster.store.mute(false);

    let node = cluster.ready(0).await;
    assert_eq!(node.status().session, Some(SessionId(2)));
    let mut client = device(&node).await;
    for (name, token) in &tokens {
        let mut echo = check_in(name, "1.0.0");
        echo.exposure_tokens = vec![token.clone()];
        let told = ask(&mut client, echo).await;
        assert!(codes(&told).contains(&"exposure_echoed"), "{told:?}");
        let report = outcome(name, token, OutcomeKind::Verified);
        let reply = client.report_outcome(report).await.unwrap().into_inner();
        assert_eq!(reply.status(), OutcomeStatus::Uncertain, "{reply:?}");
    }
    tokio::time::sleep(LEASE).await;
    assert_eq!(counts(&cluster.fleet()), (2, 0), "session 1 is not over");
    assert_eq!(node.status().outcomes_uncertain, 3);

    cluster.fleet().accept(WriteOffBudget {
        session: SessionId(1),
        reason: testing::reason(),
    });
    wait_for("the heir", || node.status().outcomes_uncertain == 0).await;
    // The third exposure was never reported: it is lost with the session, and its success with it.
    wait_for("its report", || counts(&cluster.fleet()) == (2, 2)).await;
    for (name, token) in &tokens {
        let report = outcome(name, token, OutcomeKind::Verified);
        let reply = client.report_outcome(report).await.unwrap().into_inner();
        assert_eq!(reply.status(), OutcomeStatus::Duplicate, "{reply:?}");
    }
}
