//! Reconciliation: what our own log shows confirms what was published; what others did to our records is found; records of our
//! users are adopted; and nobody else's ever touches ours.
//!
//! The log is appended to as ingest does it; intents are stored as attempts leave them. One test is a whole `serve` on the
//! simulated network.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
    pub mod serve;
    pub mod sim;
}

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use almanac::devnet::Write;
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::sim::{Sim, SimOptions};
use almanac::event::{
    AtUri, Body, Did, Environment, Event, Nsid, Observed, Origin, Rev, Rkey, Upstream, UpstreamKind, Verification,
};
use almanac::event_log::{self, Appender};
use almanac::publisher::overlay::{self, Overlaid};
use almanac::publisher::reconcile::{Reconcile, ReconcileError};
use almanac::publisher::{IntentState, Kind, publishing, unseen};
use chrono::Utc;
use serde_json::{Value as Json, json};
use support::almanac as executable;
use support::child::Running;
use support::postgres::TestDb;
use support::serve::{Serve, eventually};
use support::sim;

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
/// Far more than anything here takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn did(name: &str) -> Did {
    Did::parse(&format!("did:plc:{name:2<24}")).unwrap()
}

fn rev(n: u64) -> Rev {
    let digits = b"234567abcdefghijklmnopqrstuvwxyz";
    Rev::parse(&(0..13).map(|i| digits[(n >> (60 - 5 * i) & 31) as usize] as char).collect::<String>()).unwrap()
}

fn uri(name: &str, rkey: &str) -> String {
    format!("at://{}/{EVENT}/{rkey}", did(name))
}

/// An event's record with these texts.
fn record(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter().map(|(name, text)| (*name, Value::text(*text)));
    Value::map(fields.chain([("$type", Value::text(EVENT))])).encode()
}

/// A simple one.
fn named(name: &str) -> Vec<u8> {
    record(&[("name", name), ("createdAt", "2026-01-01T00:00:00.000Z")])
}

fn cid(name: &str) -> String {
    cid_of(&named(name)).to_string()
}

fn observed(name: &str, body: Body) -> Observed {
    Observed {
        event: Event { did: did(name), body },
        environment: Environment::parse("test").unwrap(),
        origin: Origin::Own,
        rule: None,
        pds: None,
        commit: None,
        verification: Verification::Full,
        upstream: Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test")),
        seq: Some(1),
        seen_at: Utc::now(),
        live: true,
    }
}

fn put_bytes(name: &str, rkey: &str, n: u64, record: Vec<u8>) -> Observed {
    let (collection, rkey) = (Nsid::parse(EVENT).unwrap(), Rkey::parse(rkey).unwrap());
    observed(name, Body::Put { collection, rkey, rev: rev(n), cid: cid_of(&record), record: record.into() })
}

fn put(name: &str, rkey: &str, n: u64, text: &str) -> Observed {
    put_bytes(name, rkey, n, named(text))
}

fn delete(name: &str, rkey: &str, n: u64) -> Observed {
    let (collection, rkey) = (Nsid::parse(EVENT).unwrap(), Rkey::parse(rkey).unwrap());
    observed(name, Body::Delete { collection, rkey, rev: rev(n) })
}

fn snapshot(name: &str, n: u64) -> Observed {
    Observed { verification: Verification::Snapshot, ..observed(name, Body::Snapshot { rev: rev(n) }) }
}

/// A database with the environment `test`, and `anna` linked as user `u-anna`.
struct World {
    db: TestDb,
}

/// A row of `publish.record` as far as it matters here.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Row {
    user_id: String,
    client_key: Option<String>,
    cid: Option<String>,
    rev: Option<String>,
    deleted: bool,
    edited: bool,
    edited_cid: Option<String>,
    held_back: bool,
}

impl World {
    async fn new() -> Self {
        let world = World { db: TestDb::fresh().await };
        event_log::stamp(world.db.pool(), &Environment::parse("test").unwrap()).await.unwrap();
        world.link("anna").await;
        world
    }

    async fn run(&self, query: &'static str) {
        sqlx::query(query).execute(self.db.pool()).await.unwrap();
    }

