//! HTTP/JSON as a device without gRPC sees it, over real connections.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use cluster::{Cluster, http::ask, wait_for};
use serde_json::{Value, json};
use tidegate_decision::node::Node;
use tidegate_domain::testing;

fn check_in(device: &str) -> Value {
    json!({
        "device_id": device,
        "variant": "cam/r1/eu/none",
        "components": [{"component": "os", "version": "1.0.0", "security_version": 1}],
        "power": "mains",
        "network": "wifi",
    })
}

async fn node() -> (Cluster, Node) {
    let cluster = Cluster::start(|fleet| {
        fleet.launch(testing::rollout("os-2"));
    })
    .await;
    let node = cluster.ready(0).await;
    (cluster, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_offered_a_release_and_tells_what_became_of_it() {
    let (cluster, node) = node().await;
    let body = check_in("d1").to_string();
    let mut answer = Value::Null;
    for _ in 0..300 {
        let (status, told) = ask(&node, "POST", "/v1/check-in", &body).await;
        assert_eq!(status, 200, "{told}");
        answer = told;
        if answer["verdict"] == "offer" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(answer["mode"], "fresh");
    assert_eq!(answer["reasons"][0]["code"], "in_wave");
    let offer = &answer["offer"];
    assert_eq!(offer["release"], "os-2");
    assert_eq!(offer["payload"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(offer["signatures"].as_array().unwrap().len(), 2);

    let outcome = json!({
        "device_id": "d1",
        "exposure_token": offer["exposure_token"],
        "kind": "verified",
    });
    let (status, reply) = ask(&node, "POST", "/v1/outcomes", &outcome.to_string()).await;
    assert_eq!((status, &reply["status"]), (200, &json!("counted")));
    let verified = || {
        let fleet = cluster.fleet();
        fleet
            .state
            .cohorts()
            .iter()
            .any(|(_, counts)| counts.verified == 1)
    };
    wait_for("the outcome", verified).await;

    let (status, told) = ask(&node, "GET", "/v1/status", "").await;
    assert_eq!((status, &told["mode"]), (200, &json!("fresh")));
    assert!(
        told["answers"]["fresh"]["offer"].as_u64() >= Some(1),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_clear_errors() {
    let (_cluster, node) = node().await;
    let mut misspelt = check_in("d1");
    misspelt["batery_percent"] = json!(3);
    let mut negative = check_in("d1");
    negative["battery_percent"] = json!(-1);
    let mut power = check_in("d1");
    power["power"] = json!("coal");
    let mut token = check_in("d1");
    token["exposure_tokens"] = json!(["not base64!"]);
    let long = format!("{{\"device_id\": \"{}\"}}", "x".repeat(70_000));
    for (path, body, status, code, says) in [
        ("/v1/check-in", "{", 400, "malformed", "EOF"),
        (
            "/v1/check-in",
            &misspelt.to_string(),
            400,
            "malformed",
            "unknown field `batery_percent`",
        ),
        (
            "/v1/check-in",
            &negative.to_string(),
            400,
            "malformed",
            "invalid value",
        ),
        (
            "/v1/check-in",
            &power.to_string(),
            400,
            "malformed",
            "battery, charging, mains",
        ),
        (
            "/v1/check-in",
            &token.to_string(),
            400,
            "malformed",
            "`exposure_tokens`",
        ),
        ("/v1/check-in", &long, 413, "too_large", "65536"),
        (
            "/v1/outcomes",
            "{\"kind\": \"verified\"}",
            400,
            "malformed",
            "missing field",
        ),
        ("/v2/check-in", "{}", 404, "not_found", "/v1/check-in"),
    ] {
        let (found, problem) = ask(&node, "POST", path, body).await;
        let error = &problem["error"];
        assert_eq!((found, &error["code"]), (status, &json!(code)), "{problem}");
        assert!(
            error["message"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
    let (status, problem) = ask(&node, "GET", "/v1/check-in", "").await;
    assert_eq!(
        (status, &problem["error"]["code"]),
        (405, &json!("method_not_allowed"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_what_the_node_knows() {
    let cluster = Cluster::start(|_| {}).await;
    cluster.store.cut(true);
    let node = cluster.node(0).await;
    assert_eq!(
        ask(&node, "GET", "/healthz", "").await,
        (503, json!({"mode": "blind"}))
    );
    cluster.store.cut(false);
    wait_for("a lease", || {
        node.status().mode == tidegate_decision::engine::Mode::Fresh
    })
    .await;
    assert_eq!(
        ask(&node, "GET", "/healthz", "").await,
        (200, json!({"mode": "fresh"}))
    );
}
