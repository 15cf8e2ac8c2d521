//! Two steps with a short queue between them: judging, and appending. While a transaction runs the next batch grows, so
//! batches are as large as the load asks for and leave at once when nothing is going on (group commit).

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::Utc;
use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::batch::Batch;
use super::inlet::Inquiries;
use super::judge::{HostWord, Judge};
use super::quarantine::{self, Space};
use super::scope::{self, Cursors};
use super::{bystander, held, lists, sighting, tally::Tally};
use crate::db::{Db, SessionId, passes};
use crate::decode;
use crate::event::{Body, Did, Environment, Position};
use crate::event_log::{Appended, Appender, LogError};
use crate::filter::Policy;
use crate::source::backfill::{self, JobRequest, Reason as JobReason};
use crate::source::gap;
use crate::source::{DeliveryReceiver, Parcel};
use crate::telemetry::crash_point;

/// About how many deliveries are judged between two looks at everything else: a parcel more at most.
const TAKE: usize = 256;
/// A batch that moves only cursors leaves this often, so that a quiet app never replays days.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A transaction without an end for this long is given up with its connection: the wire may be cut without a word. The next
/// attempt may take twice as long, so that a database that is only slow is not asked the same for ever.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest that patience grows.
const PATIENCE_MAX: Duration = Duration::from_secs(600);
/// How long statements of a moment may take.
const MOMENT: Duration = Duration::from_secs(10);
/// The longest pause between attempts to reach a database that is gone.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How often words about accounts that never came into scope are thrown away.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Why ingest ended before its deliveries did.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Another process appends now. What this one remembers is stale; start over as its standby.
    #[error("another process has taken over as the appender of this database")]
    Replaced,
    /// The database refused what it should accept: a broken promise of ours.
    #[error("the database refused a batch: {0}")]
    Database(#[from] sqlx::Error),
}

/// Where events go.
pub enum Sink {
    /// To the log.
    Log {
        /// For new connections when the old one breaks.
        db: Db,
        /// The right to append.
        appender: Box<Appender>,
        /// The name under which it was got.
        name: String,
    },
    /// Nowhere: they are only counted.
    Null,
}

/// Everything ingest works with.
pub struct Ingest {
    /// Judges deliveries and findings.
    pub judge: Judge,
    /// What it asks beside its deliveries, and what it is told.
    pub inquiries: Inquiries,
    /// What to take in; may be exchanged at any time.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Where to resume upstreams; advanced as deliveries are judged.
    pub cursors: Arc<Cursors>,
    /// Told the log's last position after each append.
    pub position: watch::Sender<Position>,
    /// Told whether the log can be written, or why not.
    pub health: Box<dyn Fn(Result<(), String>) + Send + Sync>,
    /// Told what hosts say about their streams.
    pub on_host_word: Box<dyn Fn(HostWord) + Send + Sync>,
}

/// What a run did.
pub struct Report {
    /// What became of the frames.
    pub tally: Tally,
    /// Events new in the log; with [`Sink::Null`], events that would have gone there.
    pub appended: u64,
    /// Events that the log had already.
    pub duplicates: u64,
}