    async fn link(&self, name: &str) {
        sqlx::query(
            "insert into identity.account (user_id, did, pds, custodial) values ($1, $2, 'http://pds.test', true)",
        )
        .bind(format!("u-{name}"))
        .bind(did(name).as_str())
        .execute(self.db.pool())
        .await
        .unwrap();
    }

    async fn append(&self, events: &[Observed]) {
        let mut appender = loop {
            // The lock of the appender before goes with its connection, which ends in its own time.
            match Appender::try_lead(self.db.db().connect().await.unwrap(), "test").await.unwrap() {
                Some(appender) => break appender,
                None => tokio::task::yield_now().await,
            }
        };
        let mut tx = appender.begin().await.unwrap();
        tx.append(events).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn reconcile(&self) -> Reconcile {
        let environment = Environment::parse("test").unwrap();
        Reconcile { pool: self.db.pool().clone(), environment, unseen_after: DAY }
    }

    async fn look(&self) {
        self.reconcile().look().await.unwrap();
    }

    /// A record of the app's, of anna's; its number.
    async fn record(&self, rkey: &str) -> i64 {
        sqlx::query_scalar(
            "insert into publish.record (user_id, did, collection, rkey, client_key) values ('u-anna', $1, $2, $3, $3) returning id",
        )
        .bind(did("anna").as_str())
        .bind(EVENT)
        .bind(rkey)
        .fetch_one(self.db.pool())
        .await
        .unwrap()
    }

    /// An intent that is on its way, as an attempt leaves it before it sends.
    async fn send(&self, record: i64, action: &str, draft: Json) -> i64 {
        sqlx::query_scalar(
            "insert into publish.intent (record_id, action, draft, digest, state, maybe_written)
             values ($1, $2, nullif($3::jsonb, 'null'), '', 'attempted', true) returning id",
        )
        .bind(record)
        .bind(action)
        .bind(draft)
        .fetch_one(self.db.pool())
        .await
        .unwrap()
    }

    /// The PDS's answer to it is stored.
    async fn answer(&self, intent: i64, cid: Option<&str>, n: Option<u64>) {
        sqlx::query(
            "with i as (
                 update publish.intent set state = 'acknowledged', cid = $2, rev = $3, acknowledged_at = now()
                 where id = $1 returning record_id, draft, action
             )
             update publish.record r
             set base = i.draft, cid = $2, rev = coalesce($3, r.rev), deleted = i.action = 'delete'
             from i where r.id = i.record_id",
        )
        .bind(intent)
        .bind(cid)
        .bind(n.map(|n| rev(n).to_string()))
        .execute(self.db.pool())
        .await
        .unwrap();
    }

    async fn end(&self, intent: i64, state: &str) {
        sqlx::query("update publish.intent set state = $2 where id = $1")
            .bind(intent)
            .bind(state)
            .execute(self.db.pool())
            .await
            .unwrap();
    }

    /// A put of this name that the PDS took at revision `n`.
    async fn published(&self, record: i64, text: &str, n: u64) -> i64 {
        let intent = self.send(record, "put", json!({ "name": text, "createdAt": "2026-01-01T00:00:00.000Z" })).await;
        self.answer(intent, Some(&cid(text)), Some(n)).await;
        intent
    }

