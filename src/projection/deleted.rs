//! Which accounts are deleted, by the same judgement that hides them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::event::Did;

/// An account counts as deleted since `$1` when the fold says so: the last of its account words, by their own time (cut to
/// arrival) and number, is that it is deleted. Two things must hold besides. No word about the account stands in the log
/// beyond the checkpoint, or the fold has not heard the last one. And none was seen since `$1`: the time in a word is its
/// teller's, so that a word that claims to be old would have no grace period.
const GONE: &str = "a.status = 'deleted' and not a.active and a.status_time < $1
    and not exists (
        select from log.event as e
        where e.did = a.did and e.kind = 'account'
            and (e.seen_at >= $1 or e.position > (select position from calendar.checkpoint))
    )";

/// Accounts deleted before `before` whose records the log still holds, in the order of their DIDs, after `after`.
pub async fn deleted_accounts(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    after: Option<&Did>,
    limit: i64,
) -> Result<Vec<Did>, sqlx::Error> {
    let statement = format!(
        "select a.did from calendar.accounts as a
         where a.did > $2 and {GONE} and exists (select from log.event as e where e.did = a.did and e.record is not null)
         order by a.did limit $3"
    );
    let dids: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(before)
        .bind(after.map_or("", Did::as_str))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    dids.iter().map(|did| Did::parse(did).map_err(|e| sqlx::Error::Decode(Box::new(e)))).collect()
}

/// Whether this account was deleted before `before`, now.
pub async fn is_deleted(connection: &mut PgConnection, did: &Did, before: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let statement = format!("select exists (select from calendar.accounts as a where a.did = $2 and {GONE})");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(before).bind(did.as_str()).fetch_one(connection).await
}
