//! What a rebuild makes is what the projector made: the rows, the counts, the indices and their names; also of an account
//! with more records than a rebuild keeps in memory, and while somebody appends.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod postgres;
}

use std::sync::Arc;

use almanac::devnet::cbor::{Value, cid_of};
use almanac::event::{
    AccountStatus, Body, Cid, Did, Environment, Event, Nsid, Observed, Origin, Rev, Rkey, Upstream, UpstreamKind,
    Verification,
};
use almanac::event_log::{self, Appender};
use almanac::projection::{ProjectionError, Projector, RebuildProgress, checksum, rebuild};
use chrono::{DateTime, Utc};
use support::postgres::TestDb;
use tokio::sync::watch;

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
const STATUS: [&str; 3] = ["going", "interested", "notgoing"];

fn did(name: &str) -> Did {
    Did::parse(&format!("did:plc:{name:2<24}")).unwrap()
}

fn rev(n: usize) -> Rev {
    let digits = b"234567abcdefghijklmnopqrstuvwxyz";
    let text: String = (0..13).map(|i| digits[n >> (60 - 5 * i) & 31] as char).collect();
    Rev::parse(&text).unwrap()
}

fn observed(name: &str, body: Body) -> Observed {
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
        seen_at: DateTime::from_timestamp(1_770_000_000, 0).unwrap(),
        live: true,
    }
}

