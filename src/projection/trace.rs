//! What the log and the index know of one record.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use crate::event::{AtUri, Position};

/// One entry of the log about a record or its account.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct TraceWord {
    /// Its place in the log.
    pub position: Position,
    /// put, delete, snapshot, account, identity or origin.
    pub kind: String,
    /// The revision that it belongs to.
    pub rev: Option<String>,
    /// The CID of a put.
    pub cid: Option<String>,
    /// Whether the account was active, for an account word; whether its records are kept, for an origin word.
    pub active: Option<bool>,
    /// The account's status, for an account word; its standing, for an origin word.
    pub status: Option<String>,
    /// The handle, for an identity word.
    pub handle: Option<String>,
    /// The event's own time, for account and identity words.
    pub event_time: Option<DateTime<Utc>>,
    /// The environment that it entered.
    pub environment: String,
    /// Whose it was, seen from there.
    pub origin: String,
    /// Number of the rule that said so.
    pub origin_rule: Option<i16>,
    /// The commit that wrote it.
    pub commit_cid: Option<String>,
    /// The account's PDS then.
    pub pds: Option<String>,
    /// The first upstream that brought it.
    pub upstream: String,
    /// That upstream's number for the frame.
    pub seq: Option<i64>,
    /// When it was seen.
    pub seen_at: DateTime<Utc>,
    /// Whether it came from a stream that ran then.
    pub live: bool,
    /// What was proven of it before it entered: none, signature, full, snapshot or listed.
    pub verification: String,
    /// Whether the bytes of this put were taken out of the log.
    pub purged: bool,
}

/// The life of one record.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The record.
    pub uri: String,
    /// Whether the index shows it.
    pub shown: bool,
    /// Why, or why not.
    pub reason: String,
    /// Up to which position the index is folded.
    pub projection_position: Position,
    /// What the log says about the record and its account, in order.
    pub log: Vec<TraceWord>,
}

/// Tells the life of one record.
pub async fn trace(pool: &PgPool, uri: &AtUri) -> Result<Trace, sqlx::Error> {
    let log: Vec<TraceWord> = sqlx::query_as(
        "select position, kind, rev, cid, active, status, handle, event_time, environment, origin, origin_rule, commit_cid, pds, upstream, seq,
             seen_at, live, verification, kind = 'put' and record is null as purged
         from log.event
         where did = $1 and ((collection = $2 and rkey = $3) or collection is null)
         order by position",
    )
    .bind(uri.did.as_str())
    .bind(uri.collection.as_str())
    .bind(uri.rkey.as_str())
    .fetch_all(pool)
    .await?;
    let address = uri.to_string();
    let shown: bool = sqlx::query_scalar(
        "select exists (select from calendar.events where uri = $1) or exists (select from calendar.rsvps where uri = $1)",
    )
    .bind(&address)
    .fetch_one(pool)
    .await?;
    let projection_position = super::checkpoint(pool).await?;
    let reason = if shown { "live".to_owned() } else { why_not(pool, uri, &log, projection_position).await? };
    Ok(Trace { uri: address, shown, reason, projection_position, log })
}

async fn why_not(
    pool: &PgPool,
    uri: &AtUri,
    log: &[TraceWord],
    projection_position: Position,
) -> Result<String, sqlx::Error> {
    let word: Option<(String, Option<String>, Position)> = sqlx::query_as(
        "select rev, cid, position from calendar.words where did = $1 and collection = $2 and rkey = $3",
    )
    .bind(uri.did.as_str())
    .bind(uri.collection.as_str())
    .bind(uri.rkey.as_str())
    .fetch_optional(pool)
    .await?;
    let account: Option<(String, bool, Option<String>, Option<String>)> =
        sqlx::query_as("select status, hidden, snapshot_rev, refused from calendar.accounts where did = $1")
            .bind(uri.did.as_str())
            .fetch_optional(pool)
            .await?;
    Ok(match (word, account) {
        (None, _) if log.iter().any(|w| w.rev.is_some() && w.position > projection_position) => {
            "in the log, but the index is not folded that far yet".to_owned()
        }
        (None, _) => "never seen in this environment".to_owned(),
        (Some((rev, None, _)), _) => format!("deleted at rev {rev}"),
        (Some(_), Some((_, true, _, Some(refused)))) => format!("the account may not be shown here: {refused}"),
        (Some(_), Some((status, true, _, None))) => format!("the account is hidden: {status}"),
        (Some((rev, Some(_), _)), Some((_, false, Some(snapshot), _))) if rev < snapshot => {
            format!("gone: the account's snapshot at rev {snapshot} does not hold it")
        }
        (Some((_, _, position)), _) if log.iter().any(|w| w.position == position && w.purged) => {
            "its bytes were purged when the account was deleted, and have not come again".to_owned()
        }
        (Some(_), _) => "its collection has no table; it is in the log only".to_owned(),
    })
}
