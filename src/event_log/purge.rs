//! Taking the record bytes of accounts that are gone out of the log.
//!
//! The one place that changes rows of the log. It takes bytes away and nothing else that a fold can see: places, revisions
//! and CIDs stay, so that the same tables come out of the log before and after. Whose bytes are to go is the caller's word.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::event::Did;

/// What one purge took from one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Records that lost their bytes.
    pub records: u64,
    /// How many bytes those were.
    pub bytes: u64,
}

/// A purge that was done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct PurgeEntry {
    /// When the run began that did it.
    pub purged_at: DateTime<Utc>,
    /// Records that lost their bytes.
    pub records: i64,
    /// How many bytes those were.
    pub bytes: i64,
}

/// Keeps the appender out until the caller's transaction ends, so that what the caller finds in the log stays true.
/// Transactions that do this must be short.
pub async fn hold_still(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // The appender takes this row first of all.
    sqlx::query("select from log.head for update").execute(connection).await?;
    Ok(())
}

/// What a purge of this account would take.
pub async fn purgeable(connection: &mut PgConnection, did: &Did) -> Result<Purged, sqlx::Error> {
    let (records, bytes): (i64, i64) = sqlx::query_as(
        "select count(*), coalesce(sum(octet_length(record)), 0)::bigint from log.event
         where did = $1 and record is not null",
    )
    .bind(did.as_str())
    .fetch_one(connection)
    .await?;
    Ok(Purged { records: records.unsigned_abs(), bytes: bytes.unsigned_abs() })
}

/// Takes the bytes of at most `limit` of this account's records, and notes it under `run_at`, the time at which this run
/// began. Fewer than `limit`: nothing is left. In the caller's transaction.
pub async fn purge(
    connection: &mut PgConnection,
    did: &Did,
    run_at: DateTime<Utc>,
    limit: i64,
) -> Result<Purged, sqlx::Error> {
    let (records, bytes): (i64, i64) =
        sqlx::query_as(include_str!("purge.sql")).bind(did.as_str()).bind(limit).fetch_one(&mut *connection).await?;
    if records > 0 {
        sqlx::query(
            "insert into log.purge as done (did, purged_at, records, bytes) values ($1, $2, $3, $4)
             on conflict (did, purged_at) do update
             set records = done.records + excluded.records, bytes = done.bytes + excluded.bytes",
        )
        .bind(did.as_str())
        .bind(run_at)
        .bind(records)
        .bind(bytes)
        .execute(connection)
        .await?;
    }
    Ok(Purged { records: records.unsigned_abs(), bytes: bytes.unsigned_abs() })
}

/// What was purged of this account, in order.
pub async fn purges_of(pool: &PgPool, did: &Did) -> Result<Vec<PurgeEntry>, sqlx::Error> {
    sqlx::query_as("select purged_at, records, bytes from log.purge where did = $1 order by purged_at")
        .bind(did.as_str())
        .fetch_all(pool)
        .await
}
