//! Publishing and deleting.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::Utc;

use super::ask::{PutQuery, RecordPath, WriteHeaders, account};
use super::auth::Writer;
use super::input::{EventInput, RsvpInput};
use super::record::{RecordAnswer, answer, not_found};
use super::refusal::{ErrorAnswer, Refusal};
use super::{BODY_MAX_BYTES, V1State};
use crate::api::params::Params;
use crate::calendar::Draft;
use crate::event::AtUri;
use crate::publisher::{Acting, Action, Conflict, IntentState, Kind, RecordView, Wish, WishError, grants};

/// How soon to ask again when nothing is known about the next attempt, in seconds.
const RETRY_SECONDS: i64 = 5;

type Body = Result<Bytes, BytesRejection>;

/// Publishes an event, or an edit of it. The same request again is the same wish.
#[utoipa::path(put, path = "/v1/users/{user}/events/{client_key}", tag = "publish",
    params(RecordPath, PutQuery, WriteHeaders), request_body = EventInput, responses(
    (status = 200, body = RecordAnswer, description = "It is on the PDS"),
    (status = 201, body = RecordAnswer, description = "It is on the PDS, and was not before"),
    (status = 202, body = RecordAnswer, description = "It is safe here and will get there; `Retry-After` says when to look again"),
    (status = 403, body = ErrorAnswer, description = "The token or the acting user may not, or nothing is written to that PDS from here"),
    (status = 404, body = ErrorAnswer, description = "The user has no account here"),
    (status = 409, body = ErrorAnswer, description = "Others changed the same fields: the PDS's version stays"),
    (status = 413, body = ErrorAnswer, description = "More than 256,000 bytes"),
    (status = 422, body = ErrorAnswer, description = "It cannot be published: every fault is named"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn put_event(
    state: State<V1State>,
    _: Writer,
    path: RecordPath,
    headers: WriteHeaders,
    query: RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    put(state, path, headers, query, body, Kind::Event).await
}

/// Publishes an RSVP, or another answer to the same event. The same request again is the same wish.
#[utoipa::path(put, path = "/v1/users/{user}/rsvps/{client_key}", tag = "publish",
    params(RecordPath, PutQuery, WriteHeaders), request_body = RsvpInput, responses(
    (status = 200, body = RecordAnswer, description = "It is on the PDS"),
    (status = 201, body = RecordAnswer, description = "It is on the PDS, and was not before"),
    (status = 202, body = RecordAnswer, description = "It is safe here and will get there; `Retry-After` says when to look again"),
    (status = 403, body = ErrorAnswer, description = "The token may not, another user acts, or nothing is written to that PDS from here"),
    (status = 404, body = ErrorAnswer, description = "The user has no account here"),
    (status = 409, body = ErrorAnswer, description = "Others changed the same fields: the PDS's version stays"),
    (status = 413, body = ErrorAnswer, description = "More than 256,000 bytes"),
    (status = 422, body = ErrorAnswer, description = "It cannot be published: every fault is named"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn put_rsvp(
    state: State<V1State>,
    _: Writer,
    path: RecordPath,
    headers: WriteHeaders,
    query: RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    put(state, path, headers, query, body, Kind::Rsvp).await
}

/// Deletes an event from the PDS.
#[utoipa::path(delete, path = "/v1/users/{user}/events/{client_key}", tag = "publish", params(RecordPath, WriteHeaders), responses(
    (status = 200, body = RecordAnswer, description = "It is gone from the PDS"),
    (status = 202, body = RecordAnswer, description = "The wish is safe here; `Retry-After` says when to look again"),
    (status = 404, body = ErrorAnswer, description = "There is no such record or user"),
    (status = 409, body = ErrorAnswer, description = "It is not the version in `If-Match` any more"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn delete_event(
    state: State<V1State>,
    _: Writer,
    path: RecordPath,
    headers: WriteHeaders,
    query: RawQuery,
) -> Result<Response, Refusal> {
    delete(state, path, headers, query, Kind::Event).await
}

/// Deletes an RSVP from the PDS.
#[utoipa::path(delete, path = "/v1/users/{user}/rsvps/{client_key}", tag = "publish", params(RecordPath, WriteHeaders), responses(
    (status = 200, body = RecordAnswer, description = "It is gone from the PDS"),
    (status = 202, body = RecordAnswer, description = "The wish is safe here; `Retry-After` says when to look again"),
    (status = 404, body = ErrorAnswer, description = "There is no such record or user"),
    (status = 409, body = ErrorAnswer, description = "It is not the version in `If-Match` any more"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn delete_rsvp(
    state: State<V1State>,
    _: Writer,
    path: RecordPath,
    headers: WriteHeaders,
    query: RawQuery,
) -> Result<Response, Refusal> {
    delete(state, path, headers, query, Kind::Rsvp).await
}

async fn put(
    State(state): State<V1State>,
    path: RecordPath,
    headers: WriteHeaders,
    RawQuery(query): RawQuery,
    body: Body,
    kind: Kind,
) -> Result<Response, Refusal> {
    let PutQuery { adopt } = PutQuery::read(query.as_deref())?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body has more than {BODY_MAX_BYTES} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
        }
        _ => Refusal::invalid("the body broke off"),
    })?;
    let input: serde_json::Value =
        serde_json::from_slice(&body).map_err(|e| Refusal::invalid(format!("the body is no JSON: {e}")))?;
    let draft = Draft::read(kind, &input).map_err(Refusal::faults)?;
    wish(&state, path, headers, kind, Some(draft), adopt).await
}

async fn delete(
    State(state): State<V1State>,
    path: RecordPath,
    headers: WriteHeaders,
    RawQuery(query): RawQuery,
    kind: Kind,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref(), &[])?;
    wish(&state, path, headers, kind, None, None).await
}

/// `draft`: what it shall be; none: it shall not be.
async fn wish(
    state: &V1State,
    RecordPath { user, client_key }: RecordPath,
    headers: WriteHeaders,
    kind: Kind,
    draft: Option<Draft>,
    adopt: Option<AtUri>,
) -> Result<Response, Refusal> {
    let (account, owner) = account(&state.pool, &user).await?;
    let action = if draft.is_some() { Action::Put } else { Action::Delete };
    let before = state.desk.record(&user, kind, &client_key).await?;
    let acting = match headers.acting_user.filter(|acting| *acting != user) {
        Some(acting) => {
            let known = before.as_ref().map(|record| &record.uri);
            let grant_id = grants::authorize(&state.pool, &owner, &acting, kind, action, known, adopt.as_ref()).await?;
            Some(Acting { user: acting, grant_id })
        }
        None => None,
    };
    (state.may_write)(&account.pds).map_err(|why| Refusal::forbidden("NotOurs", why))?;
    let there = adopt.is_some() || before.is_some_and(|record| record.cid.is_some() && !record.deleted);
    let wish = Wish {
        user: user.clone(),
        kind,
        client_key: client_key.clone(),
        action,
        draft,
        if_match: headers.if_match,
        adopt,
        acting,
    };
    let record = state.desk.wish(wish).await.map_err(|error| refused(error, &user, &client_key))?;
    told(record, there)
}

fn refused(error: WishError, user: &str, client_key: &str) -> Refusal {
    let message = error.to_string();
    match error {
        WishError::NoAccount(_) => Refusal::no_user(user),
        WishError::NoRecord { .. } => not_found(user, client_key),
        WishError::ClientKey(_) | WishError::Draft(_) => Refusal::invalid(message),
        WishError::NotTheirs { .. } => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "NotTheirs", message),
        WishError::Taken(_) => Refusal::new(StatusCode::CONFLICT, "ClientKeyTaken", message),
        WishError::OtherAccount { .. } => Refusal::new(StatusCode::CONFLICT, "OtherAccount", message),
        WishError::Database(error) => error.into(),
    }
}

/// What became of it. `there`: the record was on the PDS before.
fn told(record: RecordView, there: bool) -> Result<Response, Refusal> {
    let Some(intent) = record.intent.clone() else { return Ok(answer(StatusCode::OK, record.into())) };
    let words = [intent.detail.as_deref(), intent.advice.as_deref()];
    let words = words.into_iter().flatten().collect::<Vec<_>>().join("; ");
    match intent.state {
        IntentState::Acknowledged | IntentState::Confirmed => {
            let status = if there || intent.action == Action::Delete { StatusCode::OK } else { StatusCode::CREATED };
            Ok(answer(status, record.into()))
        }
        IntentState::Wanted | IntentState::Attempted => {
            let wait = intent.next_at.map_or(RETRY_SECONDS, |next| (next - Utc::now()).num_seconds().max(1));
            let mut response = answer(StatusCode::ACCEPTED, record.into());
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
            Ok(response)
        }
        IntentState::Conflict => {
            let conflict = intent.conflict.and_then(|both| serde_json::from_value::<Vec<Conflict>>(both).ok());
            Err(Refusal::new(StatusCode::CONFLICT, "Conflict", words)
                .with_conflict(conflict.unwrap_or_default())
                .with_record(record.into()))
        }
        IntentState::Refused => {
            let refusal = match intent.trouble.as_deref() {
                Some("no_grant") => Refusal::forbidden("GrantRequired", words),
                _ => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Refused", words),
            };
            Err(refusal.with_record(record.into()))
        }
        IntentState::Superseded => {
            let words = "a later wish of the same record took its place before it was sent";
            Err(Refusal::new(StatusCode::CONFLICT, "Superseded", words).with_record(record.into()))
        }
    }
}
