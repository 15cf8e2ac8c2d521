//! Each trouble between a running `serve` and its upstream ends in a named gap and a sweep, or in an upstream that is
//! stopped and says why; the cursor goes where the stream goes.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod host;
    pub mod postgres;
    pub mod serve;
    pub mod sim;
}

use std::time::Duration;

use almanac::devnet::frames;
use almanac::devnet::sim::{At, Fault, Sim, SimOptions, When};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;
use support::almanac as executable;
use support::host::{Host, Talk, numbered};
use support::postgres::TestDb;
use support::serve::{Serve, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// The cursor that every test starts with.
const CURSOR: i64 = 1_000;

/// A database that followed `host` until its cursor, which was spoken and judged `age` ago; four accounts are in scope, of
/// whom two live on `host`, one elsewhere, and of one nobody knows.
async fn followed(host: &Host, kind: &str, age: TimeDelta) -> TestDb {
    let db = TestDb::fresh().await;
    let time = Utc::now() - age;
    sqlx::query("insert into log.cursor (upstream, kind, seq, event_time, updated_at) values ($1, $2, $3, $4, $4)")
        .bind(&host.name)
        .bind(kind)
        .bind(CURSOR)
        .bind(time)
        .execute(db.pool())
        .await
        .unwrap();
    sqlx::query(
        "insert into ingest.repo (did, pds, identity_at)
         values ('did:plc:a', 'http://' || $1, now()), ('did:plc:b', 'http://' || $1, now()),
             ('did:plc:c', 'https://elsewhere.test', now()), ('did:plc:d', null, null)",
    )
    .bind(&host.name)
    .execute(db.pool())
    .await
    .unwrap();
    db
}

fn status(db: &TestDb) -> Json {
    executable::json(db.url().expose(), &["status", "--json"])
}

async fn cursor_comes_to(db: &TestDb, seq: i64) -> Json {
    eventually("the cursor is there", LIMIT, async || {
        let status = status(db);
        let cursor = status["upstreams"][0]["cursor"].clone();
        if cursor == seq { Ok(status) } else { Err(status.to_string()) }
    })
    .await
}

async fn swept(db: &TestDb) -> Vec<String> {
    let dids = "select substr(did, 9) from source.backfill_job where reason = 'gap' order by did";
    sqlx::query_scalar(dids).fetch_all(db.pool()).await.unwrap()
}

/// What a host says, what gap that is, and where the cursor goes.
struct Case {
    what: &'static str,
    kind: &'static str,
    age: TimeDelta,
    says: Vec<Vec<u8>>,
    gap: Option<&'static str>,
    swept: &'static [&'static str],
    cursor: i64,
}

