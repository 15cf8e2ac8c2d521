//! Jobs that compare and fetch repositories, done: claimed, spread over hosts, and settled.
//!
//! In: the job table. Out: findings for ingest; jobs that are over. Always true: at most so many repositories at once, and
//! at most so many of one host; a job whose host is busy or parked gives its place to another; when the process is told
//! to stop, what is under way goes back and runs again. Only the process that appends runs jobs.

mod coverage;
mod fetch;
mod settle;
mod survey;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use coverage::{Coverage, Difference, candidates, compare};
pub(super) use fetch::{Appending, append};
pub use fetch::{Asked, Fetched, Watch, fetch};
pub use survey::{Place, Survey, places, survey};

use super::stop;
use crate::config::{BackfillSettings, Settings};
use crate::db::Db;
use crate::filter::Policy;
use crate::ingest::Inlet;
use crate::ingest::resync::Resync;
use crate::network::Network;
use crate::source::backfill::{self, Job, claim, reset_running};

/// How often the table is looked at while there are jobs.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// The longest pause between two looks: each that finds nothing, with nothing under way, doubles it.
const LOOK_MAX: Duration = Duration::from_millis(1600);
/// How often the gauges of the queue are brought up to date.
const GAUGES_EVERY: Duration = Duration::from_secs(5);
/// How old a document may be that accounts are compared with, where nobody said how often they are.
const DOCUMENT_AGE: Duration = Duration::from_secs(6 * 3_600);
/// The pause after the database did not answer.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// Everything that jobs are done with.
#[derive(Clone)]
pub struct Runner {
    /// Looks at repositories.
    pub resync: Resync,
    /// How many, how often.
    pub settings: BackfillSettings,
    /// Relays and PDSes to ask whose repositories there are.
    pub places: Vec<Place>,
}

impl Runner {
    /// What the settings say, over these connections.
    pub fn new(settings: &Settings, db: &Db, network: &Network, inlet: &Inlet, policy: &Arc<ArcSwap<Policy>>) -> Self {
        Runner {
            resync: Resync {
                pool: db.pool().clone(),
                network: network.clone(),
                inlet: inlet.clone(),
                policy: policy.clone(),
                spool_dir: settings.data_dir.join("spool"),
                repo_bytes_max: settings.backfill.repo_bytes_max,
                document_age_max: settings.backfill.coverage_every.unwrap_or(DOCUMENT_AGE),
            },
            settings: settings.backfill.clone(),
            places: places(settings),
        }
    }
}

/// How many jobs of each host are under way.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<HashMap<Box<str>, usize>>>);

/// One job's place on its host; given back when dropped.
struct Seat {
    busy: Busy,
    host: Box<str>,
}

impl Busy {
    /// A place on this host, unless it has as many jobs as it may.
    fn sit(&self, host: &str, limit: usize) -> Option<Seat> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = hosts.entry(host.into()).or_default();
        if *taken >= limit {
            return None;
        }
        *taken += 1;
        Some(Seat { busy: self.clone(), host: host.into() })
    }

    fn full(&self, limit: usize) -> Vec<Box<str>> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().filter(|(_, taken)| **taken >= limit).map(|(host, _)| host.clone()).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hosts = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = hosts.get_mut(&self.host) {
            *taken -= 1;
            if *taken == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

/// Does jobs until told to stop. With `background`, also finds out by itself whose repositories there are, on the first
/// start and every so often.
pub async fn run(runner: Runner, background: bool, stopped: watch::Receiver<bool>) {
    let pool = runner.resync.pool.clone();
    let reset = settle::persist(&stopped, || reset_running(&pool)).await;
    if let Some(count) = reset.filter(|count| *count > 0) {
        tracing::info!(count, "jobs that were under way at the last end run again");
    }
    let mut surveying = JoinSet::new();
    if background {
        surveying.spawn(survey::keep_surveying(runner.clone(), stopped.clone()));
    }
    let busy = Busy::default();
    let mut jobs: JoinSet<()> = JoinSet::new();
    let mut gauges: Option<Instant> = None;
    let mut quiet = LOOK_EVERY;
    while !*stopped.borrow() {
        let free = runner.settings.workers.saturating_sub(jobs.len());
        let mut pause = LOOK_EVERY;
        if free > 0 {
            let full = busy.full(runner.settings.per_host);
            match claim(&pool, i64::try_from(free).unwrap_or(i64::MAX), &full).await {
                Ok(claimed) => {
                    for job in claimed {
                        jobs.spawn(settle::work(runner.clone(), job, busy.clone(), stopped.clone()));
                    }
                    quiet = if jobs.is_empty() { (quiet * 2).min(LOOK_MAX) } else { LOOK_EVERY };
                    pause = quiet;
                }
                Err(error) => {
                    tracing::warn!(%error, "jobs cannot be read; tried again");
                    pause = DATABASE_PAUSE;
                }
            }
        }
        if gauges.is_none_or(|shown| shown.elapsed() > GAUGES_EVERY) {
            gauges = Some(Instant::now());
            show_gauges(&runner).await;
        }
        tokio::select! {
            () = stop::wait(stopped.clone()) => break,
            Some(ended) = jobs.join_next(), if !jobs.is_empty() => report_panic(ended),
            () = tokio::time::sleep(pause) => {}
        }
        // Those that ended at the same time leave their places together.
        while let Some(ended) = jobs.try_join_next() {
            report_panic(ended);
        }
    }
    surveying.shutdown().await;
    jobs.shutdown().await;
    // What was cut short goes back. When that fails the next start does it.
    if let Err(error) = reset_running(&pool).await {
        tracing::debug!(%error, "jobs under way stay marked as such");
    }
}

async fn show_gauges(runner: &Runner) {
    let pool = &runner.resync.pool;
    let shown = async { Ok::<_, sqlx::Error>((backfill::counts(pool).await?, backfill::troubled_hosts(pool).await?)) };
    if let Ok((counts, troubled)) = shown.await {
        backfill::show_queue(&counts, troubled.len());
    }
}

/// A panic in a job is a mistake of ours, and stops the process like any other.
fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Everything about one job, for log lines.
fn name_of(job: &Job) -> String {
    format!("{} ({})", job.did, job.reason)
}
