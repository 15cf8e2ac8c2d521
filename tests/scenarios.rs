//! For each message what should happen to it, and what the tables show in the end: `replay-fixtures/scenarios/`.
//!
//! The generator makes the messages; they go through ingest and projection into an empty Postgres, in the order of the
//! scenario, then backwards into another, then all of them once more. The tables must be the same each time.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::{Repo, Tid, Write, frames};
use almanac::event::{Delivery, Environment, Upstream, UpstreamKind};
use almanac::event_log::{self, Appender};
use almanac::filter::{CollectionSet, DidRule, Policy};
use almanac::ingest::{Batch, Cursors, Ingest, Inquiries, Judge, Sink, Trust, load_known};
use almanac::projection::{Projector, checksum, rebuild};
use almanac::source::{QueueLimits, delivery_queue};
use arc_swap::ArcSwap;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sqlx::PgPool;
use support::postgres::TestDb;
use tokio::sync::watch;

/// 2026-11-01T10:00:00Z, the minute 0 of every scenario.
const START: i64 = 1_793_527_200_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    says: String,
    message: Vec<Message>,
    expect: Expect,
    #[serde(default = "yes")]
    any_order: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    by: String,
    at: i64,
    create: Option<Put>,
    update: Option<Put>,
    delete: Option<String>,
    identity: Option<String>,
    account: Option<String>,
    sync: Option<bool>,
    unknown: Option<String>,
    info: Option<String>,
    becomes: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    path: String,
    record: Json,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expect {
    events: Vec<Json>,
    rsvps: Vec<Json>,
    accounts: Option<Vec<Json>>,
}

fn did(name: &str) -> String {
    format!("did:plc:{name:2<24}")
}

/// `event/KEY` and `rsvp/KEY` stand for the calendar's collections.
fn path(short: &str) -> String {
    match short.split_once('/').unwrap() {
        ("event", key) => format!("community.lexicon.calendar.event/{key}"),
        ("rsvp", key) => format!("community.lexicon.calendar.rsvp/{key}"),
        _ => short.to_owned(),
    }
}

/// `BY/event/KEY` as an AT-URI.
fn uri(short: &str) -> String {
    let (by, rest) = short.split_once('/').unwrap();
    format!("at://{}/{}", did(by), path(rest))
}

/// The network of one scenario while it writes.
#[derive(Default)]
struct World {
    repos: BTreeMap<String, Repo>,
    /// Records as they are now, by AT-URI.
    records: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn frame(&mut self, message: &Message, seq: i64) -> Vec<u8> {
        let (name, micros) = (&message.by, START + message.at * 60_000_000);
        let did = did(name);
        let stamp = frames::Stamp { seq, did: &did, micros };
        let write = match message {
            Message { create: Some(put), .. } => {
                Some(Write::Create { path: path(&put.path), record: self.record(put) })
            }
            Message { update: Some(put), .. } => {
                Some(Write::Update { path: path(&put.path), record: self.record(put) })
            }
            Message { delete: Some(short), .. } => Some(Write::Delete { path: path(short) }),
            _ => None,
        };
        if let Some(write) = write {
            let entropy = std::array::from_fn(|i| did.as_bytes()[8 + i % 24]);
            let new = || Repo::new(did.clone(), SigningKey::from_entropy(Curve::K256, entropy));
            let repo = self.repos.entry(name.clone()).or_insert_with(new);
            let rev = Tid::new(micros as u64, 0);
            let commit =
                repo.apply(std::slice::from_ref(&write), rev).unwrap_or_else(|e| panic!("minute {}: {e}", message.at));
            if let Write::Create { path, record } | Write::Update { path, record } = write {
                self.records.insert(format!("at://{did}/{path}"), record);
            }
            return frames::commit(stamp, &commit);
        }
        match message {
            Message { identity: Some(handle), .. } => frames::identity(stamp, Some(handle)),
            Message { account: Some(word), .. } if word == "active" => frames::account(stamp, true, None),
            Message { account: Some(word), .. } => frames::account(stamp, false, Some(word)),
            Message { sync: Some(true), .. } => frames::sync(stamp, self.repos[name].head().unwrap()),
            Message { info: Some(name), .. } => frames::info(name, None),
            Message { unknown: Some(kind), .. } => {
                let mut frame = Value::map([("op", Value::Int(1)), ("t", Value::text(kind.as_str()))]).encode();
                Value::map([("seq", Value::Int(seq)), ("did", Value::text(did))]).encode_into(&mut frame);
                frame
            }
            _ => panic!("the message of minute {} says nothing", message.at),
        }
    }

