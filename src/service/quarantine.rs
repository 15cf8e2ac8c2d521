//! Quarantine around a running process: kept within its bounds, and what somebody wants judged again is brought to ingest.
//!
//! In: settings, and entries that are asked for. Out: findings for ingest; gauges; rows taken away. Always true: an entry is
//! judged again by the process that appends, like everything else. Never: a verdict.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use metrics::gauge;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backfill::{Appending, append};
use super::policy::Policies;
use super::{lead, stop};
use crate::config::Settings;
use crate::db::Db;
use crate::ingest::quarantine::{self, Outcome, Space, Which};
use crate::ingest::{Finding, IngestEnded, Inlet, inlet, quarantine_reasons};
use crate::network::Network;

/// How often entries leave that are too old, or too many.
const CLEAN_EVERY: Duration = Duration::from_secs(3_600);
/// How often is counted what is there.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody asked for entries.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after an entry was handed in without an end of it is done so again.
const AGAIN: Duration = Duration::from_secs(5);
/// Entries looked up at a time.
const PAGE: i64 = 500;
/// How often somebody who waits looks what became of what was asked for.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// The bounds, with what is there counted.
pub async fn space(pool: &PgPool, settings: &Settings) -> Arc<Space> {
    let space = Arc::new(Space::new(settings.quarantine_bytes_max));
    count(pool, &space).await;
    space
}

/// Takes away what is older than `keep`, and the oldest beyond the bounds, now and every hour; counts every minute.
pub async fn keep_clean(pool: PgPool, space: Arc<Space>, keep: TimeDelta, stopped: watch::Receiver<bool>) {
    let mut cleaned_at: Option<Instant> = None;
    loop {
        if cleaned_at.is_none_or(|at| at.elapsed() >= CLEAN_EVERY) {
            cleaned_at = Some(Instant::now());
            let before = Utc::now().checked_sub_signed(keep).unwrap_or(DateTime::<Utc>::MIN_UTC);
            match quarantine::clean(&pool, before, space.bytes_max()).await {
                Ok(gone) if gone.entries > 0 => {
                    tracing::info!(
                        entries = gone.entries,
                        bytes = gone.bytes,
                        "entries left quarantine: too old, or too many"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "quarantine could not be cleaned; tried again in an hour"),
            }
        }
        count(&pool, &space).await;
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(COUNT_EVERY) => {}
        }
    }
}

async fn count(pool: &PgPool, space: &Space) {
    match quarantine::counts(pool).await {
        Ok(counts) => {
            space.measured(counts.bytes.unsigned_abs());
            gauge!("almanac_ingest_quarantine_bytes").set(counts.bytes as f64);
            for reason in quarantine_reasons() {
                let records = counts.records.get(reason).copied().unwrap_or_default();
                gauge!("almanac_ingest_quarantine_records", "reason" => reason).set(records as f64);
            }
        }
        Err(error) => tracing::debug!(%error, "quarantine cannot be counted; tried again"),
    }
}

/// One entry on its way to ingest.
struct Sent {
    /// Which asking it is about, by the database's clock.
    asked_at: DateTime<Utc>,
    /// When this process learnt of it.
    seen_at: DateTime<Utc>,
    sent_at: Instant,
}