impl Ingest {
    /// Works until every sender of deliveries is gone and the last batch is in the log.
    pub async fn run(self, mut deliveries: DeliveryReceiver, sink: Sink) -> Result<Report, IngestError> {
        let Ingest { mut judge, inquiries, policy, cursors, position, health, on_host_word } = self;
        let Inquiries { asks, mut findings } = inquiries;
        // One batch on its way and one that waits: enough to keep both steps busy.
        let (batches, queue) = mpsc::channel::<Batch>(1);
        let (verifies_handles, space) = (judge.trust.asks(), judge.space.clone());
        let appending =
            tokio::spawn(append_all(queue, sink, policy.clone(), asks, (verifies_handles, space), position, health));
        let mut batch = Batch::default();
        let mut taken: Vec<Parcel> = Vec::new();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat_due = false;
        let (mut delivering, mut finding) = (true, true);
        // The verdicts of before may be those of other lists.
        let mut judged_by = policy.load_full();
        judge.reconsider(&judged_by, Utc::now(), &mut batch);
        let open = loop {
            if !delivering && !finding {
                break true;
            }
            let current = policy.load();
            if !Arc::ptr_eq(&current, &judged_by) {
                judged_by = Arc::clone(&current);
                judge.reconsider(&judged_by, Utc::now(), &mut batch);
            }
            drop(current);
            let due = batch.has_events() || (beat_due && !batch.is_empty());
            tokio::select! {
                biased;
                slot = batches.reserve(), if due => match slot {
                    Ok(slot) => {
                        slot.send(std::mem::take(&mut batch));
                        beat_due = false;
                    }
                    Err(_) => break false,
                },
                // Before deliveries: there are few, each is somebody's wait, and a busy stream would never let them in.
                found = findings.recv(), if finding && !batch.is_full() => match found {
                    Some(found) => {
                        judge.find(&policy.load(), found, Utc::now(), &mut batch);
                        judge.tally.publish();
                    }
                    None => finding = false,
                },
                count = deliveries.recv_parcels(&mut taken, TAKE), if delivering && !batch.is_full() => {
                    if count == 0 {
                        delivering = false;
                    }
                    let policy = policy.load();
                    judge.look_ahead(&policy, &taken);
                    for parcel in taken.drain(..) {
                        parcel.for_each(decode::AHEAD, decode::prefetch, |delivery| {
                            if let Some(word) = judge.judge(&policy, delivery, &mut batch) {
                                on_host_word(word);
                            }
                        });
                    }
                    judge.tally.publish();
                    cursors.advance(&batch);
                }
                _ = heartbeat.tick() => beat_due = true,
                // Its end must be noticed on a quiet stream too.
                () = batches.closed() => break false,
            }
        };
        // The appender's own error, if it ended, tells more than a closed queue.
        if open && !batch.is_empty() {
            let _ended_early = batches.send(batch).await;
        }
        drop(batches);
        let totals = appending.await.expect("the appending task does not panic")?;
        Ok(Report { tally: judge.tally, appended: totals.new, duplicates: totals.duplicates })
    }
}

async fn append_all(
    mut queue: mpsc::Receiver<Batch>,
    sink: Sink,
    policy: Arc<ArcSwap<Policy>>,
    asks: mpsc::UnboundedSender<Did>,
    (verifies_handles, space): (bool, Arc<Space>),
    position: watch::Sender<Position>,
    health: Box<dyn Fn(Result<(), String>) + Send + Sync>,
) -> Result<Appended, IngestError> {
    let mut totals = Appended::default();
    let (db, mut appender, name) = match sink {
        Sink::Log { db, appender, name } => (db, *appender, name),
        Sink::Null => {
            while let Some(batch) = queue.recv().await {
                totals.new += batch.events.len() as u64;
            }
            return Ok(totals);
        }
    };
    health(Ok(()));
    let mut pruned = Instant::now();
    while let Some(batch) = queue.recv().await {
        let started = Instant::now();
        let environment = policy.load().environment.clone();
        let (mut pause, mut patience) = (Duration::from_millis(50), PATIENCE);
        let appended = loop {
            let error =
                match timeout(patience, append(&mut appender, &batch, &environment, verifies_handles, &space)).await {
                    Ok(Ok(appended)) => break appended,
                    Ok(Err(LogError::Replaced)) => return Err(IngestError::Replaced),
                    Ok(Err(LogError::Database(error))) => error,
                    Err(_) => {
                        let late = no_answer(patience);
                        patience = (patience * 2).min(PATIENCE_MAX);
                        late
                    }
                };
            if !passes(&error) {
                return Err(error.into());
            }
            counter!("almanac_event_log_failed_appends_total").increment(1);
            tracing::warn!(%error, "the log cannot be written; the batch is kept and tried again");
            health(Err(format!("the log cannot be written: {error}")));
            let old = appender.session().clone();
            drop(appender);
            appender = resume(&db, &name, &old, &mut pause, &health).await?;
        };
        health(Ok(()));
        histogram!("almanac_event_log_append_seconds").record(started.elapsed().as_secs_f64());
        histogram!("almanac_event_log_batch_events").record(batch.events.len() as f64);
        counter!("almanac_event_log_appended_events_total").increment(appended.new);
        counter!("almanac_event_log_duplicate_events_total").increment(appended.duplicates);
        gauge!("almanac_event_log_position_events").set(appended.head as f64);
        totals.new += appended.new;
        totals.duplicates += appended.duplicates;
        totals.head = appended.head;
        // What moves cursors alone is nothing to read: whoever follows the log is let sleep.
        position.send_if_modified(|position| std::mem::replace(position, appended.head) != appended.head);
        if !batch.held.is_empty() {
            crash_point("frame held before ask");
        }
        for did in batch.asks {
            // Whoever looks up documents may have ended; frames wait in the database for the next.
            let _ = asks.send(did);
        }
        for ack in batch.acks {
            let _ = ack.send(());
        }
        if pruned.elapsed() > PRUNE_EVERY {
            pruned = Instant::now();
            if let Err(error) = timeout(MOMENT, prune(db.pool())).await.unwrap_or_else(|_| Err(no_answer(MOMENT))) {
                tracing::warn!(%error, "what is kept for a while could not be thrown away");
            }
        }
    }
    Ok(totals)
}

