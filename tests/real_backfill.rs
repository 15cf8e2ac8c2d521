//! The official PDS with many accounts, read in every way there is: followed live from the first commit on, and fetched
//! afterwards by each strategy. What apps see must be the same each time, and what the PDS itself lists.

// Parts of these are there for other tests.
#[allow(dead_code)]
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
    pub mod real_parts;
    pub mod serve;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use support::almanac as executable;
use support::postgres::TestDb;
use support::real_parts::{Account, RealParts};
use support::serve::{Serve, eventually};

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
const POST: &str = "app.bsky.feed.post";
const ACCOUNTS: usize = 50;
/// Far more than any step takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(120);
/// What the PDS is asked at once: more makes it no faster.
const AT_ONCE: usize = 8;

fn event(name: &str, hour: usize) -> Value {
    json!({
        "$type": EVENT, "name": name, "description": "Bring a blanket 🧺", "createdAt": "2026-11-22T08:00:00.000Z",
        "startsAt": format!("2027-06-05T{:02}:00:00.000Z", hour % 24), "endsAt": "2027-06-06T22:00:00+02:00",
        "mode": format!("{EVENT}#inperson"), "status": format!("{EVENT}#scheduled"),
        "locations": [
            { "$type": "community.lexicon.location.geo", "latitude": "38.2527", "longitude": "-85.7585" },
            { "$type": "community.lexicon.location.address", "country": "DE", "locality": "Lübeck" },
        ],
        "uris": [{ "uri": "https://example.test/picnic", "name": "Event page" }],
    })
}

/// Records that the lexicon would refuse, and data that JSON writes in its own way.
fn odd(account: usize) -> Value {
    let mut record = match account % 5 {
        0 => json!({}),
        1 => json!({ "name": 7, "startsAt": "tomorrow", "locations": "somewhere", "status": "example.test#perhaps" }),
        2 => json!({
            "name": "", "createdAt": "2026-11-22 08:00", "startsAt": "2027-01-01T10:00:00",
            "locations": [{ "$type": "community.lexicon.location.geo", "latitude": "0", "longitude": "0" }, null, [1]],
        }),
        3 => json!({
            "name": "Bytes and links", "example.test.bytes": { "$bytes": "AAEC/w" },
            "example.test.link": { "$link": "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i" },
            "example.test.numbers": [0, -1, 9_007_199_254_740_991i64, -9_007_199_254_740_991i64, true, null],
        }),
        _ => json!({ "name": "z\u{301}\u{0}\n\"\\ 🏳️‍🌈", "": { "ab": 1, "b": 2, "aaa": 3 }, "mode": null }),
    };
    record["$type"] = EVENT.into();
    record
}

fn rsvp(subject: Value, status: usize, created: &str) -> Value {
    let status = ["going", "interested", "notgoing", "perhaps"][status % 4];
    json!({ "$type": RSVP, "subject": subject, "status": format!("{RSVP}#{status}"), "createdAt": created })
}

fn post(number: usize) -> Value {
    let text = format!("post {number}: nothing to do with calendars, and of the usual length of a post, which is this");
    json!({ "$type": POST, "text": text, "createdAt": "2026-11-22T08:00:00.000Z", "langs": ["en"] })
}

fn create(record: Value, rkey: &str) -> Value {
    json!({ "create": record, "rkey": rkey })
}

/// One account, and the CIDs of its first events.
struct Author {
    number: usize,
    account: Account,
    cids: Vec<String>,
}

/// Those who never write about calendars.
fn only_posts(number: usize) -> bool {
    number % 25 == 3
}

impl Author {
    /// An account with its first commit: eight events and posts between them.
    async fn begin(parts: &RealParts, number: usize) -> Self {
        let account = parts.create_account(&format!("author-{number}")).await;
        let mut writes = vec![json!({ "create": post(number) })];
        if !only_posts(number) {
            let first = |n| create(event(&format!("event {n} of {number}"), n + number), &format!("event-{n}"));
            writes.extend((0..8).map(first));
        }
        writes.push(json!({ "create": post(number) }));
        let written = parts.apply_writes(&account, &writes).await;
        let cids = written.into_iter().map(|done| done.unwrap().cid).collect::<Vec<_>>();
        Author { number, account, cids: cids[1..cids.len() - 1].to_vec() }
    }

