//! Two processes on one database: one appends, the other waits and takes over; and whoever belongs to another
//! environment is sent away.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod log;
    pub mod postgres;
    pub mod relay;
    pub mod serve;
}

use std::time::Duration;

use ::almanac::devnet::Frame;
use sqlx::PgPool;
use support::almanac::checksum;
use support::postgres::TestDb;
use support::relay::Relay;
use support::serve::{Serve, eventually};
use support::{almanac, frames, log};

const LIMIT: Duration = Duration::from_secs(60);
/// How soon a standby must append. It looks twice a second.
const SECONDS: Duration = Duration::from_secs(10);

async fn cursor(pool: &PgPool) -> Option<i64> {
    sqlx::query_scalar("select seq from log.cursor").fetch_optional(pool).await.unwrap()
}

async fn until_cursor(pool: &PgPool, what: &str, reached: impl Fn(i64) -> bool, limit: Duration) {
    eventually(what, limit, async || match cursor(pool).await {
        Some(seq) if reached(seq) => Ok(()),
        other => Err(format!("the cursor is at {other:?}")),
    })
    .await;
}

async fn until_ready(serve: &Serve) {
    eventually("ready", LIMIT, async || match serve.ready().await {
        (status, failing) if status == 200 && failing.is_empty() => Ok(()),
        (status, failing) => Err(format!("{status} {failing:?}")),
    })
    .await;
}

async fn until_standby(serve: &Serve) {
    eventually("says that it is a standby", LIMIT, async || match serve.ready().await {
        (status, failing) if status == 503 && failing.get("appender").is_some_and(|why| why.contains("standby")) => {
            Ok(())
        }
        (status, failing) => Err(format!("{status} {failing:?}")),
    })
    .await;
}

async fn until_folded(pool: &PgPool) {
    eventually("the index catches up", LIMIT, async || {
        let behind = "select (select position from log.head) - (select position from calendar.checkpoint)";
        match sqlx::query_scalar::<_, i64>(behind).fetch_one(pool).await.unwrap() {
            0 => Ok(()),
            behind => Err(format!("{behind} behind")),
        }
    })
    .await;
}

/// The same frames without any of this.
async fn calm(frames: &[Frame]) -> (serde_json::Value, log::Contents) {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let dump = folder.path().join("calm.frames");
    frames::write(&dump, frames);
    almanac::json(db.url().expose(), &["replay", "--json", dump.to_str().unwrap()]);
    (checksum(db.url().expose()), log::contents(db.pool()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_from_the_killed_and_from_the_stopped() {
    let frames = frames::calendar(5, 10_000);
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let (url, pool) = (db.url().expose(), db.pool());
    let homes = ["a", "b", "c"].map(|name| folder.path().join(name));
    homes.iter().for_each(|home| std::fs::create_dir(home).unwrap());
    let relay = Relay::start(&frames).await;

    let first = Serve::start(url, &relay.url, &homes[0]);
    until_ready(&first).await;
    relay.release_steadily(400);
    let mut second = Serve::start(url, &relay.url, &homes[1]);
    until_standby(&second).await;
    until_cursor(pool, "frames flow", |_| true, LIMIT).await;
    until_standby(&second).await;
    eventually("the standby answers with what the other takes in", LIMIT, async || {
        let events = second.all("listEvents", "events", &[]).await;
        if events.is_empty() { Err("no event".to_owned()) } else { Ok(()) }
    })
    .await;
    assert_eq!(relay.connections(), 1, "a standby follows no upstream");

    let before = cursor(pool).await.unwrap();
    first.kill();
    let killed = tokio::time::Instant::now();
    until_cursor(pool, "the second appends", |seq| seq > before + 50, SECONDS).await;
    eprintln!("the second appends {:?} after the first was killed", killed.elapsed());
    until_ready(&second).await;

    let third = Serve::start(url, &relay.url, &homes[2]);
    until_standby(&third).await;
    second.running.terminate();
    assert!(second.running.end(SECONDS).success(), "stopped in good order: {}", second.running.log());
    let before = cursor(pool).await.unwrap();
    let stopped = tokio::time::Instant::now();
    until_cursor(pool, "the third appends", |seq| seq > before + 50, SECONDS).await;
    eprintln!("the third appends {:?} after the second was stopped", stopped.elapsed());
    until_ready(&third).await;

    assert!(relay.released() < frames.len(), "all of this must happen in mid-stream");
    let last = relay.last_seq();
    until_cursor(pool, "the stream ends", |seq| seq == last, LIMIT).await;
    until_folded(pool).await;
    let have = (checksum(url), log::contents(pool).await);
    assert_eq!(have, calm(&frames).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_beside_a_running_serve_waits_and_says_so() {
    let frames = frames::calendar(6, 400);
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let dump = folder.path().join("calendar.frames");
    frames::write(&dump, &frames);
    let relay = Relay::start(&frames[..1]).await;
    let mut serve = Serve::start(db.url().expose(), &relay.url, folder.path());
    until_ready(&serve).await;
    let mut replay = almanac::start(
        db.url().expose(),
        &["replay", "--json", dump.to_str().unwrap()],
        &folder.path().join("replay.log"),
    );
    eventually("the replay says that it waits", LIMIT, async || {
        if replay.log().contains("another process appends to this database") { Ok(()) } else { Err(replay.log()) }
    })
    .await;
    assert!(replay.runs());
    let events: i64 = sqlx::query_scalar("select count(*) from log.event").fetch_one(db.pool()).await.unwrap();
    assert_eq!(events, 0, "two appenders");
    serve.running.terminate();
    assert!(serve.running.end(SECONDS).success());
    assert!(replay.end(LIMIT).success(), "{}", replay.log());
    assert_eq!((checksum(db.url().expose()), log::contents(db.pool()).await), calm(&frames).await);
}

#[tokio::test]
async fn a_process_of_another_environment_is_refused() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    assert!(almanac::run(url, &["migrate"]).status.success());
    assert!(almanac::run(url, &["status"]).status.success());
    let dump = folder.path().join("calendar.frames");
    frames::write(&dump, &frames::calendar(6, 10));
    let serve = ["serve", "--relay", "ws://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for args in [&serve[..], &["replay", dump.to_str().unwrap()], &["rebuild"], &["status"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_almanac"));
        command.args(args).args(["--environment", "prod", "--database-url", url]);
        let began = std::time::Instant::now();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("`test`") && said.contains("`prod`"), "{args:?} does not name both environments: {said}");
        assert!(began.elapsed() < SECONDS, "{args:?} took {:?}", began.elapsed());
    }
    let events: i64 = sqlx::query_scalar("select count(*) from log.event").fetch_one(db.pool()).await.unwrap();
    assert_eq!(events, 0);
}
