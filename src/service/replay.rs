//! `replay`: recorded frames through the same path as live ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::policy::Policies;
use super::{lead, stop};
use crate::config::Settings;
use crate::db::Db;
use crate::decode;
use crate::ingest::{Cursors, Ingest, Inquiries, Judge, Report, SeqRange, Sink, load_known};
use crate::projection::Projector;
use crate::source::dump::{DumpProblem, DumpReader};
use crate::source::{DeliverySender, QueueLimits, delivery_queue};

/// How fast to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// As fast as it goes.
    Max,
    /// With the pauses that the frames' own times have.
    Recorded,
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The dumps, in order.
    pub files: Vec<PathBuf>,
    /// Which frames, by seq.
    pub range: Option<SeqRange>,
    /// How fast.
    pub speed: Speed,
}

/// How far a replay is, for a progress bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the files read.
    pub bytes: AtomicU64,
    /// Frames read.
    pub frames: AtomicU64,
}

/// What a replay did.
pub struct Outcome {
    /// What became of the frames.
    pub report: Report,
    /// What was wrong with the dumps.
    pub problems: Vec<(PathBuf, DumpProblem)>,
    /// Wall time.
    pub elapsed: Duration,
    /// Whether it was told to stop before the end.
    pub interrupted: bool,
}

/// Replays into the log, or, without a database, into nothing. `waiting` is told when another process appends.
pub async fn replay(
    settings: &Settings,
    db: Option<Db>,
    options: Options,
    progress: Arc<Progress>,
    stopped: watch::Receiver<bool>,
    waiting: impl FnMut(String),
) -> anyhow::Result<Option<Outcome>> {
    let policies = Policies::load(settings, db.as_ref().map(Db::pool)).await?;
    let trust = super::trust(settings, false)?;
    let (sink, known) = match &db {
        None => (Sink::Null, Default::default()),
        Some(db) => {
            let Some((appender, name)) = lead::wait(db, stopped.clone(), waiting).await? else { return Ok(None) };
            let known = load_known(db.pool()).await?;
            (Sink::Log { db: db.clone(), appender: Box::new(appender), name }, known)
        }
    };
    let started = Instant::now();
    let (out, deliveries) = delivery_queue(QueueLimits::default());
    let reading = tokio::task::spawn_blocking({
        let (options, stopped, runtime) = (options.clone(), stopped.clone(), tokio::runtime::Handle::current());
        move || read_all(&options, &progress, &stopped, &out, &runtime)
    });
    let (position, head) = watch::channel(0);
    let projecting = db.map(|db| {
        let health = |result: Result<(), String>| {
            if let Err(problem) = result {
                tracing::warn!("{problem}");
            }
        };
        tokio::spawn(Projector { db, health: Box::new(health) }.run(head))
    });
    let ingest = Ingest {
        judge: Judge::new(known, trust, Arc::default(), options.range),
        inquiries: Inquiries::none(),
        policy: policies.current().clone(),
        cursors: Arc::new(Cursors::default()),
        position,
        health: Box::new(|_| {}),
        on_host_word: Box::new(|word| {
            tracing::info!(upstream = %word.upstream.name, name = %word.notice.name, "the host said: {}", word.notice.message);
        }),
    };
    let report = ingest.run(deliveries, sink).await?;
    let problems = reading.await.context("the reader of dumps panicked")??;
    if let Some(projecting) = projecting {
        projecting.await.context("the projector panicked")??;
    }
    Ok(Some(Outcome { report, problems, elapsed: started.elapsed(), interrupted: *stopped.borrow() }))
}

fn read_all(
    options: &Options,
    progress: &Progress,
    stopped: &watch::Receiver<bool>,
    out: &DeliverySender,
    runtime: &tokio::runtime::Handle,
) -> anyhow::Result<Vec<(PathBuf, DumpProblem)>> {
    let mut problems = Vec::new();
    let mut done = 0;
    let mut pace = Pace::default();
    for path in &options.files {
        let mut reader = DumpReader::open(path)?;
        while let Some(item) = reader.next() {
            if *stopped.borrow() {
                return Ok(problems);
            }
            progress.bytes.store(done + reader.bytes_read(), Ordering::Relaxed);
            let frame = match item {
                Ok(frame) => frame,
                Err(problem) => {
                    tracing::warn!(file = %path.display(), "{problem}");
                    problems.push((path.clone(), problem));
                    continue;
                }
            };
            progress.frames.fetch_add(1, Ordering::Relaxed);
            let delivery = frame.into_delivery(Utc::now());
            if options.speed == Speed::Recorded {
                let pause = pace.pause(&delivery.frame);
                let stop = stop::wait(stopped.clone());
                runtime.block_on(async {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop => {}
                    }
                });
            }
            if runtime.block_on(out.send(delivery)).is_err() {
                // Ingest ended; its own error tells why.
                return Ok(problems);
            }
        }
        done += reader.bytes_read();
    }
    Ok(problems)
}

/// Keeps the distance in time that frames had from the first one.
#[derive(Default)]
struct Pace {
    start: Option<(DateTime<Utc>, Instant)>,
}

impl Pace {
    fn pause(&mut self, frame: &[u8]) -> Duration {
        let time = decode::outline(frame).ok().and_then(|outline| decode::parse_time(outline.time));
        let Some(time) = time else { return Duration::ZERO };
        let (first, began) = *self.start.get_or_insert((time, Instant::now()));
        (time - first).to_std().unwrap_or_default().saturating_sub(began.elapsed())
    }
}
