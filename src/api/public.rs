//! The public listener: XRPC queries for everybody, what apps do in their users' names, and a page that says what is here.

use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::cors::{Any, CorsLayer};

use super::queries::{get_event_query, get_status_query, list_events_query, list_rsvps_query};
pub use super::state::PublicState;
use super::xrpc::XrpcError;
use super::{home, measure, v1};

/// How long a request may take, all told. Beyond the limits that the queries keep themselves.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The addresses of the public listener.
pub fn router(state: PublicState) -> Router {
    // Anybody's web page may read what is public anyway; there is nothing here that a cookie would unlock.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers(Any)
        .max_age(Duration::from_secs(86_400));
    let v1 = state.v1.clone().map(v1::router);
    let public = Router::new()
        .route("/", get(home::home))
        .route("/xrpc/events.almanac.listEvents", get(list_events_query))
        .route("/xrpc/events.almanac.getEvent", get(get_event_query))
        .route("/xrpc/events.almanac.listRsvps", get(list_rsvps_query))
        .route("/xrpc/events.almanac.getStatus", get(get_status_query))
        .fallback(async || {
            XrpcError::no_such_address(
                "there is nothing at this address; the queries are /xrpc/events.almanac.listEvents, .getEvent, \
                 .listRsvps and .getStatus, and /v1/openapi.json lists what apps can do with a token",
            )
        })
        .method_not_allowed_fallback(async || XrpcError::method_not_allowed("this is a query: use GET"))
        .layer(from_fn_with_state(REQUEST_LIMIT, measure::within))
        .layer(from_fn(measure::counted))
        .layer(cors)
        .with_state(state);
    match v1 {
        Some(v1) => public.merge(v1),
        None => public,
    }
}