    fn uri(&self, event: usize) -> String {
        format!("at://{}/{EVENT}/event-{event}", self.account.did)
    }

    fn reference(&self, event: usize) -> Value {
        json!({ "uri": self.uri(event), "cid": self.cids.get(event).unwrap_or(&self.cids[0]) })
    }

    /// Everything else that happens to this account's records.
    async fn go_on(&self, parts: &RealParts, authors: &[Author]) {
        let (n, account) = (self.number, &self.account);
        if only_posts(n) {
            parts.apply_writes(account, &[json!({ "create": post(n) })]).await;
            return;
        }
        let to = |step: usize| {
            (1..).map(|more| &authors[(n + step * more) % ACCOUNTS]).find(|other| !only_posts(other.number)).unwrap()
        };
        let (early, late) = ("2026-11-22T08:00:00.000Z", "2026-11-23T08:00:00.000Z");
        let nowhere = json!({ "uri": format!("at://{}/{EVENT}/nobody-wrote-this", to(1).account.did), "cid": "?" });
        let mut stale = to(7).reference(1);
        stale["cid"] = self.cids[0].as_str().into();
        let answers = [
            create(rsvp(to(1).reference(0), n, early), "answer-0"),
            create(rsvp(to(1).reference(0), n + 1, late), "answer-1"),
            create(rsvp(stale, n + 2, early), "answer-2"),
            create(rsvp(to(3).reference(7), n, early), "answer-3"),
            create(rsvp(nowhere, n, early), "answer-4"),
            create(rsvp(json!("no reference"), n, "no time"), "3mrsvp2222222"),
            create(rsvp(self.reference(2), n, early), "answer-5"),
        ];
        parts.apply_writes(account, &answers).await;
        let changes = [
            json!({ "update": event("moved", n), "rkey": "event-1" }),
            json!({ "update": odd(n + 1), "rkey": "event-4" }),
            json!({ "delete": EVENT, "rkey": "event-7" }),
            json!({ "delete": EVENT, "rkey": "event-6" }),
            create(odd(n), "odd:~._-1"),
            json!({ "create": post(n) }),
            json!({ "delete": RSVP, "rkey": "answer-5" }),
        ];
        parts.apply_writes(account, &changes).await;
        parts.create_record(account, Some("event-6"), event("another under the same key", n)).await;
        parts.put_record(account, "answer-3", rsvp(to(3).reference(7), n + 1, late)).await;
        if n % 5 == 1 {
            parts.delete_record(account, RSVP, "answer-1").await;
        }
        if n % 10 == 7 {
            let mut all = Vec::new();
            for collection in [EVENT, RSVP] {
                let held = parts.list_records(&account.did, collection).await;
                let key = |uri: &str| uri.rsplit('/').next().unwrap().to_owned();
                all.extend(held.iter().map(|record| json!({ "delete": collection, "rkey": key(&record.uri) })));
            }
            parts.apply_writes(account, &all).await;
        }
        if n % 10 == 8 {
            // Gone, and back with something else.
            parts.delete_record(account, EVENT, "event-0").await;
            parts.create_record(account, Some("event-0"), event("back", n)).await;
        }
    }
}

/// Switches off, hides, deletes, renames; returns those whose records are to be seen.
async fn end_some(parts: &RealParts, mut authors: Vec<Author>) -> Vec<Account> {
    let mut gone = Vec::new();
    for author in &mut authors {
        let account = &mut author.account;
        match author.number {
            5 | 30 => parts.deactivate(account).await,
            11 | 31 => parts.delete_account(account).await,
            15 => parts.take_down(account).await,
            6 => {
                parts.deactivate(account).await;
                parts.activate(account).await;
            }
            16 => {
                parts.take_down(account).await;
                parts.restore(account).await;
            }
            20 => parts.update_handle(account, "renamed").await,
            _ => {}
        }
        if [5, 30, 11, 31, 15].contains(&author.number) {
            gone.push(author.number);
        }
    }
    authors.into_iter().filter(|author| !gone.contains(&author.number)).map(|author| author.account).collect()
}

