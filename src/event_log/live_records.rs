//! Which records of an account are live by the log alone.

use futures_util::TryStreamExt;
use sqlx::{PgConnection, Row};

use crate::event::{Did, Nsid, Rev, Rkey};

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
