//! Entries, looked at by people, and asked to be judged again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgPool, Row};

use super::space::ROW_BYTES;
use crate::event::{Delivery, Did, Environment, Upstream, UpstreamKind};

/// One entry, without its frame.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// Since when it is here.
    pub quarantined_at: DateTime<Utc>,
    /// Whose.
    pub did: String,
    /// Why: a word of [`crate::event::Refusal`], or of [`crate::decode::Reason`].
    pub reason: String,
    /// Number of the rule of origin that decided; none where the frame does not verify.
    pub rule: Option<i16>,
    /// For people.
    pub detail: String,
    /// The followed records that it is about, COLLECTION/RKEY; none when only an account was offered.
    pub paths: Vec<String>,
    /// What the frame says of its revision, unproven.
    pub rev: Option<String>,
    /// What the frame says of its commit, unproven.
    pub commit_cid: Option<String>,
    /// The upstream's name.
    pub upstream: String,
    /// relay, pds, dump or directory.
    pub upstream_kind: String,
    /// The environment that the dump is declared for, if it is.
    pub declared: Option<String>,
    /// That upstream's number for it.
    pub seq: Option<i64>,
    /// When it was seen first.
    pub seen_at: DateTime<Utc>,
    /// Whether it came from a stream that ran then.
    pub live: bool,
    /// The account's PDS then, by its document.
    pub pds: Option<String>,
    /// How often it came.
    pub times: i64,
    /// The length of the frame; none when only an account was offered, or when it was released.
    pub frame_bytes: Option<i32>,
    /// Somebody asked to have it judged again, and that is not done.
    pub release_asked_at: Option<DateTime<Utc>>,
    /// Who asked last.
    pub release_asked_by: Option<String>,
    /// What became of that.
    pub release_outcome: Option<String>,
    /// When it was released.
    pub released_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, quarantined_at, did, reason, rule, detail, paths, rev, commit_cid, upstream, upstream_kind, \
    declared, seq, seen_at, live, pds, times, octet_length(frame) as frame_bytes, release_asked_at, release_asked_by, \
    release_outcome, released_at";

/// Which entries: all of those for which everything holds that is said here.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// One of these numbers.
    pub ids: Option<Vec<i64>>,
    /// For this reason.
    pub reason: Option<String>,
    /// Of this account.
    pub did: Option<Did>,
    /// Here since before this.
    pub before: Option<DateTime<Utc>>,
}

/// `where` over the parameters $1 to $4 that [`with`] binds.
pub(super) const WHICH: &str = "($1::bigint[] is null or id = any($1)) and ($2::text is null or reason = $2)
    and ($3::text is null or did = $3) and ($4::timestamptz is null or quarantined_at < $4)";

/// Binds what `WHICH` names.
macro_rules! with {
    ($query:expr, $which:expr) => {
        $query
            .bind($which.ids.as_deref())
            .bind($which.reason.as_deref())
            .bind($which.did.as_ref().map(Did::as_str))
            .bind($which.before)
    };
}
pub(super) use with;

/// What is in quarantine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Refused frames by reason.
    pub records: BTreeMap<String, i64>,
    /// About how many bytes they take, with the rows of those that were released.
    pub bytes: i64,
}

/// Counts what is in quarantine.
pub async fn counts(pool: &PgPool) -> Result<Counts, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select reason, count(*) filter (where released_at is null),
             (sum(coalesce(octet_length(frame), 0)) + count(*) * $1)::bigint
         from ingest.quarantine group by reason",
    )
    .bind(ROW_BYTES as i64)
    .fetch_all(pool)
    .await?;
    let bytes = rows.iter().map(|row| row.2).sum();
    Ok(Counts { records: rows.into_iter().filter(|row| row.1 > 0).map(|row| (row.0, row.1)).collect(), bytes })
}

/// Entries, the newest first.
pub async fn list(pool: &PgPool, which: &Which, limit: i64) -> Result<Vec<Entry>, sqlx::Error> {
    let text = format!("select {COLUMNS} from ingest.quarantine where {WHICH} order by id desc limit $5");
    with!(sqlx::query_as(sqlx::AssertSqlSafe(text)), which).bind(limit).fetch_all(pool).await
}

/// One entry.
pub async fn entry(pool: &PgPool, id: i64) -> Result<Option<Entry>, sqlx::Error> {
    Ok(list(pool, &Which { ids: Some(vec![id]), ..Which::default() }, 1).await?.pop())
}

/// The frame of one entry, as it came.
pub async fn frame(pool: &PgPool, id: i64) -> Result<Option<Bytes>, sqlx::Error> {
    let frame: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("select frame from ingest.quarantine where id = $1").bind(id).fetch_optional(pool).await?;
    Ok(frame.flatten().map(Bytes::from))
}

/// One entry as what is judged again: whose it is, and the frame, which is not live any more; no frame when only an account
/// was offered. `None` when there is no such entry, or when it was released.
pub async fn delivery(pool: &PgPool, id: i64) -> Result<Option<(Did, Option<Delivery>)>, sqlx::Error> {
    let row = sqlx::query(
        "select did, upstream, upstream_kind, declared, seen_at, frame from ingest.quarantine
         where id = $1 and released_at is null",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
        sqlx::Error::Decode(Box::new(error))
    }
    let did = Did::parse(row.try_get("did")?).map_err(damaged)?;
    let Some(frame) = row.try_get::<Option<Vec<u8>>, _>("frame")? else { return Ok(Some((did, None))) };
    let kind = UpstreamKind::from_word(row.try_get("upstream_kind")?).unwrap_or(UpstreamKind::Relay);
    let declared = row.try_get::<Option<&str>, _>("declared")?.map(Environment::parse).transpose().map_err(damaged)?;
    let delivery = Delivery {
        upstream: Arc::new(Upstream::new(kind, row.try_get::<String, _>("upstream")?).declared(declared)),
        seen_at: row.try_get("seen_at")?,
        live: false,
        frame: Bytes::from(frame),
    };
    Ok(Some((did, Some(delivery))))
}

/// Asks for entries to be judged again. Their numbers.
pub async fn ask_release(pool: &PgPool, which: &Which, who: &str) -> Result<Vec<i64>, sqlx::Error> {
    let text = format!(
        "update ingest.quarantine set release_asked_at = now(), release_asked_by = $5, release_outcome = null
         where released_at is null and {WHICH} returning id"
    );
    let mut ids: Vec<i64> =
        with!(sqlx::query_scalar(sqlx::AssertSqlSafe(text)), which).bind(who).fetch_all(pool).await?;
    ids.sort_unstable();
    Ok(ids)
}

/// Some of the entries that are to be judged again, with when that was asked, beyond `after`, in order of number.
pub async fn asked(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<(i64, DateTime<Utc>)>, sqlx::Error> {
    sqlx::query_as(
        "select id, release_asked_at from ingest.quarantine where release_asked_at is not null and released_at is null and id > $1
         order by id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// What became of an entry that was to be judged again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Outcome {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub did: String,
    /// It went the way of every record that enters.
    pub released: bool,
    /// It is still to be judged.
    pub waits: bool,
    /// What was said of it; none while it was not judged.
    pub outcome: Option<String>,
}

/// What became of these. One that is gone by now is not among them.
pub async fn outcomes(pool: &PgPool, ids: &[i64]) -> Result<Vec<Outcome>, sqlx::Error> {
    sqlx::query_as(
        "select id, did, released_at is not null as released, release_asked_at is not null as waits,
             release_outcome as outcome
         from ingest.quarantine where id = any($1) order by id",
    )
    .bind(ids)
    .fetch_all(pool)
    .await
}
