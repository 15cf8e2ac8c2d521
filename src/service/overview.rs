//! What the operator asks across rooms: how sound the repositories are, what waits to be fetched, what was missed,
//! how publishing stands.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;

use crate::event::Did;
use crate::event_log::{self, PurgeEntry};
use crate::ingest::quarantine::{Counts, counts};
use crate::publisher::{self, Publishing};
use crate::source::gap::{self, NotedGap};

/// How far back gaps are shown.
const GAPS_SINCE: TimeDelta = TimeDelta::days(7);
/// The most gaps, and the most hosts, that are shown.
const ROWS_MAX: i64 = 100;

/// How sound everything is.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Accounts in scope by the state of their repository.
    pub repositories: BTreeMap<String, i64>,
    /// Jobs by their state.
    pub jobs: BTreeMap<String, i64>,
    /// Frames that wait for their account's key.
    pub held_frames: i64,
    /// Refused frames by reason, and what they take of the disk.
    pub quarantine: Counts,
    /// Gaps of the last 7 days, the latest first, at most 100.
    pub gaps: Vec<NotedGap>,
    /// Hosts that are left alone for now, those for longest first, at most 100.
    pub parked_hosts: Vec<ParkedHost>,
    /// How publishing stands.
    pub publishing: Publishing,
}

/// A host that failed.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ParkedHost {
    /// In lower case, with its port.
    pub host: String,
    /// Failures in a row.
    pub failures: i32,
    /// Until when it is left alone.
    pub parked_until: DateTime<Utc>,
    /// What it said last.
    pub last_error: String,
}

/// Looks at everything. `unseen_after`: from when on what a PDS took and our stream does not show is told.
pub async fn overview(pool: &PgPool, unseen_after: Duration) -> Result<Overview, sqlx::Error> {
    let repositories: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from ingest.repo group by state").fetch_all(pool).await?;
    let jobs: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from source.backfill_job group by state").fetch_all(pool).await?;
    let parked_hosts = sqlx::query_as(
        "select host, failures, parked_until, last_error from source.host_state
         where parked_until > now() order by parked_until desc, host limit $1",
    )
    .bind(ROWS_MAX)
    .fetch_all(pool)
    .await?;
    Ok(Overview {
        repositories: repositories.into_iter().collect(),
        jobs: jobs.into_iter().collect(),
        held_frames: sqlx::query_scalar("select count(*) from ingest.held").fetch_one(pool).await?,
        quarantine: counts(pool).await?,
        gaps: gap::recent(pool, Utc::now() - GAPS_SINCE, ROWS_MAX).await?,
        parked_hosts,
        publishing: publisher::publishing(pool, unseen_after).await?,
    })
}

/// What is known of one account beside its words.
#[derive(Clone, Debug, Serialize)]
pub struct AccountOverview {
    /// Its repository; `None` when it is not in scope.
    pub repository: Option<RepositoryView>,
    /// Its job; `None` when it never had one.
    pub job: Option<JobView>,
    /// What was purged of it.
    pub purges: Vec<PurgeEntry>,
}

/// What ingest knows of a repository.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct RepositoryView {
    /// partial, synced, desynchronized or rolled_back.
    pub state: String,
    /// Since when.
    pub state_since: DateTime<Utc>,
    /// The last revision.
    pub rev: Option<String>,
    /// The revision that a snapshot must have reached to close the gap.
    pub gap_rev: Option<String>,
    /// The PDS's endpoint, by the DID document.
    pub pds: Option<String>,
    /// The signing key, as `did:key:…`.
    pub signing_key: Option<String>,
    /// When the DID document was read.
    pub identity_at: Option<DateTime<Utc>>,
    /// Since when the account is in scope.
    pub in_scope_since: DateTime<Utc>,
}

/// How an account's job stands.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct JobView {
    /// Why it was asked for.
    pub reason: String,
    /// How to fetch.
    pub strategy: String,
    /// queued, running, done or failed.
    pub state: String,
    /// How it ended the last time.
    pub outcome: Option<String>,
    /// What went wrong then.
    pub error: Option<String>,
    /// The host that was asked.
    pub host: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was asked for.
    pub queued_at: DateTime<Utc>,
    /// Not tried before this.
    pub not_before: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Looks at one account.
pub async fn account(pool: &PgPool, did: &Did) -> Result<AccountOverview, sqlx::Error> {
    let repository = sqlx::query_as(
        "select state, state_since, rev, gap_rev, pds, signing_key, identity_at, in_scope_since
         from ingest.repo where did = $1",
    )
    .bind(did.as_str())
    .fetch_optional(pool)
    .await?;
    let job = sqlx::query_as(
        "select reason, strategy, state, outcome, error, host, attempts, queued_at, not_before, finished_at
         from source.backfill_job where did = $1",
    )
    .bind(did.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(AccountOverview { repository, job, purges: event_log::purges_of(pool, did).await? })
}
