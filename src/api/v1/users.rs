//! Users and how acting for them goes, so that an app sees trouble before it has something to publish.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::V1State;
use super::ask::{UserPath, account};
use super::auth::Reader;
use super::record::json;
use super::refusal::{ErrorAnswer, Refusal};
use crate::identity::health;

/// A user, the account that is his, and how acting for it goes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserAnswer {
    /// The app's name for the user.
    user: String,
    /// The network account.
    did: String,
    /// Its handle, when it was last verified.
    handle: Option<String>,
    /// The endpoint of its PDS.
    pds: String,
    /// Whether we hold its credentials.
    custodial: bool,
    /// Whether this environment writes to that PDS.
    may_write: bool,
    /// ok; untried; unreachable: it is tried again by itself; dead: somebody has to do something; none: we hold nothing that
    /// lets us act for the account.
    health: String,
    /// What happened, and what to do.
    detail: Option<String>,
    /// When that was found.
    health_at: Option<DateTime<Utc>>,
    /// When the link was made.
    created_at: DateTime<Utc>,
    /// When it was last changed.
    updated_at: DateTime<Utc>,
}

/// A user and how acting for him goes.
#[utoipa::path(get, path = "/v1/users/{user}", tag = "users", params(UserPath), responses(
    (status = 200, body = UserAnswer, description = "The user"),
    (status = 404, body = ErrorAnswer, description = "The user has no account here"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn get_user(
    State(state): State<V1State>,
    _: Reader,
    UserPath { user }: UserPath,
) -> Result<Response, Refusal> {
    let (account, _) = account(&state.pool, &user).await?;
    let acting = health::of(&state.pool, &account.did).await?;
    let may_write = (state.may_write)(&account.pds);
    let (health, detail, health_at) = match acting {
        Some(health) => (health.health, health.detail, health.health_at),
        None => {
            ("none".to_owned(), Some("the account is its owner's own, and its owner gave no grant".to_owned()), None)
        }
    };
    let answer = UserAnswer {
        user,
        did: account.did,
        handle: account.handle,
        pds: account.pds,
        custodial: account.custodial,
        may_write: may_write.is_ok(),
        health,
        detail: detail.or(may_write.err()),
        health_at,
        created_at: account.created_at,
        updated_at: account.updated_at,
    };
    Ok(json(StatusCode::OK, answer))
}
