//! Repositories that somebody asks for: queued, and watched until they are there or named as not to be had.
//!
//! When nobody appends to the database this process does, for as long as it takes; when another one does, that one does the
//! jobs and this one watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::settle::pause;
use super::{Place, Runner, Survey, survey};
use crate::config::Settings;
use crate::db::Db;
use crate::event::{Did, Nsid};
use crate::event_log::Appender;
use crate::ingest::quarantine::Space;
use crate::ingest::{Cursors, Identifier, Ingest, Inlet, Inquiries, Judge, Sink, Trust, inlet, load_known};
use crate::network::Network;
use crate::projection::Projector;
use crate::service::policy::Policies;
use crate::service::{lead, quarantine, stop};
use crate::source::backfill::{
    self, HostSummary, HostTrouble, JobRequest, JobView, QueueCounts, Reason, Strategy, enqueue,
};
use crate::source::{QueueLimits, delivery_queue};

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Failures that are told by name.
const FAILURES_SHOWN: i64 = 1_000;

/// Whose repositories.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// These; empty: whoever the places list.
    pub dids: Vec<Did>,
    /// Of those listed, only those with records in these; empty: in any that is followed.
    pub collections: Vec<Nsid>,
    /// Ask these places; empty: those of the settings.
    pub places: Vec<Place>,
    /// How to fetch.
    pub strategy: Option<Strategy>,
}

/// How far it is, for a progress bar.
#[derive(Debug, Default)]
pub struct Watch {
    /// Accounts that the places listed so far.
    pub listed: AtomicU64,
    /// Jobs asked for.
    pub total: AtomicI64,
    /// Of these, over.
    pub done: AtomicI64,
    /// Of these, given up for now.
    pub failed: AtomicI64,
    /// Hosts that are left alone now.
    pub parked: AtomicU64,
}

/// What became of it.
#[derive(Debug, serde::Serialize)]
pub struct Fetched {
    /// Whether this process appended; else another one did.
    pub appended_here: bool,
    /// Told to stop before the end.
    pub interrupted: bool,
    /// How the jobs stand.
    pub counts: QueueCounts,
    /// What they did, per host.
    pub hosts: Vec<HostSummary>,
    /// Those given up for now, a thousand at most.
    pub failures: Vec<JobView>,
    /// Those whose records may not enter, a thousand at most.
    pub shut_out: Vec<String>,
    /// Hosts that are left alone.
    pub troubled: Vec<HostTrouble>,
    /// Places whose lists could not be read, and why.
    pub unlisted: Vec<(String, String)>,
    /// Wall time.
    pub seconds: f64,
}