/// URI → CID of everything in both tables.
async fn shown(db: &TestDb) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select uri, cid from calendar.events union all select uri, cid from calendar.rsvps")
            .fetch_all(db.pool())
            .await
            .unwrap();
    rows.into_iter().collect()
}

/// The same in the PDS's words.
async fn held(parts: &RealParts, accounts: &[Account]) -> BTreeMap<String, String> {
    let lists = accounts.iter().flat_map(|account| [(account, EVENT), (account, RSVP)]);
    let lists = stream::iter(lists).map(|(account, collection)| parts.list_records(&account.did, collection));
    let all: Vec<_> = lists.buffer_unordered(AT_ONCE).collect().await;
    all.into_iter().flatten().map(|record| (record.uri, record.cid)).collect()
}

/// Kind and verification → how many words in the log.
async fn words(db: &TestDb) -> BTreeMap<(String, String), i64> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("select kind, verification, count(*) from log.event group by kind, verification")
            .fetch_all(db.pool())
            .await
            .unwrap();
    rows.into_iter().map(|(kind, verification, count)| ((kind, verification), count)).collect()
}

/// How the parts are reached, for every command.
struct Reach {
    plc: String,
    handles: String,
    pds: String,
}

impl Reach {
    fn of(parts: &RealParts) -> Self {
        Reach { plc: parts.plc_url.clone(), handles: parts.handles(), pds: parts.pds_url.clone() }
    }

    fn flags(&self) -> [&str; 5] {
        ["--plc", &self.plc, "--allow-private", "--host-override", &self.handles]
    }

    /// `almanac backfill` into an empty database. What it reports.
    fn backfill(&self, db: &TestDb, folder: &Path, whom: [&str; 2], strategy: &str) -> Value {
        let folder = folder.to_str().unwrap();
        let mut args = vec!["backfill", "--json", "--strategy", strategy, "--data-dir", folder];
        args.extend(whom.into_iter().chain(self.flags()));
        executable::json(db.url().expose(), &args)
    }
}

