//! Check-ins over HTTP with JSON, for devices and people that have no gRPC.
//!
//! | Request | Answer |
//! |---|---|
//! | `POST /v1/check-in` | 200 with a decision; bad input in a field is a decision too (`none`) |
//! | `POST /v1/outcomes` | 200 with what became of the report |
//! | `GET /v1/status` | 200 with what the node knows of itself |
//! | `GET /healthz` | 200 `ok`, or 503 while the node has no usable snapshot |
//!
//! An unknown field is refused: a misspelt field that was ignored would be a device that says
//! nothing. A refusal is `{"error": {"code": …, "message": …}}`.
mod body;
mod check_in;
mod outcome;
mod status;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use std::future::Future;
use tidegate_proto::v1;

/// Longest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// What answers: the node, whatever carries the question.
pub trait Desk: Clone + Send + Sync + 'static {
    /// Decides a check-in.
    fn check_in(
        &self,
        request: v1::CheckInRequest,
    ) -> impl Future<Output = Result<v1::CheckInResponse, tonic::Status>> + Send;

    /// Takes an outcome.
    fn report_outcome(
        &self,
        report: v1::OutcomeReport,
    ) -> impl Future<Output = Result<v1::OutcomeReply, tonic::Status>> + Send;

    /// What the node knows of itself.
    fn status(&self) -> v1::NodeStatusResponse;
}

/// The routes over a node.
pub fn router<D: Desk>(desk: D) -> Router {
    Router::new()
        .route("/v1/check-in", post(check_in::<D>))
        .route("/v1/outcomes", post(report_outcome::<D>))
        .route("/v1/status", get(status::<D>))
        .route("/healthz", get(health::<D>))
        .fallback(no_such_path)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

async fn check_in<D: Desk>(
    State(desk): State<D>,
    body: Result<Json<check_in::CheckIn>, JsonRejection>,
) -> Result<Json<check_in::Decision>, Refused> {
    let Json(check_in) = body?;
    let answer = desk.check_in(check_in.try_into()?).await?;
    Ok(Json(answer.into()))
}

async fn report_outcome<D: Desk>(
    State(desk): State<D>,
    body: Result<Json<outcome::Outcome>, JsonRejection>,
) -> Result<Json<outcome::Reply>, Refused> {
    let Json(outcome) = body?;
    let reply = desk.report_outcome(outcome.try_into()?).await?;
    Ok(Json(reply.into()))
}

async fn status<D: Desk>(State(desk): State<D>) -> Json<status::Status> {
    Json(desk.status().into())
}

async fn health<D: Desk>(State(desk): State<D>) -> (StatusCode, &'static str) {
    match desk.status().mode() {
        v1::DecisionMode::Fresh | v1::DecisionMode::Stale => (StatusCode::OK, "ok\n"),
        v1::DecisionMode::Blind | v1::DecisionMode::Unspecified => {
            (StatusCode::SERVICE_UNAVAILABLE, "no usable snapshot yet\n")
        }
    }
}

async fn no_such_path() -> Refused {
    Refused {
        status: StatusCode::NOT_FOUND,
        code: "no_such_path",
        message: "there are POST /v1/check-in, POST /v1/outcomes, GET /v1/status, GET /healthz"
            .to_owned(),
    }
}

/// A request that was not understood or could not be served.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        let code = match &rejection {
            JsonRejection::JsonDataError(_) => "bad_field",
            JsonRejection::JsonSyntaxError(_) => "bad_json",
            JsonRejection::MissingJsonContentType(_) => "not_json",
            _ => "bad_body",
        };
        Self {
            status: rejection.status(),
            code,
            message: rejection.body_text(),
        }
    }
}

impl From<body::BadField> for Refused {
    fn from(bad: body::BadField) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "bad_field",
            message: bad.to_string(),
        }
    }
}

impl From<tonic::Status> for Refused {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        let (http, code) = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => (StatusCode::BAD_REQUEST, "bad_request"),
            Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "too_slow"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self {
            status: http,
            code,
            message: status.message().to_owned(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: Error,
        }
        #[derive(Serialize)]
        struct Error {
            code: &'static str,
            message: String,
        }
        let error = Error {
            code: self.code,
            message: self.message,
        };
        (self.status, Json(Body { error })).into_response()
    }
}

#[cfg(test)]
mod tests;
