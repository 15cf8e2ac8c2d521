//! Which records of an account are live by the log alone.

use futures_util::TryStreamExt;
use sqlx::{PgConnection, Row};

use crate::event::{AccountStatus, Did, Nsid, Rev, Rkey};

/// The records whose last word in the log is a put, not older than the account's last snapshot and not newer than `rev`,
/// without those that `holds` knows: what a repository that is complete at `rev` has lost.
///
/// # Errors
/// [`sqlx::Error::Decode`] when our own log holds what it cannot hold.
pub async fn live_records_without(
    connection: &mut PgConnection,
    did: &Did,
    rev: Rev,
    holds: impl Fn(&str, &str) -> bool,
) -> Result<Vec<(Nsid, Rkey)>, sqlx::Error> {
    let damaged = |e: crate::event::IdentError| sqlx::Error::Decode(Box::new(e));
    let mut gone = Vec::new();
    let mut rows =
        sqlx::query(include_str!("live_records.sql")).bind(did.as_str()).bind(rev.to_string()).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (collection, rkey): (&str, &str) = (row.try_get("collection")?, row.try_get("rkey")?);
        if !holds(collection, rkey) {
            gone.push((Nsid::parse(collection).map_err(damaged)?, Rkey::parse(rkey).map_err(damaged)?));
        }
    }
    Ok(gone)
}

/// What the log last said of an account's hosting: active or not, and why. `None` when it never spoke of it. As the fold
/// ranks words: the latest by its own time.
pub async fn last_account_word(
    connection: &mut PgConnection,
    did: &Did,
) -> Result<Option<(bool, AccountStatus)>, sqlx::Error> {
    let row = sqlx::query(
        "select active, status from log.event where did = $1 and collection is null and kind = 'account'
         order by least(event_time, seen_at + interval '5 minutes') desc, seq desc nulls last, active desc, status desc
         limit 1",
    )
    .bind(did.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let active = row.try_get::<Option<bool>, _>("active")?.unwrap_or(true);
        let status: Option<String> = row.try_get("status")?;
        Ok((active, AccountStatus::from_wire(active, status.as_deref())))
    })
    .transpose()
}
