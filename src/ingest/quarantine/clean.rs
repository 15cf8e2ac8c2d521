//! Entries leave: by age, beyond the bytes that may be kept, or because somebody says so.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgPool};

use super::entries::{WHICH, Which, with};
use super::space::ROW_BYTES;
use crate::event::Did;

/// Rows that go in one statement.
const AT_ONCE: i64 = 2_000;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Entries.
    pub entries: i64,
    /// About the bytes that they took.
    pub bytes: i64,
}

impl Cleaned {
    fn add(&mut self, (entries, bytes): (i64, i64)) {
        self.entries += entries;
        self.bytes += bytes;
    }
}

/// Takes entries away; with `dry_run` only counts them. `told` is told how far it is. A selection with an end in time ends,
/// whatever comes meanwhile.
pub async fn purge(
    pool: &PgPool,
    which: &Which,
    dry_run: bool,
    mut told: impl FnMut(Cleaned),
) -> Result<Cleaned, sqlx::Error> {
    let mut cleaned = Cleaned::default();
    if dry_run {
        let text = format!(
            "select count(*), coalesce(sum(coalesce(octet_length(frame), 0) + $5), 0)::bigint
             from ingest.quarantine where {WHICH}"
        );
        let all = with!(sqlx::query_as(AssertSqlSafe(text)), which).bind(ROW_BYTES as i64).fetch_one(pool).await?;
        cleaned.add(all);
        return Ok(cleaned);
    }
    loop {
        let text = format!(
            "with gone as (
                 delete from ingest.quarantine where id in (
                     select id from ingest.quarantine where {WHICH} order by id limit $6)
                 returning coalesce(octet_length(frame), 0) + $5 as bytes)
             select count(*), coalesce(sum(bytes), 0)::bigint from gone"
        );
        let some: (i64, i64) = with!(sqlx::query_as(AssertSqlSafe(text)), which)
            .bind(ROW_BYTES as i64)
            .bind(AT_ONCE)
            .fetch_one(pool)
            .await?;
        cleaned.add(some);
        told(cleaned);
        if some.0 < AT_ONCE {
            return Ok(cleaned);
        }
    }
}

/// Takes away what is here since before `before`, and beyond `bytes_max` the oldest.
pub async fn clean(pool: &PgPool, before: DateTime<Utc>, bytes_max: u64) -> Result<Cleaned, sqlx::Error> {
    let which = Which { before: Some(before), ..Which::default() };
    let mut cleaned = purge(pool, &which, false, |_| {}).await?;
    let last: Option<i64> = sqlx::query_scalar(
        "select id from (
             select id, sum(coalesce(octet_length(frame), 0) + $1) over (order by id desc) as bytes
             from ingest.quarantine) as sized
         where bytes > $2 order by id desc limit 1",
    )
    .bind(ROW_BYTES as i64)
    .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
    .fetch_optional(pool)
    .await?;
    let Some(last) = last else { return Ok(cleaned) };
    loop {
        let some: (i64, i64) = sqlx::query_as(
            "with gone as (
                 delete from ingest.quarantine where id in (
                     select id from ingest.quarantine where id <= $1 order by id limit $2)
                 returning coalesce(octet_length(frame), 0) + $3 as bytes)
             select count(*), coalesce(sum(bytes), 0)::bigint from gone",
        )
        .bind(last)
        .bind(AT_ONCE)
        .bind(ROW_BYTES as i64)
        .fetch_one(pool)
        .await?;
        cleaned.add(some);
        if some.0 < AT_ONCE {
            return Ok(cleaned);
        }
    }
}
