//! What ingest remembers between runs: accounts in scope with their repository's state, and cursors.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::{PgConnection, PgPool, Row, postgres::PgRow};

use super::batch::Batch;
use super::held::{self, Holding};
use super::known::{Hosting, Known, KnownRepos, RepoState, Who};
use crate::decode::PublicKey;
use crate::event::{AccountStatus, Cid, Decision, Did, Handle, OriginRule, Rev, Seq, Standing};
use crate::source::backfill::{JobRequest, Reason, enqueue};

/// The accounts in scope.
pub async fn load_scope(pool: &PgPool) -> Result<HashSet<Did>, sqlx::Error> {
    let dids: Vec<String> = sqlx::query_scalar("select did from ingest.repo").fetch_all(pool).await?;
    dids.iter().map(|did| Did::parse(did).map_err(|e| sqlx::Error::Decode(Box::new(e)))).collect()
}

/// Has every account compared with its host of which not everything is known to be here, unless that is queued already. For
/// what an older version or an upstream without a network left behind.
pub async fn queue_incomplete(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let dids: Vec<String> = sqlx::query_scalar(
        "select did from ingest.repo as repo where state in ('partial', 'desynchronized')
         and not exists (select from source.backfill_job as job where job.did = repo.did)",
    )
    .fetch_all(&mut *connection)
    .await?;
    let request = |did: &String| {
        let did = Did::parse(did).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        Ok(JobRequest::new(did, Reason::NewAccount))
    };
    let requests: Vec<JobRequest> = dids.iter().map(request).collect::<Result<_, sqlx::Error>>()?;
    enqueue(connection, &requests).await
}

/// What is remembered of the accounts in scope, and what waits for their keys.
pub async fn load_known(pool: &PgPool) -> Result<(KnownRepos, Holding), sqlx::Error> {
    let mut known = KnownRepos::new();
    let mut rows = sqlx::query("select * from ingest.repo").fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let (did, repo) = remembered(&row)?;
        known.insert(did, repo);
    }
    drop(rows);
    let holding = held::load_waiting(pool, &mut known).await?;
    Ok((known, holding))
}

/// What is remembered of one account; `None` when it is not in scope. Without the frames that wait for its key.
pub async fn load_account(pool: &PgPool, did: &Did) -> Result<Option<Known>, sqlx::Error> {
    let row = sqlx::query("select * from ingest.repo where did = $1").bind(did.as_str()).fetch_optional(pool).await?;
    row.map(|row| remembered(&row).map(|(_, known)| known)).transpose()
}

