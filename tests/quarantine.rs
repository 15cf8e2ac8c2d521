//! Refused records are kept with their bytes and why; are judged again when somebody asks; leave by age, or when somebody says
//! so; and take no more of the disk than they may. What was recorded in another environment is refused, or lands there.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod postgres;
    pub mod relay;
    pub mod serve;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use almanac::devnet::frames::{self, Stamp};
use almanac::devnet::keys::{Curve, KeyForm, SigningKey};
use almanac::devnet::sim::{Sim, SimOptions};
use almanac::devnet::{Account, Frame, Repo, Tid, Write, cbor};
use almanac::event::{Delivery, Did, Environment, ListChange, Upstream, UpstreamKind};
use almanac::ingest::lists;
use almanac::source::dump::DumpWriter;
use serde_json::Value;
use support::almanac as executable;
use support::postgres::TestDb;
use support::relay::Relay;
use support::serve::{Serve, eventually};

const EVENT: &str = "community.lexicon.calendar.event";
const LIMIT: Duration = Duration::from_secs(60);

/// An account that writes one event after the other.
struct Writer {
    account: Account,
    repo: Repo,
}

impl Writer {
    /// `letter` makes its DID and its key.
    fn new(letter: char, pds: &str) -> Self {
        Self::of(&format!("did:plc:{}", letter.to_string().repeat(24)), letter, pds)
    }

    fn of(did: &str, letter: char, pds: &str) -> Self {
        let key = SigningKey::from_entropy(Curve::K256, [letter as u8; 32]);
        let account = Account {
            did: did.to_owned(),
            handle: format!("{letter}.test"),
            pds: pds.to_owned(),
            key: key.clone(),
            key_form: KeyForm::Multikey,
        };
        Writer { repo: Repo::new(did, key), account }
    }

    /// One frame in which it creates the event `rkey`.
    fn event(&mut self, seq: i64, rkey: &str) -> Frame {
        let micros = 1_760_000_000_000_000 + seq * 1_000_000;
        let record = cbor::Value::map([
            ("$type", cbor::Value::text(EVENT)),
            ("name", cbor::Value::text(rkey)),
            ("createdAt", cbor::Value::text("2026-11-22T08:00:00.000Z")),
            ("startsAt", cbor::Value::text("2027-06-05T18:00:00.000Z")),
        ])
        .encode();
        let write = Write::Create { path: format!("{EVENT}/{rkey}"), record };
        let commit = self.repo.apply(&[write], Tid::new(micros as u64, 1)).unwrap();
        Frame { seq, bytes: frames::commit(Stamp { seq, did: &self.account.did, micros }, &commit) }
    }

    fn did(&self) -> Did {
        Did::parse(&self.account.did).unwrap()
    }
}

/// The frame with some of its bytes exchanged for as many others.
fn patched(mut frame: Frame, from: &[u8], to: &[u8]) -> Frame {
    let at = frame.bytes.windows(from.len()).position(|bytes| bytes == from).expect("they are in the frame");
    frame.bytes[at..at + to.len()].copy_from_slice(to);
    frame
}

/// One row of `quarantine list`, by its DID and reason.
type Rows = BTreeMap<(String, String), Value>;

fn list(url: &str) -> (Value, Rows) {
    let listed = executable::json(url, &["quarantine", "list", "--json"]);
    let key = |entry: &Value| (entry["did"].as_str().unwrap().into(), entry["reason"].as_str().unwrap().into());
    let entries = listed["entries"].as_array().unwrap();
    let rows: Rows = entries.iter().map(|entry| (key(entry), entry.clone())).collect();
    assert_eq!(rows.len(), entries.len(), "one row an account and reason: {listed}");
    (listed["counts"]["records"].clone(), rows)
}

async fn handled(db: &TestDb, upstreams: i64, seq: i64) {
    eventually("everything is handled", LIMIT, async || {
        let there: i64 = sqlx::query_scalar("select count(*) from log.cursor where seq = $1")
            .bind(seq)
            .fetch_one(db.pool())
            .await
            .unwrap();
        if there == upstreams { Ok(()) } else { Err(format!("{there} of {upstreams}")) }
    })
    .await;
}

