//! The thread that owns the server, or stands ready to.
//!
//! Whoever holds the lock on `owner.lock` owns the server: starts it, starts it again when it dies, stops it. Everybody
//! else connects to it and keeps trying the lock, which the kernel frees when its holder ends, however it ends. The
//! server is a child of this very thread, because the kernel's parent-death signal goes by threads.

use std::{
    cell::Cell,
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    process::{Child, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::watch;

use super::{
    EmbeddedError, ServerOptions,
    account::ServerUser,
    binaries, cluster,
    layout::Layout,
    postmaster::{self, PidFile},
};

/// How often something that is about to happen is looked at.
const SOON: Duration = Duration::from_millis(3);
/// How often a running server, or the lock of its owner, is looked at.
const WATCH: Duration = Duration::from_millis(50);
/// How often the log's length is looked at.
const LOG_CHECK: Duration = Duration::from_secs(10);
/// The longest pause between attempts to start a server that does not stay up.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Recovery after a crash reads the log of up to `max_wal_size`.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long another process may take to make its server ready.
const OWNER_TIMEOUT: Duration = Duration::from_secs(150);
/// How long the remains of a killed server may hold its shared memory.
const REMAINS_TIMEOUT: Duration = Duration::from_secs(60);
/// A fast shutdown writes a checkpoint. After this long the server is told not to.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// On the way, for the first time or again.
    Starting,
    /// Accepts connections.
    Ready {
        /// This process owns it.
        owner: bool,
    },
    /// Stopped, or could not be had. The thread has ended, or is about to.
    Ended,
}

pub(super) struct Supervisor {
    layout: Layout,
    options: ServerOptions,
    /// A message, or nobody left to send one: stop.
    stop: Receiver<()>,
    status: watch::Sender<Status>,
    /// Whether it was ready once. Until then failures go to whoever opened the database.
    was_ready: Cell<bool>,
}

/// Why a stretch of work ended.
enum Ended {
    Stopped,
    Died(ExitStatus),
}

impl Supervisor {
    pub fn new(layout: Layout, options: ServerOptions, stop: Receiver<()>, status: watch::Sender<Status>) -> Self {
        Self { layout, options, stop, status, was_ready: Cell::new(false) }
    }

    /// The thread's whole life. An error comes before it was ever ready.
    pub fn run(self) -> Result<(), EmbeddedError> {
        let result = self.supervise();
        self.status.send_replace(Status::Ended);
        result
    }

    fn supervise(&self) -> Result<(), EmbeddedError> {
        let lock = open_lock(&self.layout)?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    note_owner(&lock);
                    // Dropping the file frees the lock, after the server has ended.
                    return self.own();
                }
                Err(TryLockError::WouldBlock) => (),
                Err(TryLockError::Error(error)) => return Err(EmbeddedError::io("lock", &self.layout.lock)(error)),
            }
            let server = PidFile::read(&self.layout.cluster);
            let ready =
                server.is_some_and(|server| server.ready && postmaster::serves(server.pid, &self.layout.cluster));
            if ready {
                self.set(Status::Ready { owner: false });
            } else if !self.was_ready.get() && begun.elapsed() > OWNER_TIMEOUT {
                return Err(self.owner_not_ready());
            }
            if self.told_to_stop(if ready { WATCH } else { SOON }) {
                return Ok(());
            }
        }
    }

    /// Runs the server for as long as this process wants it.
    fn own(&self) -> Result<(), EmbeddedError> {
        let mut backoff = Duration::ZERO;
        loop {
            let begun = Instant::now();
            match self.serve_once() {
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::Died(exit)) => {
                    tracing::error!(%exit, log = %self.layout.log.display(), "the private PostgreSQL server died: starting it again");
                    if begun.elapsed() > BACKOFF_MAX {
                        backoff = Duration::ZERO;
                    }
                }
                // Whoever opened the database is told. Later there is nobody to tell, and it may come right.
                Err(error) if !self.was_ready.get() => return Err(error),
                Err(error) => tracing::error!(%error, "the private PostgreSQL server cannot be started: trying again"),
            }
            self.set(Status::Starting);
            if self.told_to_stop(backoff) {
                return Ok(());
            }
            backoff = (backoff * 2).clamp(Duration::from_millis(100), BACKOFF_MAX);
        }
    }

    /// One life of the server, from start to end.
    fn serve_once(&self) -> Result<Ended, EmbeddedError> {
        let Some(mut child) = self.start()? else { return Ok(Ended::Stopped) };
        self.set(Status::Ready { owner: true });
        let mut log_checked = Instant::now();
        loop {
            if self.told_to_stop(WATCH) {
                stop(&mut child);
                return Ok(Ended::Stopped);
            }
            if let Some(exit) = exited(&mut child) {
                return Ok(Ended::Died(exit));
            }
            if log_checked.elapsed() > LOG_CHECK {
                log_checked = Instant::now();
                cluster::bound_log(&self.layout.log);
            }
        }
    }

    /// `None` when told to stop meanwhile.
    fn start(&self) -> Result<Option<Child>, EmbeddedError> {
        let Self { layout, options, .. } = self;
        let user = ServerUser::choose(layout)?;
        let binaries = binaries::find(&options.search, layout, &user)?;
        cluster::initialise(&binaries, layout, &user, options)?;
        let begun = Instant::now();
        loop {
            postmaster::wait_for_orphan(layout)?;
            let log_from = cluster::log_length(&layout.log);
            let mut child = cluster::spawn(&binaries, layout, &user, options)?;
            match self.await_ready(&mut child)? {
                Some(Ended::Stopped) => return Ok(None),
                None => {
                    tracing::debug!(version = %binaries.version, milliseconds = begun.elapsed().as_millis() as u64, "the private PostgreSQL server is ready");
                    return Ok(Some(child));
                }
                Some(Ended::Died(exit)) => {
                    let words = cluster::log_tail(&layout.log, log_from);
                    // Backends of a killed server outlive it for moments.
                    let remains = words.contains("shared memory block") || words.contains("already exists");
                    if !remains || begun.elapsed() > REMAINS_TIMEOUT {
                        let (outcome, log) = (exit.to_string(), layout.log.clone());
                        return Err(EmbeddedError::DidNotStart { outcome, words, log });
                    }
                    if self.told_to_stop(WATCH) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// `None` when ready.
    fn await_ready(&self, child: &mut Child) -> Result<Option<Ended>, EmbeddedError> {
        let begun = Instant::now();
        let pid = child.id() as i32;
        loop {
            if PidFile::read(&self.layout.cluster).is_some_and(|server| server.pid == pid && server.ready) {
                return Ok(None);
            }
            if let Some(exit) = exited(child) {
                return Ok(Some(Ended::Died(exit)));
            }
            if self.told_to_stop(SOON) {
                stop(child);
                return Ok(Some(Ended::Stopped));
            }
            if begun.elapsed() > START_TIMEOUT {
                stop(child);
                let outcome = format!("not ready within {} s", START_TIMEOUT.as_secs());
                let (words, log) = (cluster::log_tail(&self.layout.log, 0), self.layout.log.clone());
                return Err(EmbeddedError::DidNotStart { outcome, words, log });
            }
        }
    }

    fn set(&self, status: Status) {
        self.was_ready.set(self.was_ready.get() || matches!(status, Status::Ready { .. }));
        self.status.send_if_modified(|old| std::mem::replace(old, status) != status);
    }

    fn told_to_stop(&self, wait: Duration) -> bool {
        !matches!(self.stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
    }

    fn owner_not_ready(&self) -> EmbeddedError {
        let owner = std::fs::read_to_string(&self.layout.lock).unwrap_or_default();
        let owner = owner.trim();
        EmbeddedError::OwnerNotReady {
            owner: if owner.is_empty() { String::new() } else { format!(" (process {owner})") },
            data_dir: self.layout.data_dir.clone(),
            seconds: OWNER_TIMEOUT.as_secs(),
            log: self.layout.log.clone(),
        }
    }
}

fn open_lock(layout: &Layout) -> Result<File, EmbeddedError> {
    let path = &layout.lock;
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    opened.map_err(|error| match (error.kind(), std::fs::metadata(path)) {
        (io::ErrorKind::PermissionDenied, Ok(meta)) => {
            use std::os::unix::fs::MetadataExt;
            let owner = super::account::user_name(meta.uid());
            EmbeddedError::NotOurs { path: layout.root.clone(), owner }
        }
        _ => EmbeddedError::io("open", path)(error),
    })
}

/// For whoever wonders who holds it; nothing depends on it.
fn note_owner(mut lock: &File) {
    use io::{Seek, Write};
    let note = format!("{}\n", std::process::id());
    let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(note.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%error, "cannot note the owner of the private server");
    }
}

fn exited(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().expect("the server is our child and has not been waited for by anybody else")
}

/// Fast shutdown first; what does not obey is told more plainly.
fn stop(child: &mut Child) {
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        // An error means that it has just ended.
        let _ = kill(Pid::from_raw(child.id() as i32), signal);
        let begun = Instant::now();
        while begun.elapsed() < STOP_TIMEOUT {
            if exited(child).is_some() {
                return;
            }
            std::thread::sleep(SOON);
        }
        tracing::warn!(%signal, "the private PostgreSQL server does not stop");
    }
}