    /// The record with its `$type`, and its subject as a strong reference.
    fn record(&self, put: &Put) -> Vec<u8> {
        let mut record = put.record.clone();
        let whole = path(&put.path);
        record["$type"] = whole.split_once('/').unwrap().0.into();
        if let Some(short) = put.record["subject"].as_str() {
            let uri = uri(short);
            let cid = cid_of(self.records.get(&uri).unwrap_or_else(|| panic!("no {uri} yet"))).to_string();
            record["subject"] = json!({"uri": uri, "cid": cid});
        }
        value(&record).encode()
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Int(n.as_i64().expect("the data model has whole numbers")),
        Json::String(s) => Value::text(s.as_str()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(fields) => Value::map(fields.iter().map(|(key, v)| (key.as_str(), value(v)))),
    }
}

/// The messages as deliveries, in order of arrival. Each is made at its own minute.
fn deliveries(scenario: &Scenario) -> Vec<Delivery> {
    let upstream = Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test"));
    let mut order: Vec<usize> = (0..scenario.message.len()).collect();
    order.sort_by_key(|i| scenario.message[*i].at);
    let mut world = World::default();
    let mut made: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for i in order {
        // The number is given by the host as it sends.
        made.insert(i, world.frame(&scenario.message[i], 1 + i as i64));
    }
    let seen_at = chrono::DateTime::from_timestamp_micros(START + 24 * 3_600_000_000).unwrap();
    let delivery = |frame: Vec<u8>| Delivery { upstream: upstream.clone(), seen_at, live: true, frame: frame.into() };
    made.into_values().map(delivery).collect()
}

fn policy() -> Policy {
    let collections = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];
    let environment = Environment::parse("test").unwrap();
    Policy::new(environment, CollectionSet::parse(collections).unwrap(), DidRule::Network)
}

/// What becomes of each delivery, in the words of the scenarios.
fn verdicts(deliveries: &[Delivery]) -> Vec<String> {
    let mut judge = Judge::new(Default::default(), Trust::Unverified, Default::default(), None);
    let policy = policy();
    let counts = |judge: &Judge| {
        let tally = &judge.tally;
        let mut counts = vec![("kept".to_owned(), tally.kept), ("set aside".to_owned(), tally.bystanders)];
        counts.extend(tally.dropped_by_reason().map(|(reason, n)| (format!("dropped: {}", reason.as_str()), n)));
        counts.extend(tally.refused_by_reason().iter().map(|(reason, n)| (format!("refused: {reason}"), *n)));
        BTreeMap::from_iter(counts)
    };
    let verdict = |delivery: &Delivery| {
        let before = counts(&judge);
        judge.judge(&policy, delivery, &mut Batch::default());
        let changed = counts(&judge).into_iter().filter(|(name, n)| before.get(name).copied().unwrap_or(0) != *n);
        let changed: Vec<String> = changed.map(|(name, _)| name).collect();
        assert_eq!(changed.len(), 1, "each frame is counted once: {changed:?}");
        changed.into_iter().next().unwrap()
    };
    deliveries.iter().map(verdict).collect()
}

/// Sends deliveries the way that `serve` does, and folds them.
async fn send(db: &TestDb, deliveries: impl IntoIterator<Item = Delivery>) {
    event_log::stamp(db.pool(), &policy().environment).await.unwrap();
    let mut attempt = 0;
    let appender = loop {
        // The lock of the run before goes with its connection, which ends in its own time.
        match Appender::try_lead(db.db().connect().await.unwrap(), "scenario").await.unwrap() {
            Some(appender) => break appender,
            None => attempt += 1,
        }
        assert!(attempt < 10_000, "the appender's lock is never free");
        tokio::task::yield_now().await;
    };
    let scope = load_known(db.pool()).await.unwrap();
    let (out, queue) = delivery_queue(QueueLimits::default());
    let (position, head) = watch::channel(0);
    let health = |result: Result<(), String>| result.unwrap();
    let projecting =
        tokio::spawn(Projector { db: db.db().clone(), rebuild_from: None, health: Box::new(health) }.run(head));
    let ingest = Ingest {
        judge: Judge::new(scope, Trust::Unverified, Default::default(), None),
        inquiries: Inquiries::none(),
        policy: Arc::new(ArcSwap::from_pointee(policy())),
        cursors: Arc::new(Cursors::default()),
        position,
        health: Box::new(health),
        on_host_word: Box::new(|_| {}),
    };
    let sink = Sink::Log { db: db.db().clone(), appender: Box::new(appender), name: "scenario".into() };
    let ingesting = tokio::spawn(ingest.run(queue, sink));
    for delivery in deliveries {
        out.send(delivery).await.unwrap();
    }
    drop(out);
    ingesting.await.unwrap().unwrap();
    projecting.await.unwrap().unwrap();
}

