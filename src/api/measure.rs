//! What every request goes through: a limit of time, and counting.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::xrpc::XrpcError;
use crate::telemetry::{register_counter, register_gauge, register_histogram};

const ENDPOINTS: [&str; 6] = ["listEvents", "getEvent", "listRsvps", "getStatus", "home", "other"];
const OUTCOMES: [&str; 5] = ["ok", "invalid", "not_found", "unavailable", "failed"];

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
        Some(path) => match path.strip_prefix("/xrpc/events.almanac.") {
            Some(name) => ENDPOINTS.iter().find(|e| **e == name).copied().unwrap_or("other"),
            None => "other",
        },
        None => "other",
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..400 => "ok",
        404 => "not_found",
        400..500 => "invalid",
        503 => "unavailable",
        _ => "failed",
    }
}
