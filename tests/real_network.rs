//! The official PDS and PLC directory, `almanac serve` following their firehose over a websocket, and everything asked
//! over HTTP: each thing that users do must become visible, and what is visible at the end must be what the PDS holds.

// Parts of these are there for other tests.
#[allow(dead_code)]
mod support {
    pub mod child;
    pub mod postgres;
    pub mod real_parts;
    pub mod serve;
}

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use support::postgres::TestDb;
use support::real_parts::{Account, RealParts};
use support::serve::{Serve, eventually};

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
/// Far more than any step takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(60);

fn event(name: &str) -> Value {
    json!({
        "$type": EVENT, "name": name, "description": "Bring a blanket 🧺", "createdAt": "2026-11-22T08:00:00.000Z",
        "startsAt": "2027-06-05T18:00:00.000Z", "endsAt": "2027-06-05T22:00:00.000Z",
        "mode": format!("{EVENT}#inperson"), "status": format!("{EVENT}#scheduled"),
        "locations": [{ "$type": "community.lexicon.location.geo", "latitude": "38.2527", "longitude": "-85.7585" }],
        "uris": [{ "uri": "https://example.test/picnic", "name": "Event page" }],
        "example.test.unknown": { "kept": [1, true, null] },
    })
}

fn rsvp(subject: &Value, status: &str) -> Value {
    json!({
        "$type": RSVP, "subject": subject, "status": format!("{RSVP}#{status}"), "createdAt": "2026-11-22T08:00:00.000Z",
    })
}

/// A second answer of the same account, made later.
fn change_of_mind(subject: &Value, status: &str) -> Value {
    let mut record = rsvp(subject, status);
    record["createdAt"] = "2026-11-23T08:00:00.000Z".into();
    record
}

/// going, interested, notgoing, other: as `getEvent` shows them; none while the event itself is not shown.
async fn counts(serve: &Serve, uri: &str) -> Option<[i64; 4]> {
    let event = serve.event(uri).await?;
    let count = |key: &str| event["rsvpCounts"][key].as_i64().unwrap_or_else(|| panic!("no count `{key}` in {event}"));
    Some(["going", "interested", "notgoing", "other"].map(count))
}

async fn see_counts(serve: &Serve, what: &str, uri: &str, want: Option<[i64; 4]>) {
    eventually(what, LIMIT, async || {
        let have = counts(serve, uri).await;
        if have == want { Ok(()) } else { Err(format!("the counts of {uri} are {have:?}, not {want:?}")) }
    })
    .await;
}

/// Waits until the event is shown with this CID, and compares its record with what was written.
async fn see_event(serve: &Serve, what: &str, uri: &str, cid: &str, record: &Value) {
    let shown = eventually(what, LIMIT, async || match serve.event(uri).await {
        Some(shown) if shown["cid"] == cid => Ok(shown),
        other => Err(format!("{uri} should have CID {cid}: {other:?}")),
    })
    .await;
    assert_eq!(shown["uri"], uri);
    assert_eq!(shown["name"], record["name"]);
    assert_eq!(shown["record"], *record);
}

async fn see_handle(serve: &Serve, what: &str, uri: &str, handle: &str) {
    eventually(what, LIMIT, async || match serve.event(uri).await {
        Some(shown) if shown["author"]["handle"] == handle => Ok(()),
        other => Err(format!("{handle} should be the author of {uri}: {other:?}")),
    })
    .await;
}

async fn see_no_event(serve: &Serve, what: &str, uri: &str) {
    see_counts(serve, what, uri, None).await;
}

/// URI → (CID, record) of some rows.
type Rows = BTreeMap<String, (String, Value)>;

fn rows(list: impl IntoIterator<Item = Value>) -> Rows {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {row}")).to_owned();
    let mut rows = Rows::new();
    for row in list {
        let before = rows.insert(text(&row, "uri"), (text(&row, "cid"), row["record"].clone()));
        assert!(before.is_none(), "shown twice: {row}");
    }
    rows
}

