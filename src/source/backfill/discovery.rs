//! Whose repositories have followed records: what relays and PDSes list.
//!
//! A relay is asked per collection. A lone PDS keeps no such list: each of its repositories is asked what it has. Pages
//! and jobs are written together with the cursor of the next page, so that a kill resumes where it was.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use sqlx::{PgConnection, PgPool, Row};

use super::job::JobRequest;
use super::queue::enqueue;
use crate::event::{Did, Nsid};
use crate::network::{HostError, HostErrorKind, Network, Page};
use crate::telemetry::crash_point;

/// How often a page is asked for before the list is given up for now.
const PAGE_ATTEMPTS: u32 = 5;
/// The pause after the first failure; doubles.
const PAGE_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that is waited for.
const PAGE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A list of more pages has no end: a cursor that never repeats.
const PAGES_MAX: u64 = 100_000;
/// How many repositories of a PDS are asked at once what they have.
const DESCRIBE_AT_ONCE: usize = 4;

/// Why a list was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The host does not keep such a list.
    #[error("{host} does not list repositories by collection")]
    Unsupported {
        /// Which host.
        host: Box<str>,
    },
    /// The host did not give it.
    #[error("{0}")]
    Host(#[from] HostError),
    /// The host's list has no end.
    #[error("{host} lists without end: stopped after {PAGES_MAX} pages")]
    Endless {
        /// Which host.
        host: Box<str>,
    },
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What reading a list to its end brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Accounts listed.
    pub accounts: u64,
    /// Of these, how many were made jobs.
    pub jobs: u64,
}

/// Whether any list was ever begun.
pub async fn ever_discovered(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from source.discovery)").fetch_one(pool).await
}

/// Whether a host's list was read to its end. An empty collection means all accounts of a PDS.
pub async fn is_discovered(pool: &PgPool, host: &str, collection: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from source.discovery where host = $1 and collection = $2 and finished_at is not null)",
    )
    .bind(host)
    .bind(collection)
    .fetch_one(pool)
    .await
}

/// Lists to be read from the start the next time, not from where they were left.
pub async fn forget_discovery(pool: &PgPool, host: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from source.discovery where host = $1").bind(host).execute(pool).await?;
    Ok(())
}

/// Reads a relay's list of one collection and asks for the accounts that `request` wants. A list that was left in its
/// middle is gone on with; one that was read to its end is read anew. `page` is told of every page.
///
/// # Errors
/// [`DiscoveryError`]; what was read so far is kept.
pub async fn discover_by_collection(
    pool: &PgPool,
    network: &Network,
    relay: &str,
    collection: &Nsid,
    request: impl Fn(&Did) -> Option<JobRequest>,
    mut page: impl FnMut(u64),
) -> Result<Discovered, DiscoveryError> {
    let list = List { pool, host: relay, collection: collection.as_str() };
    let (mut cursor, mut done) = list.resume().await?;
    for _ in 0..PAGES_MAX {
        let answer = patient(|| network.list_repos_by_collection(relay, collection, cursor.as_deref())).await;
        let Page { items, cursor: next, .. } = answer.map_err(unsupported)?;
        let requests: Vec<JobRequest> = items.iter().filter_map(&request).collect();
        done.accounts += items.len() as u64;
        done.jobs += requests.len() as u64;
        list.store(&requests, next.as_deref(), items.len()).await?;
        page(done.accounts);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(done),
        }
    }
    Err(DiscoveryError::Endless { host: relay.into() })
}

/// Reads a PDS's list of all repositories, asks each one that `request` wants what it has, and asks for those that have
/// something that is `followed`, or that would not say.
///
/// # Errors
/// As [`discover_by_collection`].
pub async fn discover_pds(
    pool: &PgPool,
    network: &Network,
    pds: &str,
    followed: impl Fn(&str) -> bool,
    request: impl Fn(&Did) -> Option<JobRequest>,
    mut page: impl FnMut(u64),
) -> Result<Discovered, DiscoveryError> {
    let list = List { pool, host: pds, collection: "" };
    let (mut cursor, mut done) = list.resume().await?;
    for _ in 0..PAGES_MAX {
        let Page { items, cursor: next, .. } = patient(|| network.list_repos(pds, cursor.as_deref())).await?;
        let listed = items.len();
        let wanted = items.into_iter().filter(|repo| repo.active && request(&repo.did).is_some()).map(|repo| repo.did);
        let having = with_followed(network, pds, wanted.collect(), &followed).await;
        let requests: Vec<JobRequest> = having.iter().filter_map(&request).collect();
        done.accounts += listed as u64;
        done.jobs += requests.len() as u64;
        list.store(&requests, next.as_deref(), listed).await?;
        page(done.accounts);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(done),
        }
    }
    Err(DiscoveryError::Endless { host: pds.into() })
}

/// One list of one host, and how far it was read.
struct List<'a> {
    pool: &'a PgPool,
    host: &'a str,
    collection: &'a str,
}

