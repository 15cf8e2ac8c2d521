//! Who may write in a user's name, and who did.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::V1State;
use super::ask::{NumberedPath, UserPath, account, uri};
use super::auth::Granter;
use super::record::json;
use super::refusal::{ErrorAnswer, Refusal};
use crate::api::params::Params;
use crate::event::AtUri;
use crate::publisher::audit::{self, AuditQuery, AuditRow};
use crate::publisher::grants::{self, Grant, NewGrant};

/// A grant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantInput {
    /// The app's name for the user who may write.
    grantee_user: String,
    /// The one event; absent: all events of the owner, also new ones.
    event_uri: Option<String>,
    /// When it ends; absent: when it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

/// Some grants, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantList {
    grants: Vec<Grant>,
    /// Send it back for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Some rows of the audit, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditList {
    writes: Vec<AuditRow>,
    /// Send it back for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Which grants.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it declares what `Params` reads")]
pub(super) struct GrantQuery {
    /// How many at most, 1 to 100 [default: 50]
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// Where to go on: as the last page gave it.
    cursor: Option<String>,
}

/// Which rows of the audit.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it declares what `Params` reads")]
pub(super) struct AuditRows {
    /// Only those of this record.
    uri: Option<String>,
    /// How many at most, 1 to 100 [default: 50]
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// Where to go on: as the last page gave it.
    cursor: Option<String>,
}

/// Lets a user write events in the owner's name. One that says the same and is in force is answered instead of a second.
#[utoipa::path(post, path = "/v1/users/{user}/grants", tag = "grants", params(UserPath), request_body = GrantInput, responses(
    (status = 201, body = Grant, description = "The grant, in force"),
    (status = 422, body = ErrorAnswer, description = "It makes no sense"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn create_grant(
    State(state): State<V1State>,
    Granter(token): Granter,
    UserPath { user }: UserPath,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = body.map_err(|_| Refusal::invalid("the body is broken off or too large"))?;
    let input: GrantInput = serde_json::from_slice(&body).map_err(|e| {
        Refusal::invalid(format!(
            r#"the body cannot be read: {e}; wanted is {{"grantee_user":"…","event_uri":"at://…","expires_at":"…"}}"#
        ))
    })?;
    let event = input.event_uri.as_deref().map(AtUri::parse).transpose();
    let event = event.map_err(|e| Refusal::invalid(format!("`event_uri`: {e}")))?;
    let (_, owner) = account(&state.pool, &user).await?;
    let new = NewGrant {
        grantor: &owner,
        grantee_user: &input.grantee_user,
        event: event.as_ref(),
        expires_at: input.expires_at,
        by: &format!("token {token}"),
    };
    Ok(json(StatusCode::CREATED, grants::create(&state.pool, new).await?))
}

/// The grants of an owner, the latest first, also those that are over.
#[utoipa::path(get, path = "/v1/users/{user}/grants", tag = "grants", params(UserPath, GrantQuery), responses(
    (status = 200, body = GrantList, description = "Grants"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn list_grants(
    State(state): State<V1State>,
    _: Granter,
    UserPath { user }: UserPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let (limit, before) = (i64::from(params.limit()?.rows()), before(&params)?);
    let (_, owner) = account(&state.pool, &user).await?;
    let mut grants = grants::list(&state.pool, Some(&owner), None, before, limit + 1).await?;
    let cursor = cut(&mut grants, limit, |grant| grant.id);
    Ok(json(StatusCode::OK, GrantList { grants, cursor }))
}

/// Takes a grant back: from now on nothing is written under it, also not what waits.
#[utoipa::path(delete, path = "/v1/users/{user}/grants/{id}", tag = "grants", params(NumberedPath), responses(
    (status = 200, body = Grant, description = "The grant, revoked"),
    (status = 404, body = ErrorAnswer, description = "The owner has no such grant"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn revoke_grant(
    State(state): State<V1State>,
    Granter(token): Granter,
    NumberedPath { user, id }: NumberedPath,
) -> Result<Response, Refusal> {
    let (_, owner) = account(&state.pool, &user).await?;
    match grants::revoke(&state.pool, id, Some(&owner), &format!("token {token}")).await? {
        Some(grant) => Ok(json(StatusCode::OK, grant)),
        None => {
            let message = format!("user {user:?} gave no grant {id}");
            Err(Refusal::new(StatusCode::NOT_FOUND, "GrantNotFound", message))
        }
    }
}

/// What others wrote, or wanted to write, in an owner's name; the latest first.
#[utoipa::path(get, path = "/v1/users/{user}/audit", tag = "grants", params(UserPath, AuditRows), responses(
    (status = 200, body = AuditList, description = "Writes in the owner's name"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn list_audit(
    State(state): State<V1State>,
    _: Granter,
    UserPath { user }: UserPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let params = Params::parse(query.as_deref(), &["uri", "limit", "cursor"])?;
    let (limit, before) = (i64::from(params.limit()?.rows()), before(&params)?);
    let uri = uri(&params, "uri")?.map(|uri| uri.to_string());
    let (_, owner) = account(&state.pool, &user).await?;
    let query = AuditQuery { owner_did: Some(&owner), uri: uri.as_deref(), before, limit: limit + 1 };
    let mut writes = audit::rows(&state.pool, query).await?;
    let cursor = cut(&mut writes, limit, |row| row.id);
    Ok(json(StatusCode::OK, AuditList { writes, cursor }))
}

fn before(params: &Params) -> Result<Option<i64>, Refusal> {
    let wrong = || Refusal::invalid("`cursor` is not one of this service: send back what the last page gave");
    params.text("cursor").map(|text| text.parse().map_err(|_| wrong())).transpose()
}

/// Takes the row away that only told that there are more; where to go on then.
fn cut<T>(rows: &mut Vec<T>, limit: i64, id: impl Fn(&T) -> i64) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if rows.len() <= limit {
        return None;
    }
    rows.truncate(limit);
    rows.last().map(|row| id(row).to_string())
}