    /// State and position of an intent.
    async fn state(&self, intent: i64) -> (String, Option<i64>) {
        sqlx::query_as("select state, confirmed_position from publish.intent where id = $1 and (state = 'confirmed') = (confirmed_at is not null)")
            .bind(intent)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    async fn row(&self, name: &str, rkey: &str) -> Option<Row> {
        sqlx::query_as(
            "select user_id, client_key, cid, rev, deleted, edited_elsewhere_at is not null as edited,
                 edited_elsewhere_cid as edited_cid, held_back
             from publish.record where did = $1 and collection = $2 and rkey = $3",
        )
        .bind(did(name).as_str())
        .bind(EVENT)
        .bind(rkey)
        .fetch_optional(self.db.pool())
        .await
        .unwrap()
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(self.db.pool()).await.unwrap()
    }

    async fn shown(&self) -> Vec<Overlaid> {
        let page = overlay::list(self.db.pool(), "u-anna", Kind::Event, None, 50).await.unwrap();
        assert_eq!(page.next, None);
        page.records
    }
}

fn ours(cid: Option<&str>, n: u64) -> Row {
    Row {
        user_id: "u-anna".to_owned(),
        client_key: Some("a".to_owned()),
        cid: cid.map(str::to_owned),
        rev: Some(rev(n).to_string()),
        deleted: cid.is_none(),
        edited: false,
        edited_cid: None,
        held_back: false,
    }
}

fn confirmed(position: i64) -> (String, Option<i64>) {
    ("confirmed".to_owned(), Some(position))
}

fn waits(state: &str) -> (String, Option<i64>) {
    (state.to_owned(), None)
}

#[tokio::test]
async fn the_log_confirms_what_the_pds_took_whichever_comes_first() {
    let world = World::new().await;
    let record = world.record("a").await;
    // The answer first.
    let first = world.published(record, "one", 5).await;
    world.look().await;
    assert_eq!(world.state(first).await, waits("acknowledged"));
    world.append(&[put("anna", "a", 5, "one")]).await;
    world.look().await;
    assert_eq!(world.state(first).await, confirmed(1));
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("one")), 5)));

    // The event first: it may be the write whose answer is on its way, or somebody else's.
    let second = world.send(record, "put", json!({ "name": "two" })).await;
    world.append(&[put("anna", "a", 6, "two")]).await;
    world.look().await;
    let before = Row { held_back: true, ..ours(Some(&cid("one")), 5) };
    assert_eq!((world.state(second).await, world.row("anna", "a").await), (waits("attempted"), Some(before)));
    world.answer(second, Some(&cid("two")), Some(6)).await;
    world.look().await;
    assert_eq!(world.state(second).await, confirmed(2));
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("two")), 6)));

    // A delete, and everything once more.
    let third = world.send(record, "delete", Json::Null).await;
    world.answer(third, None, Some(7)).await;
    world.look().await;
    assert_eq!(world.state(third).await, waits("acknowledged"), "the log still has a put");
    world.append(&[delete("anna", "a", 7)]).await;
    world.look().await;
    assert_eq!((world.state(third).await, world.row("anna", "a").await), (confirmed(3), Some(ours(None, 7))));
    world.run("update publish.checkpoint set position = 0").await;
    world.look().await;
    assert_eq!(world.state(first).await, confirmed(1));
    assert_eq!(world.row("anna", "a").await, Some(ours(None, 7)));
    assert_eq!(world.count("select position from publish.checkpoint").await, 3);
    assert_eq!(world.count("select count(*) from publish.record").await, 1);
}

#[tokio::test]
async fn what_others_do_to_our_records_is_found() {
    let world = World::new().await;
    let record = world.record("a").await;
    let intent = world.published(record, "one", 5).await;
    world.append(&[put("anna", "a", 5, "one"), put("anna", "a", 7, "theirs"), put("anna", "a", 6, "older")]).await;
    world.look().await;
    assert_eq!(world.state(intent).await, confirmed(1));
    let edited = Row { edited: true, edited_cid: Some(cid("theirs")), ..ours(Some(&cid("theirs")), 7) };
    assert_eq!(world.row("anna", "a").await, Some(edited), "by revision, not by arrival");
    world.append(&[delete("anna", "a", 8), put("anna", "a", 4, "ancient")]).await;
    world.look().await;
    assert_eq!(world.row("anna", "a").await, Some(Row { edited: true, ..ours(None, 8) }));
    // An older word that comes late.
    world.append(&[put("anna", "a", 3, "fossil")]).await;
    world.look().await;
    assert_eq!(world.row("anna", "a").await, Some(Row { edited: true, ..ours(None, 8) }));
}

