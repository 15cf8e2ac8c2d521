//! The XRPC queries: parameters in, views out.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::params::Params;
use super::state::PublicState;
use super::upstream::UpstreamView;
use super::xrpc::XrpcError;
use crate::event::AtUri;
use crate::projection::query::{
    Author, EventMode, EventQuery, EventSort, EventStatus, EventView, IndexStatus, Order, RsvpQuery, RsvpStatus,
    RsvpView, SearchText, get_event, list_events, list_rsvps,
};

/// Long enough for a shared cache to carry a crowd, short enough that a withdrawn event is gone at once for people.
const CACHE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=10")];

#[derive(Serialize)]
struct Events {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    events: Vec<EventView>,
}

/// `events.almanac.listEvents`
pub(super) async fn list_events_query(
    State(state): State<PublicState>,
    RawQuery(query): RawQuery,
) -> Result<Response, XrpcError> {
    let params = Params::parse(
        query.as_deref(),
        &[
            "startsAfter",
            "startsBefore",
            "endsAfter",
            "author",
            "status",
            "mode",
            "q",
            "sort",
            "order",
            "limit",
            "cursor",
        ],
    )?;
    let sort = params.read("sort", |text| match text {
        "startsAt" => Ok(EventSort::StartsAt),
        "createdAt" => Ok(EventSort::CreatedAt),
        _ => Err(XrpcError::invalid("`sort` must be `startsAt` or `createdAt`")),
    })?;
    let query = EventQuery {
        starts_after: params.time("startsAfter")?,
        starts_before: params.time("startsBefore")?,
        ends_after: params.time("endsAfter")?,
        author: params.read("author", Author::parse)?,
        status: params.read("status", EventStatus::parse)?,
        mode: params.read("mode", EventMode::parse)?,
        text: params.read("q", SearchText::parse)?,
        sort: sort.unwrap_or(EventSort::StartsAt),
        order: params.order()?.unwrap_or(Order::Asc),
        limit: params.limit()?,
        cursor: params.text("cursor").map(str::to_owned),
    };
    let page = list_events(&state.pool, &query).await?;
    Ok((CACHE, Json(Events { cursor: page.cursor, events: page.rows })).into_response())
}

#[derive(Serialize)]
struct OneEvent {
    event: EventView,
}

/// `events.almanac.getEvent`
pub(super) async fn get_event_query(
    State(state): State<PublicState>,
    RawQuery(query): RawQuery,
) -> Result<Response, XrpcError> {
    let params = Params::parse(query.as_deref(), &["uri"])?;
    let uri = params.read("uri", |text| at_uri("uri", text))?;
    let uri = uri.ok_or_else(|| XrpcError::invalid("`uri` is required"))?;
    match get_event(&state.pool, &uri).await? {
        Some(event) => Ok((CACHE, Json(OneEvent { event })).into_response()),
        None => Err(XrpcError::record_not_found("this event is not known here, or may not be shown")),
    }
}

#[derive(Serialize)]
struct Rsvps {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    rsvps: Vec<RsvpView>,
}

/// `events.almanac.listRsvps`
pub(super) async fn list_rsvps_query(
    State(state): State<PublicState>,
    RawQuery(query): RawQuery,
) -> Result<Response, XrpcError> {
    let params = Params::parse(
        query.as_deref(),
        &["subject", "author", "status", "includeSuperseded", "order", "limit", "cursor"],
    )?;
    let query = RsvpQuery {
        subject: params.read("subject", |text| at_uri("subject", text))?,
        author: params.read("author", Author::parse)?,
        status: params.read("status", RsvpStatus::parse)?,
        superseded: params.flag("includeSuperseded")?,
        order: params.order()?.unwrap_or(Order::Desc),
        limit: params.limit()?,
        cursor: params.text("cursor").map(str::to_owned),
    };
    let page = list_rsvps(&state.pool, &query).await?;
    Ok((CACHE, Json(Rsvps { cursor: page.cursor, rsvps: page.rows })).into_response())
}

/// What this process and its index are up to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    environment: String,
    upstreams: Vec<UpstreamView>,
    #[serde(flatten)]
    index: IndexStatus,
}

impl StatusView {
    pub(super) fn new(environment: &str, upstreams: Vec<UpstreamView>, mut index: IndexStatus) -> Self {
        // The process's own word; that it agrees with the database was settled when the database was opened.
        index.environment = None;
        StatusView { environment: environment.to_owned(), upstreams, index }
    }
}

/// `events.almanac.getStatus`
pub(super) async fn get_status_query(
    State(state): State<PublicState>,
    RawQuery(query): RawQuery,
) -> Result<Response, XrpcError> {
    Params::parse(query.as_deref(), &[])?;
    let index = state.recent.get(&state.pool).await?;
    let mut upstreams = (state.upstreams)();
    for upstream in &mut upstreams {
        // Errors quote addresses and answers of the operator's surroundings.
        upstream.last_error = None;
    }
    let view = StatusView::new(state.environment.as_str(), upstreams, index);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response())
}

fn at_uri(name: &str, text: &str) -> Result<AtUri, XrpcError> {
    AtUri::parse(text).map_err(|_| {
        XrpcError::invalid(format!("`{name}` must be the AT-URI of a record by its DID: `at://did:…/collection/key`"))
    })
}