/// Hands in what is asked for, for as long as this process appends. One that waits for somebody's word is handed in again.
pub async fn tell(pool: PgPool, policies: Arc<Policies>, inlet: Inlet, stopped: watch::Receiver<bool>) {
    let mut sent: HashMap<i64, Sent> = HashMap::new();
    loop {
        match hand_in(&pool, &policies, &inlet, &mut sent, &stopped).await {
            Ok(Ok(())) => {}
            Ok(Err(IngestEnded)) => return,
            Err(error) => tracing::debug!(%error, "what is asked for in quarantine cannot be read; tried again"),
        }
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn hand_in(
    pool: &PgPool,
    policies: &Policies,
    inlet: &Inlet,
    sent: &mut HashMap<i64, Sent>,
    stopped: &watch::Receiver<bool>,
) -> Result<Result<(), IngestEnded>, sqlx::Error> {
    let (mut after, mut waiting) = (i64::MIN, HashMap::new());
    let mut reloaded = false;
    loop {
        let page = quarantine::asked(pool, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (id, asked_at) in page {
            let before = sent.remove(&id).filter(|before| before.asked_at == asked_at);
            if let Some(before) = before.as_ref().filter(|before| before.sent_at.elapsed() < AGAIN) {
                let Sent { seen_at, sent_at, .. } = *before;
                waiting.insert(id, Sent { asked_at, seen_at, sent_at });
                continue;
            }
            if !reloaded {
                // Whoever changes a list and asks right after that means the list as it is now.
                if let Err(error) = policies.reload().await {
                    tracing::debug!("{error:#}; entries are handed in later");
                    return Ok(Ok(()));
                }
                reloaded = true;
            }
            let seen_at = before.map_or_else(Utc::now, |before| before.seen_at);
            waiting.insert(id, Sent { asked_at, seen_at, sent_at: Instant::now() });
            let Some((did, delivery)) = quarantine::delivery(pool, id).await? else { continue };
            let finding = Finding::Released { id, did, delivery, asked_at: seen_at };
            tokio::select! {
                () = stop::wait(stopped.clone()) => return Ok(Ok(())),
                told = inlet.send(finding) => if told.is_err() { return Ok(told) },
            }
        }
    }
    *sent = waiting;
    Ok(Ok(()))
}

/// What became of what was asked for.
#[derive(Debug, serde::Serialize)]
pub struct Released {
    /// Whether this process appended; else another one did.
    pub appended_here: bool,
    /// Each entry, in order of number.
    pub entries: Vec<Outcome>,
}

/// Asks for entries to be judged again, and waits until they were: as long as it goes on, and `patience` longer. `told` is told
/// how many are done, and of how many. When nobody appends to the database this process does.
///
/// # Errors
/// When the database or the settings cannot be used.
pub async fn release(
    settings: &Settings,
    db: &Db,
    (which, who): (&Which, &str),
    patience: Duration,
    stopped: watch::Receiver<bool>,
    mut told: impl FnMut(usize, usize),
) -> anyhow::Result<Released> {
    let (pool, trust) = (db.pool(), super::trust(settings, true)?);
    let policies = Policies::load(settings, Some(pool)).await?;
    let ids = quarantine::ask_release(pool, which, who).await?;
    if ids.is_empty() {
        return Ok(Released { appended_here: false, entries: Vec::new() });
    }
    let leading = lead::try_now(db).await.map_err(anyhow::Error::msg)?;
    let appended_here = leading.is_some();
    let (end, ended) = watch::channel(false);
    let mut work = JoinSet::new();
    if let Some(leading) = leading {
        let network = Network::new(settings.network.clone())?;
        let (inlet, findings) = inlet();
        let space = space(pool, settings).await;
        let plc = settings.network.plc.as_str().to_owned();
        let appending = Appending { db: db.clone(), leading, policies, plc, trust, space, network };
        work.spawn(append(appending, inlet, findings, ended));
    }
    let (mut done, mut since) = (0, Instant::now());
    let entries = loop {
        let entries = quarantine::outcomes(pool, &ids).await?;
        let now = entries.iter().filter(|entry| !entry.waits).count();
        if now > done {
            (done, since) = (now, Instant::now());
            told(done, entries.len());
        }
        if done == entries.len() || since.elapsed() > patience {
            break entries;
        }
        tokio::select! {
            () = stop::wait(stopped.clone()) => break entries,
            Some(ended) = work.join_next(), if !work.is_empty() => {
                ended.context("appending panicked")??;
                anyhow::bail!("appending ended before all was judged");
            }
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    };
    end.send_replace(true);
    while let Some(ended) = work.join_next().await {
        ended.context("appending panicked")??;
    }
    Ok(Released { appended_here, entries })
}