#[tokio::test]
async fn a_lost_answer_is_no_edit_elsewhere() {
    let world = World::new().await;
    let record = world.record("a").await;
    world.published(record, "one", 5).await;
    world.append(&[put("anna", "a", 5, "one")]).await;
    world.look().await;
    let draft = json!({ "name": "two", "createdAt": "2026-01-01T00:00:00.000Z" });

    // The write arrived, its answer did not; a look at the PDS finds it, and does not learn the revision.
    let intent = world.send(record, "put", draft.clone()).await;
    world.append(&[put("anna", "a", 6, "two")]).await;
    world.look().await;
    world.answer(intent, Some(&cid("two")), None).await;
    world.look().await;
    assert_eq!(world.state(intent).await, confirmed(2));
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("two")), 6)));

    // The same, and then we may not write there any more: what is there is still ours.
    let draft = json!({ "name": "three", "createdAt": "2026-01-01T00:00:00.000Z" });
    let intent = world.send(record, "put", draft.clone()).await;
    world.append(&[put("anna", "a", 7, "three")]).await;
    world.look().await;
    world.end(intent, "refused").await;
    world.look().await;
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("three")), 7)));

    // It did not arrive, and what the log shows is somebody else's.
    let intent = world.send(record, "put", draft).await;
    world.append(&[put("anna", "a", 8, "theirs")]).await;
    world.look().await;
    assert_eq!(world.row("anna", "a").await, Some(Row { held_back: true, ..ours(Some(&cid("three")), 7) }));
    world.end(intent, "conflict").await;
    world.look().await;
    let edited = Row { edited: true, edited_cid: Some(cid("theirs")), ..ours(Some(&cid("theirs")), 8) };
    assert_eq!(world.row("anna", "a").await, Some(edited));
}

#[tokio::test]
async fn what_nobody_heard_is_confirmed_by_a_snapshot() {
    let world = World::new().await;
    let (kept, gone) = (world.record("a").await, world.record("b").await);
    let (first, second) = (world.published(kept, "one", 5).await, world.published(kept, "two", 6).await);
    let third = world.published(gone, "one", 7).await;
    let settled = world.record("c").await;
    world.published(settled, "one", 3).await;
    world.append(&[put("anna", "c", 3, "one"), snapshot("anna", 4), put("anna", "c", 4, "one")]).await;
    world.look().await;
    assert_eq!(world.row("anna", "c").await.map(|row| (row.deleted, row.edited)), Some((false, false)));
    assert_eq!(world.state(first).await, waits("acknowledged"), "it was taken before");
    let row = Observed { verification: Verification::Snapshot, ..put("anna", "a", 9, "two") };
    world.append(&[snapshot("anna", 9), row]).await;
    world.look().await;
    for intent in [first, second] {
        assert_eq!(world.state(intent).await, confirmed(5));
    }
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("two")), 9)), "its row repeats what we wrote");
    assert_eq!(world.state(third).await, confirmed(4));
    let row = world.row("anna", "b").await.unwrap();
    assert_eq!((row.deleted, row.edited, row.rev), (true, true, Some(rev(9).to_string())), "deleted elsewhere");
    let row = world.row("anna", "c").await.unwrap();
    assert_eq!((row.deleted, row.edited), (true, true), "also where nothing waits");
}

#[tokio::test]
async fn a_stranger_never_touches_our_rows() {
    let world = World::new().await;
    world.link("bela").await;
    let record = world.record("a").await;
    let intent = world.published(record, "one", 5).await;
    // The same key, the same bytes, revisions that are newer; of a stranger, and of another user of ours.
    world
        .append(&[
            put("mallory", "a", 5, "one"),
            put("mallory", "a", 6, "theirs"),
            delete("mallory", "a", 7),
            snapshot("mallory", 8),
            put("bela", "a", 5, "one"),
            put("bela", "a", 6, "hers"),
        ])
        .await;
    world.look().await;
    assert_eq!(world.state(intent).await, waits("acknowledged"));
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("one")), 5)));
    assert_eq!(world.row("mallory", "a").await, None);
    let hers = world.row("bela", "a").await.unwrap();
    assert_eq!((hers.user_id.as_str(), hers.client_key, hers.cid), ("u-bela", None, Some(cid("hers"))));
    assert_eq!(world.shown().await.len(), 1, "and is in nobody else's list");
    // The key in another collection of our own account.
    let Body::Put { rkey, rev, cid, record, .. } = put("anna", "a", 9, "x").event.body else { unreachable!() };
    let collection = Nsid::parse(RSVP).unwrap();
    world.append(&[observed("anna", Body::Put { collection, rkey, rev, cid, record })]).await;
    world.look().await;
    assert_eq!(world.state(intent).await, waits("acknowledged"));
    assert_eq!(world.row("anna", "a").await.unwrap().rev, Some(self::rev(5).to_string()));
}