/// Waits until the daemon has nothing more to do.
async fn settled(serve: &Serve, db: &TestDb) {
    eventually("all jobs are done and all of the log is shown", LIMIT, async || {
        let jobs: Vec<(String, Option<String>)> =
            sqlx::query_as("select did, error from source.backfill_job where state in ('queued', 'running')")
                .fetch_all(db.pool())
                .await
                .unwrap();
        let status = serve.query("getStatus", &[]).await;
        let same = status["logPosition"] == status["projectionPosition"];
        if jobs.is_empty() && same { Ok(()) } else { Err(format!("{jobs:?} {status}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_accounts_are_the_same_live_and_by_every_strategy() {
    let parts = RealParts::start().await;
    let reach = Reach::of(&parts);
    let (live, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let firehose = parts.firehose();
    let mut flags = vec!["--pds", &firehose];
    flags.extend(reach.flags());
    let serve = Serve::start_with(live.url().expose(), "", folder.path(), &flags);

    let begun = Instant::now();
    let authors = stream::iter(0..ACCOUNTS).map(|number| Author::begin(&parts, number)).buffered(AT_ONCE);
    let authors: Vec<Author> = authors.collect().await;
    eprintln!("{ACCOUNTS} accounts after {:?}", begun.elapsed());
    stream::iter(&authors).for_each_concurrent(AT_ONCE, |author| author.go_on(&parts, &authors)).await;
    let accounts = end_some(&parts, authors).await;
    eprintln!("their history after {:?}", begun.elapsed());

    // The last frame of all.
    let last = parts.create_record(&accounts[0], None, event("the last one", 1)).await;
    eventually("the last event", LIMIT, async || serve.event(&last.uri).await.ok_or("it is not there".to_owned()))
        .await;
    settled(&serve, &live).await;
    let truth = held(&parts, &accounts).await;
    assert!(truth.len() > 500, "{} records are no history", truth.len());
    assert_eq!(shown(&live).await, truth, "live");
    let sums = executable::checksum(live.url().expose());
    let live_words = words(&live).await;
    eprintln!("live: {} records shown, in the log {live_words:?}, after {:?}", truth.len(), begun.elapsed());
    // It saw them one by one: eight and more events, seven answers and the changes of 48 accounts.
    let full = |kind: &str| live_words.get(&(kind.to_owned(), "full".to_owned())).copied().unwrap_or(0);
    assert!(full("put") > 48 * 20 && full("delete") > 48 * 3, "{live_words:?}");
    let (dir, pds) = (folder.path().to_str().unwrap(), parts.pds_url.as_str());
    let mut args = vec!["verify-coverage", "--json", "--pds", pds, "--data-dir", dir];
    args.extend(reach.flags());
    let coverage = executable::json(live.url().expose(), &args);
    assert_eq!(coverage["differences"], json!([]), "{coverage}");
    serve.kill();

    for (strategy, proof) in [("sparse", "snapshot"), ("car", "snapshot"), ("list", "listed")] {
        let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
        let fetched = reach.backfill(&db, folder.path(), ["--host", &reach.pds], strategy);
        let host = &fetched["hosts"][0];
        eprintln!("{strategy}: {} bytes, {} records, {} s", host["bytes"], host["records"], fetched["seconds"]);
        assert_eq!(fetched["counts"]["failed"], 0, "{fetched}");
        assert_eq!(fetched["hosts"].as_array().unwrap().len(), 1, "{fetched}");
        // Nobody took a detour.
        assert_eq!((&host[strategy], host["inactive"].as_i64()), (&host["accounts"], Some(0)), "{fetched}");
        assert_eq!(host["records"], truth.len(), "{fetched}");
        let words = words(&db).await;
        let puts: Vec<_> = words.iter().filter(|((kind, _), _)| kind == "put").collect();
        assert_eq!(puts, [(&("put".to_owned(), proof.to_owned()), &(truth.len() as i64))], "{strategy}");
        assert_eq!(shown(&db).await, truth, "{strategy}");
        assert_eq!(
            executable::checksum(db.url().expose()),
            sums,
            "{strategy}: what apps see is not what live ingest shows"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sparse_moves_little_of_a_repository_full_of_posts() {
    let parts = RealParts::start().await;
    let account = parts.create_account("poster").await;
    // Written between the posts, as by people who do both.
    for batch in 0..25 {
        let mut writes: Vec<Value> = (0..200).map(|n| json!({ "create": post(batch * 200 + n) })).collect();
        if batch % 5 == 2 {
            writes.truncate(196);
            writes.extend((0..4).map(|n| json!({ "create": event(&format!("event {batch} {n}"), n) })));
        }
        parts.apply_writes(&account, &writes).await;
    }
    let rest: Vec<Value> = (0..20).map(|n| json!({ "create": post(5_000 + n) })).collect();
    parts.apply_writes(&account, &rest).await;
    let truth = held(&parts, std::slice::from_ref(&account)).await;
    let posts = parts.list_records(&account.did, POST).await.len();
    assert_eq!((truth.len(), posts), (20, 5_000));
    let whole = parts.get_repo(&account.did).await.len() as u64;

    let reach = Reach::of(&parts);
    let mut moved = BTreeMap::new();
    for strategy in ["sparse", "car"] {
        let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
        let fetched = reach.backfill(&db, folder.path(), ["--did", &account.did], strategy);
        assert_eq!((&fetched["counts"]["failed"], &fetched["hosts"][0][strategy]), (&json!(0), &json!(1)), "{fetched}");
        assert_eq!(shown(&db).await, truth, "{strategy}");
        moved.insert(strategy, fetched["hosts"][0]["bytes"].as_u64().unwrap());
    }
    eprintln!("getRepo {whole} bytes, moved {moved:?}");
    // The whole repository, give or take what frames its transfer.
    assert!(moved["car"] >= whole * 99 / 100 && moved["car"] <= whole * 101 / 100, "{moved:?} of {whole}");
    assert!(moved["sparse"] > 0 && moved["sparse"] * 10 < whole, "{moved:?} of {whole}");
}