fn put(name: &str, collection: &str, rkey: &str, n: usize, fields: Vec<(&'static str, Value)>) -> (Observed, Cid) {
    let mut fields = fields;
    fields.push(("$type", Value::text(collection)));
    let record = Value::map(fields).encode();
    let cid = cid_of(&record);
    let (collection, rkey) = (Nsid::parse(collection).unwrap(), Rkey::parse(rkey).unwrap());
    (observed(name, Body::Put { collection, rkey, rev: rev(n), cid, record: record.into() }), cid)
}

fn event(name: &str, rkey: &str, n: usize) -> (Observed, Cid) {
    put(name, EVENT, rkey, n, vec![("name", Value::text(format!("{name} {rkey} {n}")))])
}

fn answer(name: &str, rkey: &str, n: usize, to: &str, pin: Cid, status: &str, padding: usize) -> Observed {
    let subject = Value::map([
        ("uri", Value::text(format!("at://{}/{EVENT}/{to}", did("host")))),
        ("cid", Value::text(pin.to_string())),
    ]);
    let mut fields = vec![
        ("subject", subject),
        ("status", Value::text(format!("{RSVP}#{status}"))),
        ("note", Value::text("x".repeat(padding))),
    ];
    if n.is_multiple_of(3) {
        // The same for many: then the key decides.
        fields.push(("createdAt", Value::text(format!("2026-01-0{}T00:00:00.000{}Z", n % 7 + 1, n % 2))));
    }
    put(name, RSVP, rkey, n, fields).0
}

fn removed(name: &str, collection: &str, rkey: &str, n: usize) -> Observed {
    let (collection, rkey) = (Nsid::parse(collection).unwrap(), Rkey::parse(rkey).unwrap());
    observed(name, Body::Delete { collection, rkey, rev: rev(n) })
}

fn account(name: &str, status: AccountStatus, at: i64) -> Observed {
    let time = DateTime::<Utc>::from_timestamp(1_769_000_000 + at, 0).unwrap();
    observed(name, Body::Account { active: status == AccountStatus::Active, status, time })
}

async fn append(db: &TestDb, events: &[Observed]) {
    event_log::stamp(db.pool(), &Environment::parse("test").unwrap()).await.unwrap();
    let mut appender = loop {
        // The lock of the appender before goes with its connection, which ends in its own time.
        match Appender::try_lead(db.db().connect().await.unwrap(), "test").await.unwrap() {
            Some(appender) => break appender,
            None => tokio::task::yield_now().await,
        }
    };
    let mut tx = appender.begin().await.unwrap();
    tx.append(events).await.unwrap();
    tx.commit().await.unwrap();
}

/// Folds the log to its end.
async fn fold(db: &TestDb) {
    fold_from(db, None).await;
}

/// The same, by a projector that may rebuild.
async fn fold_from(db: &TestDb, rebuild_from: Option<i64>) {
    let (_, head) = watch::channel(0);
    Projector { db: db.db().clone(), rebuild_from, health: Box::new(|result| result.unwrap()) }
        .run(head)
        .await
        .unwrap();
}

/// The indices and the constraints that hang on them.
async fn indices(db: &TestDb) -> Vec<(String, String, Option<String>)> {
    sqlx::query_as(
        "select i.indexname::text, i.indexdef, pg_get_constraintdef(c.oid) from pg_indexes i
         left join pg_constraint c on c.conname = i.indexname and c.connamespace = 'calendar'::regnamespace
         where i.schemaname = 'calendar' order by 1",
    )
    .fetch_all(db.pool())
    .await
    .unwrap()
}

/// Events whose counts are not those of the rows.
async fn miscounted(db: &TestDb) -> i64 {
    sqlx::query_scalar(
        "select count(*) from (
             select subject_uri, count(*) filter (where status like '%#going') as going,
                 count(*) filter (where status like '%#interested') as interested,
                 count(*) filter (where status like '%#notgoing') as notgoing
             from calendar.rsvps where effective group by 1
         ) as rows
         full join calendar.rsvp_counts as told using (subject_uri)
         where (rows.going, rows.interested, rows.notgoing)
             is distinct from (told.going::bigint, told.interested::bigint, told.notgoing::bigint) or told.other <> 0",
    )
    .fetch_one(db.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_makes_what_the_projector_made() {
    let db = TestDb::fresh().await;
    let mut log = Vec::new();
    let mut pins = Vec::new();
    for n in 0..300 {
        let (made, cid) = event("host", &format!("e{n}"), n + 1);
        log.push(made);
        pins.push(cid);
    }
    // Two or three answers of one account to each event, together more than a rebuild keeps.
    for n in 0..2_100 {
        let (to, status) = (n * 7 % 900, STATUS[n % 3]);
        let pin = pins[to % pins.len()];
        log.push(answer("large", &format!("r{n}"), n + 1, &format!("e{to}"), pin, status, 9_000));
    }
    for name in ["anna", "ben", "carla", "dora"] {
        for n in 0..40 {
            log.push(answer(name, &format!("r{n}"), n + 1, &format!("e{}", n % 15), pins[n % 15], STATUS[n % 2], 10));
        }
    }
    // What ends otherwise than it began: edited, deleted, withheld, cut by a snapshot, answered anew.
    for n in (0..300).step_by(5) {
        log.push(event("host", &format!("e{n}"), n + 1_000).0);
    }
    for n in (1..300).step_by(7) {
        log.push(removed("host", EVENT, &format!("e{n}"), n + 2_000));
    }
    for (n, pin) in pins.iter().enumerate().take(10) {
        log.push(removed("anna", RSVP, &format!("r{n}"), n + 1_000));
        log.push(answer("ben", &format!("r{n}"), n + 1_000, &format!("e{}", n + 20), *pin, "notgoing", 10));
    }
    log.push(account("carla", AccountStatus::Suspended, 1));
    log.push(observed("dora", Body::Snapshot { rev: rev(20) }));
    log.push(account("silent", AccountStatus::Active, 1));
    for batch in log.chunks(997) {
        append(&db, batch).await;
        fold(&db).await;
    }
    assert_eq!(miscounted(&db).await, 0);
    let (folded, made) = (checksum(db.pool()).await.unwrap(), indices(&db).await);
    let total = log.len() as u64;

    // Somebody has appended what the index does not show yet.
    append(&db, &[account("carla", AccountStatus::Active, 2)]).await;
    fold(&db).await;
    let returned = checksum(db.pool()).await.unwrap();
    assert_ne!(returned, folded);
    let mut told = Vec::new();
    let report = rebuild(db.db(), |progress| told.push(progress)).await.unwrap();
    assert_eq!((report.events, report.position), (total + 1, total as i64 + 1));
    assert_eq!(checksum(db.pool()).await.unwrap(), returned);
    assert_eq!(indices(&db).await, made, "a rebuild makes the indices that were there, under their names");
    assert_eq!(miscounted(&db).await, 0);
    let furthest = told.iter().filter_map(|step| match step {
        RebuildProgress::Folded { events, of } => Some((*events, *of)),
        RebuildProgress::Indexed { .. } => None,
    });
    assert_eq!(furthest.max(), Some((total + 1, total + 1)), "the bar reaches the end, and not more");
    let all = RebuildProgress::Indexed { indices: made.len(), of: made.len() };
    assert!(told.contains(&all), "{all:?} is not among what was told");

    // What the new tables hold is what the projector goes on with.
    append(&db, &[account("carla", AccountStatus::Deactivated, 3), removed("large", RSVP, "r5", 9_000)]).await;
    fold(&db).await;
    let went_on = checksum(db.pool()).await.unwrap();
    assert_eq!(miscounted(&db).await, 0);
    rebuild(db.db(), |_| {}).await.unwrap();
    assert_eq!(checksum(db.pool()).await.unwrap(), went_on);
}

/// What changes when the tables are exchanged.
async fn table(db: &TestDb) -> u32 {
    let oid: sqlx::postgres::types::Oid =
        sqlx::query_scalar("select 'calendar.events'::regclass::oid").fetch_one(db.pool()).await.unwrap();
    oid.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_is_far_behind_at_the_end_makes_the_tables_anew() {
    let log: Vec<Observed> = (0..60)
        .flat_map(|n| {
            let (event, cid) = event("host", &format!("e{n}"), n);
            [event, answer("anna", &format!("r{n}"), n, &format!("e{n}"), cid, STATUS[n % 3], 10)]
        })
        .collect();
    let filled = async || {
        let db = TestDb::fresh().await;
        append(&db, &log).await;
        db
    };
    let db = filled().await;
    let before = table(&db).await;
    fold(&db).await;
    let folded = checksum(db.pool()).await.unwrap();
    assert_eq!(table(&db).await, before);

    for (from, is_rebuilt) in [(120, true), (121, false)] {
        let db = filled().await;
        let before = table(&db).await;
        fold_from(&db, Some(from)).await;
        assert_eq!(checksum(db.pool()).await.unwrap(), folded);
        assert_eq!(table(&db).await != before, is_rebuilt, "from {from}");
        // Less than what is folded already.
        let before = table(&db).await;
        append(&db, &(0..119).map(|n| removed("ben", EVENT, &format!("e{n}"), n)).collect::<Vec<_>>()).await;
        fold_from(&db, Some(1)).await;
        assert_eq!(table(&db).await, before);
    }

    let db = filled().await;
    let before = table(&db).await;
    sqlx::query("create view mine as select uri from calendar.events").execute(db.pool()).await.unwrap();
    fold_from(&db, Some(1)).await;
    assert_eq!((checksum(db.pool()).await.unwrap(), table(&db).await), (folded.clone(), before));

    let db = filled().await;
    let before = table(&db).await;
    let mut other = db.db().connect().await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(0x616c_6d61_7265_6275_i64).execute(&mut other).await.unwrap();
    let refused = rebuild(db.db(), |_| {}).await.unwrap_err();
    assert!(matches!(refused, ProjectionError::RebuildUnderWay), "{refused}");
    fold_from(&db, Some(1)).await;
    assert_eq!((checksum(db.pool()).await.unwrap(), table(&db).await), (folded, before));
}