#[tokio::test]
async fn only_what_is_proven_and_of_this_environment_counts() {
    let world = World::new().await;
    let record = world.record("a").await;
    let intent = world.published(record, "one", 5).await;
    let event = |n, text| put("anna", "a", n, text);
    world
        .append(&[
            Observed { verification: Verification::None, ..event(5, "one") },
            Observed { verification: Verification::Listed, ..event(6, "theirs") },
            Observed { environment: Environment::parse("staging").unwrap(), ..event(7, "theirs") },
            Observed { verification: Verification::Listed, ..snapshot("anna", 8) },
            Observed { verification: Verification::None, ..put("anna", "new", 9, "x") },
        ])
        .await;
    world.look().await;
    assert_eq!(world.state(intent).await, waits("acknowledged"));
    assert_eq!(world.row("anna", "a").await, Some(ours(Some(&cid("one")), 5)));
    assert_eq!(world.row("anna", "new").await, None);
    assert_eq!(world.count("select position from publish.checkpoint").await, 5);
}

#[tokio::test]
async fn records_of_our_users_are_adopted_once_they_are_ours() {
    let world = World::new().await;
    world
        .append(&[
            put("anna", "a", 5, "one"),
            put("anna", "gone", 5, "x"),
            delete("anna", "gone", 6),
            Observed { origin: Origin::Network, ..put("carla", "c", 5, "hers") },
        ])
        .await;
    world.look().await;
    let adopted = Row { client_key: None, ..ours(Some(&cid("one")), 5) };
    assert_eq!(world.row("anna", "a").await, Some(adopted));
    assert_eq!(world.count("select count(*) from publish.record").await, 1);
    assert_eq!(
        world
            .count("select count(*) from publish.record where base is not null or edited_elsewhere_at is not null")
            .await,
        0
    );
    // From now on what others do to it is told.
    world.append(&[put("anna", "a", 7, "theirs")]).await;
    world.look().await;
    assert_eq!(world.row("anna", "a").await.unwrap().edited_cid, Some(cid("theirs")));

    // A link that came later.
    world.link("carla").await;
    world.look().await;
    let hers = world.row("carla", "c").await.unwrap();
    assert_eq!((hers.user_id.as_str(), hers.client_key, hers.cid), ("u-carla", None, Some(cid("hers"))));
    // Unlinked, written to, and linked again.
    world.run("delete from identity.account where user_id = 'u-carla'").await;
    world.append(&[put("carla", "d", 8, "more")]).await;
    world.look().await;
    assert_eq!(world.row("carla", "d").await, None);
    world.link("carla").await;
    world.look().await;
    assert!(world.row("carla", "d").await.is_some());

    // After a lost database: the rows are gone, the log is there.
    world.run("delete from publish.record").await;
    world.run("delete from publish.adopted").await;
    world.look().await;
    assert_eq!(world.count("select count(*) from publish.record").await, 3);
}

#[tokio::test]
async fn many_records_are_looked_at_in_portions() {
    let world = World::new().await;
    let before: Vec<_> = (0..1_200).map(|n| put("carla", &format!("r{n}"), 5, "x")).collect();
    world.append(&before).await;
    world.look().await;
    world.link("carla").await;
    let mut intents = vec![];
    for n in 0..700 {
        let record = world.record(&format!("k{n}")).await;
        intents.push(world.published(record, "one", 5).await);
    }
    // Nothing of the log is left to be looked at when the answers are stored.
    let events: Vec<_> = (0..700).map(|n| put("anna", &format!("k{n}"), 5, "one")).collect();
    world.append(&events).await;
    world.run("update publish.checkpoint set position = head.position from log.head as head").await;
    world.look().await;
    assert_eq!(world.count("select count(*) from publish.intent where state = 'confirmed'").await, 700);
    assert_eq!(world.count("select count(*) from publish.record where user_id = 'u-carla'").await, 1_200);
}

