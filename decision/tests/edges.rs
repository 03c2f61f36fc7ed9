//! One desk behind two edges: a gRPC stream and HTTP/JSON tell a device the same, and what devices
//! tell over either opens the next wave.
#![cfg(not(madsim))]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
mod cluster;

use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Cluster, ask, check_in, codes, device, http, outcome, until_told, wait_for};
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tidegate_decision::node::Node;
use tidegate_domain::{
    id::{RolloutId, WaveIndex},
    testing::{self, Fleet},
};
use tidegate_proto::v1::{self, OutcomeKind, Verdict};

fn waves(fleet: &mut Fleet) {
    fleet.launch(testing::rollout("os-2").wave(50, 1).wave(100, 1));
}

/// A check-in as an HTTP device writes it.
fn written(request: &v1::CheckInRequest) -> Value {
    let components = request.components.iter().map(|running| {
        json!({
            "component": running.component,
            "version": running.version,
            "security_version": running.security_version,
        })
    });
    let tokens = request.exposure_tokens.iter();
    json!({
        "device_id": request.device_id,
        "variant": request.variant,
        "components": components.collect::<Vec<_>>(),
        "sequence": request.sequence,
        "exposure_tokens": tokens.map(|t| BASE64_STANDARD.encode(t)).collect::<Vec<_>>(),
    })
}

/// An answer as an HTTP device should read it.
fn read(answer: &v1::CheckInResponse) -> Value {
    let word = |name: &str, prefix: &str| name.strip_prefix(prefix).unwrap().to_lowercase();
    let reason = |reason: &v1::Reason| {
        let mut told = Map::from_iter([("code".to_owned(), json!(reason.code))]);
        let params = reason.params.iter();
        let params: Map<_, _> = params.map(|p| (p.name.clone(), json!(p.value))).collect();
        if !params.is_empty() {
            told.insert("params".to_owned(), params.into());
        }
        Value::from(told)
    };
    let mut told = json!({
        "device_id": answer.device_id,
        "sequence": answer.sequence,
        "verdict": word(answer.verdict().as_str_name(), "VERDICT_"),
        "reasons": answer.reasons.iter().map(reason).collect::<Vec<_>>(),
        "mode": word(answer.mode().as_str_name(), "DECISION_MODE_"),
        "retry_after_ms": answer.retry_after_ms,
        "incarnation": answer.incarnation,
        "snapshot_entries": answer.snapshot_entries,
    });
    if let Some(offer) = &answer.offer {
        let payload = offer.payload.as_ref().unwrap();
        let signature = |signed: &v1::ManifestSignature| {
            json!({
                "public_key": hex::encode(&signed.public_key),
                "signature": hex::encode(&signed.signature),
            })
        };
        told["offer"] = json!({
            "release": offer.release,
            "component": offer.component,
            "version": offer.version,
            "security_version": offer.security_version,
            "floor": offer.floor,
            "payload": {
                "urls": payload.urls,
                "sha256": hex::encode(&payload.sha256),
                "size": payload.size,
            },
            "manifest": BASE64_STANDARD.encode(&offer.manifest),
            "signatures": offer.signatures.iter().map(signature).collect::<Vec<_>>(),
            "rollout": offer.rollout,
            "wave": offer.wave,
            "exposure_token": BASE64_STANDARD.encode(&offer.exposure_token),
            "expires_at_ms": offer.expires_at_ms,
        });
    }
    told
}

async fn over_http(node: &Node, request: &v1::CheckInRequest) -> Value {
    let body = written(request).to_string();
    let (status, answer) = http::ask(node, "POST", "/v1/check-in", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_and_http_tell_a_device_the_same() {
    let cluster = Cluster::start(|fleet| {
        fleet.launch(testing::rollout("os-2"));
    })
    .await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let offered = until_told(&mut client, &check_in("d1", "1.0.0"), Verdict::Offer).await;
    let mut echo = check_in("d1", "1.0.0");
    echo.exposure_tokens = vec![offered.offer.unwrap().exposure_token];
    echo.sequence = 7;
    let asked = [
        (echo, "offer"),
        (check_in("d2", "9.0.0"), "none"),
        (check_in("d3", "one"), "none"),
    ];
    let requests = asked.clone().map(|(request, _)| request);
    let stream = client.check_in_stream(futures::stream::iter(requests));
    let answers = stream.await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), asked.len());
    for ((request, verdict), answer) in asked.iter().zip(&answers) {
        let streamed = read(answer);
        assert_eq!(streamed["verdict"], *verdict);
        assert_eq!(over_http(&node, request).await, streamed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_devices_tell_over_either_edge_opens_the_next_wave() {
    let cluster = Cluster::start(waves).await;
    let node = cluster.ready(0).await;
    let mut client = device(&node).await;
    let (mut tokens, mut later) = (Vec::new(), Vec::new());
    for n in 0..60 {
        let name = format!("d{n}");
        let mut told = ask(&mut client, check_in(&name, "1.0.0")).await;
        while codes(&told) == ["budget_pending"] {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            told = ask(&mut client, check_in(&name, "1.0.0")).await;
        }
        match told.offer {
            Some(offer) => tokens.push((name, offer.exposure_token)),
            None => later.push((name, codes(&told).join(" "))),
        }
    }
    assert!(
        later.iter().all(|(_, why)| why == "wave_not_open"),
        "{later:?}"
    );
    assert!(tokens.len() > 10 && later.len() > 10, "about half are in");
    for (n, (name, token)) in tokens.iter().enumerate() {
        if n % 2 == 0 {
            let report = outcome(name, token, OutcomeKind::Verified);
            let reply = client.report_outcome(report).await.unwrap().into_inner();
            assert_eq!(reply.status(), v1::OutcomeStatus::Counted);
        } else {
            let report = json!({
                "device_id": name,
                "exposure_token": BASE64_STANDARD.encode(token),
                "kind": "verified",
            });
            let reply = http::ask(&node, "POST", "/v1/outcomes", &report.to_string()).await;
            assert_eq!(reply, (200, json!({"status": "counted"})));
        }
    }
    let verified = || {
        let fleet = cluster.fleet();
        let rows = fleet.state.cohorts().iter();
        rows.map(|(_, counts)| counts.verified).sum::<u64>()
    };
    wait_for("the outcomes", || verified() == tokens.len() as u64).await;
    let wave = || {
        let fleet = cluster.fleet();
        let rollout = fleet.state.rollouts().get(&RolloutId(1));
        rollout.unwrap().current_wave()
    };
    assert_eq!(wave(), Some(WaveIndex(0)), "the horizon is not past");
    // Firmware is given 72 hours before its silence counts.
    cluster.wait_hours(80);
    assert_eq!(wave(), Some(WaveIndex(1)));
    let (name, _) = &later[0];
    let told = until_told(&mut client, &check_in(name, "1.0.0"), Verdict::Offer).await;
    assert_eq!(told.offer.unwrap().wave, Some(1));
}
