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

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ::almanac::devnet::Frame;
use ::almanac::event::{Delivery, Environment, Upstream, UpstreamKind};
use ::almanac::event_log::Appender;
use ::almanac::filter::{CollectionSet, DidRule, Policy};
use ::almanac::ingest::{Cursors, Ingest, IngestError, Inquiries, Judge, Sink, Trust};
use ::almanac::source::{QueueLimits, delivery_queue};
use arc_swap::ArcSwap;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;
use support::almanac::checksum;
use support::child::Running;
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
    let frames = frames::calendar(5, 30_000);
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
    relay.release(relay.len());
    let last = relay.last_seq();
    until_cursor(pool, "the stream ends", |seq| seq == last, LIMIT).await;
    until_folded(pool).await;
    let have = (checksum(url), log::contents(pool).await);
    assert_eq!(have, calm(&frames).await);
}

/// While everything that there is comes as fast as it goes, so that a transaction is nearly always under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serve_that_is_killed_again_and_again_misses_nothing() {
    let seed: u64 = std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let frames = frames::calendar(seed, 8_000);
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let relay = Relay::start(&frames).await;
    let mut at = Vec::new();
    let mut serve = Serve::start(db.url().expose(), &relay.url, folder.path());
    eventually("connected", LIMIT, async || if relay.connections() == 1 { Ok(()) } else { Err(String::new()) }).await;
    for kill in 1..=12 {
        let before = cursor(db.pool()).await.unwrap_or(0);
        relay.release(frames.len() * kill / 14);
        until_cursor(db.pool(), "frames flow", |seq| seq > before, LIMIT).await;
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..100_000))).await;
        serve.kill();
        at.push(cursor(db.pool()).await.unwrap());
        serve = Serve::start(db.url().expose(), &relay.url, folder.path());
    }
    eprintln!("killed at {at:?} of {}", relay.last_seq());
    relay.release(frames.len());
    let last = relay.last_seq();
    until_cursor(db.pool(), "the stream ends", |seq| seq == last, LIMIT).await;
    until_folded(db.pool()).await;
    assert_eq!((checksum(db.url().expose()), log::contents(db.pool()).await), calm(&frames).await);
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
    for (i, args) in
        [&serve[..], &["replay", dump.to_str().unwrap()], &["rebuild"], &["status"]].into_iter().enumerate()
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
        command.args(args).args(["--environment", "prod", "--database-url", url]);
        let mut process = Running::start(args[0], &mut command, &folder.path().join(format!("{i}.log")));
        let status = process.end(SECONDS);
        let said = process.log();
        assert_eq!(status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("`test`") && said.contains("`prod`"), "{args:?} does not name both environments: {said}");
    }
    let events: i64 = sqlx::query_scalar("select count(*) from log.event").fetch_one(db.pool()).await.unwrap();
    assert_eq!(events, 0);
}

/// Another process led while this one's connection was gone. It must learn that from its next append, not from the one
/// after, which may be hours away.
#[tokio::test]
async fn a_replaced_appender_ends_although_nothing_more_comes() {
    let db = TestDb::fresh().await;
    let frames = frames::calendar(6, 40);
    let appender = Appender::try_lead(db.db().connect().await.unwrap(), "first").await.unwrap().unwrap();
    sqlx::query("update log.head set leader = 'second'").execute(db.pool()).await.unwrap();
    let policy = Policy::new(
        Environment::parse("test").unwrap(),
        CollectionSet::parse(["community.lexicon.calendar.*"]).unwrap(),
        DidRule::Network,
    );
    let (position, _head) = tokio::sync::watch::channel(0);
    let ingest = Ingest {
        judge: Judge::new(Default::default(), Trust::Unverified, Default::default(), None),
        inquiries: Inquiries::none(),
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        cursors: Arc::new(Cursors::default()),
        position,
        health: Box::new(|_| {}),
        on_host_word: Box::new(|_| {}),
    };
    let (out, queue) = delivery_queue(QueueLimits::default());
    let upstream = Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test"));
    let delivery = |frame: &Frame| Delivery {
        upstream: upstream.clone(),
        seen_at: chrono::Utc::now(),
        live: true,
        frame: frame.bytes.clone().into(),
    };
    for frame in &frames {
        out.send(delivery(frame)).await.unwrap();
    }
    let sink = Sink::Log { db: db.db().clone(), appender: Box::new(appender), name: "first".to_owned() };
    let ended = tokio::time::timeout(SECONDS, ingest.run(queue, sink)).await.expect("it waits for more");
    assert!(matches!(ended, Err(IngestError::Replaced)));
    assert!(out.send(delivery(&frames[0])).await.is_err(), "deliveries go on into nothing");
    assert_eq!(cursor(db.pool()).await, None);
}