#[tokio::test]
async fn a_checkpoint_of_another_log_stops_it() {
    let world = World::new().await;
    world.run("update publish.checkpoint set position = 7").await;
    let error = world.reconcile().look().await.unwrap_err();
    assert!(matches!(error, ReconcileError::AheadOfLog { checkpoint: 7, head: 0 }), "{error}");
}

#[tokio::test]
async fn what_stays_unseen_is_counted() {
    let world = World::new().await;
    let pool = world.db.pool();
    let (a, b) = (world.record("a").await, world.record("b").await);
    let old = world.published(a, "one", 5).await;
    world.published(b, "two", 6).await;
    sqlx::query("update publish.intent set acknowledged_at = now() - interval '1000 s' where id = $1")
        .bind(old)
        .execute(pool)
        .await
        .unwrap();
    let late = unseen(pool, Duration::from_secs(900)).await.unwrap();
    assert_eq!((late.intents, late.oldest), (1, Some(uri("anna", "a"))));
    assert!((1000..1100).contains(&late.oldest_seconds), "{}", late.oldest_seconds);
    assert_eq!(unseen(pool, Duration::from_secs(1100)).await.unwrap().intents, 0);
    world.append(&[put("anna", "a", 5, "one"), put("anna", "b", 6, "two")]).await;
    let state = publishing(pool, Duration::from_secs(900)).await.unwrap();
    assert_eq!((state.reconcile_lag, state.records, state.intents["acknowledged"]), (2, 2, 2));
    world.look().await;
    let state = publishing(pool, Duration::from_secs(900)).await.unwrap();
    assert_eq!((state.reconcile_lag, state.unseen.intents, state.intents["confirmed"]), (0, 0, 2));
}