async fn enter(db: &TestDb, did: &Did, change: ListChange) {
    let mut tx = db.pool().begin().await.unwrap();
    lists::enter(&mut tx, did, change, "anna", "for the test").await.unwrap();
    tx.commit().await.unwrap();
}

async fn count(db: &TestDb, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(db.pool()).await.unwrap()
}

async fn connected(relays: &[&Relay]) {
    eventually("connected", LIMIT, async || match relays.iter().all(|relay| relay.connections() > 0) {
        true => Ok(()),
        false => Err(String::new()),
    })
    .await;
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn refused_at_start(output: &Output, parts: &[&str]) {
    let words = words(output);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(parts.iter().all(|part| words.contains(part)), "{words} does not say {parts:?}");
}

fn settings(folder: &Path, text: &str) -> String {
    let path = folder.join("almanac.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_one_entry_with_its_reason_and_where_it_came_from() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let elsewhere = "https://pds.example.org";
    let mut allowed = Writer::new('a', elsewhere);
    let mut denied = Writer::new('b', elsewhere);
    let mut unlisted = Writer::new('c', elsewhere);
    let mut foreign = Writer::new('d', "https://pds.dev.example.org");
    let mut stranger = Writer::new('e', "https://pds.test.example.org");
    let mut forger = Writer::new('f', elsewhere);
    let mut unknown = Writer::new('g', elsewhere);
    let writers = [&allowed, &denied, &unlisted, &foreign, &stranger, &forger];
    let documents: serde_json::Map<String, Value> =
        writers.iter().map(|w| (w.account.did.clone(), w.account.did_document())).collect();
    let docs = folder.path().join("docs.json");
    std::fs::write(&docs, Value::Object(documents).to_string()).unwrap();
    let hosts = "[origin]\nhosts = ['*.dev.example.org=dev', '*.test.example.org=test']";
    let config = settings(folder.path(), hosts);

    forger.repo = Repo::new(forger.account.did.clone(), SigningKey::from_entropy(Curve::K256, [99; 32]));
    let frames = [
        allowed.event(1, "good"),
        patched(allowed.event(2, "odd"), b"\x66create", b"\x66creato"),
        denied.event(3, "e"),
        unlisted.event(4, "e"),
        foreign.event(5, "e"),
        stranger.event(6, "e"),
        forger.event(7, "e"),
        unknown.event(8, "e"),
    ];
    let (one, two) = (Relay::start(&frames).await, Relay::start(&frames).await);
    let (a, f) = (allowed.account.did.clone(), forger.account.did.clone());
    let (b, g) = (denied.account.did.clone(), unknown.account.did.clone());
    let mut flags = vec!["--relay", &two.url, "--config", &config, "--did-docs", docs.to_str().unwrap()];
    flags.extend(["--allow", &a, "--allow", &b, "--allow", &f, "--allow", &g, "--deny", &b]);
    let serve = Serve::start_with(url, &one.url, folder.path(), &flags);
    connected(&[&one, &two]).await;
    one.release(8);
    handled(&db, 1, 8).await;
    // The same frames through another upstream: the same refusals.
    two.release(8);
    handled(&db, 2, 8).await;

    let (counts, rows) = list(url);
    let expected = [
        (&allowed, "op_shape", None),
        (&denied, "denied", Some(3)),
        (&unlisted, "not_allowed", Some(12)),
        (&foreign, "foreign", Some(6)),
        (&stranger, "own_host_stranger", Some(9)),
        (&forger, "bad_signature", None),
        (&unknown, "no_key", None),
    ];
    assert_eq!((rows.len(), counts.as_object().unwrap().len()), (7, 7), "{counts}");
    let relay = one.url.trim_start_matches("ws://");
    for ((writer, reason, rule), seq) in expected.into_iter().zip(2i64..) {
        let row = &rows[&(writer.account.did.clone(), reason.to_owned())];
        assert_eq!(
            (row["rule"].as_i64(), row["seq"].as_i64(), row["times"].as_i64()),
            (rule, Some(seq), Some(2)),
            "{row}"
        );
        assert_eq!((row["upstream"].as_str(), row["upstream_kind"].as_str()), (Some(relay), Some("relay")));
        assert_eq!((row["live"].as_bool(), row["released_at"].as_str()), (Some(true), None));
        let path = row["paths"][0].as_str().unwrap();
        assert!(path.starts_with(EVENT) && row["rev"].is_string() && row["commit_cid"].is_string(), "{row}");
        assert!(row["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        assert_eq!(counts[reason], 1, "{counts}");
        let gauge = format!("almanac_ingest_quarantined_records_total{{reason=\"{reason}\"}}");
        assert_eq!(serve.metric(&gauge).await, Some(2.0), "{reason}");
        assert_eq!(row["frame_bytes"].as_u64(), Some(frames[seq as usize - 1].bytes.len() as u64));
    }
    assert_eq!(serve.events_of(&a).await.len(), 1);
    assert_eq!(count(&db, "select count(*) from log.event where kind in ('put', 'delete')").await, 1);
    // The operator's views tell the same numbers.
    let status = executable::json(url, &["status", "--json"]);
    assert_eq!(status["quarantine"]["records"], counts);
    let (_, body) = serve.get(&format!("{}/admin/status", serve.admin), &[]).await;
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["quarantine"]["records"], counts);

    // One entry, with its frame as it came; and one that cannot be read.
    let row = &rows[&(foreign.account.did.clone(), "foreign".to_owned())];
    let (id, file) = (row["id"].to_string(), folder.path().join("frame"));
    let mut show = vec!["quarantine", "show", &id, "--json", "--config", &config, "--did-docs", docs.to_str().unwrap()];
    show.extend(["--frame", file.to_str().unwrap()]);
    let shown = executable::json(url, &show);
    assert_eq!(std::fs::read(&file).unwrap(), frames[4].bytes);
    assert_eq!((shown["now"]["verdict"].as_str(), shown["unreadable"].as_str()), (Some("refused"), None));
    assert!(shown["now"]["words"].as_str().unwrap().contains("rule 6"), "{shown}");
    assert_eq!(shown["records"][0]["record"]["name"], "e");
    assert_eq!(shown["records"][0]["uri"], format!("at://{}/{EVENT}/e", foreign.account.did));
    let id = rows[&(a.clone(), "op_shape".to_owned())]["id"].to_string();
    let shown = executable::json(url, &["quarantine", "show", &id, "--json"]);
    assert!(shown["unreadable"].as_str().unwrap().starts_with("op_shape"), "{shown}");
    assert_eq!(shown["paths"][0], format!("{EVENT}/odd"));
    for args in [&["quarantine", "show", &id] as &[&str], &["quarantine", "list"]] {
        let output = executable::run(url, args);
        assert!(output.status.success() && words(&output).contains("op_shape"), "{}", words(&output));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_it_is_is_asked_before_anything_is_released() {
    let sim = Sim::start(SimOptions { seed: 5, hosts: 1, accounts: 1, ..SimOptions::default() }).await.unwrap();
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let known = sim.dids().pop().unwrap();
    let mut taken = Writer::of(&known, 'a', "https://pds.example.org");
    let mut nobody = Writer::new('b', "https://pds.example.org");
    // A PDS that speaks for an account that lives elsewhere, and for one that nobody knows.
    let pds = Relay::start(&[taken.event(1, "e"), nobody.event(2, "e")]).await;
    let network = ["--plc", sim.plc_url(), "--allow-private", "--host-override", sim.host_override()];
    let mut flags = vec!["--pds", &pds.url];
    flags.extend(network);
    let serve = Serve::start_with(url, "", folder.path(), &flags);
    connected(&[&pds]).await;
    pds.release(2);
    let settled = async || match list(url).1 {
        rows if rows.len() == 2 => Ok(rows),
        rows => Err(format!("{rows:?}")),
    };
    let rows = eventually("both are refused", LIMIT, settled).await;
    let wrong = &rows[&(known.clone(), "wrong_host".to_owned())];
    let unknown = &rows[&(nobody.account.did.clone(), "unknown".to_owned())];
    assert_eq!((wrong["rule"].as_i64(), unknown["rule"].as_i64()), (Some(2), Some(4)));
    assert_eq!((wrong["upstream_kind"].as_str(), wrong["pds"].as_str()), (Some("pds"), Some(&*sim.pds_url(0))));

    let asked = |ids: &[String]| {
        let mut args = vec!["quarantine", "release", "--json", "--who", "anna"];
        args.extend(network);
        args.extend(ids.iter().map(String::as_str));
        let output = executable::run(url, &args);
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&output)))
    };
    let ids: Vec<String> = [wrong, unknown].map(|row| row["id"].to_string()).into();
    let check = |outcome: &Value, appended_here: bool| {
        assert_eq!((&outcome["refused"], &outcome["released"], &outcome["waits"]), (&2.into(), &0.into(), &0.into()));
        assert_eq!(outcome["appended_here"], appended_here);
        let why: Vec<&str> =
            outcome["entries"].as_array().unwrap().iter().map(|e| e["outcome"].as_str().unwrap()).collect();
        assert!(
            why.iter().any(|why| why.contains("rule 2")) && why.iter().any(|why| why.contains("rule 4")),
            "{why:?}"
        );
    };
    check(&asked(&ids), false);
    serve.kill();
    check(&asked(&ids), true);
    // An entry stays as it is, whatever was asked of it.
    let (_, after) = list(url);
    assert_eq!((after.len(), &after[&(known, "wrong_host".to_owned())]["times"]), (2, &1.into()));
    assert_eq!(count(&db, "select count(*) from log.event where kind = 'put'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_enter_now_is_released_and_the_rest_stays() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let (mut anna, mut bela, mut cora) = (Writer::new('a', "p"), Writer::new('b', "p"), Writer::new('c', "p"));
    let [a, b, c] = [&anna, &bela, &cora].map(Writer::did);
    for did in [&a, &b, &c] {
        enter(&db, did, ListChange::Deny).await;
    }
    let relay = Relay::start(&[anna.event(1, "one"), bela.event(2, "two"), cora.event(3, "three")]).await;
    let serve = Serve::start(url, &relay.url, folder.path());
    connected(&[&relay]).await;
    relay.release(3);
    handled(&db, 1, 3).await;
    let (counts, rows) = list(url);
    assert_eq!(counts["denied"], 3);
    let id = |did: &Did| rows[&(did.to_string(), "denied".to_owned())]["id"].to_string();

    // Right after the list was changed, through the process that appends.
    enter(&db, &a, ListChange::Forget).await;
    let (ida, idb) = (id(&a), id(&b));
    let release = ["quarantine", "release", "--verify", "none", "--who", "anna", "--json"];
    let with = |more: &[&str]| executable::run(url, &[&release, more].concat());
    let output = with(&[&ida, &idb]);
    assert_eq!(output.status.code(), Some(1), "one is still refused: {}", words(&output));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&outcome["released"], &outcome["refused"], &outcome["appended_here"]),
        (&1.into(), &1.into(), &false.into())
    );
    eventually("it is shown", LIMIT, async || match serve.events_of(a.as_str()).await.len() {
        1 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
    let live: bool =
        sqlx::query_scalar("select live from log.event where kind = 'put'").fetch_one(db.pool()).await.unwrap();
    assert!(!live, "nothing in the world may follow from it");
    let (counts, rows) = list(url);
    assert_eq!(counts["denied"], 2);
    let released = &rows[&(a.to_string(), "denied".to_owned())];
    assert!(released["released_at"].is_string() && released["frame_bytes"].is_null(), "{released}");
    assert_eq!(released["release_asked_by"], "anna");
    let stays = &rows[&(b.to_string(), "denied".to_owned())];
    assert!(stays["release_outcome"].as_str().unwrap().contains("rule 3") && stays["frame_bytes"].is_u64(), "{stays}");
    // Nothing is there to be released twice.
    let again = with(&[&ida]);
    assert_eq!(again.status.code(), Some(1));
    let outcome: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(outcome["gone"][0].to_string(), ida);

    // Without a process that appends, the command does.
    serve.kill();
    enter(&db, &c, ListChange::Forget).await;
    let unasked = with(&["--reason", "denied"]);
    assert_eq!(unasked.status.code(), Some(1));
    assert!(words(&unasked).contains("--yes"), "{}", words(&unasked));
    let outcome: Value = serde_json::from_slice(&with(&["--did", c.as_str(), "--yes"]).stdout).unwrap();
    assert_eq!((&outcome["released"], &outcome["appended_here"]), (&1.into(), &true.into()), "{outcome}");
    assert_eq!(count(&db, "select count(*) from log.event where kind = 'put'").await, 2);
    let none = executable::run(url, &["quarantine", "release"]);
    assert!(words(&none).contains("--reason"), "{}", words(&none));
}

/// A dump of `count` frames, recorded in `environment`.
fn dump(path: &Path, environment: Option<&str>, count: i64) -> Vec<Frame> {
    let environment = environment.map(|name| Environment::parse(name).unwrap());
    let upstream = Arc::new(Upstream::new(UpstreamKind::Relay, "relay.example.org"));
    let mut writer = DumpWriter::create(path, environment.as_ref()).unwrap();
    writer.add_upstream(&upstream, "wss://relay.example.org").unwrap();
    let mut anna = Writer::new('a', "p");
    let frames: Vec<Frame> = (1..=count).map(|seq| anna.event(seq, &format!("e{seq}"))).collect();
    for frame in &frames {
        let (upstream, frame) = (upstream.clone(), frame.bytes.clone().into());
        writer.write(&Delivery { upstream, seen_at: chrono::Utc::now(), live: true, frame }).unwrap();
    }
    writer.finish().unwrap();
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_another_environment_is_refused_or_lands_in_quarantine() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let (theirs, ours) = (folder.path().join("theirs.mcap"), folder.path().join("ours.mcap"));
    let frames = dump(&theirs, Some("dev"), 3);
    dump(&ours, Some("test"), 3);
    let plain = folder.path().join("plain.frames");
    support::frames::write(&plain, &frames);
    let [theirs, ours, plain] = [&theirs, &ours, &plain].map(|path| path.to_str().unwrap());
    let replay = |args: &[&str]| executable::run(url, &[&["replay", "--json"], args].concat());
    let summary = |output: Output| -> Value {
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };

    // Nothing of the first is replayed when the second is refused.
    refused_at_start(&replay(&[ours, theirs]), &["`dev`", "`test`", "--as-foreign"]);
    refused_at_start(&replay(&[plain, "--declared-environment", "dev"]), &["`dev`", "`test`", "--as-foreign"]);
    refused_at_start(&replay(&[theirs, "--declared-environment", "test"]), &["--declared-environment", "`dev`"]);
    refused_at_start(&replay(&[plain, "--as-foreign"]), &["--declared-environment"]);
    refused_at_start(&replay(&[theirs, "--dry-run"]), &["`dev`", "`test`"]);
    assert_eq!(count(&db, "select count(*) from log.event").await, 0);
    assert_eq!(count(&db, "select count(*) from ingest.quarantine").await, 0);

    for (args, times) in
        [(vec![theirs, "--as-foreign"], 1), (vec![plain, "--as-foreign", "--declared-environment", "dev"], 2)]
    {
        let done = summary(replay(&args));
        assert_eq!((&done["events_appended"], &done["quarantined"], &done["kept"]), (&0.into(), &3.into(), &0.into()));
        let listed = executable::json(url, &["quarantine", "list", "--json", "--reason", "foreign"]);
        let rows = listed["entries"].as_array().unwrap();
        assert_eq!(rows.len(), 3, "{listed}");
        for row in rows {
            assert_eq!(
                (&row["rule"], &row["declared"], &row["times"]),
                (&1.into(), &"dev".into(), &times.into()),
                "{row}"
            );
            assert_eq!((&row["live"], &row["upstream"]), (&false.into(), &"relay.example.org".into()));
        }
    }
    for table in ["log.event", "ingest.repo", "ingest.bystander", "calendar.events", "calendar.accounts"] {
        let text = format!("select count(*) from {table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(db.pool()).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    // Nothing lets them out while they are declared so.
    let output =
        executable::run(url, &["quarantine", "release", "--reason", "foreign", "--yes", "--verify", "none", "--json"]);
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&outcome["released"], &outcome["refused"]), (&0.into(), &3.into()), "{outcome}");

    // What nobody declared is taken, and the summary says so.
    let done = summary(replay(&[plain]));
    assert_eq!((&done["events_appended"], &done["undeclared"][0]), (&3.into(), &plain.into()));
    let done = summary(replay(&[plain, ours, "--declared-environment", "test"]));
    assert_eq!((&done["duplicates"], done["undeclared"].as_array().unwrap().len()), (&6.into(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_leave_by_age_by_hand_and_beyond_the_bytes_that_they_may_take() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let path = folder.path().join("theirs.mcap");
    let bytes: usize = dump(&path, Some("dev"), 100).iter().map(|frame| frame.bytes.len() + 600).sum();
    let max = bytes / 2;
    let config = settings(folder.path(), &format!("[quarantine]\nbytes_max = '{max}'\nkeep = '1d'"));
    let replay = ["replay", "--json", "--as-foreign", "--config", &config, path.to_str().unwrap()];

    // A flood between two cleanings goes a quarter beyond the limit, and is counted.
    let done = executable::json(url, &replay);
    let there = count(&db, "select count(*) from ingest.quarantine").await;
    assert_eq!(done["quarantine_overflow"].as_i64(), Some(100 - there));
    assert!((55..=65).contains(&there), "{there} of 100 in half the room for them");
    // Those that are there are counted up, and take no more.
    let done = executable::json(url, &replay);
    assert_eq!(done["quarantine_overflow"].as_i64(), Some(100 - there));
    assert_eq!(count(&db, "select min(times) from ingest.quarantine").await, 2);
    assert_eq!(count(&db, "select count(*) from ingest.quarantine").await, there);

    // A serving process takes the oldest away, and what is too old.
    let backdate = "update ingest.quarantine set quarantined_at = now() - interval '25 hours'
         where id in (select id from ingest.quarantine order by id desc limit 10)";
    sqlx::query(backdate).execute(db.pool()).await.unwrap();
    let before: Vec<i64> = sqlx::query_scalar(
        "select id from ingest.quarantine where quarantined_at > now() - interval '1 day' order by id",
    )
    .fetch_all(db.pool())
    .await
    .unwrap();
    let serve = Serve::start_with(url, "", folder.path(), &["--config", &config]);
    let left = eventually("the oldest are gone", LIMIT, async || {
        let ids: Vec<i64> =
            sqlx::query_scalar("select id from ingest.quarantine order by id").fetch_all(db.pool()).await.unwrap();
        // Ten by age; those left fit.
        if ids.len() + 10 < there as usize { Ok(ids) } else { Err(format!("{} of {there}", ids.len())) }
    })
    .await;
    assert_eq!(left[..], before[before.len() - left.len()..], "the newest stay");
    let taken = count(&db, "select sum(octet_length(frame) + 600)::bigint from ingest.quarantine").await;
    assert!((max as i64 - 2_000..=max as i64).contains(&taken), "{taken} bytes of {max} in {} entries", left.len());
    eventually("the gauges tell", LIMIT, async || {
        let rows = serve.metric("almanac_ingest_quarantine_records{reason=\"foreign\"}").await;
        if rows == Some(left.len() as f64) { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert_eq!(serve.metric("almanac_ingest_quarantine_overflow_total").await, Some(0.0));
    serve.kill();

    let purge = |args: &[&str]| executable::run(url, &[&["quarantine", "purge", "--json"], args].concat());
    let entries = |output: Output| -> Value {
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["entries"].clone()
    };
    let left = left.len() as i64;
    assert_eq!(entries(purge(&["--dry-run"])), left);
    let unasked = purge(&[]);
    assert!(unasked.status.code() == Some(1) && words(&unasked).contains("--yes"), "{}", words(&unasked));
    assert_eq!(entries(purge(&["--yes", "--older-than", "1h"])), 0);
    assert_eq!(entries(purge(&["--yes", "--reason", "denied"])), 0);
    refused_at_start(&purge(&["--yes", "--reason", "denyed"]), &["not_allowed"]);
    assert_eq!(count(&db, "select count(*) from ingest.quarantine").await, left);
    assert_eq!(entries(purge(&["--yes", "--did", Writer::new('a', "p").account.did.as_str()])), left);
    assert_eq!(count(&db, "select count(*) from ingest.quarantine").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_flood_fills_no_disk_and_stops_nobody() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let (mut anna, mut bela) = (Writer::new('a', "p"), Writer::new('b', "p"));
    let mut frames: Vec<Frame> = (1..=300).map(|seq| bela.event(seq, &format!("e{seq}"))).collect();
    frames.push(anna.event(301, "good"));
    let relay = Relay::start(&frames).await;
    let config = settings(folder.path(), "[quarantine]\nbytes_max = '50000'");
    let flags = ["--config", &config, "--deny", &bela.account.did.clone()];
    let serve = Serve::start_with(url, &relay.url, folder.path(), &flags);
    connected(&[&relay]).await;
    relay.release_steadily(600);
    handled(&db, 1, 301).await;
    let there = count(&db, "select count(*) from ingest.quarantine").await;
    let taken = count(&db, "select sum(octet_length(frame) + 600)::bigint from ingest.quarantine").await;
    assert!((1..=62_500).contains(&taken), "{taken} bytes in {there} entries");
    eventually("what found no room is counted", LIMIT, async || {
        match serve.metric("almanac_ingest_quarantine_overflow_total").await {
            Some(n) if n as i64 == 300 - there => Ok(()),
            other => Err(format!("{other:?} of {}", 300 - there)),
        }
    })
    .await;
    eventually("what belongs enters", LIMIT, async || match serve.events_of(&anna.account.did).await.len() {
        1 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_another_environment_are_refused_at_start() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    let config = settings(folder.path(), "[origin]\nhosts = ['*.dev.example.org=dev', 'plc.example.org=test']");
    let out = folder.path().join("out.mcap");
    let out = out.to_str().unwrap();
    let theirs = "pds.dev.example.org";
    for (args, setting) in [
        (vec!["serve", "--relay", theirs], "source.relays"),
        (vec!["serve", "--pds", theirs], "source.pdses"),
        (vec!["serve", "--plc", "https://plc.dev.example.org"], "network.plc"),
        (vec!["backfill", "--host", theirs], "--host"),
        (vec!["backfill", "--relay", theirs], "source.relays"),
        (vec!["verify-coverage", "--pds", theirs], "source.pdses"),
        (vec!["record", "--relay", theirs, "--out", out], "--relay"),
    ] {
        // One that is not refused would run for ever.
        let log = folder.path().join("refused.log");
        let mut started = executable::start(url, &[&args[..], &["--config", &config]].concat(), &log);
        assert_eq!(started.end(LIMIT).code(), Some(2), "{args:?}: {}", started.log());
        let said = std::fs::read_to_string(&log).unwrap();
        for part in [setting, "`dev`", "`test`", "origin.hosts"] {
            assert!(said.contains(part), "{args:?}: {said} does not say {part}");
        }
        std::fs::remove_file(&log).unwrap();
    }
    assert!(!Path::new(out).exists());
    let output = executable::run(url, &["config", "check", "--config", &config]);
    assert!(output.status.success(), "{}", words(&output));
}
