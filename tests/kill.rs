//! A replay killed at twenty random moments and run again, and a rebuild killed midway: the same tables and the same log
//! as if nothing had happened.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod log;
    pub mod postgres;
}

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;
use support::postgres::TestDb;
use support::{almanac, frames, log};

const FRAMES: usize = 100_000;
const KILLS: u32 = 20;
const LIMIT: Duration = Duration::from_secs(300);

async fn position(pool: &PgPool, of: &'static str) -> i64 {
    sqlx::query_scalar(of).fetch_one(pool).await.unwrap()
}

const BOTH: &str = "select (select position from log.head) + (select position from calendar.checkpoint)";

/// Waits until what `of` counts has come to `target`.
async fn until(pool: &PgPool, of: &'static str, target: i64, runs: &mut support::child::Running) {
    let begun = Instant::now();
    while position(pool, of).await < target {
        assert!(runs.runs(), "it ended before it came to {target}");
        assert!(begun.elapsed() < LIMIT, "it does not come to {target}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn killed_twenty_times_and_run_again() {
    let seed: u64 = std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("calendar.frames");
    frames::write(&dump, &frames::calendar(seed, FRAMES));
    let replay = ["replay", "--json", dump.to_str().unwrap()];

    let calm = TestDb::fresh().await;
    let summary = almanac::json(calm.url().expose(), &replay);
    assert_eq!(summary["frames"], FRAMES);
    eprintln!("undisturbed: {} s", summary["seconds"]);
    let want = (almanac::checksum(calm.url().expose()), log::contents(calm.pool()).await);
    let whole = 2 * position(calm.pool(), "select position from log.head").await;

    let db = TestDb::fresh().await;
    let url = db.url().expose();
    let file = folder.path().join("killed.log");
    let mut heights = Vec::new();
    for kill in 0..KILLS {
        // The last tenth is left to the run that ends by itself.
        let from = whole * i64::from(kill) / i64::from(KILLS + 2);
        let target = from + dice.random_range(0..whole / i64::from(KILLS + 2));
        let mut run = almanac::start(url, &replay, &file);
        until(db.pool(), BOTH, target, &mut run).await;
        // Anywhere within the batches that follow.
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..250_000))).await;
        assert!(run.kill(), "it ended by itself before kill {kill}");
        heights.push(position(db.pool(), BOTH).await);
    }
    eprintln!("killed at {heights:?} of {whole}");
    assert!(heights.windows(2).filter(|pair| pair[0] < pair[1]).count() >= 10, "the kills are not spread: {heights:?}");
    let summary = almanac::json(url, &replay);
    assert!(summary["duplicates"].as_u64().unwrap() > 0, "nothing was there already: {summary}");
    assert_eq!((almanac::checksum(url), log::contents(db.pool()).await), want);

    // A rebuild that is killed leaves the old tables as they are.
    let mut rebuild = almanac::start(url, &["rebuild"], &file);
    let begun = Instant::now();
    let there = "select count(*) from pg_tables where schemaname = 'calendar_next' and tablename = 'checkpoint'";
    while position(db.pool(), there).await == 0 {
        assert!(rebuild.runs() && begun.elapsed() < LIMIT, "no rebuild begins");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let midway = dice.random_range(whole / 20..whole / 5);
    until(db.pool(), "select position from calendar_next.checkpoint", midway, &mut rebuild).await;
    assert!(rebuild.kill(), "the rebuild ended by itself");
    assert_eq!(almanac::checksum(url), want.0);
    let rebuilt = almanac::json(url, &["rebuild", "--json"]);
    assert_eq!(rebuilt["position"], position(db.pool(), "select position from log.head").await);
    assert_eq!(rebuilt["events"], rebuilt["position"]);
    assert_eq!(almanac::checksum(url), want.0);
    let left: i64 =
        position(db.pool(), "select count(*) from pg_namespace where nspname in ('calendar_next', 'calendar_old')")
            .await;
    assert_eq!(left, 0, "a rebuild leaves nothing behind");
}

/// Its session would hold the right to rebuild until the statement ends, which may take minutes.
#[tokio::test]
async fn a_rebuild_killed_in_a_statement_leaves_the_way_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("calendar.frames");
    frames::write(&dump, &frames::calendar(7, 500));
    let db = TestDb::fresh().await;
    let url = db.url().expose();
    almanac::json(url, &["replay", "--json", dump.to_str().unwrap()]);
    let want = almanac::checksum(url);

    let mut reader = db.pool().begin().await.unwrap();
    sqlx::query("select from calendar.checkpoint for update").execute(&mut *reader).await.unwrap();
    let file = folder.path().join("rebuild.log");
    let mut killed = almanac::start(url, &["rebuild"], &file);
    let begun = Instant::now();
    let waiting = "select coalesce(max(pid), 0)::bigint from pg_stat_activity
         where wait_event_type = 'Lock' and query like '%calendar.checkpoint for update%'";
    let waits = async |rebuild: &mut support::child::Running, not: i64| loop {
        let session = position(db.pool(), waiting).await;
        if session != 0 && session != not {
            return session;
        }
        assert!(rebuild.runs() && begun.elapsed() < LIMIT, "no rebuild comes to its exchange");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let session = waits(&mut killed, 0).await;
    assert!(killed.kill());
    let mut next = almanac::start(url, &["rebuild"], &file);
    waits(&mut next, session).await;
    reader.rollback().await.unwrap();
    assert!(next.end(LIMIT).success());
    assert_eq!(almanac::checksum(url), want);
}