#[tokio::test]
async fn an_author_sees_what_the_log_has_not() {
    let world = World::new().await;
    let base = json!({ "name": "A", "description": "d", "createdAt": "2026-01-01T00:00:00.000Z" });
    let text = |json: &Json| -> Vec<u8> {
        let fields = json.as_object().unwrap().iter();
        record(&fields.map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect::<Vec<_>>())
    };
    // Confirmed; then others added a field, and the log has that.
    let a = world.record("a").await;
    let first = world.send(a, "put", base.clone()).await;
    world.answer(first, Some(&cid_of(&text(&base)).to_string()), Some(5)).await;
    let mut theirs = base.clone();
    theirs["foreign"] = "kept".into();
    world.append(&[put_bytes("anna", "a", 5, text(&base)), put_bytes("anna", "a", 6, text(&theirs))]).await;
    world.look().await;
    let mut shown = world.shown().await.remove(0);
    theirs["$type"] = EVENT.into();
    assert_eq!((shown.unconfirmed, shown.state, &shown.record), (false, None, &theirs));

    // The PDS took a name and the end of the description; what comes after it waits.
    let second = world.send(a, "put", json!({ "name": "B", "createdAt": "2026-01-01T00:00:00.000Z" })).await;
    world.answer(second, Some("bafymade"), Some(7)).await;
    shown = world.shown().await.remove(0);
    let expected = json!({ "$type": EVENT, "name": "B", "foreign": "kept", "createdAt": "2026-01-01T00:00:00.000Z" });
    assert_eq!((shown.unconfirmed, shown.state, &shown.record), (true, Some(IntentState::Acknowledged), &expected));
    assert_eq!(
        (shown.cid.as_deref(), shown.uri.as_str(), shown.client_key.as_deref()),
        (Some("bafymade"), &*uri("anna", "a"), Some("a"))
    );
    let third = world.send(a, "put", json!({ "name": "C", "startsAt": "2026-05-01T00:00:00.000Z" })).await;
    shown = world.shown().await.remove(0);
    assert_eq!((&shown.record["name"], &shown.record["createdAt"]), (&json!("C"), &json!("2026-01-01T00:00:00.000Z")));
    assert_eq!((shown.state, shown.cid), (Some(IntentState::Attempted), None));

    // What shall be deleted is hidden; what is new is there; what was only found is there; what is refused is not.
    world.send(a, "delete", Json::Null).await;
    let b = world.record("b").await;
    world.send(b, "put", json!({ "name": "new" })).await;
    let c = world.record("c").await;
    let refused = world.send(c, "put", json!({ "name": "no" })).await;
    world.end(refused, "refused").await;
    world.append(&[put("anna", "d", 8, "found")]).await;
    world.look().await;
    let all = world.shown().await;
    let names: Vec<_> = all.iter().map(|shown| (shown.record["name"].as_str().unwrap(), shown.unconfirmed)).collect();
    assert_eq!(names, [("new", true), ("found", false)], "{third}");
    assert!(all[0].record["createdAt"].as_str().unwrap().ends_with('Z'));
    // In pages.
    let page = overlay::list(world.db.pool(), "u-anna", Kind::Event, None, 2).await.unwrap();
    assert_eq!((page.records.len(), page.next.as_deref()), (1, Some("b")));
    let page = overlay::list(world.db.pool(), "u-anna", Kind::Event, Some("b"), 50).await.unwrap();
    assert_eq!(page.records.iter().map(|shown| shown.uri.clone()).collect::<Vec<_>>(), [uri("anna", "d")]);
    assert_eq!(overlay::list(world.db.pool(), "u-anna", Kind::Rsvp, None, 50).await.unwrap().records, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serving_process_confirms_over_the_network_and_is_killed_in_its_middle() {
    let sim = Sim::start(SimOptions { seed: 8, hosts: 1, accounts: 2, ..SimOptions::default() }).await.unwrap();
    let (anna, stranger) = (sim.dids()[0].clone(), sim.dids()[1].clone());
    let world = World { db: TestDb::fresh().await };
    let (past, past_cid) = sim.create_event(&anna).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("almanac.toml");
    std::fs::write(&settings, "[backfill]\nhost_pause = '200ms'\n").unwrap();
    sqlx::query("insert into identity.account (user_id, did, pds, custodial) values ('u-anna', $1, $2, true)")
        .bind(&anna)
        .bind(sim.pds_url(0))
        .execute(world.db.pool())
        .await
        .unwrap();
    let pool = world.db.pool();
    let flags = sim::flags(&sim, &settings);
    let serve = || Serve::start_with(world.db.url().expose(), &sim.relay_ws_url(), folder.path(), &flags);
    let adopted = async |rkey: &str| -> Option<(String, Option<String>)> {
        sqlx::query_as("select cid, client_key from publish.record where did = $1 and rkey = $2")
            .bind(&anna)
            .bind(rkey)
            .fetch_optional(pool)
            .await
            .unwrap()
    };
    let mut running = serve();
    eventually("what was there before is adopted", LIMIT, async || {
        let found = adopted(past.split_once('/').unwrap().1).await;
        if found == Some((past_cid.to_string(), None)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    for (n, crash) in [None, Some("publish.confirming"), Some("publish.confirmed")].into_iter().enumerate() {
        // As the publisher leaves it, and as the PDS does.
        let rkey = format!("wished{n}");
        let bytes = named(&rkey);
        let cid = cid_of(&bytes).to_string();
        let path = format!("{EVENT}/{rkey}");
        let intent: i64 = sqlx::query_scalar(
            "with r as (
                 insert into publish.record (user_id, did, collection, rkey, client_key, cid)
                 values ('u-anna', $1, $2, $3, $3, $4) returning id
             )
             insert into publish.intent (record_id, action, draft, digest, state, maybe_written, cid, acknowledged_at)
             select id, 'put', '{}', '', 'acknowledged', true, $4, now() from r returning id",
        )
        .bind(&anna)
        .bind(EVENT)
        .bind(&rkey)
        .bind(&cid)
        .fetch_one(pool)
        .await
        .unwrap();
        if let Some(crash) = crash {
            running.kill();
            let mut command = Serve::command(world.db.url().expose(), &sim.relay_ws_url(), folder.path(), &flags);
            let mut doomed =
                Running::start("almanac", command.env("ALMANAC_CRASH_AT", crash), &folder.path().join(crash));
            doomed.json_line_with("ready", LIMIT);
            sim.write(&anna, &[Write::Create { path: path.clone(), record: bytes.clone() }]).unwrap();
            sim.write(&stranger, &[Write::Create { path: path.clone(), record: bytes }]).unwrap();
            assert_eq!(doomed.end(LIMIT).signal(), Some(9), "{crash}");
            let state = world.state(intent).await.0;
            assert_eq!(state == "confirmed", crash == "publish.confirmed", "{crash}: {state}");
            running = serve();
        } else {
            sim.write(&stranger, &[Write::Create { path: path.clone(), record: bytes.clone() }]).unwrap();
            sim.write(&anna, &[Write::Create { path: path.clone(), record: bytes }]).unwrap();
        }
        eventually("it is confirmed", LIMIT, async || match world.state(intent).await {
            (state, Some(_)) if state == "confirmed" => Ok(()),
            other => Err(format!("{other:?}\n{}", running.running.log())),
        })
        .await;
        let position = world.state(intent).await.1;
        let of: String = sqlx::query_scalar("select did from log.event where position = $1")
            .bind(position)
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(of, anna, "by the owner's own word");
    }
    assert_eq!(world.count("select count(*) from publish.record where edited_elsewhere_at is not null").await, 0);
    let strangers: i64 = sqlx::query_scalar("select count(*) from publish.record where did = $1")
        .bind(&stranger)
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(strangers, 0);

    // Somebody edits one.
    let uri = AtUri::parse(&format!("at://{anna}/{EVENT}/wished0")).unwrap();
    let theirs = sim.update_event(&anna, &format!("{EVENT}/wished0")).unwrap().to_string();
    eventually("the edit is found", LIMIT, async || {
        let life =
            executable::command(world.db.url().expose(), &["trace", "--json", &uri.to_string()]).output().unwrap();
        let life: Json = serde_json::from_slice(&life.stdout).map_err(|e| e.to_string())?;
        let published = &life["publishing"];
        if published["edited_elsewhere_cid"] == theirs.as_str() && published["intents"][0]["state"] == "confirmed" {
            Ok(())
        } else {
            Err(published.to_string())
        }
    })
    .await;
    for (series, least) in [
        ("almanac_publisher_reconciled_findings_total{finding=\"edited_elsewhere\"}", 1.0),
        ("almanac_publisher_reconciled_findings_total{finding=\"deleted_elsewhere\"}", 0.0),
        ("almanac_publisher_reconcile_ignored_events_total{reason=\"unproven\"}", 0.0),
        ("almanac_publisher_unseen_intents", 0.0),
        ("almanac_publisher_unseen_oldest_seconds", 0.0),
        ("almanac_publisher_reconcile_lag_events", 0.0),
    ] {
        assert_eq!(running.metric(series).await, Some(least), "{series}");
    }
    let status = executable::json(world.db.url().expose(), &["status", "--json"]);
    assert_eq!(status["publishing"]["intents"], json!({ "confirmed": 3 }), "{status}");
    assert_eq!(status["publishing"]["unseen"]["intents"], 0);
    let shown = executable::run(world.db.url().expose(), &["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("publishing   4 records; intents: 3 confirmed; "), "{shown}");

    // What the PDS took long ago and never comes is told.
    world
        .run(
            "insert into publish.intent (record_id, action, draft, digest, state, cid, rev, acknowledged_at)
             select id, 'put', '{}', '', 'acknowledged', 'bafynever', 'jzzzzzzzzzzzz', now() - interval '1 day'
             from publish.record where rkey = 'wished0'",
        )
        .await;
    eventually("it is counted as unseen, and told", LIMIT, async || {
        let (unseen, log) = (running.metric("almanac_publisher_unseen_intents").await, running.running.log());
        if unseen == Some(1.0) && log.contains("our own stream does not show") {
            Ok(())
        } else {
            Err(format!("{unseen:?}\n{log}"))
        }
    })
    .await;
    assert!(running.metric("almanac_publisher_unseen_oldest_seconds").await > Some(86_000.0));
    let shown = executable::run(world.db.url().expose(), &["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("unseen       1 that PDSes took") && shown.contains(&uri.to_string()), "{shown}");
}