async fn prune(pool: &PgPool) -> Result<(), sqlx::Error> {
    bystander::prune(pool).await?;
    sighting::prune(pool).await
}

/// One transaction: bystanders first, so that an account that enters in this batch finds its word of this batch too.
async fn append(
    appender: &mut Appender,
    batch: &Batch,
    environment: &Environment,
    verifies_handles: bool,
    space: &Space,
) -> Result<Appended, LogError> {
    let mut tx = appender.begin().await?;
    bystander::store(tx.connection(), &batch.bystanders).await?;
    let mut words = bystander::take(tx.connection(), &batch.entered, environment).await?;
    if verifies_handles {
        // What a stream claimed about a handle counts for nothing where handles are looked up.
        words.retain(|word| !matches!(word.event.body, Body::Identity { .. }));
    }
    let before = tx.append(&words).await?;
    let appended = tx.append(&batch.events).await?;
    crash_point("after append before cursor");
    scope::store_repos(tx.connection(), batch).await?;
    held::store(tx.connection(), batch).await?;
    let set_aside = quarantine::store(tx.connection(), &batch.quarantined, &batch.rejudged, space).await?;
    sighting::store(tx.connection(), &batch.sightings).await?;
    lists::forget(tx.connection(), &batch.changes).await?;
    if !batch.released.is_empty() {
        crash_point("held frames released before commit");
    }
    let job = |(did, reason): &(Did, JobReason)| JobRequest::new(did.clone(), *reason);
    backfill::enqueue(tx.connection(), &batch.jobs.iter().map(job).collect::<Vec<_>>()).await?;
    gap::record(tx.connection(), &batch.gaps).await?;
    if !batch.gaps.is_empty() {
        crash_point("gap recorded before commit");
    }
    tx.move_cursors(&batch.cursor_marks()).await?;
    crash_point("after cursor before commit");
    tx.commit().await?;
    crash_point("after commit");
    space.took(set_aside.bytes, set_aside.overflow);
    if !batch.gaps.is_empty() {
        crash_point("gap recorded after commit");
    }
    Ok(Appended {
        new: before.new + appended.new,
        duplicates: before.duplicates + appended.duplicates,
        head: appended.head,
    })
}

/// Waits until the database is back and the lock is ours again.
async fn resume(
    db: &Db,
    name: &str,
    old: &SessionId,
    pause: &mut Duration,
    health: &(dyn Fn(Result<(), String>) + Send + Sync),
) -> Result<Appender, IngestError> {
    loop {
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(RETRY_MAX);
        let problem = match db.connect().await {
            Err(error) => error.to_string(),
            Ok(connection) => match timeout(MOMENT, Appender::try_resume(connection, name, old)).await {
                Err(_) => no_answer(MOMENT).to_string(),
                Ok(Ok(Some(appender))) => return Ok(appender),
                Ok(Ok(None)) => "the server still holds the appender's lock for the broken connection".to_owned(),
                Ok(Err(LogError::Replaced)) => return Err(IngestError::Replaced),
                Ok(Err(LogError::Database(error))) if passes(&error) => error.to_string(),
                Ok(Err(LogError::Database(error))) => return Err(error.into()),
            },
        };
        health(Err(format!("the log cannot be written: {problem}")));
    }
}

fn no_answer(limit: Duration) -> sqlx::Error {
    let what = format!("no answer within {} s", limit.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what))
}
