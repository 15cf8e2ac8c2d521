//! How it stands with one account: its link, which secrets are held of it, and how acting for it went.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::account::{self, Account};
use super::credential::{self, Held};
use crate::event::Did;

/// One account, with everything about its secrets but themselves.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The link.
    #[serde(flatten)]
    pub account: Account,
    /// Which secrets are held.
    pub held: Vec<Held>,
    /// How acting for it went; `None`: it was never tried.
    pub session: Option<SessionStanding>,
}

/// How acting for an account went, as far as it was tried.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct SessionStanding {
    /// `untried`, `ok`, `unreachable` or `dead`.
    pub health: String,
    /// In words, and what to do.
    pub health_detail: Option<String>,
    /// When that was found.
    pub health_at: Option<DateTime<Utc>>,
    /// When the access token ends.
    pub access_until: Option<DateTime<Utc>>,
}

/// Finds an account by the user's name or by DID. A user may be called like a DID; the user's name counts first.
///
/// # Errors
/// The database did not do it.
pub async fn find(pool: &PgPool, user_or_did: &str) -> Result<Option<Account>, sqlx::Error> {
    if let Some(account) = account::of_user(pool, user_or_did).await? {
        return Ok(Some(account));
    }
    match Did::parse(user_or_did) {
        Ok(did) => account::of_did(pool, &did).await,
        Err(_) => Ok(None),
    }
}

/// Looks everything up that there is about an account.
///
/// # Errors
/// The database did not do it.
pub async fn standing(pool: &PgPool, account: Account) -> Result<Standing, sqlx::Error> {
    let session =
        sqlx::query_as("select health, health_detail, health_at, access_until from identity.session where did = $1")
            .bind(&account.did)
            .fetch_optional(pool)
            .await?;
    Ok(Standing { held: credential::held(pool, &account.did).await?, account, session })
}
