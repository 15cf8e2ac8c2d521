//! What a log holds, told so that two logs can be compared: independent of positions and of who carried what when.

use sqlx::PgPool;

/// What two logs of the same frames have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    /// Puts and deletes, and one hash over all of them with their records.
    pub records: (i64, String),
    /// Accounts with account words, and one hash over the latest of each; the same for handles.
    pub latest_words: (i64, String),
    /// Accounts in scope.
    pub scope: i64,
}

/// Reads a log, which must be sound: positions 1 to N without a gap, nothing twice, the head where the rows end.
pub async fn contents(pool: &PgPool) -> Contents {
    let (count, first, last, distinct, head): (i64, i64, i64, i64, i64) = sqlx::query_as(
        "select count(*), coalesce(min(position), 1), coalesce(max(position), 0), count(distinct dedup),
             (select position from log.head) from log.event",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(
        (first, last, distinct, head),
        (1, count, count, count),
        "positions have gaps, or something is there twice"
    );
    let records = sqlx::query_as(
        "select count(*), coalesce(md5(string_agg(row::text, '' order by row::text)), '') from (
             select md5(row(kind, did, collection, rkey, rev, cid, record)::text) as row from log.event
             where collection is not null
         ) as rows",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let latest_words = sqlx::query_as(
        "select count(*), coalesce(md5(string_agg(row::text, '' order by row::text)), '') from (
             select distinct on (did, kind) row(did, kind, active, status, handle, event_time) as row from log.event
             where kind in ('account', 'identity') and (kind = 'account' or handle is not null)
             order by did, kind, event_time desc, seq desc
         ) as rows",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let scope = sqlx::query_scalar("select count(*) from ingest.repo").fetch_one(pool).await.unwrap();
    Contents { records, latest_words, scope }
}
