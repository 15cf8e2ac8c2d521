//! Who may enter is changed while `serve` runs: by file, from the command line, over HTTP. Each way takes effect without a
//! restart, hides and restores rows and counts, is in the log with who and why, and does not stop the stream.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
    pub mod relay;
    pub mod serve;
    pub mod writer;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use almanac::devnet::Frame;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::almanac as executable;
use support::postgres::TestDb;
use support::relay::Relay;
use support::serve::{Serve, eventually};
use support::writer::Writer;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const ANNA: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BELA: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

/// A running process, what it follows, and who writes there.
struct Scene {
    db: TestDb,
    folder: TempDir,
    relay: Relay,
    serve: Serve,
    released: usize,
}

impl Scene {
    /// `lists` are the flags of list files in the scene's folder: which, and what stands in it.
    async fn start(frames: &[Frame], lists: &[(&str, &str)], more: &[&str]) -> Self {
        let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
        let relay = Relay::start(frames).await;
        let mut flags: Vec<String> = more.iter().map(|flag| flag.to_string()).collect();
        for (flag, text) in lists {
            let path = folder.path().join(flag);
            write_list(&path, text);
            flags.extend([format!("--{flag}"), path.display().to_string()]);
        }
        let token = folder.path().join("token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let config = folder.path().join("almanac.toml");
        std::fs::write(&config, format!("[listen]\nadmin_token_file = {token:?}\n")).unwrap();
        flags.extend(["--config".to_owned(), config.display().to_string()]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let serve = Serve::start_with(db.url().expose(), &relay.url, folder.path(), &flags);
        eventually("connected", LIMIT, async || match serve.ready().await.0 {
            status if status == 200 && relay.connections() == 1 => Ok(()),
            status => Err(status.to_string()),
        })
        .await;
        Scene { db, folder, relay, serve, released: 0 }
    }

    fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets the next frames exist, and waits until they are handled.
    async fn release(&mut self, count: usize) {
        self.released += count;
        self.relay.release(self.released);
        let seq = self.released as i64;
        eventually("the frames are handled", LIMIT, async || {
            let cursor: Option<i64> =
                sqlx::query_scalar("select seq from log.cursor").fetch_optional(self.pool()).await.unwrap();
            if cursor == Some(seq) { Ok(()) } else { Err(format!("{cursor:?} of {seq}")) }
        })
        .await;
    }

    /// Waits until exactly these events show.
    async fn shows(&self, want: &[String]) {
        let want: BTreeSet<String> = want.iter().cloned().collect();
        eventually("the right events show", LIMIT, async || {
            let events = self.serve.all("listEvents", "events", &[]).await;
            let rows: BTreeSet<String> = events.iter().map(|e| e["uri"].as_str().unwrap().to_owned()).collect();
            if rows == want { Ok(()) } else { Err(format!("{rows:?}, not {want:?}")) }
        })
        .await;
    }

    async fn going(&self, uri: &str) -> Value {
        self.serve.event(uri).await.unwrap()["rsvpCounts"]["going"].clone()
    }

    /// `almanac ARGS --json`, which must end well.
    fn cli(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        executable::json(self.db.url().expose(), &args)
    }

    /// One request with the token, which must succeed.
    async fn post(&self, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, "/admin/origin", Some(TOKEN), body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: String) -> (u16, Value) {
        let url = format!("{}{path}", self.serve.admin);
        let mut request = reqwest::Client::builder().no_proxy().build().unwrap().request(method, url).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// What the log says of changes and standings, in order: kind, whose, word, rule, who.
    async fn told(&self) -> Vec<(String, String, String, Option<i16>, String)> {
        sqlx::query_as(
            "select kind, did, status, origin_rule, coalesce(detail->>'who', '') from log.event
             where kind in ('origin', 'list') order by kind, position",
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// Why the last change was made, by the log.
    async fn why(&self) -> String {
        sqlx::query_scalar("select detail->>'why' from log.event where kind = 'list' order by position desc limit 1")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// The list events of the log, as text.
    async fn changes(&self) -> Vec<String> {
        let told = self.told().await.into_iter().filter(|(kind, ..)| kind == "list");
        told.map(|(_, did, word, _, who)| format!("{word} {did} by {who}")).collect()
    }

    /// The standings of the log, as text.
    async fn standings(&self) -> Vec<String> {
        let told = self.told().await.into_iter().filter(|(kind, ..)| kind == "origin");
        told.map(|(_, did, word, rule, _)| format!("{did} {word} {}", rule.unwrap())).collect()
    }

    /// The stream was never interrupted.
    fn went_on(&self) {
        assert_eq!(self.relay.connections(), 1, "the stream was interrupted");
    }
}

fn write_list(path: &Path, text: &str) {
    // As an editor does it: whole, or not at all.
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Anna's party with Bela going, and then in each round an event of both.
fn party(rounds: usize) -> (Vec<Frame>, Writer, Writer) {
    let (mut anna, mut bela) = (Writer::new(ANNA, 1), Writer::new(BELA, 2));
    let mut frames = vec![anna.event(1, "party"), bela.event(2, "e0")];
    frames.push(bela.rsvp(3, "going", &anna.uri("party")));
    for round in 1..=rounds {
        let seq = frames.len() as i64 + 1;
        frames.push(anna.event(seq, &format!("e{round}")));
        frames.push(bela.event(seq + 1, &format!("e{round}")));
    }
    (frames, anna, bela)
}

/// Keeps Bela out by `deny` and takes that back by `undo`, on a running process.
async fn out_and_in(deny: impl AsyncFn(&Scene), undo: impl AsyncFn(&Scene), listed: &str, forgotten: &str) {
    let (frames, anna, bela) = party(2);
    let mut scene = Scene::start(&frames, &[("deny-file", "# nobody\n")], &[]).await;
    let before = scene.changes().await.len();
    scene.release(3).await;
    let party = anna.uri("party");
    scene.shows(&[party.clone(), bela.uri("e0")]).await;
    eventually("Bela is counted", LIMIT, async || match scene.going(&party).await {
        count if count == 1 => Ok(()),
        count => Err(count.to_string()),
    })
    .await;

    deny(&scene).await;
    scene.shows(std::slice::from_ref(&party)).await;
    assert_eq!(scene.going(&party).await, 0, "a denied account is not counted");
    assert_eq!(scene.serve.rsvps_to(&party).await.len(), 0);
    scene.release(2).await;
    scene.shows(&[party.clone(), anna.uri("e1")]).await;
    let kept: Vec<(String, Option<i16>)> =
        sqlx::query_as("select paths[1], rule from ingest.quarantine where did = $1 and reason = 'denied'")
            .bind(BELA)
            .fetch_all(scene.pool())
            .await
            .unwrap();
    assert_eq!(kept, [("community.lexicon.calendar.event/e1".to_owned(), Some(3))]);

    undo(&scene).await;
    scene.shows(&[party.clone(), anna.uri("e1"), bela.uri("e0")]).await;
    assert_eq!(scene.going(&party).await, 1, "the count is back with the rows");
    scene.release(2).await;
    scene.shows(&[party.clone(), anna.uri("e1"), anna.uri("e2"), bela.uri("e0"), bela.uri("e2")]).await;
    scene.went_on();

    let changes = scene.changes().await;
    // The file was read at the start too, which is a change of its own.
    let of_ours = changes[before..].iter().filter(|c| c.starts_with(listed) || c.starts_with(forgotten));
    let of_ours: Vec<&String> = of_ours.collect();
    let [.., first, second] = of_ours[..] else { panic!("{changes:?}") };
    assert!(first.starts_with(listed) && second.starts_with(forgotten), "{changes:?}");
    assert_eq!(scene.standings().await, [format!("{BELA} denied 3"), format!("{BELA} network 11")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_file_hides_and_restores() {
    let deny = async |scene: &Scene| write_list(&scene.file("deny-file"), BELA);
    let undo = async |scene: &Scene| {
        assert!(scene.why().await.starts_with("1 accounts (before: 0), sha256 "), "{}", scene.why().await);
        // An entry that allows does not outweigh the file that denies, and whoever makes it is told so.
        let made = scene.cli(&["origin", "allow", BELA, "--why", "a friend"]);
        let now = &made["changes"][0]["now"];
        assert_eq!((&now["standing"], &now["rule"], &now["kept"]), (&json!("denied"), &json!(3), &json!(false)));
        scene.cli(&["origin", "forget", BELA]);
        write_list(&scene.file("deny-file"), "# nobody again");
    };
    let word = "deny_file did:web:almanac.invalid by file ";
    out_and_in(deny, undo, word, word).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_hides_and_restores() {
    let deny = async |scene: &Scene| {
        let made = scene.cli(&["origin", "deny", BELA, "--why", "spam", "--who", "Clara"]);
        assert_eq!((&made["in_log"], &made["changes"][0]["did"]), (&json!(true), &json!(BELA)));
        assert_eq!(made["changes"][0]["now"]["standing"], "denied", "{made}");
        assert_eq!(scene.why().await, "spam", "it says that it is in the log, and is");
        let listed = scene.cli(&["origin", "list", "--did", BELA]);
        assert_eq!((&listed["entries"][0]["list"], &listed["entries"][0]["why"]), (&json!("deny"), &json!("spam")));
        assert_eq!(listed["files"][0]["list"], "deny_file");
        assert_eq!(listed["files"][0]["sha256"].as_str().map(str::len), Some(64));
        assert_eq!(scene.cli(&["origin", "list", "--did", ANNA])["entries"], json!([]));
    };
    let undo = async |scene: &Scene| {
        let made = scene.cli(&["origin", "forget", BELA]);
        assert_eq!((&made["in_log"], scene.why().await.as_str()), (&json!(true), "taken back"));
        let again = executable::run(scene.db.url().expose(), &["origin", "forget", BELA]);
        assert!(!again.status.success(), "there is nothing left to forget");
        assert!(String::from_utf8_lossy(&again.stdout).contains("nothing was entered"));
    };
    // Who is asked for is told; who says nothing is the user at this host.
    out_and_in(deny, undo, &format!("deny {BELA} by Clara"), &format!("forget {BELA} by ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_hides_and_restores() {
    let deny = async |scene: &Scene| {
        let wish = json!({"change": "deny", "did": BELA, "why": "spam", "who": "Clara"});
        let made = scene.post(wish.clone()).await;
        assert_eq!((&made["in_log"], &made["now"]["rule"]), (&json!(true), &json!(3)), "{made}");
        for name in ["change", "did", "why", "who"] {
            assert_eq!(made[name], wish[name], "{made}");
        }
        assert_eq!(scene.why().await, "spam");
        let get = async |path: &str| scene.ask(Method::GET, path, Some(TOKEN), String::new()).await;
        let (status, lists) = get("/admin/origin").await;
        assert_eq!((status, &lists["entries"][0]["did"], &lists["entries_total"]), (200, &json!(BELA), &json!(1)));
        assert_eq!(get(&format!("/admin/origin?did={ANNA}")).await.1["entries"], json!([]));
        let (status, told) = get(&format!("/admin/origin/explain?did={BELA}")).await;
        assert_eq!((status, &told["standing"], &told["rule"]), (200, &json!("denied"), &json!(3)), "{told}");
        assert_eq!(told["facts"]["denied_by"], json!(["entry"]));
        let (_, told) = get(&format!("/admin/origin/explain?did={ANNA}")).await;
        assert_eq!((&told["kept"], &told["rule"]), (&json!(true), &json!(11)), "{told}");
    };
    let undo = async |scene: &Scene| {
        for (wish, status, word) in [
            (json!({"change": "allow", "did": ANNA, "who": "Dora"}), 400, "`why` is missing"),
            (json!({"change": "allow", "did": ANNA, "who": "Dora", "why": "\n"}), 400, "`why` is empty"),
            (json!({"change": "allow", "did": ANNA, "why": "a friend"}), 400, "`who` is missing"),
            (json!({"change": "forget", "did": ANNA, "who": "Dora"}), 404, "nothing was entered"),
        ] {
            let (answered, answer) = scene.ask(Method::POST, "/admin/origin", Some(TOKEN), wish.to_string()).await;
            assert_eq!(answered, status, "{wish}: {answer}");
            assert!(answer["message"].as_str().unwrap().contains(word), "{wish}: {answer}");
        }
        assert_eq!(scene.cli(&["origin", "list", "--did", ANNA])["entries"], json!([]));
        let made = scene.post(json!({"change": "forget", "did": BELA, "who": "Dora", "why": "a mistake"})).await;
        assert_eq!((&made["in_log"], scene.why().await.as_str()), (&json!(true), "a mistake"));
    };
    out_and_in(deny, undo, &format!("deny {BELA} by Clara"), &format!("forget {BELA} by Dora")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowlist_grows_and_shrinks_by_every_way_and_deny_outweighs_it() {
    let (frames, anna, bela) = party(5);
    let mut scene = Scene::start(&frames, &[("allow-file", ANNA)], &[]).await;
    scene.release(3).await;
    let mut want = vec![anna.uri("party")];
    scene.shows(&want).await;

    // In by the command line.
    scene.cli(&["origin", "allow", BELA, "--why", "a friend"]);
    scene.release(2).await;
    want.extend([anna.uri("e1"), bela.uri("e1")]);
    scene.shows(&want).await;
    // Denied over HTTP: one entry an account, the last word counts.
    scene.post(json!({"change": "deny", "did": BELA, "why": "no friend", "who": "Clara"})).await;
    want.retain(|uri| !uri.contains(BELA));
    scene.shows(&want).await;
    // Allowed over HTTP again, with all that was there.
    scene.post(json!({"change": "allow", "did": BELA, "why": "after all", "who": "Clara"})).await;
    want.push(bela.uri("e1"));
    scene.shows(&want).await;
    // Forgotten: not on the list any more.
    scene.cli(&["origin", "forget", BELA, "--why", "moved on"]);
    scene.release(2).await;
    want.retain(|uri| !uri.contains(BELA));
    want.push(anna.uri("e2"));
    scene.shows(&want).await;
    // The deny list outweighs the file that allows.
    scene.cli(&["origin", "deny", ANNA, "--why", "on leave"]);
    scene.shows(&[]).await;
    scene.cli(&["origin", "forget", ANNA]);
    scene.shows(&want).await;
    // One of our users is in without being on a list.
    let linked = scene.cli(&["identity", "link", "bela-7", BELA, "--pds", "https://pds.example", "--who", "Clara"]);
    assert_eq!(linked["in_log"], true, "{linked}");
    assert!(scene.why().await.contains("bela-7"), "{}", scene.why().await);
    want.push(bela.uri("e1"));
    scene.shows(&want).await;
    scene.release(2).await;
    want.extend([anna.uri("e3"), bela.uri("e3")]);
    scene.shows(&want).await;
    assert_eq!(scene.cli(&["identity", "list"])[0]["user_id"], "bela-7");
    assert_eq!(scene.cli(&["origin", "list"])["links"][0]["did"], BELA);
    let taken = ["identity", "link", "other", BELA, "--pds", "https://pds.example"];
    let refused = executable::run(scene.db.url().expose(), &taken);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("bela-7 is linked with"), "{refused:?}");
    // And out again.
    scene.cli(&["identity", "unlink", BELA, "--who", "Clara", "--why", "left"]);
    assert!(scene.why().await.starts_with("left"), "{}", scene.why().await);
    want.retain(|uri| !uri.contains(BELA));
    scene.shows(&want).await;
    assert!(!executable::run(scene.db.url().expose(), &["identity", "unlink", BELA]).status.success());
    // In by the file, beside everything that was entered.
    write_list(&scene.file("allow-file"), &format!("{ANNA}\n{BELA}\n"));
    want.extend([bela.uri("e1"), bela.uri("e3")]);
    scene.shows(&want).await;
    scene.release(2).await;
    want.extend([anna.uri("e4"), bela.uri("e4")]);
    scene.shows(&want).await;
    scene.went_on();

    let changes = scene.changes().await;
    let words: Vec<&str> =
        changes.iter().filter(|c| !c.contains(" by file ")).map(|c| c.split(' ').next().unwrap()).collect();
    let want = ["allow", "deny", "allow", "forget", "deny", "forget", "link", "unlink"];
    assert_eq!(words, want, "{changes:?}");
    let of = |did: &str, standings: &[String]| -> Vec<String> {
        standings.iter().filter_map(|s| s.strip_prefix(did)).map(|s| s.trim().to_owned()).collect()
    };
    let standings = scene.standings().await;
    assert_eq!(of(ANNA, &standings), ["denied 3", "network 10"]);
    let bela = ["denied 3", "network 10", "not_allowed 12", "own 7", "not_allowed 12", "network 10"];
    assert_eq!(of(BELA, &standings), bela);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_nobody_appends_counts_when_somebody_does() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let url = db.url().expose();
    executable::run(url, &["migrate"]);
    let made = executable::run(url, &["origin", "deny", BELA, ANNA, BELA, "--why", "spam", "--who", "Clara"]);
    let told = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && told.contains("counts when a process appends next"), "{made:?}");
    assert_eq!(told.matches(BELA).count(), 1, "{told}");
    let listed = executable::json(url, &["origin", "list", "--json"]);
    assert_eq!((&listed["entries_total"], &listed["changes_waiting"]), (&json!(2), &json!(2)));
    for (args, word) in [
        (&["origin", "allow", BELA][..], "--why"),
        (&["origin", "deny", BELA, "--why", " "], "is empty"),
        (&["origin", "allow", "bela.example", "--why", "x"], "DID"),
        (&["identity", "link", "u", BELA, "--pds", "pds.example"], "https://pds.example.org"),
    ] {
        let refused = executable::run(url, args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(word), "{args:?}: {refused:?}");
    }
    let _serve = Serve::start(url, "", folder.path());
    eventually("both changes are in the log", LIMIT, async || {
        let told: Vec<(String, String)> = sqlx::query_as(
            "select did, detail->>'why' from log.event where kind = 'list' and status = 'deny' order by did",
        )
        .fetch_all(db.pool())
        .await
        .unwrap();
        let want = [ANNA, BELA].map(|did| (did.to_owned(), "spam".to_owned()));
        if told == want { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    eventually("none waits", LIMIT, async || {
        match executable::json(url, &["origin", "list", "--json"])["changes_waiting"].as_i64() {
            Some(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_opens_to_the_token_alone() {
    let scene = Scene::start(&[], &[], &[]).await;
    let body = json!({"change": "deny", "did": BELA, "why": "spam", "who": "Clara"}).to_string();
    let explain = format!("/admin/origin/explain?did={BELA}");
    let doors = [(Method::POST, "/admin/origin"), (Method::GET, "/admin/origin"), (Method::GET, explain.as_str())];
    for (method, path) in &doors {
        for token in [None, Some("0123456789abcdef0123456789abcdeF"), Some("")] {
            let (status, answer) = scene.ask(method.clone(), path, token, body.clone()).await;
            assert_eq!(
                (status, &answer["error"]),
                (401, &json!("AuthenticationRequired")),
                "{method} {path} {token:?}"
            );
        }
    }
    // Without a token in the settings nobody is let in, whatever is shown.
    let closed = tempfile::tempdir().unwrap();
    let db = TestDb::fresh().await;
    let serve = Serve::start(db.url().expose(), "", closed.path());
    let scene = Scene { serve, ..scene };
    for (method, path) in &doors {
        for token in [None, Some(TOKEN)] {
            let (status, answer) = scene.ask(method.clone(), path, token, body.clone()).await;
            assert_eq!(status, 403, "{answer}");
            assert!(answer["message"].as_str().unwrap().contains("listen.admin_token"), "{answer}");
        }
    }
    let entries: i64 =
        sqlx::query_scalar("select count(*) from ingest.origin_entry").fetch_one(db.pool()).await.unwrap();
    let before: i64 =
        sqlx::query_scalar("select count(*) from ingest.origin_entry").fetch_one(scene.pool()).await.unwrap();
    assert_eq!((entries, before), (0, 0), "whoever was refused changed something");
}
