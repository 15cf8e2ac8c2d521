//! Gaps in the database: noted once, and each account that they may concern queued once. And a host that ends the stream
//! because we are slow is asked to go on where we are.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod host;
    pub mod postgres;
    pub mod serve;
}

use std::sync::Arc;
use std::time::Duration;

use almanac::devnet::frames;
use almanac::event::{Upstream, UpstreamKind};
use almanac::source::gap::{self, Gap, GapKind};
use chrono::{TimeDelta, Utc};
use support::almanac as executable;
use support::host::{Host, Talk, numbered};
use support::postgres::TestDb;
use support::serve::{Serve, eventually};

const LIMIT: Duration = Duration::from_secs(60);

fn gap(kind: UpstreamKind, name: &str, gap: GapKind, seq_before: i64) -> Gap {
    Gap {
        upstream: Arc::new(Upstream::new(kind, name)),
        kind: gap,
        seq_before: Some(seq_before),
        seq_after: Some(900),
        time_before: Some(Utc::now() - TimeDelta::hours(2)),
        time_after: None,
        detail: "so it is".to_owned(),
    }
}

/// Accounts in scope: two on pds.one, one on pds.two with a port, one of whom nobody knows.
async fn with_accounts() -> TestDb {
    let db = TestDb::fresh().await;
    sqlx::query(
        "insert into ingest.repo (did, pds) values ('did:plc:a', 'https://pds.one'), ('did:plc:b', 'https://PDS.one/x'),
             ('did:plc:c', 'https://pds.two:8443'), ('did:plc:d', null)",
    )
    .execute(db.pool())
    .await
    .unwrap();
    db
}

async fn record(db: &TestDb, gaps: &[Gap]) -> u64 {
    let mut tx = db.pool().begin().await.unwrap();
    let queued = gap::record(&mut tx, gaps).await.unwrap();
    tx.commit().await.unwrap();
    queued
}

/// (account, reason, state, again, priority) of every job.
async fn jobs(db: &TestDb) -> Vec<(String, String, String, bool, i32)> {
    sqlx::query_as("select did, reason, state, again, priority from source.backfill_job order by did")
        .fetch_all(db.pool())
        .await
        .unwrap()
}