impl List<'_> {
    /// Where to go on.
    async fn resume(&self) -> Result<(Option<Box<str>>, Discovered), sqlx::Error> {
        let row = sqlx::query(
            "select cursor, accounts from source.discovery
             where host = $1 and collection = $2 and finished_at is null and cursor is not null",
        )
        .bind(self.host)
        .bind(self.collection)
        .fetch_optional(self.pool)
        .await?;
        let Some(row) = row else {
            sqlx::query(
                "insert into source.discovery (host, collection) values ($1, $2)
                 on conflict (host, collection) do update
                 set cursor = null, accounts = 0, started_at = now(), updated_at = now(), finished_at = null",
            )
            .bind(self.host)
            .bind(self.collection)
            .execute(self.pool)
            .await?;
            return Ok((None, Discovered::default()));
        };
        let accounts: i64 = row.try_get("accounts")?;
        let done = Discovered { accounts: accounts.unsigned_abs(), jobs: 0 };
        Ok((row.try_get::<Option<String>, _>("cursor")?.map(Into::into), done))
    }

    /// A page's jobs and the way to the next page, together.
    async fn store(&self, requests: &[JobRequest], next: Option<&str>, listed: usize) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        enqueue(&mut tx, requests).await?;
        self.advance(&mut tx, next, listed).await?;
        tx.commit().await?;
        crash_point("discovery page stored");
        Ok(())
    }

    async fn advance(
        &self,
        connection: &mut PgConnection,
        next: Option<&str>,
        listed: usize,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update source.discovery
             set cursor = $3, accounts = accounts + $4, updated_at = now(),
                 finished_at = case when $3 is null then now() end
             where host = $1 and collection = $2",
        )
        .bind(self.host)
        .bind(self.collection)
        .bind(next)
        .bind(i64::try_from(listed).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Reads a relay's list of one collection to its end, without noting anything.
///
/// # Errors
/// As [`discover_by_collection`].
pub async fn list_by_collection(
    network: &Network,
    relay: &str,
    collection: &Nsid,
    mut page: impl FnMut(Vec<Did>),
) -> Result<(), DiscoveryError> {
    let mut cursor: Option<Box<str>> = None;
    for _ in 0..PAGES_MAX {
        let answer = patient(|| network.list_repos_by_collection(relay, collection, cursor.as_deref())).await;
        let Page { items, cursor: next, .. } = answer.map_err(unsupported)?;
        page(items);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
    Err(DiscoveryError::Endless { host: relay.into() })
}

/// Reads a PDS's list of repositories to its end and asks each what it has, without noting anything.
///
/// # Errors
/// As [`discover_by_collection`].
pub async fn list_pds(
    network: &Network,
    pds: &str,
    followed: impl Fn(&str) -> bool,
    mut page: impl FnMut(Vec<Did>),
) -> Result<(), DiscoveryError> {
    let mut cursor: Option<Box<str>> = None;
    for _ in 0..PAGES_MAX {
        let Page { items, cursor: next, .. } = patient(|| network.list_repos(pds, cursor.as_deref())).await?;
        let active = items.into_iter().filter(|repo| repo.active).map(|repo| repo.did).collect();
        page(with_followed(network, pds, active, &followed).await);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
    Err(DiscoveryError::Endless { host: pds.into() })
}

/// Those of a PDS's accounts that have something followed, or that would not say: better one look too many.
async fn with_followed(network: &Network, pds: &str, dids: Vec<Did>, followed: &impl Fn(&str) -> bool) -> Vec<Did> {
    let has_any = |did: Did| async move {
        match patient(|| network.describe_repo(pds, &did)).await {
            Ok(repo) => repo.collections.iter().any(|c| followed(c.as_str())).then_some(did),
            Err(error) if error.repo_problem().is_some() => None,
            Err(_) => Some(did),
        }
    };
    stream::iter(dids).map(has_any).buffer_unordered(DESCRIBE_AT_ONCE).filter_map(std::future::ready).collect().await
}

fn unsupported(error: HostError) -> DiscoveryError {
    match &error.kind {
        HostErrorKind::Status { code: 404 | 501, .. } => DiscoveryError::Unsupported { host: error.host },
        HostErrorKind::Status { name: Some(name), .. }
            if matches!(&**name, "MethodNotImplemented" | "UnknownMethod") =>
        {
            DiscoveryError::Unsupported { host: error.host }
        }
        _ => error.into(),
    }
}

/// Asks again while that may help.
pub(super) async fn patient<T, F: Future<Output = Result<T, HostError>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, HostError> {
    let mut pause = PAGE_PAUSE;
    for attempt in 1.. {
        match ask().await {
            Err(error) if error.passes() && attempt < PAGE_ATTEMPTS && error.pause() <= PAGE_PAUSE_MAX => {
                tokio::time::sleep(pause.max(error.pause())).await;
                pause = (pause * 2).min(PAGE_PAUSE_MAX);
            }
            result => return result,
        }
    }
    unreachable!("the last attempt returns")
}
