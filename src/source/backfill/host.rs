//! Hosts that fail are left alone for growing pauses.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row};

use super::job::Outcome;
use super::queue::interval;

/// How long hosts are left alone, and when their accounts are given up for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the first failure. Each further one in a row waits four times as long.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
    /// After so many failures in a row the host's jobs end as [`Outcome::HostUnreachable`]; they are tried again with
    /// each pause of the host.
    pub give_up_after: i32,
}

impl Default for Pauses {
    /// About three minutes of trying, then once an hour for ever.
    fn default() -> Self {
        Pauses { first: Duration::from_secs(2), max: Duration::from_secs(3_600), give_up_after: 4 }
    }
}

/// What a failure did to a host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFailure {
    /// How many in a row now.
    pub failures: i32,
    /// Until when it is left alone.
    pub parked_until: DateTime<Utc>,
    /// Whether its jobs are given up for now.
    pub given_up: bool,
}

/// A host that is left alone, or was lately.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HostTrouble {
    /// Which one.
    pub host: String,
    /// Failures in a row.
    pub failures: i32,
    /// Until when it is left alone.
    pub parked_until: DateTime<Utc>,
    /// In its own words.
    pub last_error: String,
    /// Jobs that wait for it, or were given up because of it.
    pub jobs: i64,
}

/// Notes that a host failed. Several jobs that fail together are one failure: those that come while it is parked do not
/// count.
pub async fn host_failed(pool: &PgPool, host: &str, error: &str, pauses: &Pauses) -> Result<HostFailure, sqlx::Error> {
    let row = sqlx::query(
        "insert into source.host_state as h (host, failures, parked_until, last_error)
         values ($1, 1, now() + $3 * (0.75 + random() * 0.5), left($2, 1000))
         on conflict (host) do update set
             failures = case when h.parked_until > now() and h.failures > 0 then h.failures else h.failures + 1 end,
             parked_until = case
                 when h.parked_until > now() and h.failures > 0 then h.parked_until
                 else now() + least($3 * power(4, least(h.failures, 12)), $4) * (0.75 + random() * 0.5)
             end,
             last_error = excluded.last_error
         returning failures, parked_until",
    )
    .bind(host)
    .bind(error)
    .bind(interval(pauses.first))
    .bind(interval(pauses.max))
    .fetch_one(pool)
    .await?;
    let failures = row.try_get("failures")?;
    let failure = HostFailure {
        failures,
        parked_until: row.try_get("parked_until")?,
        given_up: failures >= pauses.give_up_after,
    };
    if failure.given_up {
        // Those that wait for it are named too, so that nobody waits for them.
        sqlx::query(
            "update source.backfill_job
             set state = 'failed', outcome = $2, error = left($3, 1000), not_before = $4, finished_at = now()
             where host = $1 and state = 'queued'",
        )
        .bind(host)
        .bind(Outcome::HostUnreachable.as_str())
        .bind(error)
        .bind(failure.parked_until)
        .execute(pool)
        .await?;
    }
    Ok(failure)
}

/// A host asked to be left alone until then. That is no failure.
pub async fn host_limited(pool: &PgPool, host: &str, error: &str, pause: Duration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into source.host_state as h (host, failures, parked_until, last_error) values ($1, 0, now() + $3, left($2, 1000))
         on conflict (host) do update set
             parked_until = greatest(h.parked_until, excluded.parked_until), last_error = excluded.last_error",
    )
    .bind(host)
    .bind(error)
    .bind(interval(pause))
    .execute(pool)
    .await?;
    Ok(())
}

/// A host answered as it should. Its failures are forgotten, and the jobs that were given up because of it go now, also
/// those that were asked for again since and wait.
pub async fn host_answered(pool: &PgPool, host: &str) -> Result<(), sqlx::Error> {
    let known = sqlx::query("delete from source.host_state where host = $1").bind(host).execute(pool).await?;
    if known.rows_affected() > 0 {
        sqlx::query(
            "update source.backfill_job set state = 'queued', not_before = now(), attempts = 0
             where host = $1 and state in ('queued', 'failed') and outcome = $2",
        )
        .bind(host)
        .bind(Outcome::HostUnreachable.as_str())
        .execute(pool)
        .await?;
    }
    Ok(())
}

/// Somebody asks now: hosts that are left alone get another chance at once.
pub async fn forgive_hosts(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("update source.host_state set failures = 0, parked_until = now()").execute(pool).await?;
    Ok(())
}

/// What is known against a host, if it is parked now.
pub async fn host_pause(pool: &PgPool, host: &str, pauses: &Pauses) -> Result<Option<HostFailure>, sqlx::Error> {
    let row =
        sqlx::query("select failures, parked_until from source.host_state where host = $1 and parked_until > now()")
            .bind(host)
            .fetch_optional(pool)
            .await?;
    row.map(|row| {
        let failures = row.try_get("failures")?;
        Ok(HostFailure {
            failures,
            parked_until: row.try_get("parked_until")?,
            given_up: failures >= pauses.give_up_after,
        })
    })
    .transpose()
}

/// The hosts that failed last, or that are left alone now; those with most failures first, 200 at most.
pub async fn troubled_hosts(pool: &PgPool) -> Result<Vec<HostTrouble>, sqlx::Error> {
    let rows = sqlx::query(
        "select host, failures, parked_until, last_error,
             (select count(*) from source.backfill_job as job where job.host = h.host and state in ('queued', 'failed')) as jobs
         from source.host_state as h
         order by failures desc, host
         limit 200",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(HostTrouble {
                host: row.try_get("host")?,
                failures: row.try_get("failures")?,
                parked_until: row.try_get("parked_until")?,
                last_error: row.try_get("last_error")?,
                jobs: row.try_get("jobs")?,
            })
        })
        .collect()
}
