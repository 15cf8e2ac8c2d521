//! Records and how far they are.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::V1State;
use super::ask::{RecordPath, UserPath};
use super::auth::Reader;
use super::refusal::{ErrorAnswer, Refusal};
use crate::api::params::Params;
use crate::event::Rkey;
use crate::publisher::overlay::{self, Overlaid};
use crate::publisher::{IntentState, Kind, RecordView};

/// A record that is published here.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct RecordAnswer {
    /// How far the last wish is; null: there was none, the record was only found on the PDS.
    state: Option<IntentState>,
    #[serde(flatten)]
    record: RecordView,
}

impl From<RecordView> for RecordAnswer {
    fn from(record: RecordView) -> Self {
        RecordAnswer { state: record.intent.as_ref().map(|intent| intent.state), record }
    }
}

/// Some records as their author sees them, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordList {
    /// In the order of their record keys, which is that of their making. What is deleted is not among them.
    records: Vec<Overlaid>,
    /// Send it back for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Which records.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it declares what `Params` reads")]
pub(super) struct ListQuery {
    /// true: as if everything that waits were done already, so that an author sees what he wrote; false: as our own stream has
    /// shown them [default: false]
    unconfirmed: Option<bool>,
    /// How many at most, 1 to 100 [default: 50]
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// Where to go on: as the last page gave it.
    cursor: Option<String>,
}

/// JSON that nobody keeps, with the record's version as its tag.
pub(super) fn answer(status: StatusCode, record: RecordAnswer) -> Response {
    let tag = record.record.cid.as_deref().and_then(|cid| HeaderValue::from_str(&format!("\"{cid}\"")).ok());
    let mut response = json(status, record);
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// JSON that nobody keeps.
pub(super) fn json(status: StatusCode, body: impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// An event and how far it is.
#[utoipa::path(get, path = "/v1/users/{user}/events/{client_key}", tag = "records", params(RecordPath), responses(
    (status = 200, body = RecordAnswer, description = "The event and its last wish"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn get_event(state: State<V1State>, reader: Reader, path: RecordPath) -> Result<Response, Refusal> {
    show(state, reader, path, Kind::Event).await
}

/// An RSVP and how far it is.
#[utoipa::path(get, path = "/v1/users/{user}/rsvps/{client_key}", tag = "records", params(RecordPath), responses(
    (status = 200, body = RecordAnswer, description = "The RSVP and its last wish"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn get_rsvp(state: State<V1State>, reader: Reader, path: RecordPath) -> Result<Response, Refusal> {
    show(state, reader, path, Kind::Rsvp).await
}

async fn show(
    State(state): State<V1State>,
    _: Reader,
    RecordPath { user, client_key }: RecordPath,
    kind: Kind,
) -> Result<Response, Refusal> {
    match state.desk.record(&user, kind, &client_key).await? {
        Some(record) => Ok(answer(StatusCode::OK, record.into())),
        None => Err(not_found(&user, &client_key)),
    }
}

/// Nothing has that name.
pub(super) fn not_found(user: &str, client_key: &str) -> Refusal {
    let message = format!("nothing of user {user:?} was published under {client_key:?}");
    Refusal::new(StatusCode::NOT_FOUND, "RecordNotFound", message)
}

/// A user's events, in the order of their making.
#[utoipa::path(get, path = "/v1/users/{user}/events", tag = "records", params(UserPath, ListQuery), responses(
    (status = 200, body = RecordList, description = "Events"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn list_events(
    state: State<V1State>,
    reader: Reader,
    path: UserPath,
    query: RawQuery,
) -> Result<Response, Refusal> {
    list(state, reader, path, query, Kind::Event).await
}

/// A user's RSVPs, in the order of their making.
#[utoipa::path(get, path = "/v1/users/{user}/rsvps", tag = "records", params(UserPath, ListQuery), responses(
    (status = 200, body = RecordList, description = "RSVPs"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn list_rsvps(
    state: State<V1State>,
    reader: Reader,
    path: UserPath,
    query: RawQuery,
) -> Result<Response, Refusal> {
    list(state, reader, path, query, Kind::Rsvp).await
}

async fn list(
    State(state): State<V1State>,
    _: Reader,
    UserPath { user }: UserPath,
    RawQuery(query): RawQuery,
    kind: Kind,
) -> Result<Response, Refusal> {
    let params = Params::parse(query.as_deref(), &["unconfirmed", "limit", "cursor"])?;
    let unconfirmed = params.flag("unconfirmed")?;
    let limit = u32::from(params.limit()?.rows());
    let after = params.text("cursor").map(Rkey::parse).transpose();
    let after = after
        .map_err(|_| Refusal::invalid("`cursor` is not one of this service: send back what the last page gave"))?;
    let after = after.as_ref().map(Rkey::as_str);
    let page = match unconfirmed {
        true => overlay::list(&state.pool, &user, kind, after, limit).await?,
        false => overlay::confirmed(&state.pool, &user, kind, after, limit).await?,
    };
    Ok(json(StatusCode::OK, RecordList { records: page.records, cursor: page.next }))
}
