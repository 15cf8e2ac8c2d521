//! The table of links. Every change is made in a transaction of the caller's, who notes it for the log.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use crate::event::{Did, Handle};

/// One link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Account {
    /// The app's name for the user.
    pub user_id: String,
    /// The network account.
    pub did: String,
    /// Its handle, when it was last verified.
    pub handle: Option<String>,
    /// The endpoint of its PDS, when it was last verified.
    pub pds: String,
    /// Whether we hold its credentials.
    pub custodial: bool,
    /// When the link was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Why two are not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The account belongs to another user, or the user has another account.
    #[error("{0}; one account belongs to one user: unlink the other first")]
    Taken(String),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Links a user with an account, or says anew where that account lives. An account of which we hold secrets stays custodial
/// until it is released.
///
/// # Errors
/// [`LinkError::Taken`] when either is linked with somebody else.
pub async fn link(
    connection: &mut PgConnection,
    user_id: &str,
    did: &Did,
    handle: Option<&Handle>,
    pds: &str,
    custodial: bool,
) -> Result<(), LinkError> {
    let taken: Option<(String, String)> =
        sqlx::query_as("select user_id, did from identity.account where (user_id = $1) <> (did = $2) for update")
            .bind(user_id)
            .bind(did.as_str())
            .fetch_optional(&mut *connection)
            .await?;
    if let Some((user, account)) = taken {
        return Err(LinkError::Taken(format!("user {user} is linked with {account}")));
    }
    sqlx::query(
        "insert into identity.account (user_id, did, handle, pds, custodial) values ($1, $2, $3, $4, $5)
         on conflict (user_id) do update set handle = excluded.handle, pds = excluded.pds,
             custodial = excluded.custodial
                 or exists (select from identity.credential as held where held.did = excluded.did),
             updated_at = now()",
    )
    .bind(user_id)
    .bind(did.as_str())
    .bind(handle.map(Handle::as_str))
    .bind(pds)
    .bind(custodial)
    .execute(connection)
    .await?;
    Ok(())
}

/// Says since when a link is there, by the word of whoever kept it before us.
pub async fn linked_since(connection: &mut PgConnection, did: &Did, since: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let statement = "update identity.account set created_at = $2 where did = $1";
    sqlx::query(statement).bind(did.as_str()).bind(since).execute(connection).await?;
    Ok(())
}

/// The links of a user and of an account, which are one if they are each other's, held until the transaction ends.
pub async fn of_either(connection: &mut PgConnection, user_id: &str, did: &Did) -> Result<Vec<Account>, sqlx::Error> {
    sqlx::query_as("select * from identity.account where user_id = $1 or did = $2 order by user_id for update")
        .bind(user_id)
        .bind(did.as_str())
        .fetch_all(connection)
        .await
}

/// Takes a link away. Whether there was one.
pub async fn unlink(connection: &mut PgConnection, did: &Did) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query("delete from identity.account where did = $1").bind(did.as_str()).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// Says that we do not keep an account any more. Whether we did.
pub async fn release(connection: &mut PgConnection, did: &Did) -> Result<bool, sqlx::Error> {
    let statement = "update identity.account set custodial = false, updated_at = now() where did = $1 and custodial";
    let done = sqlx::query(statement).bind(did.as_str()).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// Notes where an account was verified to live by now. Whether it is linked at all.
pub async fn moved(connection: &mut PgConnection, did: &Did, pds: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update identity.account set pds = $2, updated_at = now() where did = $1")
        .bind(did.as_str())
        .bind(pds)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// The link of a user.
pub async fn of_user(pool: &PgPool, user_id: &str) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as("select * from identity.account where user_id = $1").bind(user_id).fetch_optional(pool).await
}

/// The link of an account.
pub async fn of_did(pool: &PgPool, did: &Did) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as("select * from identity.account where did = $1").bind(did.as_str()).fetch_optional(pool).await
}

/// Every link, by user.
pub async fn all(pool: &PgPool) -> Result<Vec<Account>, sqlx::Error> {
    sqlx::query_as("select * from identity.account order by user_id").fetch_all(pool).await
}