const EVENTS: &str = "select to_jsonb(e) - '{record,search,problems}'::text[] || jsonb_build_object(
        'going', coalesce(c.going, 0), 'interested', coalesce(c.interested, 0), 'notgoing', coalesce(c.notgoing, 0),
        'other', coalesce(c.other, 0),
        'problems', (select coalesce(jsonb_agg(distinct p ->> 'field'), '[]') from jsonb_array_elements(e.problems) p))
    from calendar.events e left join calendar.rsvp_counts c on c.subject_uri = e.uri";
const RSVPS: &str = "select to_jsonb(r) - '{record,problems}'::text[] || jsonb_build_object(
        'subject', r.subject_uri, 'stale', r.subject_stale,
        'problems', (select coalesce(jsonb_agg(distinct p ->> 'field'), '[]') from jsonb_array_elements(r.problems) p))
    from calendar.rsvps r";
const ACCOUNTS: &str = "select to_jsonb(a) from calendar.accounts a";

/// Every row is expected, and every expected row is there with the fields that are named.
async fn compare(what: &str, pool: &PgPool, query: &'static str, key: &str, expected: &[Json]) {
    let rows: Vec<Json> = sqlx::query_scalar(query).fetch_all(pool).await.unwrap();
    let rows: BTreeMap<&str, &Json> = rows.iter().map(|row| (row[key].as_str().unwrap(), row)).collect();
    let whole = |field: &str, short: &Json| match (field, short.as_str()) {
        ("uri" | "subject", Some(short)) => uri(short).into(),
        ("did", Some(name)) => did(name).into(),
        _ => short.clone(),
    };
    let wanted: BTreeMap<String, &Json> =
        expected.iter().map(|want| (whole(key, &want[key]).as_str().unwrap().to_owned(), want)).collect();
    let (have, want): (Vec<&str>, Vec<&str>) = (rows.keys().copied().collect(), wanted.keys().map(|k| &**k).collect());
    assert_eq!(have, want, "{what}: rows");
    for (name, want) in &wanted {
        for (field, value) in want.as_object().unwrap() {
            let found = rows[&**name].get(field).unwrap_or_else(|| panic!("{what}: no column {field}"));
            assert_eq!(*found, whole(field, value), "{what}: {field} of {name}");
        }
    }
}

async fn check(what: &str, pool: &PgPool, expect: &Expect) {
    compare(what, pool, EVENTS, "uri", &expect.events).await;
    compare(what, pool, RSVPS, "uri", &expect.rsvps).await;
    if let Some(accounts) = &expect.accounts {
        compare(what, pool, ACCOUNTS, "did", accounts).await;
    }
}

async fn run(file: &Path) {
    let name = file.file_stem().unwrap().to_str().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let scenario: Scenario = toml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    println!("{name}: {}", scenario.says);
    let deliveries = deliveries(&scenario);
    let expected: Vec<&str> = scenario.message.iter().map(|message| &*message.becomes).collect();
    assert_eq!(verdicts(&deliveries), expected, "{name}: what becomes of the messages");

    let db = TestDb::fresh().await;
    send(&db, deliveries.clone()).await;
    check(name, db.pool(), &scenario.expect).await;
    let sums = checksum(db.pool()).await.unwrap();
    send(&db, deliveries.clone()).await;
    check(&format!("{name}, all of it twice"), db.pool(), &scenario.expect).await;
    rebuild(db.db(), |_| {}).await.unwrap();
    check(&format!("{name}, rebuilt"), db.pool(), &scenario.expect).await;
    assert_eq!(checksum(db.pool()).await.unwrap(), sums, "{name}");

    if scenario.any_order {
        let db = TestDb::fresh().await;
        send(&db, deliveries.into_iter().rev()).await;
        check(&format!("{name}, backwards"), db.pool(), &scenario.expect).await;
        assert_eq!(checksum(db.pool()).await.unwrap(), sums, "{name}, backwards");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() >= 8, "{} scenarios", files.len());
    for file in files {
        run(&file).await;
    }
}