fn ago(minutes: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::minutes(minutes)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trouble_ends_in_a_named_gap_and_none_in_silence() {
    let all: &[&str] = &["a", "b", "c", "d"];
    let run = |from: i64, to: i64, minutes: i64| (from..=to).map(move |seq| numbered(seq, ago(minutes)));
    let cases = [
        Case {
            what: "the stream goes on",
            kind: "relay",
            age: TimeDelta::hours(1),
            says: run(1_001, 1_010, 59).collect(),
            gap: None,
            swept: &[],
            cursor: 1_010,
        },
        Case {
            what: "some frames come again",
            kind: "pds",
            age: TimeDelta::hours(1),
            says: run(950, 1_000, 90).chain(run(1_001, 1_001, 59)).collect(),
            gap: None,
            swept: &[],
            cursor: 1_001,
        },
        Case {
            what: "the host says it",
            kind: "relay",
            age: TimeDelta::hours(1),
            says: [frames::info("OutdatedCursor", Some("too old"))].into_iter().chain(run(1_001, 1_003, 5)).collect(),
            gap: Some("outdated_cursor"),
            swept: all,
            cursor: 1_003,
        },
        Case {
            what: "too old for a relay, and it says nothing",
            kind: "relay",
            age: TimeDelta::hours(80),
            says: run(5_000, 5_003, 70 * 60).collect(),
            gap: Some("window"),
            swept: all,
            cursor: 5_003,
        },
        Case {
            what: "too old for a PDS, and it says nothing: only its own accounts are concerned",
            kind: "pds",
            age: TimeDelta::hours(30),
            says: run(1_050, 1_051, 5).collect(),
            gap: Some("window"),
            swept: &["a", "b", "d"],
            cursor: 1_051,
        },
        Case {
            what: "hours and thousands of numbers are missing",
            kind: "relay",
            age: TimeDelta::hours(3),
            says: run(9_000, 9_002, 1).collect(),
            gap: Some("jump"),
            swept: all,
            cursor: 9_002,
        },
        Case {
            what: "numbers started anew",
            kind: "relay",
            age: TimeDelta::hours(1),
            says: run(3, 9, 0).collect(),
            gap: Some("sequence_reset"),
            swept: all,
            cursor: 9,
        },
    ];
    for case in cases {
        let host = Host::start(vec![Talk { frames: case.says, closes: false }]).await;
        let db = followed(&host, case.kind, case.age).await;
        let folder = tempfile::tempdir().unwrap();
        let flag = format!("--{}", case.kind);
        let serve = Serve::start_with(db.url().expose(), "", folder.path(), &[&flag, &host.url]);
        let status = cursor_comes_to(&db, case.cursor).await;
        let kinds: Vec<&str> = status["gaps"].as_array().unwrap().iter().map(|g| g["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, Vec::from_iter(case.gap), "{}", case.what);
        assert_eq!(swept(&db).await, case.swept, "{}", case.what);
        assert_eq!(host.cursors(), [Some(CURSOR)], "{}", case.what);
        if let Some(kind) = case.gap {
            let series = format!("almanac_source_gaps_total{{kind=\"{kind}\"}}");
            assert_eq!(serve.metric(&series).await, Some(1.0), "{}", case.what);
            assert_eq!(status["gaps"][0]["accounts_queued"], case.swept.len(), "{}", case.what);
        }
        serve.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reset_the_next_connection_goes_on_in_the_new_numbers() {
    let says = (3..=9).map(|seq| numbered(seq, Utc::now())).collect();
    let host = Host::start(vec![
        Talk { frames: says, closes: true },
        Talk { frames: vec![numbered(10, Utc::now())], closes: false },
    ])
    .await;
    let db = followed(&host, "relay", TimeDelta::hours(1)).await;
    let folder = tempfile::tempdir().unwrap();
    let _serve = Serve::start(db.url().expose(), &host.url, folder.path());
    let status = cursor_comes_to(&db, 10).await;
    assert_eq!(host.cursors(), [Some(CURSOR), Some(9)]);
    assert_eq!(status["gaps"].as_array().unwrap().len(), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_cursor_stops_the_upstream_until_the_operator_removed_it() {
    let word = frames::error("FutureCursor", Some("Cursor in the future."));
    let host = Host::start(vec![
        Talk { frames: vec![word], closes: true },
        Talk { frames: vec![numbered(77, Utc::now())], closes: false },
    ])
    .await;
    let db = followed(&host, "relay", TimeDelta::hours(1)).await;
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(db.url().expose(), &host.url, folder.path());
    eventually("it is stopped and noted", LIMIT, async || {
        let stopped = serve.metric("almanac_source_stopped_upstreams").await;
        let status = status(&db);
        match (stopped, status["gaps"][0]["kind"].as_str()) {
            (Some(1.0), Some("future_cursor")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(swept(&db).await, [""; 0]);
    serve.kill();
    sqlx::query("delete from log.cursor").execute(db.pool()).await.unwrap();
    let _serve = Serve::start(db.url().expose(), &host.url, folder.path());
    let status = cursor_comes_to(&db, 77).await;
    assert_eq!(host.cursors(), [Some(CURSOR), None]);
    assert_eq!(status["gaps"][0]["kind"], "no_cursor", "{status}");
    assert_eq!(swept(&db).await, ["a", "b", "c", "d"]);
}

/// What is written after an account was fetched and before the first frame that is heard is in neither.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_the_first_frame_is_fetched() {
    let sim = Sim::start(SimOptions { seed: 3, hosts: 1, accounts: 3, ..SimOptions::default() }).await.unwrap();
    let dids = sim.dids();
    dids.iter().for_each(|did| drop(sim.create_event(did).unwrap()));
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("almanac.toml");
    // No comparison on a timer comes to help.
    std::fs::write(&settings, "[backfill]\ncoverage_every = '1h'\n").unwrap();
    let unheard = sim.fault(Fault::Dropped, At::relay(), When::ALWAYS);
    let _serve =
        Serve::start_with(db.url().expose(), &sim.relay_ws_url(), folder.path(), &support::sim::flags(&sim, &settings));
    support::sim::settle(db.pool(), &sim, LIMIT, || "what was there before".to_owned()).await;
    sim.create_event(&dids[0]).unwrap();
    assert_eq!(sim.fired(unheard), 1);
    sim.end_fault(unheard);
    sim.create_event(&dids[1]).unwrap();
    support::sim::settle(db.pool(), &sim, LIMIT, || "after the first frame".to_owned()).await;
    assert_eq!(status(&db)["gaps"][0]["kind"], "no_cursor");
}
