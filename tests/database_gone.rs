//! The database is gone for ten seconds in the middle of a live stream: nothing lost, nothing doubled, and the process
//! says so, stays alive, and slows the relay down instead of filling memory.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod log;
    pub mod postgres;
    pub mod relay;
    pub mod serve;
    pub mod wire;
}

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use almanac::db::embedded::{Server, ServerOptions};
use almanac::db::{self, EmbeddedError, Target};
use almanac::devnet::Frame;
use sqlx::PgPool;
use support::almanac::checksum;
use support::postgres::{TestDb, cache_dir, installed_binaries};
use support::relay::Relay;
use support::serve::{Serve, eventually};
use support::wire::{State, Wire};
use support::{frames, log};

const OUTAGE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(180);
/// More than the process holds in queues, batches and sockets: 8,192 frames wait, two batches of 4,000 events are full.
const MANY: usize = 36_000;
/// For the tests in which it does not matter.
const FEW: usize = 6_000;

fn stream() -> &'static [Frame] {
    static FRAMES: OnceLock<Vec<Frame>> = OnceLock::new();
    FRAMES.get_or_init(|| frames::calendar(3, MANY))
}

/// A live stream into a running `serve`.
struct Scene {
    relay: Relay,
    serve: Serve,
    folder: tempfile::TempDir,
}

impl Scene {
    /// Starts everything, and waits until frames flow into the log of `pool`.
    async fn start(url: &str, pool: &PgPool, frames: &[Frame], per_second: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::start(frames).await;
        let serve = Serve::start(url, &relay.url, folder.path());
        let scene = Scene { relay, serve, folder };
        scene.until_ready().await;
        scene.relay.release_steadily(per_second);
        eventually("frames flow into the log", LIMIT, async || match head(pool).await {
            0..500 => Err("too few".to_owned()),
            _ => Ok(()),
        })
        .await;
        scene
    }

    async fn until_ready(&self) {
        eventually("ready", LIMIT, async || match self.serve.ready().await {
            (status, failing) if status == 200 && failing.is_empty() => Ok(()),
            (status, failing) => Err(format!("{status} {failing:?}")),
        })
        .await;
    }

    /// Watches the process for the time of the outage. The reasons that it gave for not being ready, by check.
    async fn watch(&self) -> BTreeMap<String, String> {
        let end = tokio::time::Instant::now() + OUTAGE;
        let mut said = BTreeMap::new();
        while tokio::time::Instant::now() < end {
            let (status, _) = self.serve.get(&format!("{}/health/live", self.serve.admin), &[]).await;
            assert_eq!(status, 200, "/health/live");
            let (status, failing) = self.serve.ready().await;
            assert_eq!(status == 200, failing.is_empty());
            said.extend(failing);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (status, failing) = self.serve.ready().await;
        assert_eq!(status, 503, "ready without a database");
        assert!(failing.contains_key("database"), "{failing:?}");
        said
    }

    /// Waits until everything that the relay has is in the log and the index, and compares with a plain replay.
    async fn all_is_there(mut self, url: &str, pool: &PgPool) {
        let last = self.relay.last_seq();
        eventually("the cursor comes to the last frame", LIMIT, async || {
            let cursor: Option<i64> = sqlx::query_scalar("select seq from log.cursor")
                .fetch_optional(pool)
                .await
                .map_err(|e| e.to_string())?;
            if cursor == Some(last) { Ok(()) } else { Err(format!("at {cursor:?} of {last}")) }
        })
        .await;
        eventually("the index catches up", LIMIT, async || {
            let behind: i64 = sqlx::query_scalar(
                "select (select position from log.head) - (select position from calendar.checkpoint)",
            )
            .fetch_one(pool)
            .await
            .map_err(|e| e.to_string())?;
            if behind == 0 { Ok(()) } else { Err(format!("{behind} behind")) }
        })
        .await;
        self.until_ready().await;
        assert!(self.serve.running.runs(), "serve ended");
        let have = (checksum(url), log::contents(pool).await);
        let calm = TestDb::fresh().await;
        let dump = self.folder.path().join("stream.frames");
        frames::write(&dump, &stream()[..self.relay.len()]);
        let replayed = support::almanac::json(calm.url().expose(), &["replay", "--json", dump.to_str().unwrap()]);
        assert_eq!(replayed["frames"], self.relay.len());
        assert_eq!(have, (checksum(calm.url().expose()), log::contents(calm.pool()).await));
    }
}

async fn head(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select position from log.head").fetch_one(pool).await.unwrap()
}

async fn server(dir: &std::path::Path) -> Server {
    let mut options = ServerOptions { durable: false, shared_buffers_mib: 32, ..ServerOptions::default() };
    match Server::start(dir, options.clone()).await {
        Err(EmbeddedError::NoBinaries { .. }) => {
            options.search.pg_bin = Some(installed_binaries().await);
            Server::start(dir, options).await.unwrap()
        }
        started => started.unwrap(),
    }
}

/// The most memory that a process ever had resident, in MB.
fn peak_megabytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_stopped() {
    std::fs::create_dir_all(cache_dir()).unwrap();
    let dir = tempfile::Builder::new().prefix("gone-").tempdir_in(cache_dir()).unwrap();
    let postgres = server(dir.path()).await;
    drop(postgres.connect_or_create("app").await.unwrap());
    let url = postgres.url("app");
    let db = db::open(&Target::Url(url.clone()), 4).await.unwrap();
    db.migrate().await.unwrap();
    let scene = Scene::start(url.expose(), db.pool(), stream(), 500).await;

    postgres.stop().await;
    // Everything at once: more than may be held.
    scene.relay.release(MANY);
    let said = scene.watch().await;
    assert!(said.contains_key("log"), "what cannot be written is not named: {said:?}");
    let sent = scene.relay.sent();
    assert!(sent < MANY, "the relay felt nothing");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.relay.sent(), sent, "the relay still gets rid of frames");

    let postgres = server(dir.path()).await;
    scene.until_ready().await;
    let pid = scene.serve.running.pid();
    eprintln!("held {sent} frames; at most {} MB", peak_megabytes(pid));
    assert!(peak_megabytes(pid) < 500, "{} MB", peak_megabytes(pid));
    scene.all_is_there(url.expose(), db.pool()).await;
    db.close().await;
    postgres.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_is_cut() {
    through_a_wire_that_is(State::Cut).await;
}

/// Nobody says that anything ended: only a limit on the time of a transaction notices. The server does not learn it
/// either and keeps the appender's lock for a session that nobody talks to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_falls_silent() {
    through_a_wire_that_is(State::Silent).await;
}

async fn through_a_wire_that_is(state: State) {
    let test = TestDb::fresh().await;
    let wire = Wire::before(test.url().expose()).await;
    let scene = Scene::start(&wire.url, test.pool(), &stream()[..FEW], 250).await;
    let before = head(test.pool()).await;
    wire.set(state);
    let said = scene.watch().await;
    assert!(wire.struck() >= 2, "the wire carried no appender and no projector");
    if state == State::Cut {
        assert!(said.contains_key("log"), "what cannot be written is not named: {said:?}");
    }
    let during = head(test.pool()).await;
    wire.set(State::Whole);
    scene.until_ready().await;
    eventually("frames flow again", LIMIT, async || {
        if head(test.pool()).await > during { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    assert!(before <= during && scene.relay.released() > 0);
    scene.all_is_there(test.url().expose(), test.pool()).await;
}
