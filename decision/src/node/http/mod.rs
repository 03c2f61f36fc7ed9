//! HTTP/JSON for devices that speak no gRPC. A thin edge: the same desk answers.
//!
//! | | |
//! |---|---|
//! | `POST /v1/check-in` | one check-in, one answer |
//! | `POST /v1/outcomes` | what became of an exposure |
//! | `GET /v1/status` | what the node knows of itself |
//! | `GET /healthz` | 200 when devices get decisions, 503 while the node is blind |
//!
//! Unknown fields are refused: a misspelt `battery_percent` must not become a device without a
//! battery. Every error is `{"error": {"code": …, "message": …}}`.
mod form;

use super::{
    Desk, Listener, NodeStatus,
    connections::{self, Protocol},
    until::Until,
};
use crate::engine::Mode;
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use tidegate_proto::{Refusal, WireError};
use tidegate_runtime::Task;
use tokio::sync::oneshot;

/// Serves until told to stop; then requests under way are finished.
pub(crate) fn serve(listener: Listener, desk: Arc<Desk>) -> (oneshot::Sender<()>, Task<()>) {
    let limit = DefaultBodyLimit::max(desk.config.limits.body_bytes_max);
    let router = Router::new()
        .route("/v1/check-in", post(check_in))
        .route("/v1/outcomes", post(outcome))
        .route("/v1/status", get(status))
        .route("/healthz", get(health))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(limit)
        .with_state(Arc::clone(&desk));
    connections::serve(listener.inner, Protocol::Http1, desk, router)
}

async fn check_in(
    State(desk): State<Arc<Desk>>,
    Extension(until): Extension<Until>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<form::Answer>, Problem> {
    let request: form::CheckIn = read(&desk, body)?;
    let arrival = desk.meters.arrived();
    let answer = desk.answer_until(&request.try_into()?, &arrival, Some(&until));
    Ok(Json(answer.into()))
}

async fn outcome(
    State(desk): State<Arc<Desk>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<form::OutcomeReply>, Problem> {
    let report: form::Outcome = read(&desk, body)?;
    let reply = desk.outcome(&report.try_into()?, &desk.meters.arrived())?;
    Ok(Json(reply.into()))
}

async fn status(State(desk): State<Arc<Desk>>) -> Json<form::Status> {
    Json(NodeStatus::of(&desk).into())
}

async fn health(State(desk): State<Arc<Desk>>) -> Response {
    let mode = desk.standing().mode;
    let code = match mode {
        Mode::Fresh | Mode::Stale => StatusCode::OK,
        Mode::Blind => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(form::Health { mode: mode.name() })).into_response()
}

async fn nothing_here() -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        message: "there are POST /v1/check-in, POST /v1/outcomes, GET /v1/status and GET /healthz"
            .to_owned(),
    }
}

async fn other_method() -> Problem {
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message: "POST check-ins and outcomes, GET the rest".to_owned(),
    }
}

/// Reads a JSON body.
fn read<T: DeserializeOwned>(
    desk: &Desk,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "too_large",
            message: format!(
                "a body has at most {} bytes",
                desk.config.limits.body_bytes_max
            ),
        },
        _ => Problem::malformed("the body could not be read to its end"),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::malformed(error.to_string()))
}

/// A refused request.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "malformed",
            message: message.into(),
        }
    }
}

impl From<form::FieldError> for Problem {
    fn from(error: form::FieldError) -> Self {
        Self::malformed(error.to_string())
    }
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        let status = match error.refusal {
            Refusal::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            code: error.refusal.as_str(),
            message: error.message,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: &'a str,
            message: &'a str,
        }
        let body = Body {
            error: Inner {
                code: self.code,
                message: &self.message,
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = header::HeaderValue::from_static("30");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}
