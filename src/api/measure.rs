//! What every request goes through: a limit of time, and counting.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::xrpc::XrpcError;
use crate::telemetry::{register_counter, register_gauge, register_histogram};

const ENDPOINTS: [&str; 14] = [
    "listEvents",
    "getEvent",
    "listRsvps",
    "getStatus",
    "home",
    "other",
    "v1_openapi",
    "v1_user",
    "v1_record",
    "v1_records",
    "v1_intent",
    "v1_grants",
    "v1_audit",
    "v1_other",
];
const OUTCOMES: [&str; 8] = ["ok", "accepted", "invalid", "denied", "not_found", "conflict", "unavailable", "failed"];

pub(super) const REQUESTS: &str = "almanac_api_requests_total";
pub(super) const REQUEST_SECONDS: &str = "almanac_api_request_seconds";
pub(super) const CONNECTIONS: &str = "almanac_api_connections";

/// Creates this room's series at zero. After the recorder is installed, before the listeners open.
pub fn register_metrics() {
    let (endpoint, outcome) = (("endpoint", &ENDPOINTS[..]), ("outcome", &OUTCOMES[..]));
    register_counter(REQUESTS, "Requests to the public listener, by endpoint and outcome.", &[endpoint, outcome]);
    register_histogram(REQUEST_SECONDS, "Time until the answer was ready, by endpoint.", &[endpoint]);
    register_gauge(CONNECTIONS, "Open HTTP connections, of both listeners.", &[]);
}

/// Answers 503 when the answer is not ready in time. What was being done is given up.
pub(super) async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => XrpcError::unavailable(format!("no answer within {} s", limit.as_secs())).into_response(),
    }
}

/// Counts a request under its endpoint and outcome.
pub(super) async fn counted(request: Request, next: Next) -> Response {
    let endpoint = endpoint(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let began = Instant::now();
    let response = next.run(request).await;
    metrics::counter!(REQUESTS, "endpoint" => endpoint, "outcome" => outcome(response.status())).increment(1);
    metrics::histogram!(REQUEST_SECONDS, "endpoint" => endpoint).record(began.elapsed());
    response
}

fn endpoint(path: Option<&str>) -> &'static str {
    match path {
        Some("/") => "home",
        Some(path) if path.starts_with("/v1/") => match path.rsplit_once('/') {
            Some((_, "openapi.json")) => "v1_openapi",
            Some(("/v1/users", _)) => "v1_user",
            Some(("/v1/intents", _)) => "v1_intent",
            Some((_, "{client_key}")) => "v1_record",
            Some((_, "events" | "rsvps")) => "v1_records",
            Some((_, "grants" | "{id}")) => "v1_grants",
            Some((_, "audit")) => "v1_audit",
            _ => "v1_other",
        },
        Some(path) => match path.strip_prefix("/xrpc/events.almanac.") {
            Some(name) => ENDPOINTS.iter().find(|e| **e == name).copied().unwrap_or("other"),
            None => "other",
        },
        None => "other",
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        202 => "accepted",
        0..400 => "ok",
        401 | 403 => "denied",
        404 => "not_found",
        409 => "conflict",
        400..500 => "invalid",
        503 => "unavailable",
        _ => "failed",
    }
}
