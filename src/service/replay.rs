//! `replay`: recorded frames through the same path as live ones.
//!
//! A dump carries the environment in which it was recorded. One of another environment is refused before anything of it is
//! judged; taken all the same ([`Options::as_foreign`]), all of it goes to quarantine, by the first rule of origin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::policy::Policies;
use super::{lead, quarantine, stop};
use crate::config::Settings;
use crate::db::Db;
use crate::decode;
use crate::event::{Environment, Upstream};
use crate::ingest::{Cursors, Ingest, Inquiries, Judge, Report, SeqRange, Sink, load_known};
use crate::projection::Projector;
use crate::source::dump::{DumpProblem, DumpReader};
use crate::source::{DeliverySender, Parcel, QueueLimits, delivery_queue};

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
    /// Take dumps of other environments too, into quarantine.
    pub as_foreign: bool,
    /// The environment of dumps that name none.
    pub declared: Option<Environment>,
}

/// How far reading runs ahead of judging: enough to keep both busy, and little enough that the memory read into is used
/// again while it is still in the cache.
const AHEAD: QueueLimits = QueueLimits { frames: 8192, bytes: 8 * 1024 * 1024 };

/// A dump that may not be replayed here.
#[derive(Debug, thiserror::Error)]
pub enum DumpRefused {
    /// It is another environment's.
    #[error(
        "{}: recorded in the environment `{dump}`, and this process is `{here}`: replay it there (--environment {dump} and that \
         environment's database), or give --as-foreign: then all of it goes to quarantine, and nothing of it is shown",
        path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Where it was recorded.
        dump: Environment,
        /// Where it was to be replayed.
        here: Environment,
    },
    /// Nobody says whose it is, and it was to be taken as another environment's.
    #[error(
        "{}: nobody says of which environment it is, so --as-foreign cannot tell it from this one's: add \
         --declared-environment NAME",
        path.display()
    )]
    Unnamed {
        /// Which.
        path: PathBuf,
    },
    /// Somebody declares it for another environment than it says itself.
    #[error(
        "{}: recorded in the environment `{dump}`, and --declared-environment says `{said}`: a dump that names its environment \
         is not declared by hand; leave the flag out",
        path.display()
    )]
    Contradiction {
        /// Which.
        path: PathBuf,
        /// What it says itself.
        dump: Environment,
        /// What somebody says.
        said: Environment,
    },
}

impl Options {
    /// The environment that a dump is of, if it or somebody names one.
    fn environment(
        &self,
        path: &Path,
        named: Option<&Environment>,
        here: &Environment,
    ) -> Result<Option<Environment>, DumpRefused> {
        let path = || path.to_owned();
        match (named, &self.declared) {
            (Some(dump), Some(said)) if dump != said => {
                return Err(DumpRefused::Contradiction { path: path(), dump: dump.clone(), said: said.clone() });
            }
            _ => {}
        }
        match named.or(self.declared.as_ref()) {
            Some(dump) if dump != here && !self.as_foreign => {
                Err(DumpRefused::Foreign { path: path(), dump: dump.clone(), here: here.clone() })
            }
            None if self.as_foreign => Err(DumpRefused::Unnamed { path: path() }),
            environment => Ok(environment.cloned()),
        }
    }

    /// Looks at every dump that can be read twice, before the first of them is replayed.
    fn check(&self, here: &Environment) -> anyhow::Result<()> {
        for path in self.files.iter().filter(|path| path.is_file()) {
            let reader = DumpReader::open(path)?;
            self.environment(path, reader.info().environment.as_ref(), here)?;
        }
        Ok(())
    }
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
    /// Refused frames for which quarantine had no room.
    pub overflow: u64,
    /// Dumps whose environment nobody named. They were taken as this environment's.
    pub undeclared: Vec<PathBuf>,
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
    let here = settings.environment.clone();
    tokio::task::spawn_blocking({
        let (options, here) = (options.clone(), here.clone());
        move || options.check(&here)
    })
    .await
    .context("looking at the dumps panicked")??;
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
    let space = match &db {
        Some(db) => quarantine::space(db.pool(), settings).await,
        None => Arc::default(),
    };
    let started = Instant::now();
    let (out, deliveries) = delivery_queue(AHEAD);
    let reading = tokio::task::spawn_blocking({
        let (options, stopped, runtime) = (options.clone(), stopped.clone(), tokio::runtime::Handle::current());
        move || {
            let reading = Reading {
                options: &options,
                here: &here,
                progress: &progress,
                stopped: &stopped,
                out: &out,
                runtime: &runtime,
            };
            reading.all()
        }
    });
    let (position, head) = watch::channel(0);
    let projecting = db.map(|db| {
        let health = |result: Result<(), String>| {
            if let Err(problem) = result {
                tracing::warn!("{problem}");
            }
        };
        tokio::spawn(Projector { db, rebuild_from: Some(Projector::REBUILD_FROM), health: Box::new(health) }.run(head))
    });
    let ingest = Ingest {
        judge: Judge::new(known, trust, Arc::default(), options.range).with_space(&space),
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
    let read = reading.await.context("the reader of dumps panicked")?;
    if let Some(projecting) = projecting {
        projecting.await.context("the projector panicked")??;
    }
    let Read { problems, undeclared } = read?;
    let (elapsed, interrupted) = (started.elapsed(), *stopped.borrow());
    let overflow = space.overflow();
    Ok(Some(Outcome { report, problems, undeclared, overflow, elapsed, interrupted }))
}

/// What was found while reading.
#[derive(Default)]
struct Read {
    problems: Vec<(PathBuf, DumpProblem)>,
    undeclared: Vec<PathBuf>,
}

/// What reading takes, beside what to read.
struct Reading<'a> {
    options: &'a Options,
    here: &'a Environment,
    progress: &'a Progress,
    stopped: &'a watch::Receiver<bool>,
    out: &'a DeliverySender,
    runtime: &'a tokio::runtime::Handle,
}