fn remembered(row: &PgRow) -> Result<(Did, Known), sqlx::Error> {
    fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
        sqlx::Error::Decode(Box::new(error))
    }
    let text = |column: &str| row.try_get::<Option<&str>, _>(column);
    let rev = |column: &str| -> Result<Option<Rev>, sqlx::Error> {
        text(column)?.map(Rev::parse).transpose().map_err(damaged)
    };
    let data = text("data")?.map(str::parse::<Cid>).transpose().map_err(damaged)?;
    let active: Option<bool> = row.try_get("hosting_active")?;
    let hosting = match (active, row.try_get("hosting_time")?, row.try_get("hosting_seq")?) {
        (Some(active), Some(time), Some(seq)) => Some(Hosting {
            spoken: (time, seq),
            active,
            status: AccountStatus::from_wire(active, text("hosting_status")?),
        }),
        _ => None,
    };
    let who = match row.try_get::<Option<DateTime<Utc>>, _>("identity_at")? {
        None => None,
        // A key that this version cannot read any more is looked up again.
        Some(read_at) => Some(Who {
            key: text("signing_key")?.and_then(|text| PublicKey::from_did_key(text).ok()).map(Arc::new),
            pds: text("pds")?.map(Into::into),
            handle: text("handle")?.map(Handle::parse).transpose().map_err(damaged)?,
            claims: text("claimed_handle")?.map(Handle::parse).transpose().map_err(damaged)?,
            directory: text("directory")?.map(Into::into),
            read_at,
        }),
    };
    let standing = match (row.try_get("standing_kept")?, text("standing")?) {
        (Some(kept), Some(word)) => Standing::from_words(kept, word),
        _ => None,
    };
    let rule: Option<i16> = row.try_get("standing_rule")?;
    let rule = rule.and_then(|rule| u8::try_from(rule).ok()).and_then(OriginRule::from_number);
    let since: Option<DateTime<Utc>> = row.try_get("standing_since")?;
    let verdict = standing.zip(rule).map(|(standing, rule)| Decision { standing, rule }).zip(since);
    let known = Known {
        missing: row.try_get("identity_missing")?,
        verdict,
        head: rev("rev")?.zip(data),
        state: text("state")?.and_then(RepoState::from_word).unwrap_or_default(),
        gap: rev("gap_rev")?,
        who,
        identity_due: row.try_get("identity_due")?,
        hosting,
        waiting: None,
        asked: false,
        is_new: false,
        doubted: false,
        answered_at: None,
        set_aside: None,
    };
    Ok((Did::parse(row.try_get("did")?).map_err(damaged)?, known))
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
            match cursors.get_mut(&*mark.upstream.name) {
                Some(known) => *known = cursor,
                None => drop(cursors.insert(mark.upstream.name.clone(), cursor)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what is remembered of the accounts that a batch touched. The process that appends is the only one that remembers,
/// so what it says replaces what is there.
pub(super) async fn store_repos(connection: &mut PgConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    if batch.repos.is_empty() {
        return Ok(());
    }
    let rows: Vec<(&Did, &Known)> = batch.repos.iter().collect();
    fn column<'a, T>(rows: &[(&'a Did, &'a Known)], of: impl Fn(&'a Known) -> T) -> Vec<T> {
        rows.iter().map(|(_, known)| of(known)).collect()
    }
    sqlx::query(include_str!("store_repos.sql"))
        .bind(rows.iter().map(|(did, _)| did.as_str()).collect::<Vec<_>>())
        .bind(column(&rows, |k| k.head.map(|(rev, _)| rev.to_string())))
        .bind(column(&rows, |k| k.head.map(|(_, data)| data.to_string())))
        .bind(column(&rows, |k| k.state.as_str()))
        .bind(column(&rows, |k| k.gap.map(|rev| rev.to_string())))
        .bind(column(&rows, |k| k.who.as_ref().and_then(|who| who.pds.as_deref())))
        .bind(column(&rows, |k| k.who.as_ref().and_then(|who| who.key.as_ref()).map(|key| key.to_did_key())))
        .bind(column(&rows, |k| k.who.as_ref().and_then(|who| who.handle.as_ref()).map(Handle::as_str)))
        .bind(column(&rows, |k| k.who.as_ref().map(|who| who.read_at)))
        .bind(column(&rows, |k| k.identity_due))
        .bind(column(&rows, |k| k.hosting.map(|h| h.active)))
        .bind(column(&rows, |k| k.hosting.map(|h| h.status.as_str())))
        .bind(column(&rows, |k| k.hosting.map(|h| h.spoken.0)))
        .bind(column(&rows, |k| k.hosting.map(|h| h.spoken.1)))
        .bind(column(&rows, |k| k.who.as_ref().and_then(|who| who.claims.as_ref()).map(Handle::as_str)))
        .bind(column(&rows, |k| k.who.as_ref().and_then(|who| who.directory.as_deref())))
        .bind(column(&rows, |k| k.missing))
        .bind(column(&rows, |k| k.verdict.map(|(decision, _)| decision.standing.as_str())))
        .bind(column(&rows, |k| k.verdict.map(|(decision, _)| decision.standing.is_kept())))
        .bind(column(&rows, |k| k.verdict.map(|(decision, _)| i16::from(decision.rule.number()))))
        .bind(column(&rows, |k| k.verdict.map(|(_, since)| since)))
        .execute(connection)
        .await?;
    Ok(())
}
