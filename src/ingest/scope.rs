//! What ingest remembers between runs: accounts in scope with their repository's state, and cursors.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Row};

use super::batch::Batch;
use crate::event::{Did, Seq};

/// The accounts in scope.
pub async fn load_scope(pool: &PgPool) -> Result<HashSet<Did>, sqlx::Error> {
    let dids: Vec<String> = sqlx::query_scalar("select did from ingest.repo").fetch_all(pool).await?;
    dids.iter().map(|did| Did::parse(did).map_err(|e| sqlx::Error::Decode(Box::new(e)))).collect()
}

/// Up to which frame each upstream is handled, by its name.
pub async fn load_cursors(pool: &PgPool) -> Result<HashMap<Box<str>, Cursor>, sqlx::Error> {
    let rows = sqlx::query("select upstream, seq, event_time, updated_at from log.cursor").fetch_all(pool).await?;
    let cursor = |row: &sqlx::postgres::PgRow| {
        let (seq, event_time, judged_at) =
            (row.try_get("seq")?, row.try_get("event_time")?, row.try_get("updated_at")?);
        Ok((row.try_get::<String, _>("upstream")?.into(), Cursor { seq, event_time, judged_at }))
    };
    rows.iter().map(cursor).collect()
}

/// How far one upstream is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last frame.
    pub seq: Seq,
    /// The time that it carries.
    pub event_time: Option<DateTime<Utc>>,
    /// When it was judged.
    pub judged_at: DateTime<Utc>,
}

impl Cursor {
    /// How old the last frame was when it was judged, in seconds: how far behind its host this process is. An idle host
    /// does not make it grow.
    pub fn lag_seconds(&self) -> Option<f64> {
        self.event_time.map(|time| (self.judged_at - time).as_seconds_f64().max(0.0))
    }
}

/// Where to resume each upstream after its connection broke: the last frame judged. Ahead of the cursors in the database
/// by what is still on its way there, which only this process's end could lose, and then those count.
#[derive(Debug, Default)]
pub struct Cursors(Mutex<HashMap<Box<str>, Cursor>>);

impl Cursors {
    /// Takes what the database says.
    pub fn reset(&self, cursors: HashMap<Box<str>, Cursor>) {
        *self.lock() = cursors;
    }

    /// Up to which frame this upstream is judged.
    pub fn get(&self, upstream: &str) -> Option<Cursor> {
        self.lock().get(upstream).copied()
    }

    pub(super) fn advance(&self, batch: &Batch) {
        let marks = batch.cursor_marks();
        if marks.is_empty() {
            return;
        }
        let judged_at = Utc::now();
        let mut cursors = self.lock();
        for mark in marks {
            let cursor = Cursor { seq: mark.seq, event_time: mark.event_time, judged_at };
            cursors.insert(mark.upstream.name.clone(), cursor);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores which accounts came into scope and how far the repositories are.
pub(super) async fn store_repos(connection: &mut PgConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let mut rows: HashMap<&str, (Option<String>, Option<String>)> =
        batch.entered.iter().map(|did| (did.as_str(), (None, None))).collect();
    for (did, (rev, data)) in &batch.repos {
        rows.insert(did.as_str(), (Some(rev.to_string()), Some(data.to_string())));
    }
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into ingest.repo (did, rev, data)
         select * from unnest($1::text[], $2::text[], $3::text[]) as r (did, rev, data)
         on conflict (did) do update set rev = excluded.rev, data = excluded.data
         where excluded.rev is not null and (ingest.repo.rev is null or excluded.rev > ingest.repo.rev)",
    )
    .bind(rows.keys().copied().collect::<Vec<_>>())
    .bind(rows.values().map(|(rev, _)| rev.as_deref()).collect::<Vec<_>>())
    .bind(rows.values().map(|(_, data)| data.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
