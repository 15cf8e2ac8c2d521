//! A migrated database of its own for every test.
//!
//! Each test process runs one private server, by Almanac's own supervisor, on a directory of the cache folder that it
//! locks for itself: the next process to come finds the directory initialised and starts in milliseconds. When the
//! process ends, the kernel stops the server. A new database is a copy of a migrated template.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Sender},
    },
    thread,
};

use almanac::db::{
    self, DatabaseUrl, Db, EmbeddedError, Target,
    embedded::{Server, ServerOptions},
};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};
use tokio::sync::OnceCell;

/// A database that no other test sees. It is dropped with this value.
pub struct TestDb {
    name: String,
    url: DatabaseUrl,
    db: Db,
}

impl TestDb {
    /// A migrated and otherwise empty database.
    pub async fn fresh() -> Self {
        Self::create(Some(&shared().await.template)).await
    }

    /// A database without tables.
    pub async fn empty() -> Self {
        Self::create(None).await
    }

    async fn create(template: Option<&str>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let shared = shared().await;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = shared.admin().await;
        let template = template.unwrap_or("template0");
        // Copying files beats writing the copy to the log where nothing is synced to disk.
        run(&mut admin, format!("create database {name} template {template} strategy file_copy")).await;
        admin.close().await.unwrap();
        let url = shared.server.url(&name);
        let db = db::open(&Target::Url(url.clone()), 10).await.unwrap();
        Self { name, url, db }
    }

    /// For `--database-url` of another process.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The database as Almanac opens it.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Up to ten connections.
    pub fn pool(&self) -> &PgPool {
        self.db.pool()
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        // The test's runtime may be gone by now. What is not dropped in time is dropped by the next process.
        let _ = dropper().send(self.name.clone());
    }
}

/// The server of this test process.
struct Shared {
    server: Server,
    template: String,
    /// Held as long as the process lives.
    _slot: File,
}

impl Shared {
    async fn admin(&self) -> PgConnection {
        self.server.connect_options("postgres").connect().await.unwrap()
    }
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> &'static Shared {
    SHARED.get_or_init(start).await
}

async fn start() -> Shared {
    let (dir, slot) = take_slot();
    let server = match start_server(&dir).await {
        Ok(server) => server,
        // Without syncing, a machine that went down leaves files that do not start again.
        Err(EmbeddedError::DidNotStart { words, .. }) => {
            eprintln!("making the test server in {} anew: {words}", dir.display());
            fs::remove_dir_all(dir.join("postgres")).unwrap();
            start_server(&dir).await.unwrap()
        }
        Err(error) => panic!("{error}"),
    };
    let mut admin = server.connect_options("postgres").connect().await.unwrap();
    let template = prepare(&server, &mut admin).await;
    admin.close().await.unwrap();
    Shared { server, template, _slot: slot }
}

async fn start_server(dir: &Path) -> Result<Server, EmbeddedError> {
    let mut options = ServerOptions { durable: false, shared_buffers_mib: 32, ..ServerOptions::default() };
    options.connections_max = 200;
    match Server::start(dir, options.clone()).await {
        Err(EmbeddedError::NoBinaries { .. }) => {
            options.search.pg_bin = Some(installed_binaries().await);
            Server::start(dir, options).await
        }
        result => result,
    }
}

/// Binaries in the cache folder, put there by Almanac's own installer when they are missing.
pub async fn installed_binaries() -> PathBuf {
    static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();
    let install = async || {
        let cache = cache_dir();
        db::install::install(&cache, &mut |sentence: &str| eprintln!("{sentence}")).await.unwrap()
    };
    INSTALLED.get_or_init(install).await.clone()
}

/// Drops what earlier processes left, and makes the template for the migrations as they are.
async fn prepare(server: &Server, admin: &mut PgConnection) -> String {
    let migrations = sqlx::migrate!("./migrations");
    let mut hash = Sha256::new();
    migrations.iter().for_each(|migration| hash.update(&migration.checksum));
    let template = format!("migrated_{}", &data_encoding::HEXLOWER.encode(&hash.finalize())[..16]);

    let names = "select datname from pg_database where datname like any ('{test\\_%,migrated\\_%,unfinished}')";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut *admin).await.unwrap();
    for name in names.iter().filter(|&name| *name != template) {
        run(admin, format!("drop database {name} with (force)")).await;
    }
    if !names.contains(&template) {
        run(admin, "create database unfinished".to_owned()).await;
        let db = db::open(&Target::Url(server.url("unfinished")), 1).await.unwrap();
        db.migrate().await.unwrap();
        db.close().await;
        // `close` does not wait for the server's side of the connection to end.
        run(admin, "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'unfinished'".into())
            .await;
        run(admin, format!("alter database unfinished rename to {template}")).await;
    }
    template
}

async fn run(connection: &mut PgConnection, statement: String) {
    if let Err(error) = connection.execute(AssertSqlSafe(statement.clone())).await {
        panic!("{statement}: {error}");
    }
}

/// Drops databases in the background, outside any test's runtime.
fn dropper() -> &'static Sender<String> {
    static DROPPER: OnceLock<Sender<String>> = OnceLock::new();
    DROPPER.get_or_init(|| {
        let (sender, names) = mpsc::channel::<String>();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            for name in names {
                runtime.block_on(async {
                    let mut admin = shared().await.admin().await;
                    run(&mut admin, format!("drop database if exists {name} with (force)")).await;
                    admin.close().await.unwrap();
                });
            }
        });
        sender
    })
}

/// The first directory that no running test process has locked.
fn take_slot() -> (PathBuf, File) {
    for number in 0..64 {
        let dir = cache_dir().join("servers").join(number.to_string());
        fs::create_dir_all(&dir).unwrap();
        let slot = File::create(dir.join("slot.lock")).unwrap();
        if slot.try_lock().is_ok() {
            return (dir, slot);
        }
    }
    panic!("64 test processes at once on {}", cache_dir().display());
}

/// `ALMANAC_TEST_CACHE`, else the user's cache folder; for root a place that the server's user can reach.
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("ALMANAC_TEST_CACHE").unwrap_or_else(|| {
        let cache = match nix::unistd::geteuid().is_root() {
            true => PathBuf::from("/var/cache"),
            false => {
                set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))).expect("HOME is set")
            }
        };
        cache.join("almanac-tests")
    })
}

/// An empty data directory that the server's user can reach, wherever the tests run and whoever runs them.
pub fn data_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let parent = cache_dir().join("data");
    fs::create_dir_all(&parent).unwrap();
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o711)).tempdir_in(parent).unwrap()
}