/// What the PDS says it holds of one collection, over all these accounts.
async fn held(parts: &RealParts, accounts: &[&Account], collection: &str) -> Rows {
    let mut held = Rows::new();
    for account in accounts {
        for record in parts.list_records(&account.did, collection).await {
            held.insert(record.uri, (record.cid, record.value));
        }
    }
    held
}

/// Waits until what is shown is exactly what the PDS holds: all events, those of each account, all RSVPs to each
/// subject that the PDS holds an RSVP to, and the totals.
async fn see_exactly_what_the_pds_holds(serve: &Serve, parts: &RealParts, what: &str, accounts: &[&Account]) {
    let events = held(parts, accounts, EVENT).await;
    let rsvps = held(parts, accounts, RSVP).await;
    let mut subjects: Vec<&str> = rsvps.values().map(|(_, r)| r["subject"]["uri"].as_str().unwrap()).collect();
    subjects.extend(events.keys().map(String::as_str));
    subjects.sort();
    subjects.dedup();
    let difference = |what: &str, have: &Rows, want: &Rows| {
        let only = |a: &Rows, b: &Rows| {
            a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, v)| format!("{k} {}", v.0)).collect::<Vec<_>>()
        };
        match (only(have, want), only(want, have)) {
            (extra, missing) if extra.is_empty() && missing.is_empty() => Ok(()),
            (extra, missing) => Err(format!("{what}: shown but not held {extra:?}, held but not shown {missing:?}")),
        }
    };
    eventually(what, LIMIT, async || {
        difference("events", &rows(serve.all("listEvents", "events", &[("limit", "7")]).await), &events)?;
        let mut by_author = Vec::new();
        for account in accounts {
            by_author.extend(serve.events_of(&account.did).await);
        }
        difference("events by author", &rows(by_author), &events)?;
        let mut shown = Vec::new();
        for subject in &subjects {
            shown.extend(serve.rsvps_to(subject).await);
        }
        difference("RSVPs", &rows(shown), &rsvps)?;
        let status = serve.query("getStatus", &[]).await;
        let totals = [&status["events"], &status["rsvps"]].map(|n| n.as_u64());
        let want = [events.len() as u64, rsvps.len() as u64].map(Some);
        if totals == want { Ok(()) } else { Err(format!("totals {totals:?}, not {want:?}: {status}")) }
    })
    .await;
}

