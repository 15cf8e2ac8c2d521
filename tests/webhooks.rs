//! Effects: what happens live is told to receivers, once, signed and in order; what was fetched, replayed or folded again never
//! is; what nobody takes is tried again under the same id, and kept.
//!
//! `serve` is a process of its own on the simulated network; the receiver is in this one.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod postgres;
    pub mod receiver;
    pub mod serve;
    pub mod sim;
}

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use almanac::devnet::sim::{Sim, SimOptions};
use serde_json::Value;
use support::almanac as executable;
use support::postgres::TestDb;
use support::receiver::Receiver;
use support::serve::{Serve, eventually};
use support::{frames as dump, sim};
use tempfile::TempDir;

/// Far more than anything here takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(60);
const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// One network, one database, one receiver.
struct Stand {
    sim: Sim,
    db: TestDb,
    receiver: Receiver,
    folder: TempDir,
    settings: PathBuf,
}

impl Stand {
    /// A network of four accounts with a past, and these settings; `HOOK` in them is the receiver's address.
    async fn new(seed: u64, settings: &str) -> Self {
        let sim = Sim::start(SimOptions { seed, hosts: 2, accounts: 4, ..SimOptions::default() }).await.unwrap();
        for did in sim.dids() {
            sim.create_event(&did).unwrap();
        }
        let receiver = Receiver::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("almanac.toml");
        let settings = settings.replace("HOOK", &receiver.url);
        std::fs::write(&file, format!("{settings}\n[backfill]\nhost_pause = '200ms'\n")).unwrap();
        Stand { sim, db: TestDb::fresh().await, receiver, folder, settings: file }
    }

    fn url(&self) -> &str {
        self.db.url().expose()
    }

    /// Starts `serve` and waits until the index is the truth and everything is looked at.
    async fn serve(&self) -> Serve {
        self.serve_with(&[]).await
    }

    async fn serve_with(&self, more: &[&str]) -> Serve {
        let mut flags = sim::flags(&self.sim, &self.settings);
        flags.extend(more);
        let serve = Serve::start_with(self.url(), &self.sim.relay_ws_url(), self.folder.path(), &flags);
        eventually("the relay is followed", LIMIT, async || match serve.ready().await {
            (status, _) if status == 200 => Ok(()),
            (status, why) => Err(format!("{status} {why:?}")),
        })
        .await;
        self.settle().await;
        serve
    }

    async fn settle(&self) {
        sim::settle(self.db.pool(), &self.sim, LIMIT, || "the index".to_owned()).await;
        self.looked_at().await;
    }

    /// Waits until the whole log was looked at for effects.
    async fn looked_at(&self) {
        eventually("the whole log is looked at", LIMIT, async || {
            let (head, done): (i64, Option<i64>) =
                sqlx::query_as("select position, (select position from effects.checkpoint) from log.head")
                    .fetch_one(self.db.pool())
                    .await
                    .unwrap();
            if done == Some(head) { Ok(()) } else { Err(format!("{done:?} of {head}")) }
        })
        .await;
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(self.db.pool()).await.unwrap()
    }

    /// Waits until so many deliveries are in this state.
    async fn wait_for(&self, state: &str, count: i64) {
        eventually(state, LIMIT, async || {
            let rows: Vec<(String, i32, Option<String>)> =
                sqlx::query_as("select state, attempts, last_error from effects.delivery order by position")
                    .fetch_all(self.db.pool())
                    .await
                    .unwrap();
            let found = rows.iter().filter(|row| row.0 == state).count() as i64;
            if found == count { Ok(()) } else { Err(format!("{found} of {count}: {rows:?}")) }
        })
        .await;
    }