impl Reading<'_> {
    fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Hands a parcel on. Whether somebody still takes them; if not, ingest ended, and its own error tells why.
    fn send(&self, parcel: &mut Parcel) -> bool {
        let room = parcel.len();
        let full = std::mem::replace(parcel, Parcel::with_capacity(room));
        self.progress.frames.fetch_add(full.len() as u64, Ordering::Relaxed);
        self.runtime.block_on(self.out.send_parcel(full)).is_ok()
    }

    /// Waits, or until told to stop.
    fn pause(&self, pause: Duration) {
        let stop = stop::wait(self.stopped.clone());
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop => {}
            }
        });
    }

    fn all(&self) -> anyhow::Result<Read> {
        let mut read = Read::default();
        let mut done = 0;
        let mut pace = Pace::default();
        for path in &self.options.files {
            let reader = DumpReader::open(path)?;
            let bytes_read = self.file(path, reader, done, &mut pace, &mut read)?;
            match bytes_read {
                Some(bytes) => done += bytes,
                None => break,
            }
        }
        Ok(read)
    }

    /// Reads one dump. How many bytes it had; `None` when there is nobody to go on for.
    fn file(
        &self,
        path: &Path,
        mut reader: DumpReader,
        done: u64,
        pace: &mut Pace,
        read: &mut Read,
    ) -> anyhow::Result<Option<u64>> {
        let mut named = reader.info().environment.clone();
        let mut declared = self.options.environment(path, named.as_ref(), self.here)?;
        let mut upstreams = Declared::default();
        if declared.is_none() {
            read.undeclared.push(path.to_owned());
        }
        let mut parcel = Parcel::default();
        // Where the dump does not say when a frame was seen: the time of reading the first of its parcel.
        let mut now = Utc::now();
        while let Some(item) = reader.next() {
            // Dumps that were put together may say it late.
            if reader.info().environment != named {
                // What came before was taken for what it was declared to be then, whatever is wrong with the rest.
                if !self.send(&mut parcel) {
                    return Ok(None);
                }
                named = reader.info().environment.clone();
                declared = self.options.environment(path, named.as_ref(), self.here)?;
                upstreams = Declared::default();
            }
            match item {
                Ok(frame) => {
                    if self.options.speed == Speed::Recorded {
                        let pause = pace.pause(&frame.frame);
                        if !pause.is_zero() {
                            if !self.send(&mut parcel) {
                                return Ok(None);
                            }
                            self.pause(pause);
                            if self.is_stopped() {
                                return Ok(None);
                            }
                        }
                    }
                    if parcel.is_empty() {
                        now = Utc::now();
                    }
                    let upstream = upstreams.declare(&frame.upstream, declared.as_ref());
                    parcel.push(upstream, frame.seen_at.unwrap_or(now), false, frame.frame);
                }
                Err(problem) => {
                    tracing::warn!(file = %path.display(), "{problem}");
                    read.problems.push((path.to_owned(), problem));
                }
            }
            // Nothing in hand waits while the file is read.
            if self.out.is_full(&parcel) || !reader.is_ahead() {
                self.progress.bytes.store(done + reader.bytes_read(), Ordering::Relaxed);
                if self.is_stopped() || !self.send(&mut parcel) {
                    return Ok(None);
                }
            }
        }
        let bytes_read = reader.bytes_read();
        self.progress.bytes.store(done + bytes_read, Ordering::Relaxed);
        Ok(self.send(&mut parcel).then_some(bytes_read))
    }
}

/// The upstreams of a dump, as they are declared here.
#[derive(Default)]
struct Declared {
    /// As recorded, and as declared. A handful: one for each host that was recorded.
    known: Vec<(Arc<Upstream>, Arc<Upstream>)>,
}

impl Declared {
    fn declare(&mut self, recorded: &Arc<Upstream>, environment: Option<&Environment>) -> &Arc<Upstream> {
        let at = self.known.iter().position(|(known, _)| Arc::ptr_eq(known, recorded)).unwrap_or_else(|| {
            let declared = Upstream::clone(recorded).declared(environment.cloned());
            self.known.push((recorded.clone(), Arc::new(declared)));
            self.known.len() - 1
        });
        &self.known[at].1
    }
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
