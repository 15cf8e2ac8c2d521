//! What becomes of accounts that are deleted: hidden at once, their records out of the log after the grace period, and
//! whole again when they come back. Also: what else hides an account, and that what is hidden returns whole.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
}

use std::collections::BTreeMap;
use std::sync::Arc;

use almanac::devnet::cbor::{Value, cid_of};
use almanac::event::{
    AccountStatus, Body, Did, Environment, Event, Handle, Nsid, Observed, Origin, Rev, Rkey, Upstream, UpstreamKind,
    Verification,
};
use almanac::event_log::{self, Appended, Appender};
use almanac::projection::{Projector, checksum, rebuild};
use almanac::service::purge::{PurgeReport, purge};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;
use support::almanac as executable;
use support::postgres::TestDb;
use tokio::sync::watch;

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";

fn did(name: &str) -> Did {
    Did::parse(&format!("did:plc:{name:2<24}")).unwrap()
}

fn rev(n: usize) -> Rev {
    let digits = b"234567abcdefghijklmnopqrstuvwxyz";
    let text: String = (0..13).map(|i| digits[n >> (60 - 5 * i) & 31] as char).collect();
    Rev::parse(&text).unwrap()
}

fn days_ago(days: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::days(days)
}

fn observed(name: &str, body: Body, seen_at: DateTime<Utc>) -> Observed {
    Observed {
        event: Event { did: did(name), body },
        environment: Environment::parse("test").unwrap(),
        origin: Origin::Network,
        rule: None,
        pds: None,
        commit: None,
        verification: Verification::Full,
        upstream: Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test")),
        seq: Some(1),
        seen_at,
        live: true,
    }
}

fn put(name: &str, collection: &str, rkey: &str, n: usize, fields: Vec<(&'static str, Value)>) -> Observed {
    let mut fields = fields;
    fields.push(("$type", Value::text(collection)));
    let record = Value::map(fields).encode();
    let body = Body::Put {
        collection: Nsid::parse(collection).unwrap(),
        rkey: Rkey::parse(rkey).unwrap(),
        rev: rev(n),
        cid: cid_of(&record),
        record: record.into(),
    };
    observed(name, body, days_ago(90))
}

fn event(name: &str, rkey: &str, n: usize) -> Observed {
    put(name, EVENT, rkey, n, vec![("name", Value::text(format!("{name} {rkey} {n}")))])
}

fn going_to(name: &str, to: &str) -> Observed {
    let uri = format!("at://{}/{EVENT}/party", did(to));
    let subject = Value::map([("uri", Value::text(uri)), ("cid", Value::text("bafy"))]);
    let status = Value::text("community.lexicon.calendar.rsvp#going");
    put(name, RSVP, "yes", 1, vec![("status", status), ("subject", subject)])
}

fn account(name: &str, status: AccountStatus, time: DateTime<Utc>, seen_at: DateTime<Utc>) -> Observed {
    observed(name, Body::Account { active: status == AccountStatus::Active, status, time }, seen_at)
}

async fn append(db: &TestDb, events: &[Observed]) -> Appended {
    event_log::stamp(db.pool(), &Environment::parse("test").unwrap()).await.unwrap();
    let mut appender = loop {
        // The lock of the appender before goes with its connection, which ends in its own time.
        match Appender::try_lead(db.db().connect().await.unwrap(), "test").await.unwrap() {
            Some(appender) => break appender,
            None => tokio::task::yield_now().await,
        }
    };
    let mut tx = appender.begin().await.unwrap();
    let appended = tx.append(events).await.unwrap();
    tx.commit().await.unwrap();
    appended
}

/// Folds the log to its end.
async fn fold(db: &TestDb) {
    let (_, head) = watch::channel(0);
    Projector { db: db.db().clone(), rebuild_from: None, health: Box::new(|result| result.unwrap()) }
        .run(head)
        .await
        .unwrap();
}

async fn append_and_fold(db: &TestDb, events: &[Observed]) {
    append(db, events).await;
    fold(db).await;
}

async fn one<T>(db: &TestDb, query: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(query).fetch_one(db.pool()).await.unwrap()
}

async fn shown_of(db: &TestDb, name: &str) -> i64 {
    sqlx::query_scalar(
        "select (select count(*) from calendar.events where did = $1) + (select count(*) from calendar.rsvps where did = $1)",
    )
    .bind(did(name).as_str())
    .fetch_one(db.pool())
    .await
    .unwrap()
}

/// The hashes of the tables, which a rebuild must not change.
async fn sums(db: &TestDb) -> BTreeMap<&'static str, String> {
    let folded = checksum(db.pool()).await.unwrap();
    rebuild(db.db(), |_| {}).await.unwrap();
    assert_eq!(checksum(db.pool()).await.unwrap(), folded, "a rebuild shows something else");
    folded
}

