use super::*;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use tower::ServiceExt;

/// Offers everything, and says what it was asked.
#[derive(Clone)]
struct Generous;

impl Desk for Generous {
    async fn check_in(
        &self,
        request: v1::CheckInRequest,
    ) -> Result<v1::CheckInResponse, tonic::Status> {
        let mut answer = v1::CheckInResponse {
            device_id: request.device_id,
            sequence: request.sequence,
            reasons: vec![v1::Reason {
                code: "in_wave".into(),
                params: vec![v1::ReasonParam {
                    name: "tokens".into(),
                    value: format!("{:?}", request.exposure_tokens),
                }],
            }],
            offer: Some(v1::Offer {
                release: "os-2".into(),
                manifest: vec![1, 2, 3],
                ..v1::Offer::default()
            }),
            ..v1::CheckInResponse::default()
        };
        answer.set_verdict(v1::Verdict::Offer);
        answer.set_mode(v1::DecisionMode::Fresh);
        Ok(answer)
    }

    async fn report_outcome(
        &self,
        report: v1::OutcomeReport,
    ) -> Result<v1::OutcomeReply, tonic::Status> {
        if report.kind() == v1::OutcomeKind::Failed {
            return Err(tonic::Status::resource_exhausted(
                "too many reports, come back in 2 s",
            ));
        }
        let mut reply = v1::OutcomeReply::default();
        reply.set_status(v1::OutcomeStatus::Counted);
        Ok(reply)
    }

    fn status(&self) -> v1::NodeStatusResponse {
        v1::NodeStatusResponse::default()
    }
}

async fn ask(method: &str, path: &str, body: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = router(Generous).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_check_in_is_answered_with_the_decision() {
    let body = r#"{"device_id": "d-1", "variant": "a/b/c/d", "sequence": 7,
        "components": [{"component": "os", "version": "1.0.0", "security_version": 1}],
        "exposure_tokens": ["AQI="], "power": "mains"}"#;
    let (status, answer) = ask("POST", "/v1/check-in", body).await;
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["verdict"], "offer");
    assert_eq!(answer["mode"], "fresh");
    assert_eq!(answer["sequence"], 7);
    assert_eq!(answer["reasons"][0]["params"]["tokens"], "[[1, 2]]");
    assert_eq!(answer["offer"]["manifest"], "AQID");
}

#[tokio::test]
async fn bad_bodies_get_an_error_that_names_the_field() {
    for (body, code, names) in [
        ("{", "bad_json", "EOF"),
        (r#"{"variant": "a/b/c/d"}"#, "bad_field", "device_id"),
        (
            r#"{"device_id": "d", "variant": "v", "batery": 3}"#,
            "bad_field",
            "batery",
        ),
        (
            r#"{"device_id": "d", "variant": "v", "power": "sun"}"#,
            "bad_field",
            "sun",
        ),
        (
            r#"{"device_id": "d", "variant": "v", "exposure_tokens": ["?"]}"#,
            "bad_field",
            "exposure_tokens",
        ),
    ] {
        let (status, answer) = ask("POST", "/v1/check-in", body).await;
        assert!((400..500).contains(&status), "{body}: {status} {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{body}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(names), "{body}: {message}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread() {
    let body = format!(r#"{{"device_id": "{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    let (status, answer) = ask("POST", "/v1/check-in", &body).await;
    assert_eq!(status, 413, "{answer}");
}

#[tokio::test]
async fn outcomes_are_taken_and_overload_says_so() {
    let report =
        |kind: &str| format!(r#"{{"device_id": "d", "exposure_token": "AQI=", "kind": "{kind}"}}"#);
    let (status, answer) = ask("POST", "/v1/outcomes", &report("verified")).await;
    assert_eq!((status, answer.as_str()), (200, r#"{"status":"counted"}"#));
    let (status, answer) = ask("POST", "/v1/outcomes", &report("failed")).await;
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("overloaded"), "{answer}");
}

#[tokio::test]
async fn a_node_without_a_snapshot_is_not_healthy_and_unknown_paths_say_what_there_is() {
    assert_eq!(ask("GET", "/healthz", "").await.0, 503);
    let (status, answer) = ask("GET", "/v1/chekin", "").await;
    assert_eq!(status, 404);
    assert!(answer.contains("/v1/check-in"), "{answer}");
}
