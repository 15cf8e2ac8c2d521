//! Refusals and faults, in the shape that XRPC gives them.

use std::sync::LazyLock;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::projection::query::QueryError;
use crate::telemetry::LogBudget;

/// `{"error": …, "message": …}`, as <https://atproto.com/specs/xrpc#error-responses> has it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct XrpcError {
    #[serde(skip)]
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl XrpcError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::BAD_REQUEST, error: "InvalidRequest", message: message.into() }
    }

    pub(super) fn record_not_found(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::NOT_FOUND, error: "RecordNotFound", message: message.into() }
    }

    pub(super) fn not_found(error: &'static str, message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::NOT_FOUND, error, message: message.into() }
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::UNAUTHORIZED, error: "AuthenticationRequired", message: message.into() }
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::FORBIDDEN, error: "Forbidden", message: message.into() }
    }

    pub(super) fn no_such_address(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::NOT_FOUND, error: "NotFound", message: message.into() }
    }

    pub(super) fn method_not_allowed(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::METHOD_NOT_ALLOWED, error: "InvalidRequest", message: message.into() }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        XrpcError { status: StatusCode::SERVICE_UNAVAILABLE, error: "ServiceUnavailable", message: message.into() }
    }

    /// Status, word, and the same for people.
    pub(super) fn parts(self) -> (StatusCode, &'static str, String) {
        (self.status, self.error, self.message)
    }

    fn internal() -> Self {
        XrpcError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "InternalServerError",
            message: "a fault of this service; its operator finds it in the log".to_owned(),
        }
    }
}

impl IntoResponse for XrpcError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A database that is down fails every request of every caller.
static LINES: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(6));

impl From<QueryError> for XrpcError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Invalid { parameter, message } => XrpcError::invalid(format!("`{parameter}` {message}")),
            QueryError::Unavailable(detail) => {
                if let Some(permit) = LINES.take("unavailable") {
                    tracing::warn!(detail, suppressed = permit.suppressed, "a query found the database not available");
                }
                XrpcError::unavailable("the database is not available at the moment")
            }
            QueryError::TooSlow => {
                if let Some(permit) = LINES.take("too_slow") {
                    tracing::warn!(suppressed = permit.suppressed, "a query ran into its time limit");
                }
                XrpcError::unavailable("the query took too long: ask for a narrower range or fewer words")
            }
            QueryError::Database(error) => {
                if let Some(permit) = LINES.take("database") {
                    tracing::error!(%error, suppressed = permit.suppressed, "a query failed");
                }
                XrpcError::internal()
            }
        }
    }
}