/// How many puts and deletes the log holds; none of them may be there twice, and no position may be missing.
async fn words(db: &TestDb) -> (i64, i64) {
    let twice: Vec<(String, String, String)> = sqlx::query_as(
        "select did, collection, rkey from log.event where kind in ('put', 'delete') \
         group by did, collection, rkey, rev having count(*) > 1",
    )
    .fetch_all(db.pool())
    .await
    .unwrap();
    assert_eq!(twice, []);
    let (rows, last): (i64, i64) = sqlx::query_as("select count(*), coalesce(max(position), 0) from log.event")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(rows, last, "positions have a gap");
    sqlx::query_as(
        "select count(*) filter (where kind = 'put'), count(*) filter (where kind = 'delete') from log.event",
    )
    .fetch_one(db.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn everything_users_do_on_a_real_pds_is_seen() {
    let parts = RealParts::start().await;
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let (firehose, handles) = (parts.firehose(), parts.handles());
    let flags = ["--pds", &firehose, "--plc", &parts.plc_url, "--allow-private", "--host-override", &handles];
    let start = || Serve::start_with(db.url().expose(), "", folder.path(), &flags);
    let serve = start();

    let mut ana = parts.create_account("ana").await;
    let ben = parts.create_account("ben").await;
    let mut cem = parts.create_account("cem").await;
    let dia = parts.create_account("dia").await;

    // An answer to an event that does not exist yet.
    let picnic_rkey = "3mpicnic22222";
    let picnic = format!("at://{}/{EVENT}/{picnic_rkey}", ana.did);
    let foreseen = json!({ "uri": picnic, "cid": "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i" });
    let early = parts.create_record(&ben, None, rsvp(&foreseen, "going")).await;
    let shown = eventually("an RSVP whose event is not known", LIMIT, async || {
        let shown = serve.rsvps_to(&picnic).await;
        if shown.len() == 1 { Ok(shown) } else { Err(format!("{shown:?}")) }
    })
    .await;
    assert_eq!((&shown[0]["uri"], &shown[0]["cid"]), (&json!(early.uri), &json!(early.cid)));
    assert_eq!(serve.event(&picnic).await, None);

    // The event comes, and the answer counts.
    let written = parts.create_record(&ana, Some(picnic_rkey), event("Picnic")).await;
    assert_eq!(written.uri, picnic);
    see_event(&serve, "a new event", &picnic, &written.cid, &event("Picnic")).await;
    // The account was announced before it had anything to do with calendars.
    see_handle(&serve, "the handle from before", &picnic, "ana.test").await;
    see_counts(&serve, "the early RSVP counts", &picnic, Some([1, 0, 0, 0])).await;
    for (account, status) in [(&cem, "interested"), (&dia, "notgoing"), (&ana, "going")] {
        parts.create_record(account, None, rsvp(&written.reference(), status)).await;
    }
    see_counts(&serve, "three more RSVPs", &picnic, Some([2, 1, 1, 0])).await;

    // Changes: of the event, and of an answer.
    let moved = parts.put_record(&ana, picnic_rkey, event("Picnic in the hall")).await;
    assert_ne!(moved.cid, written.cid);
    see_event(&serve, "an edited event", &picnic, &moved.cid, &event("Picnic in the hall")).await;
    parts.put_record(&ben, early.rkey(), rsvp(&moved.reference(), "interested")).await;
    see_counts(&serve, "a changed RSVP", &picnic, Some([1, 2, 1, 0])).await;

    // One commit with everything in it, and collections that are nobody's business here.
    let old = parts.create_record(&ana, None, event("To be removed")).await;
    see_event(&serve, "an event", &old.uri, &old.cid, &event("To be removed")).await;
    let post = json!({ "$type": "app.bsky.feed.post", "text": "hello", "createdAt": "2026-11-22T08:00:00.000Z" });
    let done = parts
        .apply_writes(
            &ana,
            &[
                json!({ "create": event("Concert") }),
                json!({ "create": post }),
                json!({ "update": event("Picnic at the lake"), "rkey": picnic_rkey }),
                json!({ "delete": EVENT, "rkey": old.rkey() }),
                json!({ "create": event("Workshop") }),
                json!({ "create": change_of_mind(&moved.reference(), "notgoing"), "rkey": "3mchangedmind" }),
            ],
        )
        .await;
    let written_at = |index: usize| done[index].clone().expect("a create or update has an answer");
    let (concert, workshop) = (written_at(0), written_at(4));
    see_event(&serve, "created beside others", &concert.uri, &concert.cid, &event("Concert")).await;
    see_event(&serve, "created beside others", &workshop.uri, &workshop.cid, &event("Workshop")).await;
    see_event(&serve, "updated beside others", &picnic, &written_at(2).cid, &event("Picnic at the lake")).await;
    see_no_event(&serve, "deleted beside others", &old.uri).await;
    see_counts(&serve, "of two RSVPs of one account the later one counts", &picnic, Some([0, 2, 2, 0])).await;

    // Deletions, one by one.
    parts.create_record(&dia, None, rsvp(&workshop.reference(), "going")).await;
    see_counts(&serve, "an RSVP to the workshop", &workshop.uri, Some([1, 0, 0, 0])).await;
    parts.delete_record(&ana, EVENT, workshop.rkey()).await;
    see_no_event(&serve, "a deleted event", &workshop.uri).await;
    parts.delete_record(&ben, RSVP, early.rkey()).await;
    see_counts(&serve, "a deleted RSVP", &picnic, Some([0, 1, 2, 0])).await;

    see_exactly_what_the_pds_holds(&serve, &parts, "before the crash", &[&ana, &ben, &cem, &dia]).await;

    // The process dies without a word, the world goes on, and the next one takes up where it stopped.
    let before = words(&db).await;
    serve.kill();
    let mut unseen = Vec::new();
    for number in 0..30 {
        unseen.push(parts.create_record(&ben, None, event(&format!("While nobody watched {number}"))).await);
    }
    parts.put_record(&ben, unseen[0].rkey(), event("Edited while nobody watched")).await;
    parts.delete_record(&ben, EVENT, unseen[1].rkey()).await;
    parts.create_record(&cem, None, rsvp(&unseen[0].reference(), "going")).await;
    let serve = start();
    see_no_event(&serve, "deleted while nobody watched", &unseen[1].uri).await;
    see_counts(&serve, "answered while nobody watched", &unseen[0].uri, Some([1, 0, 0, 0])).await;
    see_exactly_what_the_pds_holds(&serve, &parts, "after the crash", &[&ana, &ben, &cem, &dia]).await;
    // 30 events, an edit, an RSVP; a deletion: each once.
    let after = words(&db).await;
    assert_eq!((after.0 - before.0, after.1 - before.1), (32, 1));

    // Accounts that are switched off, hidden, and back again.
    parts.deactivate(&ana).await;
    see_no_event(&serve, "an event of a deactivated account", &picnic).await;
    eventually("RSVPs of a deactivated account", LIMIT, async || {
        let shown = serve.rsvps_to(&picnic).await;
        let hers = shown.iter().filter(|r| r["uri"].as_str().is_some_and(|u| u.contains(&ana.did))).count();
        if hers == 0 { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await;
    assert_eq!(serve.events_of(&ana.did).await, Vec::<Value>::new());
    parts.activate(&ana).await;
    see_counts(&serve, "back after activation", &picnic, Some([0, 1, 2, 0])).await;

    parts.take_down(&cem).await;
    see_counts(&serve, "RSVP of a taken-down account", &picnic, Some([0, 0, 2, 0])).await;
    see_counts(&serve, "RSVP of a taken-down account", &unseen[0].uri, Some([0, 0, 0, 0])).await;
    parts.restore(&mut cem).await;
    see_counts(&serve, "back after the takedown ended", &picnic, Some([0, 1, 2, 0])).await;

    parts.delete_account(&dia).await;
    see_counts(&serve, "RSVP of a deleted account", &picnic, Some([0, 1, 1, 0])).await;

    parts.update_handle(&mut ana, "ana-the-second").await;
    see_handle(&serve, "a new handle", &picnic, &ana.handle).await;

    // Everything that still lives can still write.
    parts.create_record(&cem, None, event("After the takedown")).await;
    parts.create_record(&ana, None, event("Under a new name")).await;
    see_exactly_what_the_pds_holds(&serve, &parts, "at the end", &[&ana, &ben, &cem]).await;

    words(&db).await;
    let unproven: i64 = sqlx::query_scalar(
        "select count(*) from log.event where kind in ('put', 'delete') and verification not in ('full', 'snapshot')",
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert_eq!(unproven, 0, "everything is signed and proven");
    let lagging: Vec<(String, String)> =
        sqlx::query_as("select did, state from ingest.repo where state <> 'synced' and did <> $1")
            .bind(&dia.did)
            .fetch_all(db.pool())
            .await
            .unwrap();
    assert_eq!(lagging, [], "every repository is here as a whole");

    let (status, body) = serve.get(&format!("{}/health/ready", serve.admin), &[]).await;
    assert!(status.is_success(), "/health/ready: {status} {body}");
    let (status, metrics) = serve.get(&format!("{}/metrics", serve.admin), &[]).await;
    assert!(status.is_success() && metrics.contains("almanac_"), "/metrics: {status} {metrics}");
}
