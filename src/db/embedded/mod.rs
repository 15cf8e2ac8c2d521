//! A private Postgres in the data directory, for whoever has none: found on this machine, initialised once, reachable
//! only through a socket in a directory that only its user can enter, and gone when the processes that use it are.

mod account;
mod binaries;
mod cluster;
mod error;
mod layout;
mod postmaster;
mod supervisor;

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::watch;

pub(super) use self::layout::set_mode;
pub use self::{
    binaries::{Binaries, Search, installed_dir},
    error::EmbeddedError,
    layout::default_data_dir,
};
use self::{
    layout::Layout,
    supervisor::{Status, Supervisor},
};
use super::{DatabaseUrl, DbError};

/// How long a connection is tried while the server is on its way.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How a private server is run. Only the process that starts it decides.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What was committed survives a power cut. Without it, it survives `kill -9` of any process and nothing more, which
    /// is enough for tests.
    pub durable: bool,
    /// Postgres' own cache.
    pub shared_buffers_mib: u32,
    /// How many connections it allows, over all processes.
    pub connections_max: u32,
    /// Where to look for binaries.
    pub search: Search,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { durable: true, shared_buffers_mib: 128, connections_max: 50, search: Search::default() }
    }
}

/// A private server, owned by this process or by another one on the same data directory. Belongs to no async runtime.
/// Dropping it asks an owned server to stop, without waiting.
pub struct Server {
    layout: Layout,
    stop: Sender<()>,
    status: watch::Receiver<Status>,
}

impl Server {
    /// Starts the server of this data directory, or joins it when another process has started it, and waits until it
    /// accepts connections. When that process ends this one takes over.
    ///
    /// # Errors
    /// Every [`EmbeddedError`].
    pub async fn start(data_dir: &Path, options: ServerOptions) -> Result<Self, EmbeddedError> {
        let layout = Layout::prepare(data_dir)?;
        let (stop, told) = mpsc::channel();
        let (sender, mut status) = watch::channel(Status::Starting);
        let supervisor = Supervisor::new(layout.clone(), options, told, sender);
        let thread = thread::Builder::new()
            .name("almanac-postgres".to_owned())
            .spawn(move || supervisor.run())
            .map_err(EmbeddedError::io("start a thread for", &layout.root))?;
        let ready = status.wait_for(|status| *status != Status::Starting).await;
        if ready.is_ok_and(|status| matches!(*status, Status::Ready { .. })) {
            return Ok(Self { layout, stop, status });
        }
        match thread.join() {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Err(EmbeddedError::Stopped),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Stops the server when this process owns it, and waits until it has ended.
    pub async fn stop(&self) {
        // An error means that the thread has ended already.
        let _ = self.stop.send(());
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| *status == Status::Ended).await;
        drop(ended);
    }

    /// Whether this process owns the server.
    pub fn is_owner(&self) -> bool {
        matches!(*self.status.borrow(), Status::Ready { owner: true })
    }

    /// Almanac's data directory, absolute.
    pub fn data_dir(&self) -> &Path {
        &self.layout.data_dir
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        &self.layout.log
    }

    /// The server's process id, as it is now.
    pub fn process_id(&self) -> Option<i32> {
        postmaster::PidFile::read(&self.layout.cluster).map(|server| server.pid)
    }

    /// The address of one of its databases, for psql and other processes on this machine.
    pub fn url(&self, database: &str) -> DatabaseUrl {
        socket_url(&self.layout.socket_dir, database)
    }

    /// How to connect to one of its databases.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.layout.socket_dir)
            .port(5432)
            .username(cluster::ROLE)
            .database(database)
            // Asking for encryption costs a round trip, and a socket has none.
            .ssl_mode(PgSslMode::Disable)
    }

    /// Connects to a database, which is created when it does not exist.
    ///
    /// # Errors
    /// When the server does not let us in within a minute.
    pub async fn connect_or_create(&self, database: &str) -> Result<PgConnection, DbError> {
        let begun = Instant::now();
        loop {
            let options = self.connect_options(database);
            let error = match options.connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) => DbError::from_connect(error, &options),
            };
            match error {
                DbError::NoSuchDatabase { .. } => self.create(database).await?,
                // The owner may have stopped it at this moment, and somebody starts it again.
                DbError::CannotConnect { .. } if begun.elapsed() < CONNECT_TIMEOUT => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                error => return Err(error),
            }
        }
    }

    async fn create(&self, database: &str) -> Result<(), DbError> {
        let options = self.connect_options("postgres");
        let mut connection = options.connect().await.map_err(|error| DbError::from_connect(error, &options))?;
        let name = database.replace('"', "\"\"");
        let statement = sqlx::AssertSqlSafe(format!("create database \"{name}\""));
        match sqlx::raw_sql(statement).execute(&mut connection).await {
            Ok(_) => Ok(()),
            // Another process was faster, or is at it: the caller connects again.
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P04" | "23505")) => Ok(()),
            Err(error) => Err(DbError::Sql(error)),
        }
    }
}

/// `postgres://almanac@%2Fpath/database`: libpq and sqlx both read an encoded path as a socket's directory.
fn socket_url(socket_dir: &Path, database: &str) -> DatabaseUrl {
    use std::os::unix::ffi::OsStrExt;
    let mut url = format!("postgres://{}@", cluster::ROLE);
    for &byte in socket_dir.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => url.push(byte as char),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push('/');
    url.push_str(database);
    url.push_str("?sslmode=disable");
    url.parse().expect("an address built from encoded parts is well formed")
}

/// Makes the data directory when it does not exist, so that the server's user can pass. Returns it absolute.
pub(super) fn prepare_data_dir(data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    Ok(Layout::prepare(data_dir)?.data_dir)
}

/// Where the binaries of the private server are, if there are any that suit this data directory.
///
/// # Errors
/// As [`Server::start`], as far as it comes before starting anything.
pub fn find_binaries(data_dir: &Path, search: &Search) -> Result<Binaries, EmbeddedError> {
    let layout = Layout::prepare(data_dir)?;
    let user = account::ServerUser::choose(&layout)?;
    binaries::find(search, &layout, &user)
}

/// What there is of a private server in this data directory, without starting it.
#[derive(Debug)]
pub struct Found {
    /// The major version that made the files; `None` when there are none yet.
    pub files: Option<u32>,
    /// The running server's process id.
    pub running: Option<i32>,
    /// Its log.
    pub log: PathBuf,
    /// The address of Almanac's database in it, valid while it runs.
    pub url: DatabaseUrl,
}

/// Looks at a data directory without starting anything.
///
/// # Errors
/// When the directory cannot be made or read.
pub fn look(data_dir: &Path) -> Result<Found, EmbeddedError> {
    let layout = Layout::prepare(data_dir)?;
    let server = postmaster::PidFile::read(&layout.cluster);
    let running = server.filter(|server| postmaster::serves(server.pid, &layout.cluster)).map(|server| server.pid);
    let url = socket_url(&layout.socket_dir, super::EMBEDDED_DATABASE);
    Ok(Found { files: layout.cluster_version(), running, log: layout.log, url })
}
