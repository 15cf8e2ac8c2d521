//! The table of jobs.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgExecutor, PgPool, Row};

use super::job::{Job, JobRequest, Outcome};
use crate::event::{Did, Rev};

/// Asks for accounts to be looked at; works inside another transaction. An account that has a job keeps the one, more
/// urgent if this is.
pub async fn enqueue(connection: &mut PgConnection, requests: &[JobRequest]) -> Result<(), sqlx::Error> {
    // Statements of bounded size: discovery finds hundreds of thousands.
    for requests in requests.chunks(5_000) {
        sqlx::query(include_str!("enqueue.sql"))
            .bind(requests.iter().map(|r| r.did.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|r| r.reason.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|r| r.strategy.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|r| r.priority).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Takes at most `limit` jobs whose turn it is, most urgent first, none of a host in `hosts_busy` and none of a parked
/// one. They are running from now on.
pub async fn claim(pool: &PgPool, limit: i64, hosts_busy: &[Box<str>]) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query(include_str!("claim.sql"))
        .bind(limit)
        .bind(hosts_busy.iter().map(|host| &**host).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    let damaged = |e: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(e);
    rows.iter()
        .map(|row| {
            Ok(Job {
                did: Did::parse(&row.try_get::<String, _>("did")?).map_err(|e| damaged(e.into()))?,
                reason: row.try_get::<String, _>("reason")?.parse().map_err(|e| damaged(Box::new(e)))?,
                strategy: row.try_get::<String, _>("strategy")?.parse().map_err(|e| damaged(Box::new(e)))?,
                attempts: row.try_get("attempts")?,
                host: row.try_get::<Option<String>, _>("host")?.map(Into::into),
            })
        })
        .collect()
}

/// A running job ended well: the account is as its host shows it. When it was asked for again meanwhile it is queued again.
pub async fn finish(
    pool: &PgPool,
    did: &Did,
    outcome: Outcome,
    host: Option<&str>,
    rev: Option<Rev>,
    (bytes, records): (u64, u64),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update source.backfill_job
         set state = case when again then 'queued' else 'done' end, again = false, attempts = 0, not_before = now(),
             finished_at = now(), outcome = $2, error = null, host = coalesce($3, host), bytes = $4, records = $5, rev = coalesce($6, rev)
         where did = $1 and state = 'running'",
    )
    .bind(did.as_str())
    .bind(outcome.as_str())
    .bind(host)
    .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
    .bind(i64::try_from(records).unwrap_or(i64::MAX))
    .bind(rev.map(|rev| rev.to_string()))
    .execute(pool)
    .await?;
    Ok(())
}

/// The revision at which each account was last looked at with a good end.
pub async fn looked_at(pool: &PgPool) -> Result<HashMap<Did, Rev>, sqlx::Error> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select did, rev from source.backfill_job where state = 'done' and rev is not null")
            .fetch_all(pool)
            .await?;
    let damaged = |e: crate::event::IdentError| sqlx::Error::Decode(Box::new(e));
    let read =
        |(did, rev): &(String, String)| Ok((Did::parse(did).map_err(damaged)?, Rev::parse(rev).map_err(damaged)?));
    rows.iter().map(read).collect()
}

/// A running job did not get through; it is tried again after `pause`.
pub async fn retry_later(
    pool: &PgPool,
    did: &Did,
    outcome: Outcome,
    host: Option<&str>,
    error: &str,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    set_waiting(pool, did, "queued", Some(outcome), host, Some(error), Some(pause)).await
}

/// A running job is given up for now under a named outcome. It is tried again after `pause`; `None`: only when somebody
/// asks for it.
pub async fn fail(
    pool: &PgPool,
    did: &Did,
    outcome: Outcome,
    host: Option<&str>,
    error: &str,
    pause: Option<Duration>,
) -> Result<(), sqlx::Error> {
    set_waiting(pool, did, "failed", Some(outcome), host, Some(error), pause).await
}

/// A running job goes back untried: its host, known only now, is busy or parked, or the process is told to stop.
pub async fn defer(pool: &PgPool, did: &Did, host: Option<&str>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update source.backfill_job
         set state = 'queued', again = false, attempts = attempts - 1, host = coalesce($2, host)
         where did = $1 and state = 'running'",
    )
    .bind(did.as_str())
    .bind(host)
    .execute(pool)
    .await?;
    Ok(())
}

async fn set_waiting(
    executor: impl PgExecutor<'_>,
    did: &Did,
    state: &str,
    outcome: Option<Outcome>,
    host: Option<&str>,
    error: Option<&str>,
    pause: Option<Duration>,
) -> Result<(), sqlx::Error> {
    // Asked for again while it failed: the answer is the same, so it only waits.
    sqlx::query(
        "update source.backfill_job
         set state = $2, again = false, finished_at = now(), outcome = $3, host = coalesce($4, host), error = left($5, 1000),
             not_before = coalesce(now() + $6, 'infinity')
         where did = $1 and state = 'running'",
    )
    .bind(did.as_str())
    .bind(state)
    .bind(outcome.map(Outcome::as_str))
    .bind(host)
    .bind(error)
    .bind(pause.map(interval))
    .execute(executor)
    .await?;
    Ok(())
}

/// Jobs that were running when the process before this one ended run again. How many they were.
pub async fn reset_running(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update source.backfill_job set state = 'queued', again = false, attempts = greatest(attempts - 1, 0)
         where state = 'running'",
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Whether there was ever a job that ended.
pub async fn ever_done(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from source.backfill_job where finished_at is not null)")
        .fetch_one(pool)
        .await
}

/// An interval of whole microseconds.
pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
