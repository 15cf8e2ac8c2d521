//! Room `db`: from "where is the database" to connections that work, with a private server when no address is given.
//!
//! In: a [`Target`]. Out: a [`Db`] that hands out connections. What must stay true: one server per data directory,
//! however many processes use it, and none is left behind by a process that ended, however it ended; what was committed
//! survives `kill -9` of either. It never touches a table (that is for the room that owns it), never prints a password,
//! and never changes a server that it was given by address.

pub mod embedded;
mod error;
pub mod install;
mod migrations;
mod passing;
mod session;
mod url;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use self::embedded::{Server, ServerOptions};
pub use self::{embedded::EmbeddedError, error::DbError, passing::passes, session::SessionId, url::DatabaseUrl};

/// The database inside a private server.
const EMBEDDED_DATABASE: &str = "almanac";
/// How long one attempt to connect to a given server may take before it counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller waits for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that was in use so shortly before is handed out unasked: it answered when it was given back, and a question
/// before each statement is most of what a process costs that looks for work and finds none.
const TRUSTED: Duration = Duration::from_secs(3);
/// How long connections in use may keep `close` waiting.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sent over each new connection. Long statements (a rebuild, an index) are ours and must not be cut by a server's
/// default. The keepalives make the server notice within about a minute that we vanished with a lock in hand: the
/// standby that waits for that lock would otherwise wait for the operating system's two hours. Statements are planned
/// each time: a plan kept from when a table was empty scans it from end to end for every row of a batch, for as long as the
/// connection lives.
const SESSION: &str = "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; \
     set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3; \
     set plan_cache_mode = force_custom_plan";

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Target {
    /// A server run by somebody else.
    Url(DatabaseUrl),
    /// A private server whose files live in this directory, started when no process has started it.
    Embedded {
        /// Made when it does not exist.
        data_dir: PathBuf,
    },
}

/// An open database. Clones share it. When the last one is dropped an owned private server is told to stop;
/// [`Db::close`] also waits until it has.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    pool: PgPool,
    options: PgConnectOptions,
    server: Option<Server>,
    /// As the server names itself, for people.
    version: String,
}

/// Opens the database with a pool of at most `max_connections` (at least one), and makes sure that it answers. A
/// private server is started, or joined when another process owns it. Tables are not touched: see [`Db::migrate`].
///
/// # Errors
/// Every [`DbError`] but those of a migration.
pub async fn open(target: &Target, max_connections: u32) -> Result<Db, DbError> {
    match target {
        Target::Url(url) => open_url(url, max_connections).await,
        Target::Embedded { data_dir } => open_embedded(data_dir, ServerOptions::default(), max_connections).await,
    }
}

/// Opens the private server of a data directory with other options than [`open`] takes: for tests and benchmarks.
///
/// # Errors
/// As [`open`].
pub async fn open_embedded(data_dir: &Path, options: ServerOptions, max_connections: u32) -> Result<Db, DbError> {
    let server = Server::start(data_dir, options).await?;
    let options = session(server.connect_options(EMBEDDED_DATABASE));
    let mut connection = server.connect_or_create(EMBEDDED_DATABASE).await?;
    let version = server_version(&mut connection).await?;
    connection.close().await?;
    Ok(Db::new(options, Some(server), version, max_connections))
}

/// Like [`open`], but when a private server is wanted and this machine has no Postgres, installs it into the data
/// directory first. `progress` is told in a sentence what takes its time.
///
/// # Errors
/// As [`open`], and what [`install::install`] refuses.
pub async fn open_or_install(
    target: &Target,
    max_connections: u32,
    mut progress: impl FnMut(&str),
) -> Result<Db, DbError> {
    match (target, open(target, max_connections).await) {
        (Target::Embedded { data_dir }, Err(DbError::Embedded(EmbeddedError::NoBinaries { .. }))) => {
            install::install(data_dir, &mut progress).await?;
            open(target, max_connections).await
        }
        (_, result) => result,
    }
}

async fn open_url(url: &DatabaseUrl, max_connections: u32) -> Result<Db, DbError> {
    let options = session(url.options()?);
    let mut connection = match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(DbError::from_connect(error, &options)),
        Err(_) => {
            let reason = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            return Err(DbError::CannotConnect { to: url::describe(&options), reason });
        }
    };
    let version = server_version(&mut connection).await?;
    connection.close().await?;
    Ok(Db::new(options, None, version, max_connections))
}

async fn server_version(connection: &mut PgConnection) -> Result<String, DbError> {
    let version: String = sqlx::query_scalar("show server_version").fetch_one(connection).await?;
    // Debian appends its own package version in brackets.
    Ok(version.split(' ').next().unwrap_or_default().to_owned())
}

/// What every connection of ours has in common. `extra_float_digits` stays out of the startup packet, since poolers
/// such as PgBouncer refuse what they do not know there, and the server's default is what we want.
fn session(options: PgConnectOptions) -> PgConnectOptions {
    let options = options.extra_float_digits(None::<i8>).disable_statement_logging();
    match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("almanac"),
    }
}

impl Db {
    fn new(options: PgConnectOptions, server: Option<Server>, version: String, max_connections: u32) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(SESSION).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        Self(Arc::new(Inner { pool, options, server, version }))
    }

    /// The shared connections. After the server was lost and came back, the pool's next connections work again; statements
    /// that were under way when it was lost fail, and so does the first over a connection that was in use within three seconds
    /// before. Callers decide whether to repeat them.
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// A connection of one's own, outside the pool and its limit: for what belongs to a session, such as an advisory
    /// lock. It has no timeout of its own for statements; wrap calls in one where a dead peer must be noticed.
    ///
    /// # Errors
    /// When the server cannot be reached within ten seconds.
    pub async fn connect(&self) -> Result<PgConnection, DbError> {
        let options = &self.0.options;
        let attempt = async {
            let mut connection = options.connect().await?;
            connection.execute(SESSION).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(result) => result.map_err(|error| DbError::from_connect(error, options)),
            Err(_) => {
                let reason = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
                Err(DbError::CannotConnect { to: url::describe(options), reason })
            }
        }
    }

    /// Brings the tables to the shape that this program knows; nothing happens when they have it. Safe to call from
    /// several processes at once.
    ///
    /// # Errors
    /// [`DbError::Newer`] when a later version of this program was here, [`DbError::Foreign`] when another build was.
    pub async fn migrate(&self) -> Result<(), DbError> {
        migrations::run(self.connect().await?).await
    }

    /// Closes the connections and, when this process owns the private server, stops it and waits for that. Other
    /// processes on the same data directory take the server over.
    pub async fn close(self) {
        if tokio::time::timeout(CLOSE_TIMEOUT, self.0.pool.close()).await.is_err() {
            tracing::warn!("database connections still in use were cut");
        }
        if let Some(server) = &self.0.server {
            server.stop().await;
        }
    }

    /// One line for people: which server, which version. Holds no password.
    pub fn describe(&self) -> String {
        let Inner { options, server, version, .. } = &*self.0;
        match server {
            Some(server) => format!("private PostgreSQL {version} in {}", server.data_dir().display()),
            None => format!("PostgreSQL {version}, {}", url::describe(options)),
        }
    }

    /// The private server, when there is one.
    pub fn server(&self) -> Option<&Server> {
        self.0.server.as_ref()
    }
}
