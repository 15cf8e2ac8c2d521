//! Who may enter, beside the files: entries made at run time, and the changes of all lists on their way into the log.
//!
//! A change is written here by whoever makes it, in the transaction that makes it, and put into the log by the one process
//! that appends, within about a second; when none runs, as soon as one does.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use crate::event::{Did, ListChange};

/// An entry made at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Entry {
    /// Whose.
    pub did: String,
    /// `allow` or `deny`.
    pub list: String,
    /// Who made it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A change that is not in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub n: i64,
    /// Whose entry; [`Did::service`] for a whole file.
    pub did: Did,
    /// What was done.
    pub change: ListChange,
    /// By whom.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A list file, as a process that serves found it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ListFile {
    /// `allow_file` or `deny_file`.
    pub list: String,
    /// Where it is, on the machine of that process.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// How many accounts are listed, those of the settings included.
    pub dids: i64,
    /// When it was read.
    pub read_at: DateTime<Utc>,
}

/// Every entry, by account.
pub async fn entries(pool: &PgPool) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as("select * from ingest.origin_entry order by did").fetch_all(pool).await
}

/// The entry of one account.
pub async fn entry(pool: &PgPool, did: &Did) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query_as("select * from ingest.origin_entry where did = $1").bind(did.as_str()).fetch_optional(pool).await
}

/// The list files.
pub async fn files(pool: &PgPool) -> Result<Vec<ListFile>, sqlx::Error> {
    sqlx::query_as("select * from ingest.origin_file order by list").fetch_all(pool).await
}

/// Whether one of these changes is not in the log yet.
pub async fn waits(pool: &PgPool, changes: &[i64]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from ingest.origin_change where n = any($1))")
        .bind(changes)
        .fetch_one(pool)
        .await
}

/// How many changes are not in the log yet.
pub async fn pending_count(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from ingest.origin_change").fetch_one(pool).await
}

/// Makes, replaces or takes back the entry of one account. The number of the change; `None` when there was nothing to take
/// back.
///
/// # Panics
/// When asked for a change that is not about an entry.
pub async fn enter(
    connection: &mut PgConnection,
    did: &Did,
    change: ListChange,
    who: &str,
    why: &str,
) -> Result<Option<i64>, sqlx::Error> {
    match change {
        ListChange::Allow | ListChange::Deny => {
            sqlx::query(
                "insert into ingest.origin_entry (did, list, who, why) values ($1, $2, $3, $4)
                 on conflict (did) do update set list = excluded.list, who = excluded.who, why = excluded.why, at = now()",
            )
            .bind(did.as_str())
            .bind(change.as_str())
            .bind(who)
            .bind(why)
            .execute(&mut *connection)
            .await?;
        }
        ListChange::Forget => {
            let gone = sqlx::query("delete from ingest.origin_entry where did = $1")
                .bind(did.as_str())
                .execute(&mut *connection)
                .await?;
            if gone.rows_affected() == 0 {
                return Ok(None);
            }
        }
        other => panic!("{} is not about an entry", other.as_str()),
    }
    note(connection, did, change, who, why).await.map(Some)
}

/// Notes a change for the log. Its number.
pub async fn note(
    connection: &mut PgConnection,
    did: &Did,
    change: ListChange,
    who: &str,
    why: &str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("insert into ingest.origin_change (did, change, who, why) values ($1, $2, $3, $4) returning n")
        .bind(did.as_str())
        .bind(change.as_str())
        .bind(who)
        .bind(why)
        .fetch_one(connection)
        .await
}

/// Notes that a list file was read, when it differs from what was read before. Whether it does.
pub async fn note_file(
    pool: &PgPool,
    change: ListChange,
    path: &str,
    (sha256, dids): (&str, u64),
) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let before: Option<i64> = sqlx::query_scalar("select dids from ingest.origin_file where list = $1 for update")
        .bind(change.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let done = sqlx::query(
        "insert into ingest.origin_file as old (list, path, sha256, dids) values ($1, $2, $3, $4)
         on conflict (list) do update set path = excluded.path, sha256 = excluded.sha256, dids = excluded.dids,
             read_at = now()
         where old.sha256 <> excluded.sha256",
    )
    .bind(change.as_str())
    .bind(path)
    .bind(sha256)
    .bind(i64::try_from(dids).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let before = before.map_or(String::new(), |before| format!(" (before: {before})"));
    let why = format!("{dids} accounts{before}, sha256 {sha256}");
    note(&mut tx, &Did::service(), change, &format!("file {path}"), &why).await?;
    tx.commit().await?;
    Ok(true)
}

/// Changes that are not in the log yet, the oldest first.
pub async fn pending(pool: &PgPool) -> Result<Vec<Change>, sqlx::Error> {
    type Row = (i64, String, String, String, String, DateTime<Utc>);
    let rows: Vec<Row> =
        sqlx::query_as("select n, did, change, who, why, at from ingest.origin_change order by n limit 1000")
            .fetch_all(pool)
            .await?;
    let change = |(n, did, change, who, why, at): Row| {
        let change = ListChange::from_word(&change)
            .ok_or_else(|| sqlx::Error::Decode(format!("ingest.origin_change {n}: {change:?} is no change").into()))?;
        Ok(Change { n, did: Did::parse(&did).map_err(|e| sqlx::Error::Decode(Box::new(e)))?, change, who, why, at })
    };
    rows.into_iter().map(change).collect()
}

/// Changes are in the log now.
pub(super) async fn forget(connection: &mut PgConnection, changes: &[i64]) -> Result<(), sqlx::Error> {
    if !changes.is_empty() {
        sqlx::query("delete from ingest.origin_change where n = any($1)").bind(changes).execute(connection).await?;
    }
    Ok(())
}