    /// `almanac webhooks ARGS…` with these settings: whether it succeeded, what it printed, what it said.
    fn webhooks(&self, args: &[&str]) -> (bool, String, String) {
        let settings = self.settings.to_str().unwrap();
        let args: Vec<&str> = ["webhooks"].iter().chain(args).copied().chain(["--config", settings]).collect();
        let output = executable::run(self.url(), &args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn webhooks_json(&self, args: &[&str]) -> Value {
        let (ok, printed, said) = self.webhooks(&[args, &["--json"]].concat());
        assert!(ok, "{args:?}: {said}");
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{args:?}: {e}: {printed}"))
    }

    fn event(&self, did: &str) -> String {
        format!("at://{did}/{}", self.sim.create_event(did).unwrap().0)
    }
}

fn hook(more: &str) -> String {
    format!("[webhooks.app]\nurl = 'HOOK/app'\nsecret = '{SECRET}'\n{more}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_live_is_told_once_and_nothing_else_is() {
    let settings = format!("[webhooks.app]\nurl = 'HOOK/app?token=hunter2'\nsecrets = ['{SECRET}', '{OLD_SECRET}']");
    let stand = Stand::new(1, &settings).await;
    let serve = stand.serve().await;
    // The past was fetched.
    let puts = stand.count("select count(*) from log.event where kind = 'put' and not live").await;
    assert!(puts >= 4, "{puts} records fetched");
    assert_eq!(stand.receiver.received().len(), 0, "the past is told");
    let not_live = serve.metric("almanac_effects_suppressed_events_total{reason=\"not_live\"}").await;
    assert!(not_live >= Some(4.0), "{not_live:?}");

    let did = &stand.sim.dids()[0];
    let (path, cid) = stand.sim.create_event(did).unwrap();
    let uri = format!("at://{did}/{path}");
    let put = stand.receiver.wait_for(1, LIMIT).await.remove(0);
    assert!(put.is_signed_with(SECRET) && put.is_signed_with(OLD_SECRET), "{put:?}");
    assert!(!put.is_signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((now - put.timestamp).abs() < 60, "{put:?}");
    assert!(put.id.starts_with("msg_") && !put.id.contains('.'), "{put:?}");
    let data = &put.json["data"];
    assert_eq!(put.json["type"], "record.put");
    assert!(chrono::DateTime::parse_from_rfc3339(put.json["timestamp"].as_str().unwrap()).is_ok());
    for (field, wanted) in [
        ("environment", "test"),
        ("origin", "network"),
        ("uri", &uri),
        ("did", did),
        ("collection", EVENT),
        ("rkey", path.split_once('/').unwrap().1),
        ("cid", &cid.to_string()),
        ("upstream", stand.sim.relay_url().trim_start_matches("http://")),
    ] {
        assert_eq!(data[field], wanted, "{field}");
    }
    assert_eq!(data["record"]["$type"], EVENT);
    // Whoever is told and asks finds it.
    assert!(serve.event(&uri).await.is_some());

    stand.sim.delete_record(did, &path).unwrap();
    let gone = stand.receiver.wait_for(2, LIMIT).await.remove(1);
    assert_eq!((&gone.json["type"], gone.uri()), (&Value::from("record.delete"), &*uri));
    assert!(gone.json["data"]["record"].is_null() && gone.is_signed_with(SECRET) && gone.id != put.id, "{gone:?}");
    stand.wait_for("delivered", 2).await;

    // The index made anew, and started again.
    let rebuilt = executable::run(stand.url(), &["rebuild"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    serve.kill();
    // Frames of another day, by the same path as live ones.
    let file = stand.folder.path().join("other.frames");
    dump::write(&file, &dump::calendar(11, 200));
    let replayed = executable::json(stand.url(), &["replay", "--json", file.to_str().unwrap()]);
    let before = stand.count("select position from log.head").await;
    let serve = stand.serve_head().await;
    assert!(before > stand.count("select min(position) from effects.delivery").await, "{replayed}");
    let last = stand.event(did);
    let told = stand.receiver.wait_for(3, LIMIT).await;
    assert_eq!(told[2].uri(), last);
    stand.looked_at().await;
    assert_eq!(stand.receiver.received().len(), 3, "more is told than happened");
    let list = stand.webhooks_json(&["list"]);
    let app = &list["webhooks"][0];
    assert_eq!((&app["state"], &app["pending"], &app["dead"]), (&"serving".into(), &0.into(), &0.into()), "{list}");
    assert!(!list.to_string().contains("hunter2") && !serve.running.log().contains("hunter2"));
}

impl Stand {
    /// Starts `serve` where the index is not only the network's: waits until the log is looked at to its end.
    async fn serve_head(&self) -> Serve {
        let flags = sim::flags(&self.sim, &self.settings);
        let serve = Serve::start_with(self.url(), &self.sim.relay_ws_url(), self.folder.path(), &flags);
        self.looked_at().await;
        serve
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_sent_again_under_its_id_and_an_accounts_events_stay_in_order() {
    let stand = Stand::new(2, &hook("[effects]\nretry_first = '300ms'")).await;
    let serve = stand.serve().await;
    let (anna, bela) = (stand.sim.dids()[0].clone(), stand.sim.dids()[1].clone());
    let mut left = 2;
    let of = anna.clone();
    stand.receiver.answer(move |received| {
        if left > 0 && received.json["data"]["did"] == *of {
            left -= 1;
            return (500, None);
        }
        (204, None)
    });
    let (first, second) = (stand.event(&anna), stand.event(&anna));
    let other = stand.event(&bela);
    stand.wait_for("delivered", 3).await;
    let (tries, later, others) =
        (stand.receiver.about(&first), stand.receiver.about(&second), stand.receiver.about(&other));
    assert_eq!((tries.len(), later.len(), others.len()), (3, 1, 1));
    assert!(tries.iter().all(|again| again.id == tries[0].id && again.body == tries[0].body), "{tries:#?}");
    assert!(tries.iter().all(|again| again.is_signed_with(SECRET)));
    assert!(tries[1].at - tries[0].at >= Duration::from_millis(200), "no pause");
    assert!(later[0].at > tries[2].at, "the second event overtook the first");
    assert!(others[0].at < tries[2].at, "another account waited");
    assert_eq!(serve.metric("almanac_effects_failed_attempts_total{reason=\"status\"}").await, Some(2.0));
    assert_eq!(serve.metric("almanac_effects_delivered_deliveries_total").await, Some(3.0));

    // A receiver that asks for a pause has it, for everybody's events.
    let mut asked = false;
    stand.receiver.answer(move |_| if std::mem::replace(&mut asked, true) { (200, None) } else { (503, Some("2")) });
    let before = stand.receiver.received().len();
    stand.event(&anna);
    let refused = stand.receiver.wait_for(before + 1, LIMIT).await.pop().unwrap();
    eventually("the pause", LIMIT, async || {
        let paused = stand.webhooks_json(&["list"])["webhooks"][0]["state"] == "paused";
        if paused { Ok(()) } else { Err(String::new()) }
    })
    .await;
    stand.event(&bela);
    let received = stand.receiver.wait_for(before + 3, LIMIT).await;
    for again in &received[before + 1..] {
        assert!(again.at - refused.at >= Duration::from_millis(1_900), "asked within the pause");
    }
    stand.wait_for("delivered", 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_answer_and_note_it_is_sent_again_under_the_same_id() {
    let stand = Stand::new(3, &hook("")).await;
    let serve = stand.serve().await;
    stand.receiver.hold(true);
    let uri = stand.event(&stand.sim.dids()[0]);
    stand.receiver.wait_for(1, LIMIT).await;
    // The receiver has it. Its answer will be heard, and cannot be noted.
    let mut tx = stand.db.pool().begin().await.unwrap();
    sqlx::query("select from effects.delivery for update").execute(&mut *tx).await.unwrap();
    stand.receiver.hold(false);
    eventually("the answer is about to be noted", LIMIT, async || {
        let waiting = "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock' and query like '%effects.delivery%'";
        if stand.count(waiting).await > 0 { Ok(()) } else { Err(String::new()) }
    })
    .await;
    serve.kill();
    sqlx::query(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'",
    )
    .execute(stand.db.pool())
    .await
    .unwrap();
    tx.rollback().await.unwrap();
    let _serve = stand.serve().await;
    stand.wait_for("delivered", 1).await;
    let told = stand.receiver.about(&uri);
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0].id, &told[0].body), (&told[1].id, &told[1].body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_a_dead_letter_until_somebody_asks_again() {
    let stand = Stand::new(4, &hook("[effects]\nretry_first = '10ms'\nattempts_max = '2'")).await;
    let serve = stand.serve().await;
    let did = stand.sim.dids()[0].clone();
    stand.receiver.answer(|_| (500, None));
    let (first, second) = (stand.event(&did), stand.event(&did));
    stand.wait_for("dead", 2).await;
    let letters = stand.webhooks_json(&["dead"]);
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.iter().map(|l| l["uri"].as_str().unwrap()).collect::<Vec<_>>(), [&second, &first]);
    for letter in letters {
        assert_eq!((&letter["attempts"], &letter["last_status"]), (&2.into(), &500.into()), "{letter}");
        assert!(letter["last_error"].as_str().unwrap().contains("HTTP 500: words of the receiver"), "{letter}");
    }
    assert_eq!(stand.receiver.received().len(), 4);
    assert_eq!(serve.metric("almanac_effects_died_deliveries_total").await, Some(2.0));

    stand.receiver.answer(|_| (200, None));
    let id = letters[1]["id"].as_str().unwrap();
    let (ok, printed, said) = stand.webhooks(&["retry", id]);
    assert!(ok && printed.contains("1 queued again"), "{printed}{said}");
    stand.wait_for("delivered", 1).await;
    let told = stand.receiver.about(&first);
    assert!(told.len() == 3 && told.iter().all(|again| again.id == id), "{told:#?}");
    let (ok, _, said) = stand.webhooks(&["retry", id]);
    assert!(!ok && said.contains("no dead letter"), "{said}");

    // What was purged meanwhile cannot be told any more.
    sqlx::query("update log.event set record = null where position = $1")
        .bind(letters[0]["position"].as_i64())
        .execute(stand.db.pool())
        .await
        .unwrap();
    assert!(stand.webhooks(&["retry", "--all"]).0);
    eventually("purged", LIMIT, async || match &stand.webhooks_json(&["dead"])[0]["last_error"] {
        Value::String(why) if why.contains("purged") => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(stand.receiver.about(&second).len(), 2);

    // A receiver that is gone is left alone until somebody says otherwise.
    stand.receiver.answer(|_| (410, None));
    let third = stand.event(&did);
    eventually("paused", LIMIT, async || match &stand.webhooks_json(&["list"])["webhooks"][0]["state"] {
        Value::String(state) if state == "paused" => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    stand.receiver.answer(|_| (200, None));
    let fourth = stand.event(&stand.sim.dids()[1]);
    stand.looked_at().await;
    assert_eq!((stand.receiver.about(&third).len(), stand.receiver.about(&fourth).len()), (1, 0));
    assert!(stand.webhooks(&["resume", "app"]).0);
    stand.wait_for("delivered", 3).await;
    let (ok, _, said) = stand.webhooks(&["resume", "nobody"]);
    assert!(!ok && said.contains("nobody"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_what_he_asked_for_and_a_refused_account_is_not_spoken_of() {
    let one = |name: &str, more: &str| format!("[webhooks.{name}]\nurl = 'HOOK/{name}'\nsecret = '{SECRET}'\n{more}\n");
    let settings = [
        one("all", ""),
        one("rsvps", &format!("collections = ['{RSVP}']")),
        one("deletes", "kinds = ['delete']"),
        one("own", "origins = ['own']"),
        one("nobody", "dids = ['did:plc:aaaaaaaaaaaaaaaaaaaaaaaa']"),
        "[effects]\nretry_first = '200ms'".to_owned(),
    ]
    .concat();
    let stand = Stand::new(5, &settings).await;
    let deny = stand.folder.path().join("deny.txt");
    std::fs::write(&deny, "# nobody\n").unwrap();
    let serve = stand.serve_with(&["--deny-file", deny.to_str().unwrap()]).await;
    let (anna, bela) = (stand.sim.dids()[0].clone(), stand.sim.dids()[1].clone());
    let (path, cid) = stand.sim.create_event(&anna).unwrap();
    let event = format!("at://{anna}/{path}");
    let rsvp = format!("at://{bela}/{}", stand.sim.create_rsvp(&bela, &event, cid).unwrap().0);
    stand.sim.delete_record(&anna, &path).unwrap();
    stand.wait_for("delivered", 5).await;
    stand.looked_at().await;
    let heard: BTreeSet<(String, String, String)> = stand
        .receiver
        .received()
        .into_iter()
        .map(|r| (r.path.clone(), r.json["type"].as_str().unwrap().to_owned(), r.uri().to_owned()))
        .collect();
    let wanted = [
        ("/all", "record.put", &event),
        ("/all", "record.put", &rsvp),
        ("/all", "record.delete", &event),
        ("/rsvps", "record.put", &rsvp),
        ("/deletes", "record.delete", &event),
    ];
    let wanted = wanted.map(|(path, kind, uri)| (path.to_owned(), kind.to_owned(), uri.clone()));
    assert_eq!(heard, wanted.into_iter().collect());
    for reason in ["collection", "kind", "origin", "did"] {
        let series = format!("almanac_effects_suppressed_events_total{{reason=\"{reason}\"}}");
        assert!(serve.metric(&series).await > Some(0.0), "{reason}");
    }

    // Queued, and refused before anybody took it.
    stand.receiver.answer(|received| if received.path == "/all" { (500, None) } else { (200, None) });
    let late = stand.event(&bela);
    eventually("one attempt", LIMIT, async || match stand.receiver.about(&late).len() {
        0 => Err(String::new()),
        _ => Ok(()),
    })
    .await;
    std::fs::write(&deny, &bela).unwrap();
    eventually("given up", LIMIT, async || match &stand.webhooks_json(&["dead"])[0] {
        letter if letter["last_error"].as_str().is_some_and(|why| why.contains("account_refused")) => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    stand.receiver.answer(|_| (200, None));
    let before = stand.receiver.received().len();
    stand.webhooks(&["retry", "--all"]);
    stand.wait_for("dead", 1).await;
    assert_eq!(stand.receiver.received().len(), before, "a refused account is spoken of");

    // And why, for who asks.
    let settings = almanac::config::Settings::check(
        &almanac::config::Layers::read(
            Some(&stand.settings),
            [],
            [("environment", "environment", vec!["test".into()])],
        )
        .unwrap(),
    )
    .unwrap();
    let explained = almanac::effects::explain(
        stand.db.pool(),
        &settings.environment,
        &settings.effects.webhooks,
        &event.parse().unwrap(),
    )
    .await
    .unwrap();
    let told: Vec<_> = explained.deliveries.iter().map(|d| (d.subscription.as_str(), d.state.as_str())).collect();
    assert_eq!(told, [("all", "delivered"), ("all", "delivered"), ("deletes", "delivered")]);
    let untold: BTreeSet<_> = explained.untold.iter().map(|u| (u.subscription.as_str(), u.reason)).collect();
    let wanted = [("rsvps", "collection"), ("deletes", "kind"), ("own", "origin"), ("nobody", "did")];
    assert_eq!(untold, wanted.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_comes_later_hears_of_what_comes_later() {
    let stand = Stand::new(6, &hook("")).await;
    let serve = stand.serve().await;
    let did = stand.sim.dids()[0].clone();
    let first = stand.event(&did);
    stand.wait_for("delivered", 1).await;
    serve.kill();
    let settings = std::fs::read_to_string(&stand.settings).unwrap();
    let both = format!("{settings}\n{}", hook("").replace("app", "new").replace("HOOK", &stand.receiver.url));
    std::fs::write(&stand.settings, both).unwrap();
    // What was not noted in time is too late to be told: whoever is mailed days after the event is mailed wrongly.
    sqlx::query("update effects.delivery set state = 'pending', queued_at = now() - interval '10 days'")
        .execute(stand.db.pool())
        .await
        .unwrap();
    let serve = stand.serve().await;
    stand.wait_for("dead", 1).await;
    let why = stand.webhooks_json(&["dead", "--webhook", "app"])[0]["last_error"].to_string();
    assert!(why.contains("not delivered in time"), "{why}");
    let second = stand.event(&did);
    stand.wait_for("delivered", 2).await;
    let paths = |uri: &str| stand.receiver.about(uri).into_iter().map(|r| r.path).collect::<BTreeSet<_>>();
    assert_eq!((stand.receiver.about(&first).len(), paths(&first)), (1, ["/app".to_owned()].into()));
    assert_eq!(paths(&second), ["/app".to_owned(), "/new".to_owned()].into());

    // A database whose effects begin only now: what was live before is not told.
    serve.kill();
    sqlx::query("truncate effects.checkpoint, effects.subscription, effects.delivery")
        .execute(stand.db.pool())
        .await
        .unwrap();
    let serve = stand.serve().await;
    let third = stand.event(&did);
    stand.wait_for("delivered", 2).await;
    assert_eq!((stand.receiver.received().len(), stand.receiver.about(&third).len()), (5, 2));
    eventually("the gauges say so", LIMIT, async || {
        let (pending, dead) = ("almanac_effects_pending_deliveries", "almanac_effects_dead_deliveries");
        let lag = serve.metric("almanac_effects_lag_events").await;
        let found = (serve.metric(pending).await, serve.metric(dead).await, lag);
        if found == (Some(0.0), Some(0.0), Some(0.0)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_can_be_tested_and_one_of_another_environment_is_refused() {
    let stand = Stand::new(7, &hook("")).await;
    let tested = stand.webhooks_json(&["test", "app"]);
    assert_eq!((&tested["taken"], &tested["status"]), (&true.into(), &200.into()), "{tested}");
    let ping = stand.receiver.received().remove(0);
    assert_eq!((&ping.json["type"], &ping.json["data"]["environment"]), (&"ping".into(), &"test".into()));
    assert!(ping.is_signed_with(SECRET) && tested["id"] == ping.id, "{ping:?}");
    stand.receiver.answer(|_| (302, None));
    let (ok, printed, _) = stand.webhooks(&["test", "app"]);
    assert!(!ok && printed.contains("HTTP 302 words of the receiver") && printed.contains("not taken"), "{printed}");
    let (ok, _, said) = stand.webhooks(&["test", "apb"]);
    assert!(!ok && said.contains("there are: app"), "{said}");

    let host = stand.receiver.url.trim_start_matches("http://");
    let elsewhere = format!("[origin]\nhosts = ['{host}=prod']\n{}", hook("").replace("HOOK", &stand.receiver.url));
    std::fs::write(&stand.settings, elsewhere).unwrap();
    let settings = ["--config", stand.settings.to_str().unwrap()];
    let flags = [&["serve"], &settings[..]].concat();
    let output = executable::run(stand.url(), &flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("environment `prod`") && said.contains("webhook `app`"), "{said}");
}