/// Queues what is asked for and waits until it is done.
///
/// # Errors
/// When the database or the settings cannot be used.
pub async fn fetch(
    settings: &Settings,
    db: &Db,
    asked: &Asked,
    watching: Arc<Watch>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<Fetched> {
    let started = Instant::now();
    let policies = Policies::load(settings, Some(db.pool())).await?;
    let network = Network::new(settings.network.clone())?;
    let (inlet, findings) = inlet();
    let mut runner = Runner::new(settings, db, &network, &inlet, policies.current());
    if !asked.places.is_empty() {
        runner.places = asked.places.clone();
    }
    if let Some(strategy) = asked.strategy {
        runner.settings.strategy = strategy;
    }
    let pool = db.pool();
    let since = backfill::now(pool).await?;
    backfill::forgive_hosts(pool).await?;
    let leading = lead::try_now(db).await.map_err(anyhow::Error::msg)?;
    let appended_here = leading.is_some();
    let (end, ended) = watch::channel(false);
    let mut work = JoinSet::new();
    if let Some(leading) = leading {
        let (deliverer, jobs) = (runner.clone(), ended.clone());
        let appending = Appending {
            db: db.clone(),
            leading,
            policies,
            plc: settings.network.plc.as_str().to_owned(),
            trust: Trust::Resolved,
            space: quarantine::space(pool, settings).await,
            network: network.clone(),
        };
        work.spawn(append(appending, inlet, findings, ended.clone()));
        tokio::spawn(super::run(deliverer, false, jobs));
    } else {
        drop((inlet, findings));
    }
    // The runner's own copy of the door must go before ingest can end.
    let unlisted = queue(&runner, asked, &watching).await?;
    drop(runner);
    let counts = loop {
        let counts = backfill::counts_since(pool, Reason::Asked, since).await?;
        watching.total.store(counts.queued + counts.running + counts.done + counts.failed, Ordering::Relaxed);
        watching.done.store(counts.done, Ordering::Relaxed);
        watching.failed.store(counts.failed, Ordering::Relaxed);
        let troubled = backfill::troubled_hosts(pool).await?;
        watching.parked.store(troubled.len() as u64, Ordering::Relaxed);
        if counts.queued + counts.running == 0 {
            break counts;
        }
        tokio::select! {
            stopping = pause(LOOK_EVERY, &stopped) => if stopping { break counts },
            Some(ended) = work.join_next(), if !work.is_empty() => {
                ended.context("appending panicked")??;
                anyhow::bail!("appending ended before the jobs did");
            }
        }
    };
    end.send_replace(true);
    while let Some(ended) = work.join_next().await {
        ended.context("appending panicked")??;
    }
    Ok(Fetched {
        appended_here,
        interrupted: *stopped.borrow() && counts.queued + counts.running > 0,
        counts,
        hosts: backfill::per_host_since(pool, Reason::Asked, since).await?,
        failures: backfill::failures_since(pool, Reason::Asked, since, FAILURES_SHOWN).await?,
        shut_out: backfill::shut_out_since(pool, Reason::Asked, since, FAILURES_SHOWN).await?,
        troubled: backfill::troubled_hosts(pool).await?,
        unlisted,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Makes the jobs. Places that cannot be read are told.
async fn queue(runner: &Runner, asked: &Asked, watching: &Watch) -> anyhow::Result<Vec<(String, String)>> {
    let strategy = runner.settings.strategy;
    if !asked.dids.is_empty() {
        let request = |did: &Did| JobRequest { strategy, ..JobRequest::new(did.clone(), Reason::Asked) };
        let requests: Vec<_> = asked.dids.iter().map(request).collect();
        enqueue(&mut *runner.resync.pool.acquire().await?, &requests).await?;
        return Ok(Vec::new());
    }
    let wanted = Survey {
        collections: Some(asked.collections.clone()).filter(|collections| !collections.is_empty()),
        lists_always: !asked.places.is_empty() || !asked.collections.is_empty(),
        ..Survey::of(Reason::Asked)
    };
    let failed = survey(runner, &wanted, |listed| watching.listed.store(listed, Ordering::Relaxed)).await?;
    Ok(failed.into_iter().map(|(place, error)| (place, error.to_string())).collect())
}

/// What appending without upstreams takes.
pub(in crate::service) struct Appending {
    pub db: Db,
    /// The right to append, and the name under which it was got.
    pub leading: (Appender, String),
    pub policies: Arc<Policies>,
    /// The directory's address.
    pub plc: String,
    pub trust: Trust,
    pub space: Arc<Space>,
    pub network: Network,
}

/// Ingest without upstreams: only what jobs find, and what is let out of quarantine.
pub(in crate::service) async fn append(
    appending: Appending,
    inlet: Inlet,
    findings: crate::ingest::Findings,
    ended: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Appending { db, leading: (appender, name), policies, plc, trust, space, network } = appending;
    let (out, deliveries) = delivery_queue(QueueLimits::default());
    let (asks, asked) = mpsc::unbounded_channel();
    let known = load_known(db.pool()).await?;
    let judge = Judge::new(known, trust, Arc::default(), None).with_directory(&plc).with_space(&space);
    let (position, head) = watch::channel(0);
    let warn = |result: Result<(), String>| {
        if let Err(problem) = result {
            tracing::warn!("{problem}");
        }
    };
    let projecting = tokio::spawn(
        Projector { db: db.clone(), rebuild_from: Some(Projector::REBUILD_FROM), health: Box::new(warn) }.run(head),
    );
    let (pool, policy, on_move) = (db.pool().clone(), policies.current().clone(), policies.on_move());
    let releasing = quarantine::tell(pool.clone(), policies.clone(), inlet.clone(), ended.clone());
    let releasing = tokio::spawn(releasing);
    let telling = tokio::spawn(policies.tell(inlet.clone(), ended.clone()));
    let identifier = Identifier { network, pool, inlet, asks: asked, policy: policy.clone(), on_move };
    let identifying = tokio::spawn(identifier.run(ended.clone()));
    let closing = tokio::spawn(async move {
        stop::wait(ended).await;
        drop(out);
    });
    let ingest = Ingest {
        judge,
        inquiries: Inquiries { asks, findings },
        policy,
        cursors: Arc::new(Cursors::default()),
        position,
        health: Box::new(warn),
        on_host_word: Box::new(|_| {}),
    };
    let sink = Sink::Log { db, appender: Box::new(appender), name };
    let outcome = ingest.run(deliveries, sink).await;
    closing.abort();
    identifying.await.context("the look-up of accounts panicked")?;
    telling.await.context("the telling of changed lists panicked")?;
    releasing.await.context("the telling of quarantine panicked")?;
    projecting.await.context("the projector panicked")??;
    outcome?;
    Ok(())
}
