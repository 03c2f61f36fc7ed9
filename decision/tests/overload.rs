//! A node that has too much to do says so at once, over real connections.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, ask, check_in, codes, device, until_ready};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tidegate_decision::config::NodeLimits;
use tidegate_proto::v1::{DecisionMode, Verdict};

const AT_ONCE: u64 = 400;
/// How many crowds come before some of one must have met a full node: a machine with time to spare
/// may answer each device before the next one's question arrives.
const CROWDS_MAX: u64 = 50;
/// What devices that are turned away wait at the least.
const RETRY_MS_MIN: u64 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_limit_devices_are_told_to_come_again_and_counted() {
    let cluster = Cluster::start(|_| {}).await;
    let limits = NodeLimits {
        in_flight_max: 2,
        // Not this test's subject: the machine may be busy.
        lag_max: Duration::from_secs(10),
        ..NodeLimits::default()
    };
    let node = cluster.node_within(0, limits).await;
    until_ready(&node).await;
    let client = device(&node).await;
    let (mut told, mut retries) = (BTreeMap::<_, u64>::new(), BTreeSet::new());
    for _ in 0..CROWDS_MAX {
        let crowd = (0..AT_ONCE).map(|n| {
            let mut client = client.clone();
            async move { ask(&mut client, check_in(&format!("d{n}"), "9.0.0")).await }
        });
        for answer in futures::future::join_all(crowd).await {
            assert_eq!(answer.mode(), DecisionMode::Fresh);
            let [code] = codes(&answer)[..] else {
                panic!("{answer:?}");
            };
            if code == "overloaded" {
                assert_eq!(answer.verdict(), Verdict::Wait);
                assert!(answer.retry_after_ms >= RETRY_MS_MIN, "{answer:?}");
                retries.insert(answer.retry_after_ms);
            }
            *told.entry(code.to_owned()).or_default() += 1;
        }
        if retries.len() > 1 {
            break;
        }
    }
    assert!(told.len() > 1, "all were told the same: {told:?}");
    assert!(retries.len() > 1, "all are to come back at once: {told:?}");
    let counted = node.status().reasons;
    let counted: BTreeMap<_, _> = counted
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    assert_eq!(counted, told);
    let after = ask(&mut device(&node).await, check_in("later", "9.0.0")).await;
    assert_ne!(
        codes(&after),
        ["overloaded"],
        "nothing is in flight any more"
    );
}
