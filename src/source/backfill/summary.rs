//! What the jobs did, for people and for gauges.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row};

use super::job::{Outcome, Reason};

/// How many jobs stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct QueueCounts {
    /// Wait for their turn.
    pub queued: i64,
    /// Of these, how many may not run yet.
    pub waiting: i64,
    /// Under way.
    pub running: i64,
    /// Ended well.
    pub done: i64,
    /// Given up for now.
    pub failed: i64,
}

/// Where one account's job stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JobView {
    /// Which account.
    pub did: String,
    /// The word of its state.
    pub state: String,
    /// The word of how it ended the last time.
    pub outcome: Option<String>,
    /// The host that was asked.
    pub host: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What one host's jobs did.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HostSummary {
    /// Which one; empty when no host was found.
    pub host: String,
    /// Jobs that ended.
    pub accounts: i64,
    /// Fetched by sparse, car, list.
    pub sparse: i64,
    /// See `sparse`.
    pub car: i64,
    /// See `sparse`.
    pub list: i64,
    /// As they were.
    pub unchanged: i64,
    /// The host withholds them.
    pub inactive: i64,
    /// Given up for now.
    pub failed: i64,
    /// Bytes that came over the wire.
    pub bytes: i64,
    /// Records in followed collections.
    pub records: i64,
    /// Time that jobs were under way, added up.
    pub seconds: f64,
}

/// How many jobs stand where.
pub async fn counts(pool: &PgPool) -> Result<QueueCounts, sqlx::Error> {
    let row = sqlx::query(
        "select count(*) filter (where state = 'queued') as queued,
             count(*) filter (where state = 'queued' and not_before > now()) as waiting,
             count(*) filter (where state = 'running') as running,
             count(*) filter (where state = 'done') as done,
             count(*) filter (where state = 'failed') as failed
         from source.backfill_job",
    )
    .fetch_one(pool)
    .await?;
    queue_counts(&row)
}

/// The same of the jobs for this reason that were asked for since then.
pub async fn counts_since(pool: &PgPool, reason: Reason, since: DateTime<Utc>) -> Result<QueueCounts, sqlx::Error> {
    let row = sqlx::query(
        "select count(*) filter (where state = 'queued') as queued,
             count(*) filter (where state = 'queued' and not_before > now()) as waiting,
             count(*) filter (where state = 'running') as running,
             count(*) filter (where state = 'done') as done,
             count(*) filter (where state = 'failed') as failed
         from source.backfill_job where reason = $1 and queued_at >= $2",
    )
    .bind(reason.as_str())
    .bind(since)
    .fetch_one(pool)
    .await?;
    queue_counts(&row)
}

/// The database's clock: what times of jobs are compared with.
pub async fn now(pool: &PgPool) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("select now()").fetch_one(pool).await
}

fn queue_counts(row: &sqlx::postgres::PgRow) -> Result<QueueCounts, sqlx::Error> {
    Ok(QueueCounts {
        queued: row.try_get("queued")?,
        waiting: row.try_get("waiting")?,
        running: row.try_get("running")?,
        done: row.try_get("done")?,
        failed: row.try_get("failed")?,
    })
}

/// Where the jobs of these accounts stand.
pub async fn states_of(pool: &PgPool, dids: &[&str]) -> Result<Vec<JobView>, sqlx::Error> {
    let rows = sqlx::query("select did, state, outcome, host, error from source.backfill_job where did = any($1)")
        .bind(dids)
        .fetch_all(pool)
        .await?;
    rows.iter().map(job_state).collect()
}

/// Jobs for this reason that were asked for since then and given up: at most `limit`.
pub async fn failures_since(
    pool: &PgPool,
    reason: Reason,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<JobView>, sqlx::Error> {
    let rows = sqlx::query(
        "select did, state, outcome, host, error from source.backfill_job
         where state = 'failed' and reason = $1 and queued_at >= $2 order by outcome, host, did limit $3",
    )
    .bind(reason.as_str())
    .bind(since)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(job_state).collect()
}

/// Accounts of jobs for this reason that were asked for since then and whose records may not enter.
pub async fn shut_out_since(
    pool: &PgPool,
    reason: Reason,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select did from source.backfill_job
         where state = 'done' and outcome = $4 and reason = $1 and queued_at >= $2 order by did limit $3",
    )
    .bind(reason.as_str())
    .bind(since)
    .bind(limit)
    .bind(Outcome::NotAllowed.as_str())
    .fetch_all(pool)
    .await
}

/// What jobs for this reason that were asked for since then did, per host.
pub async fn per_host_since(
    pool: &PgPool,
    reason: Reason,
    since: DateTime<Utc>,
) -> Result<Vec<HostSummary>, sqlx::Error> {
    let rows = sqlx::query(
        "select coalesce(host, '') as host, count(*) as accounts,
             count(*) filter (where outcome = 'fetched_sparse') as sparse,
             count(*) filter (where outcome = 'fetched_car') as car,
             count(*) filter (where outcome = 'fetched_list') as list,
             count(*) filter (where outcome = 'unchanged') as unchanged,
             count(*) filter (where outcome in ('inactive', 'tombstoned')) as inactive,
             count(*) filter (where state = 'failed') as failed,
             coalesce(sum(bytes), 0)::bigint as bytes, coalesce(sum(records), 0)::bigint as records,
             coalesce(sum(extract(epoch from finished_at - started_at)), 0)::float8 as seconds
         from source.backfill_job
         where state in ('done', 'failed') and reason = $1 and queued_at >= $2
         group by 1
         order by accounts desc, host",
    )
    .bind(reason.as_str())
    .bind(since)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(HostSummary {
                host: row.try_get("host")?,
                accounts: row.try_get("accounts")?,
                sparse: row.try_get("sparse")?,
                car: row.try_get("car")?,
                list: row.try_get("list")?,
                unchanged: row.try_get("unchanged")?,
                inactive: row.try_get("inactive")?,
                failed: row.try_get("failed")?,
                bytes: row.try_get("bytes")?,
                records: row.try_get("records")?,
                seconds: row.try_get("seconds")?,
            })
        })
        .collect()
}

fn job_state(row: &sqlx::postgres::PgRow) -> Result<JobView, sqlx::Error> {
    Ok(JobView {
        did: row.try_get("did")?,
        state: row.try_get("state")?,
        outcome: row.try_get("outcome")?,
        host: row.try_get("host")?,
        error: row.try_get("error")?,
    })
}

/// How the jobs for this reason that were asked for since then ended: DID and outcome.
pub async fn ends_since(
    pool: &PgPool,
    reason: Reason,
    since: DateTime<Utc>,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "select did, outcome from source.backfill_job
         where reason = $1 and queued_at >= $2 and state in ('done', 'failed') and outcome is not null",
    )
    .bind(reason.as_str())
    .bind(since)
    .fetch_all(pool)
    .await
}
