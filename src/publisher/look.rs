//! What is published and how far it is, for whoever has no publisher: it only reads, but for what makes waiting shorter.

use sqlx::PgPool;

use super::{IntentView, Kind, RecordView, store};

/// A record by the app's name for it.
///
/// # Errors
/// What the database says.
pub async fn record(
    pool: &PgPool,
    user: &str,
    kind: Kind,
    client_key: &str,
) -> Result<Option<RecordView>, sqlx::Error> {
    store::by_client_key(&mut *pool.acquire().await?, user, kind, client_key).await
}

/// At most `limit` of a user's records of one kind, in the order of their record keys, from behind the key `after`.
///
/// # Errors
/// What the database says.
pub async fn list(
    pool: &PgPool,
    user: &str,
    kind: Kind,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<RecordView>, sqlx::Error> {
    store::list(&mut *pool.acquire().await?, user, kind, after, limit).await
}

/// An intent by its number.
///
/// # Errors
/// What the database says.
pub async fn intent(pool: &PgPool, id: i64) -> Result<Option<IntentView>, sqlx::Error> {
    store::intent_by_id(&mut *pool.acquire().await?, id).await
}

/// Makes an intent that waits due now, or all of them. How many wait and are due now.
///
/// # Errors
/// What the database says.
pub async fn due_now(pool: &PgPool, id: Option<i64>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update publish.intent set next_at = least(next_at, now()) where state in ('wanted', 'attempted') and id = coalesce($1, id)",
    );
    Ok(done.bind(id).execute(pool).await?.rows_affected())
}