/// Records with bytes in the log, by account.
async fn held(db: &TestDb) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select rtrim(substr(did, 9), '2'), count(record) from log.event where kind = 'put' group by did order by did",
    )
    .fetch_all(db.pool())
    .await
    .unwrap();
    rows.into_iter().collect()
}

async fn purged(db: &TestDb, days: i64) -> PurgeReport {
    purge(db.db(), TimeDelta::days(days), false, |_, _| {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_long_ago_leaves_the_log_and_comes_back_whole() {
    let db = TestDb::fresh().await;
    let url = db.url().expose();
    // More than one transaction of the purge takes.
    let of_gone: Vec<Observed> = (0..1_100)
        .map(|n| event("gone", &format!("e{n}"), n + 1))
        .chain([going_to("gone", "host"), event("gone", "party", 2_000)])
        .collect();
    let deleted = |name: &str, days| account(name, AccountStatus::Deleted, days_ago(days), days_ago(days));
    append(&db, &of_gone).await;
    append_and_fold(&db, &[event("host", "party", 1), going_to("host", "gone")]).await;
    let before = sums(&db).await;
    assert_eq!(shown_of(&db, "gone").await, 1_102);
    let going = "select coalesce(sum(going), 0)::bigint from calendar.rsvp_counts";
    assert_eq!(one::<i64>(&db, going).await, 2);

    append_and_fold(
        &db,
        &[
            deleted("gone", 40),
            event("fresh", "party", 1),
            deleted("fresh", 5),
            // Its word claims to be old, but came today.
            event("liar", "party", 1),
            account("liar", AccountStatus::Deleted, days_ago(400), Utc::now()),
            event("down", "party", 1),
            account("down", AccountStatus::Takendown, days_ago(40), days_ago(40)),
            event("back", "party", 1),
            deleted("back", 40),
            account("back", AccountStatus::Active, days_ago(39), days_ago(39)),
            event("late", "party", 1),
            deleted("late", 40),
        ],
    )
    .await;
    // The index has not heard yet that this one is back.
    append(&db, &[account("late", AccountStatus::Active, days_ago(38), days_ago(38))]).await;
    assert_eq!(shown_of(&db, "gone").await, 0);
    assert_eq!(one::<i64>(&db, going).await, 1);
    for statement in [
        "insert into ingest.repo (did, rev, data, state) values ($1, 'rev', 'data', 'synced')",
        "insert into ingest.held (n, did, upstream, upstream_kind, seen_at, live, frame)
         values (1, $1, 'relay.test', 'relay', now(), true, 'x')",
        "insert into ingest.bystander (did, kind, event_time, upstream, upstream_kind, seen_at, live)
         values ($1, 'identity', now(), 'relay.test', 'relay', now(), true)",
    ] {
        sqlx::query(statement).bind(did("gone").as_str()).execute(db.pool()).await.unwrap();
    }

    let whole = held(&db).await;
    let would = executable::json(url, &["purge", "--dry-run", "--json"]);
    assert_eq!((&would["accounts"], &would["records"]), (&1.into(), &1_102.into()), "{would}");
    assert_eq!(would["accounts_purged"][0]["did"], did("gone").as_str());
    assert_eq!(held(&db).await, whole, "a dry run changed the log");
    assert_eq!(executable::json(url, &["purge", "--json", "--older-than", "50d"])["accounts"], 0);

    // Killed after the first transaction: the rest is found again.
    let run_at = days_ago(0);
    let mut connection = db.db().connect().await.unwrap();
    let first = event_log::purge(&mut connection, &did("gone"), run_at, 100).await.unwrap();
    drop(connection);
    assert_eq!(first.records, 100);
    let did_it = executable::json(url, &["purge", "--json"]);
    assert_eq!((&did_it["accounts"], &did_it["records"]), (&1.into(), &1_002.into()), "{did_it}");
    assert_eq!(did_it["bytes"].as_u64().unwrap() + first.bytes, would["bytes"].as_u64().unwrap());
    let mut left = whole.clone();
    left.insert("gone".into(), 0);
    assert_eq!(held(&db).await, left, "others lost records, or this one kept some");
    let entries: Vec<i64> =
        sqlx::query_scalar("select records from log.purge order by purged_at").fetch_all(db.pool()).await.unwrap();
    assert_eq!(entries, [100, 1_002]);
    assert_eq!(one::<i64>(&db, "select count(*) from ingest.held").await, 0);
    assert_eq!(one::<i64>(&db, "select count(*) from ingest.bystander").await, 0);
    let unknown = "select state = 'partial' and rev is null and data is null from ingest.repo";
    assert!(one::<bool>(&db, unknown).await, "its repository would be taken for one that is here");
    assert_eq!(purged(&db, 30).await, PurgeReport::default(), "nothing is left to purge");
    fold(&db).await;
    assert_eq!(shown_of(&db, "late").await, 1);
    sums(&db).await;

    // It comes back. Until its records do, there is nothing to show, and a frame of before changes nothing.
    append_and_fold(&db, &[account("gone", AccountStatus::Active, days_ago(1), days_ago(1))]).await;
    assert_eq!(shown_of(&db, "gone").await, 0);
    let address = format!("at://{}/{EVENT}/party", did("gone"));
    let life = executable::json(url, &["trace", "--json", &address]);
    assert!(life["reason"].as_str().unwrap().contains("purged"), "{life}");
    assert_eq!(life["purges"].as_array().unwrap().len(), 2);
    assert_eq!((&life["log"][0]["purged"], &life["log"][0]["verification"]), (&true.into(), &"full".into()));
    assert_eq!(life["repository"]["state"], "partial");
    sums(&db).await;
    let again = append(&db, &of_gone).await;
    assert_eq!((again.new, again.duplicates), (1_102, 0), "what was purged may not enter again");
    fold(&db).await;
    assert_eq!(shown_of(&db, "gone").await, 1_102);
    let mut after = sums(&db).await;
    let expected = {
        for name in ["fresh", "liar", "down", "back", "late"] {
            append(&db, &[account(name, AccountStatus::Takendown, days_ago(0), days_ago(0))]).await;
        }
        fold(&db).await;
        after.extend(sums(&db).await);
        before
    };
    assert_eq!(after, expected, "what came back is not what was there");
    // The same once more is the same.
    assert_eq!(append(&db, &of_gone).await.duplicates, 1_102);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_word_takes_away_the_row_that_an_older_word_left() {
    let db = TestDb::fresh().await;
    append_and_fold(&db, &[event("anna", "party", 1)]).await;
    assert_eq!(shown_of(&db, "anna").await, 1);
    // A newer word whose bytes are gone before the index hears of it.
    append(&db, &[event("anna", "party", 2)]).await;
    sqlx::query("update log.event set record = null where position = 2").execute(db.pool()).await.unwrap();
    fold(&db).await;
    assert_eq!(shown_of(&db, "anna").await, 0, "the old version is shown for the new one");
    sums(&db).await;
    // The same word with its bytes, in one batch with the one without.
    sqlx::query("update log.event set dedup = 'else' where position = 2").execute(db.pool()).await.unwrap();
    append_and_fold(&db, &[event("anna", "party", 2)]).await;
    assert_eq!(shown_of(&db, "anna").await, 1);
    sums(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_returns_whole_and_trouble_of_a_host_hides_nobody() {
    use AccountStatus::*;
    let db = TestDb::fresh().await;
    let own = [event("anna", "party", 1), going_to("anna", "berta"), event("anna", "talk", 2)];
    append_and_fold(&db, &[own.as_slice(), &[event("berta", "party", 1), going_to("berta", "anna")]].concat()).await;
    let whole = sums(&db).await;
    let mut minutes = 0;
    let mut says = async |status| {
        minutes += 1;
        let now = days_ago(10) + TimeDelta::minutes(minutes);
        append_and_fold(&db, &[account("anna", status, now, now)]).await;
    };
    for status in [Deactivated, Suspended, Takendown, Deleted, Other] {
        says(status).await;
        assert_eq!(shown_of(&db, "anna").await, 0, "{}", status.as_str());
        assert_eq!(shown_of(&db, "berta").await, 2, "{}", status.as_str());
        let counts = "select coalesce(sum(going + interested + notgoing + other), 0)::bigint from calendar.rsvp_counts";
        assert_eq!(one::<i64>(&db, counts).await, 1, "only berta's own answer counts: {}", status.as_str());
        sums(&db).await;
        says(Active).await;
        assert_eq!(sums(&db).await, whole, "after {}", status.as_str());
    }
    for status in [Throttled, Desynchronized] {
        says(status).await;
        assert_eq!(shown_of(&db, "anna").await, 3, "{}", status.as_str());
        let shown: String = sqlx::query_scalar("select status from calendar.accounts where did = $1 and not hidden")
            .bind(did("anna").as_str())
            .fetch_one(db.pool())
            .await
            .unwrap();
        assert_eq!(shown, status.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_leads_nowhere_is_shown_as_none() {
    let db = TestDb::fresh().await;
    let named = |handle: Option<&str>, days: i64| {
        let handle = handle.map(|h| Handle::parse(h).unwrap());
        observed("anna", Body::Identity { handle, time: days_ago(days) }, days_ago(days))
    };
    let shown = "select handle from calendar.accounts";
    append_and_fold(&db, &[event("anna", "party", 1), named(Some("anna.test"), 9)]).await;
    assert_eq!(one::<Option<String>>(&db, shown).await.as_deref(), Some("anna.test"));
    append_and_fold(&db, &[named(Some("handle.invalid"), 8)]).await;
    assert_eq!(one::<Option<String>>(&db, shown).await, None);
    append_and_fold(&db, &[named(None, 7), named(Some("anna.test"), 9)]).await;
    assert_eq!(one::<Option<String>>(&db, shown).await, None, "nobody looked again");
    sums(&db).await;
    append_and_fold(&db, &[named(Some("berta.test"), 6)]).await;
    assert_eq!(one::<Option<String>>(&db, shown).await.as_deref(), Some("berta.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_sound_everything_is() {
    let db = TestDb::fresh().await;
    let url = db.url().expose();
    append_and_fold(&db, &[event("anna", "party", 1)]).await;
    for statement in [
        "insert into ingest.repo (did, state) values ('did:plc:a', 'synced'), ('did:plc:b', 'synced'), ('did:plc:c', 'partial')",
        "insert into source.backfill_job (did, reason, state, outcome) values ('did:plc:a', 'gap', 'done', 'unchanged'),
             ('did:plc:b', 'gap', 'queued', null)",
        "insert into source.host_state (host, failures, parked_until, last_error)
         values ('pds.test', 3, now() + interval '1 hour', 'no answer'), ('old.test', 9, now() - interval '1 hour', 'x')",
        "insert into source.gap (upstream, kind, detail) values ('relay.test', 'jump', 'far')",
    ] {
        sqlx::query(statement).execute(db.pool()).await.unwrap();
    }
    let status: Json = executable::json(url, &["status", "--json"]);
    assert_eq!(status["log_position"], 1, "what was there before is as it was: {status}");
    assert_eq!(status["repositories"], serde_json::json!({"synced": 2, "partial": 1}));
    assert_eq!(status["jobs"], serde_json::json!({"done": 1, "queued": 1}));
    assert_eq!((&status["gaps"][0]["kind"], &status["held_frames"]), (&"jump".into(), &0.into()));
    let parked = status["parked_hosts"].as_array().unwrap();
    assert_eq!((parked.len(), &parked[0]["host"]), (1, &"pds.test".into()));
    let text = String::from_utf8(executable::run(url, &["status"]).stdout).unwrap();
    for word in ["1 partial, 2 synced", "1 done, 1 queued", "jump", "pds.test"] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}