async fn queued(db: &TestDb) -> Vec<String> {
    let rows = sqlx::query_scalar("select substr(did, 9) from source.backfill_job order by did");
    rows.fetch_all(db.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_queues_whom_its_upstream_may_carry() {
    let cases: &[(UpstreamKind, &str, &[&str])] = &[
        (UpstreamKind::Relay, "relay.test", &["a", "b", "c", "d"]),
        (UpstreamKind::Pds, "pds.one", &["a", "b", "d"]),
        (UpstreamKind::Pds, "pds.two:8443", &["c", "d"]),
        // Nobody lives there by that name, so it may be anybody's.
        (UpstreamKind::Pds, "127.0.0.1:2583", &["a", "b", "c", "d"]),
    ];
    for (kind, name, expected) in cases {
        let db = with_accounts().await;
        assert_eq!(record(&db, &[gap(*kind, name, GapKind::Jump, 5)]).await, expected.len() as u64, "{name}");
        assert_eq!(queued(&db).await, *expected, "{name}");
        let noted = gap::recent(db.pool(), Utc::now() - TimeDelta::hours(1), 10).await.unwrap();
        assert_eq!(noted.len(), 1);
        let noted = &noted[0];
        assert_eq!((&*noted.upstream, &*noted.kind, noted.accounts_queued), (*name, "jump", expected.len() as i64));
        assert_eq!((noted.seq_before, noted.seq_after, noted.time_after), (Some(5), Some(900), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_merged_into_the_jobs_there_are() {
    let db = with_accounts().await;
    sqlx::query(
        "insert into source.backfill_job (did, reason, state, priority, attempts, not_before) values
             ('did:plc:a', 'desynchronized', 'queued', 50, 2, now() + interval '1 hour'),
             ('did:plc:b', 'coverage', 'queued', 0, 0, now()),
             ('did:plc:c', 'new_account', 'running', 30, 1, now()),
             ('did:plc:d', 'asked', 'done', 60, 3, now() + interval '1 day')",
    )
    .execute(db.pool())
    .await
    .unwrap();
    record(&db, &[gap(UpstreamKind::Relay, "relay.test", GapKind::Window, 5)]).await;
    let job = |did: &str, reason: &str, state: &str, again, priority| {
        (format!("did:plc:{did}"), reason.to_owned(), state.to_owned(), again, priority)
    };
    assert_eq!(
        jobs(&db).await,
        [
            job("a", "desynchronized", "queued", false, 50),
            job("b", "gap", "queued", false, 20),
            job("c", "gap", "running", true, 20),
            job("d", "gap", "queued", false, 20),
        ]
    );
    let due: Vec<bool> = sqlx::query_scalar("select not_before <= now() from source.backfill_job order by did")
        .fetch_all(db.pool())
        .await
        .unwrap();
    assert_eq!(due, [false, true, true, true], "a job that waits for its host must go on waiting, a new one must not");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_gap_at_every_attempt_is_noted_once() {
    let db = with_accounts().await;
    let again = gap(UpstreamKind::Relay, "relay.test", GapKind::OutdatedCursor, 5);
    assert_eq!(record(&db, &[again.clone(), again.clone()]).await, 4);
    assert_eq!(record(&db, std::slice::from_ref(&again)).await, 0);
    // Another cursor, another kind, another host: another gap. So is the same much later.
    record(&db, &[Gap { seq_before: Some(6), ..again.clone() }]).await;
    record(&db, &[Gap { kind: GapKind::Jump, ..again.clone() }]).await;
    record(&db, &[gap(UpstreamKind::Relay, "other.test", GapKind::OutdatedCursor, 5)]).await;
    sqlx::query("update source.gap set noted_at = noted_at - interval '2 hours'").execute(db.pool()).await.unwrap();
    assert_eq!(record(&db, &[again]).await, 4);
    let count: i64 = sqlx::query_scalar("select count(*) from source.gap").fetch_one(db.pool()).await.unwrap();
    assert_eq!(count, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_finds_us_slow_is_asked_to_go_on_where_we_are() {
    let now = Utc::now();
    let said = |seqs: std::ops::RangeInclusive<i64>| seqs.map(|seq| numbered(seq, now)).collect::<Vec<_>>();
    let mut first = said(1..=5);
    first.push(frames::error("ConsumerTooSlow", Some("Stream consumer too slow")));
    let host =
        Host::start(vec![Talk { frames: first, closes: true }, Talk { frames: said(6..=8), closes: false }]).await;
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(db.url().expose(), &host.url, folder.path());
    eventually("the second connection is handled", LIMIT, async || {
        let status = executable::json(db.url().expose(), &["status", "--json"]);
        if status["upstreams"][0]["cursor"] == 8 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert_eq!(host.cursors(), [None, Some(5)], "what came before was not handled, or is asked for again");
    let metric = async |name: &str| serve.metric(name).await;
    assert_eq!(metric("almanac_ingest_host_notices_total{name=\"ConsumerTooSlow\"}").await, Some(1.0));
    assert_eq!(metric("almanac_source_connected_upstreams").await, Some(1.0));
    assert_eq!(metric("almanac_source_stopped_upstreams").await, Some(0.0));
    for kind in GapKind::ALL {
        let series = format!("almanac_source_gaps_total{{kind=\"{}\"}}", kind.as_str());
        // It began without a cursor, once.
        let begun = f64::from(u8::from(*kind == GapKind::NoCursor));
        assert_eq!(metric(&series).await, Some(begun), "{series}");
    }
    let (_, status) = serve.get(&format!("{}/admin/status", serve.admin), &[]).await;
    assert!(status.contains("\"live\"") && status.contains("closed"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_upstream_is_counted_and_says_why() {
    let word = frames::error("FutureCursor", Some("Cursor in the future."));
    let host = Host::start(vec![Talk { frames: vec![word], closes: true }]).await;
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(db.url().expose(), &host.url, folder.path());
    eventually("it is stopped", LIMIT, async || match serve.metric("almanac_source_stopped_upstreams").await {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let (_, status) = serve.get(&format!("{}/admin/status", serve.admin), &[]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let why = status["upstreams"][0]["lastError"].as_str().unwrap();
    assert_eq!(status["upstreams"][0]["state"], "stopped");
    assert!(why.starts_with("stopped: ") && why.contains("log.cursor"), "{why}");
    assert_eq!(host.cursors().len(), 1);
}
