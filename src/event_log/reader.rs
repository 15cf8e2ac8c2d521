//! Reading the log from a position on.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use crate::event::{
    AccountStatus, Body, Decision, Did, Event, Handle, ListChange, Logged, Nsid, OriginRule, Position, Rev, Rkey,
    Standing,
};

/// The log's last position; 0 when it is empty.
pub async fn head(connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar("select position from log.head").fetch_one(connection).await
}

/// At most `limit` events after `position`, in order, and at most about 32 MB of records. The record of a put whose bytes
/// were purged is empty.
///
/// # Errors
/// [`sqlx::Error::Decode`] when a row of our own log cannot be understood: the log is damaged, or newer than this
/// executable. That is a reason to stop.
pub async fn read(connection: &mut PgConnection, position: Position, limit: i64) -> Result<Vec<Logged>, sqlx::Error> {
    let rows = sqlx::query(
        // Bounded in bytes as well: a batch of the largest records must not fill memory. The first always passes.
        "select position, kind, did, collection, rkey, rev, cid, record, active, status, handle, event_time, seq, seen_at,
             origin_rule, detail
         from (
             select *, sum(octet_length(record)) over (order by position) as volume
             from (select * from log.event where position > $1 order by position limit $2) as next
         ) as measured
         where coalesce(volume, 0) - coalesce(octet_length(record), 0) <= 32000000
         order by position",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(logged).collect()
}

/// The record bytes of the puts at these positions, but for those that were purged.
pub async fn records_at(
    connection: &mut PgConnection,
    positions: &[Position],
) -> Result<HashMap<Position, Bytes>, sqlx::Error> {
    let rows: Vec<(Position, Vec<u8>)> =
        sqlx::query_as("select position, record from log.event where position = any($1) and record is not null")
            .bind(positions)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(position, record)| (position, record.into())).collect())
}

/// Which events of an account are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// What is about the account, and the records of this collection.
    Collection(&'a str),
    /// What is about the account, and the records of every other collection.
    Others(&'a str),
}

/// The events up to `last` of the accounts from `from` on and before `to`, those of one account together; in no order
/// beside that. They come as fast as they are taken, so none wait in memory.
///
/// # Errors
/// As [`read`].
pub fn of_accounts<'c>(
    connection: &'c mut PgConnection,
    (from, to): (&'c str, Option<&'c str>),
    last: Position,
    part: Part<'c>,
) -> impl Stream<Item = Result<Logged, sqlx::Error>> + Send + 'c {
    const WANTED: &str =
        "select position, kind, did, collection, rkey, rev, cid, record, active, status, handle, event_time, seq,
             seen_at, origin_rule, detail
         from log.event where did >= $1 and ($2::text is null or did < $2) and position <= $3";
    let (collection, condition) = match part {
        Part::Collection(name) => (name, "collection is null or collection = $4"),
        Part::Others(name) => (name, "collection is null or collection <> $4"),
    };
    let statement = AssertSqlSafe(format!("{WANTED} and ({condition}) order by did"));
    let rows = sqlx::query(statement).bind(from).bind(to).bind(last).bind(collection).fetch(connection);
    rows.map(|row| logged(&row?))
}

/// DIDs that part the accounts of the log into pieces of about `events` events each, in order. None when all of it is one.
pub async fn account_bounds(
    connection: &mut PgConnection,
    last: Position,
    events: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let pieces = last / events.max(1);
    if pieces < 1 {
        return Ok(Vec::new());
    }
    // A sample of the table's pages tells well enough; a few hundred rows for each piece.
    let share = (pieces as f64 * 50_000.0 / last.max(1) as f64).clamp(0.1, 100.0);
    let bounds: Option<Vec<Option<String>>> = sqlx::query_scalar(
        "select percentile_disc((select array_agg(n::float8 / ($1 + 1)) from generate_series(1, $1) as n))
             within group (order by did)
         from log.event tablesample system ($2)",
    )
    .bind(pieces)
    .bind(share)
    .fetch_one(connection)
    .await?;
    let mut bounds: Vec<String> = bounds.unwrap_or_default().into_iter().flatten().collect();
    bounds.dedup();
    Ok(bounds)
}

fn logged(row: &PgRow) -> Result<Logged, sqlx::Error> {
    let position: Position = row.try_get("position")?;
    let damaged = |what: String| sqlx::Error::Decode(format!("log.event at position {position}: {what}").into());
    let text = |column: &str| -> Result<String, sqlx::Error> {
        row.try_get::<Option<String>, _>(column)?.ok_or_else(|| damaged(format!("no {column}")))
    };
    let time = || -> Result<DateTime<Utc>, sqlx::Error> {
        row.try_get::<Option<_>, _>("event_time")?.ok_or_else(|| damaged("no event_time".to_owned()))
    };
    macro_rules! parse {
        ($type:ty, $column:literal) => {
            text($column)?.parse::<$type>().map_err(|e| damaged(e.to_string()))?
        };
    }
    let body = match text("kind")?.as_str() {
        "put" => Body::Put {
            collection: parse!(Nsid, "collection"),
            rkey: parse!(Rkey, "rkey"),
            rev: parse!(Rev, "rev"),
            cid: parse!(crate::event::Cid, "cid"),
            record: row.try_get::<Option<Vec<u8>>, _>("record")?.unwrap_or_default().into(),
        },
        "delete" => {
            Body::Delete { collection: parse!(Nsid, "collection"), rkey: parse!(Rkey, "rkey"), rev: parse!(Rev, "rev") }
        }
        "snapshot" => Body::Snapshot { rev: parse!(Rev, "rev") },
        "account" => {
            let active = row.try_get::<Option<bool>, _>("active")?.ok_or_else(|| damaged("no active".to_owned()))?;
            let status = AccountStatus::from_wire(active, Some(&text("status")?));
            Body::Account { active, status, time: time()? }
        }
        "identity" => {
            let handle: Option<String> = row.try_get("handle")?;
            let handle = handle.map(|h| Handle::parse(&h)).transpose().map_err(|e| damaged(e.to_string()))?;
            Body::Identity { handle, time: time()? }
        }
        "origin" => {
            let kept = row.try_get::<Option<bool>, _>("active")?.ok_or_else(|| damaged("no active".to_owned()))?;
            let word = text("status")?;
            let standing = Standing::from_words(kept, &word).ok_or_else(|| damaged(format!("standing {word:?}")))?;
            let rule: Option<i16> = row.try_get("origin_rule")?;
            let rule = rule.and_then(|rule| u8::try_from(rule).ok()).and_then(OriginRule::from_number);
            let rule = rule.ok_or_else(|| damaged("no origin_rule".to_owned()))?;
            Body::Origin { decision: Decision { standing, rule }, time: time()? }
        }
        "list" => {
            let word = text("status")?;
            let change = ListChange::from_word(&word).ok_or_else(|| damaged(format!("change {word:?}")))?;
            let detail: Option<serde_json::Value> = row.try_get("detail")?;
            let said =
                |name: &str| detail.as_ref().and_then(|detail| detail[name].as_str()).unwrap_or_default().to_owned();
            Body::List { change, who: said("who"), why: said("why"), time: time()? }
        }
        other => return Err(damaged(format!("unknown kind {other:?}"))),
    };
    Ok(Logged {
        position,
        event: Event { did: parse!(Did, "did"), body },
        seq: row.try_get("seq")?,
        seen_at: row.try_get("seen_at")?,
    })
}
