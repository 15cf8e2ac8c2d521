//! One hash per table over what an app sees.
//!
//! Independent of insertion order, times of receipt, log positions and revs, so that the same repositories read live, by
//! replay or by backfill give the same hashes: rows are hashed one by one and the hashes are added up.

use std::collections::BTreeMap;

use sqlx::PgPool;

/// What of each table counts. The CID stands for the record; derived columns show that it was read alike. Of accounts
/// those count that have something to show: others are known or not depending on how they were met.
const TABLES: [(&str, &str); 5] = [
    (
        "events",
        "select jsonb_build_array(uri, did, rkey, cid, name, description, extract(epoch from created_at),
             extract(epoch from starts_at), extract(epoch from ends_at), mode, status, rsvp_expected, uris, problems)
         from calendar.events",
    ),
    (
        "event_locations",
        "select jsonb_build_array(uri, index, kind, name, street, locality, region, postal_code, country,
             latitude::text, longitude::text, h3, fsq_place_id, link, location)
         from calendar.event_locations",
    ),
    (
        "rsvps",
        "select jsonb_build_array(uri, did, rkey, cid, subject_uri, subject_cid, subject_stale, status,
             extract(epoch from created_at), extract(epoch from decided_at), effective, problems)
         from calendar.rsvps",
    ),
    (
        "rsvp_counts",
        "select jsonb_build_array(subject_uri, going, interested, notgoing, other) from calendar.rsvp_counts",
    ),
    (
        "accounts",
        "select jsonb_build_array(did, handle, active, status) from calendar.accounts as a
         where exists (select from calendar.events where did = a.did)
            or exists (select from calendar.rsvps where did = a.did)",
    ),
];

/// The hash of each table: 32 hexadecimal digits.
pub async fn checksum(pool: &PgPool) -> Result<BTreeMap<&'static str, String>, sqlx::Error> {
    let mut sums = BTreeMap::new();
    let mut tx = pool.begin().await?;
    // All tables as of one moment, or a fold under way would show.
    sqlx::query("set transaction isolation level repeatable read read only").execute(&mut *tx).await?;
    for (table, rows) in TABLES {
        // MD5 for its being the same in every version of Postgres; two halves of it are added up apart.
        let statement = format!(
            "with rows (row) as ({rows}), hashes as (select md5(row::text) as hash from rows)
             select md5(
                 count(*) || '-'
                 || coalesce(sum(('x' || substr(hash, 1, 15))::bit(60)::bigint), 0) || '-'
                 || coalesce(sum(('x' || substr(hash, 17, 15))::bit(60)::bigint), 0)
             )
             from hashes"
        );
        let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&mut *tx).await?;
        sums.insert(table, text);
    }
    Ok(sums)
}
