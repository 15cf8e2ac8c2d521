//! Accounts made on the official PDS with `almanac identity create`, invite codes with `almanac pds invite`: handles that are
//! taken, answers that are lost, processes that are killed, codes that are used up.

// Parts of these are there for other tests.
#[allow(dead_code)]
mod support {
    pub mod almanac;
    pub mod child;
    pub mod lossy;
    pub mod postgres;
    pub mod real_parts;
    pub mod serve;
}

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use almanac::event::Environment;
use almanac::identity::vault::{KeyRing, Vault};
use almanac::identity::{Custodial, Keeper, Sessions};
use almanac::network::{Call, Network, NetworkOptions};
use serde_json::{Value, json};
use support::lossy::Lossy;
use support::postgres::TestDb;
use support::real_parts::RealParts;
use support::serve::{Serve, eventually};

/// 32 bytes, counted.
const KEY: &str = "one=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const EVENT: &str = "community.lexicon.calendar.event";

struct World {
    parts: RealParts,
    lossy: Lossy,
    db: TestDb,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let parts = RealParts::start_with(settings).await;
        let lossy = Lossy::before(&parts.pds_url).await;
        World { parts, lossy, db: TestDb::fresh().await }
    }

    /// Runs it with the settings of an operator who knows the admin password, and with further variables.
    async fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = support::almanac::command(self.db.url().expose(), args);
        command.env("ALMANAC_PDS_URL", &self.lossy.url).env("ALMANAC_IDENTITY_KEYS", KEY);
        command.env("ALMANAC_PDS_ADMIN_PASSWORD", self.parts.admin_password());
        for (name, value) in variables {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        // The proxy runs in this process.
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat(), &[]).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says when it fails, which it must.
    async fn refusal(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run(args, variables).await;
        assert!(!output.status.success(), "{args:?} goes well: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    async fn create(&self, user: &str, more: &[&str]) -> Value {
        self.json(&[&["identity", "create", user, "--no-wait"], more].concat()).await
    }

    /// Publishes as the user: how often was the password needed?
    async fn act(&self, user: &str) -> usize {
        let ring = KeyRing::new(vec![("one".to_owned(), std::array::from_fn(|i| i as u8))]).unwrap();
        let vault = Arc::new(Vault::new(Environment::parse("test").unwrap(), ring));
        let network = Network::new(NetworkOptions { allow_private: true, ..Default::default() }).unwrap();
        let custodial = Custodial::new(self.db.pool().clone(), network, vault);
        let sessions = Sessions::new(self.db.pool().clone(), vec![Arc::new(custodial) as Arc<dyn Keeper>]);
        let before = self.lossy.count("createSession");
        let session = sessions.session_for(user).await.unwrap();
        let record = json!({ "$type": EVENT, "name": "x", "createdAt": "2026-11-22T08:00:00.000Z" });
        let body = json!({ "repo": session.account().did, "collection": EVENT, "rkey": "x", "record": record });
        session.call(Call::PutRecord, &[], Some(&body)).await.unwrap();
        assert_eq!(self.parts.list_records(&session.account().did, EVENT).await.len(), 1);
        self.lossy.count("createSession") - before
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

#[tokio::test]
async fn an_account_is_made_linked_and_acted_for() {
    let world = World::new().await;
    let anna = world.create("user-1", &["--name", "Anna Müller"]).await;
    assert_eq!((text(&anna, "handle"), &anna["found"]), ("anna-mueller.test", &json!(false)));
    assert_eq!(world.parts.dids().await, [text(&anna, "did")]);
    assert_eq!(world.act("user-1").await, 0, "its first tokens are kept");
    let (change, why): (String, String) =
        sqlx::query_as("select change, why from ingest.origin_change").fetch_one(world.db.pool()).await.unwrap();
    assert!(change == "link" && why.contains("user-1"), "{change} {why}");
    let envelopes: Vec<String> =
        sqlx::query_scalar("select envelope from identity.credential").fetch_all(world.db.pool()).await.unwrap();
    assert!(envelopes.len() == 3 && envelopes.iter().all(|envelope| envelope.starts_with("v2.one.")), "{envelopes:?}");

    // Others have the name, or it means something, or there is none.
    assert_eq!(text(&world.create("user-2", &["--name", "anna müller"]).await, "handle"), "anna-mueller-2.test");
    let admin = world.create("user-3", &["--name", "admin"]).await;
    assert!(text(&admin, "handle").starts_with("admin-"), "{admin}");
    let nameless = world.create("anna@example.org", &[]).await;
    assert!(text(&nameless, "handle").starts_with("user-") && !nameless["handle"].to_string().contains("anna"));
    assert_eq!(text(&world.create("user-5", &["--handle", "exact.test"]).await, "handle"), "exact.test");
    // A word that only the PDS knows to be reserved.
    let calendar = world.create("user-6", &["--name", "calendar"]).await;
    assert_eq!(text(&calendar, "handle"), "calendar-2.test");

    let create = |user, more: [&'static str; 2]| ["identity", "create", user, more[0], more[1]];
    let error = world.refusal(&create("user-7", ["--handle", "exact.test"]), &[]).await;
    assert!(error.contains("does not give the handle exact.test") && error.contains("already taken"), "{error}");
    let error = world.refusal(&create("user-7", ["--handle", "exact.example.org"]), &[]).await;
    assert!(error.contains("handles under .test only"), "{error}");
    let error = world.refusal(&create("user-1", ["--name", "again"]), &[]).await;
    assert!(error.contains("user-1 has an account"), "{error}");
    let error = world.refusal(&create("user-7", ["--name", "x"]), &[("ALMANAC_IDENTITY_KEYS", "")]).await;
    assert!(error.contains("identity.key_files"), "{error}");
    let error = world.refusal(&create("user-7", ["--name", "x"]), &[("ALMANAC_PDS_URL", "")]).await;
    assert!(error.contains("pds.url"), "{error}");
    let elsewhere = format!("{}=production", world.lossy.url.trim_start_matches("http://"));
    let error = world.refusal(&create("user-7", ["--name", "x"]), &[("ALMANAC_ORIGIN_HOSTS", &elsewhere)]).await;
    assert!(error.contains("declared for `production`"), "{error}");
    assert_eq!(world.parts.dids().await.len(), 6);
    let pending: i64 =
        sqlx::query_scalar("select count(*) from identity.pending_account").fetch_one(world.db.pool()).await.unwrap();
    assert_eq!(pending, 0);
}

#[tokio::test]
async fn an_account_whose_making_was_not_answered_is_found_again() {
    let world = World::new().await;
    // The answer is lost, and the account is there at the next look.
    world.lossy.drop_answer("createAccount", 1);
    let one = world.create("one", &["--name", "one"]).await;
    assert_eq!((text(&one, "handle"), &one["found"]), ("one.test", &json!(true)));

    // That look is lost, too. Another name makes no second account.
    world.lossy.drop_answer("createAccount", 1);
    world.lossy.drop_answer("createSession", 1);
    let error = world.refusal(&["identity", "create", "two", "--name", "two"], &[]).await;
    assert!(error.contains("the same command again finds it"), "{error}");
    assert_eq!(world.lossy.dropped().len(), 3);
    assert_eq!(world.parts.dids().await.len(), 2);
    let two = world.create("two", &["--name", "two-anew"]).await;
    assert_eq!((text(&two, "handle"), &two["found"]), ("two.test", &json!(true)));
    assert_eq!(world.act("two").await, 0);

    // Killed after the PDS has answered, and before anything is kept of the answer.
    let create = ["identity", "create", "three", "--name", "three"];
    let killed = world.run(&create, &[("ALMANAC_CRASH_AT", "identity.account_made")]).await;
    assert!(String::from_utf8_lossy(&killed.stderr).contains("crash point"));
    assert_eq!(world.parts.dids().await.len(), 3);
    assert_eq!(world.create("three", &["--name", "three"]).await["found"], true);
    // Killed before it was asked: nothing is found, and it is made.
    let create = ["identity", "create", "four", "--name", "four"];
    let killed = world.run(&create, &[("ALMANAC_CRASH_AT", "identity.account_asked")]).await;
    assert!(String::from_utf8_lossy(&killed.stderr).contains("crash point"));
    let four = world.create("four", &["--name", "four"]).await;
    assert_eq!((text(&four, "handle"), &four["found"]), ("four.test", &json!(false)));
    assert_eq!(world.parts.dids().await.len(), 4);

    // Two at once make one account.
    let args = ["identity", "create", "five", "--name", "five", "--no-wait"];
    let (a, b) = tokio::join!(world.run(&args, &[]), world.run(&args, &[]));
    assert!(a.status.success() != b.status.success(), "{a:?} {b:?}");
    assert_eq!(world.parts.dids().await.len(), 5);
    // A PDS that is away makes none, and nothing is left to be found.
    world.lossy.down(true);
    let error = world.refusal(&["identity", "create", "six", "--name", "six"], &[]).await;
    assert!(error.contains("no connection"), "{error}");
}

#[tokio::test]
async fn invite_codes_are_minted_counted_and_missed() {
    let world = World::new().await;
    let code = world.json(&["pds", "invite", "create", "--uses", "2"]).await;
    let code = code[0].as_str().unwrap().to_owned();
    let minted = world.json(&["pds", "invite", "create", "--count", "3"]).await;
    assert_eq!(minted.as_array().unwrap().len(), 3);
    let left = async |code: &str, flags: &[&str]| {
        let list = world.json(&[&["pds", "invite", "list"], flags].concat()).await;
        let found = list.as_array().unwrap().iter().find(|entry| entry["code"] == code).cloned();
        found.map(|entry| entry["left"].as_u64().unwrap())
    };
    assert_eq!(left(&code, &[]).await, Some(2));
    let create = |user| ["identity", "create", user, "--name", user, "--no-wait"];
    let with_code = [("ALMANAC_PDS_INVITE_CODE", code.as_str()), ("ALMANAC_PDS_ADMIN_PASSWORD", "")];
    for (user, now) in [("one", 1), ("two", 0)] {
        let output = world.run(&create(user), &with_code).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(left(&code, &[]).await, Some(now));
    }
    assert_eq!(left(&code, &["--available"]).await, None);

    // None is left, and none can be minted.
    let error = world.refusal(&create("three"), &with_code).await;
    assert!(error.contains("pds.invite_code is used up") && error.contains("pds.admin_password_file"), "{error}");
    assert!(!error.contains(&code), "{error}");
    let error = world.refusal(&create("three"), &[("ALMANAC_PDS_ADMIN_PASSWORD", "")]).await;
    assert!(error.contains("pds.invite_code") && error.contains("pds.admin_password"), "{error}");
    let error = world.refusal(&create("three"), &[("ALMANAC_PDS_ADMIN_PASSWORD", "wrong-planted")]).await;
    assert!(error.contains("pds.admin_password right") && !error.contains("wrong-planted"), "{error}");
    let error = world.refusal(&["pds", "invite", "list"], &[("ALMANAC_PDS_ADMIN_PASSWORD", "")]).await;
    assert!(error.contains("pds.admin_password_file"), "{error}");
    assert_eq!(world.parts.dids().await.len(), 2);
    // With the password one is minted for the account, and used up.
    world.create("three", &[]).await;
    let list = world.json(&["pds", "invite", "list"]).await;
    let newest = &list[0];
    assert_eq!((&newest["available"], &newest["used"]), (&json!(1), &json!(1)), "{list}");

    // A process that serves counts what is left, and how acting for its accounts goes.
    let folder = support::postgres::data_dir();
    let settings = format!(
        "identity.keys = [{KEY:?}]\n[pds]\nurl = {:?}\nadmin_password = {:?}\n",
        world.lossy.url,
        world.parts.admin_password()
    );
    let file = folder.path().join("almanac.toml");
    std::fs::write(&file, settings).unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let serve = Serve::start_with(world.db.url().expose(), "", folder.path(), &flags);
    let all: u64 = list.as_array().unwrap().iter().map(|entry| entry["left"].as_u64().unwrap()).sum();
    for (series, wanted) in [
        ("almanac_pds_invite_uses_left", all as f64),
        ("almanac_identity_sessions{health=\"ok\"}", 3.0),
        ("almanac_identity_sessions{health=\"dead\"}", 0.0),
    ] {
        eventually(series, Duration::from_secs(60), async || match serve.metric(series).await {
            Some(value) if value == wanted => Ok(()),
            other => Err(format!("{other:?}, not {wanted}")),
        })
        .await;
    }
    let health = world.json(&["identity", "health"]).await;
    let words: Vec<&str> = health.as_array().unwrap().iter().map(|entry| text(entry, "health")).collect();
    assert_eq!(words, ["ok"; 3]);
    let log = serve.running.log();
    assert!(!log.contains(world.parts.admin_password()) && !log.contains(&code), "{log}");
}

#[tokio::test]
async fn a_pds_that_wants_no_invite_code_gets_none() {
    let world = World::with(&[("PDS_INVITE_REQUIRED", "false")]).await;
    let create = ["identity", "create", "one", "--name", "one", "--no-wait"];
    let output = world.run(&create, &[("ALMANAC_PDS_ADMIN_PASSWORD", "")]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.lossy.count("Invite"), 0);
}

#[tokio::test]
async fn the_password_of_an_account_that_is_being_made_moves_to_the_new_key() {
    let world = World::new().await;
    let create = ["identity", "create", "one", "--name", "one", "--no-wait"];
    world.run(&create, &[("ALMANAC_CRASH_AT", "identity.account_made")]).await;
    let ring = |ids: &[&str]| {
        let key =
            |id: &&str| ((*id).to_owned(), std::array::from_fn(|i| if *id == "one" { i as u8 } else { i as u8 + 1 }));
        Vault::new(Environment::parse("test").unwrap(), KeyRing::new(ids.iter().map(key).collect()).unwrap())
    };
    let reseal = async |ids| almanac::identity::reseal_pending(world.db.pool(), &ring(ids)).await;
    assert!(reseal(&["two"]).await.unwrap_err().to_string().contains("\"one\""));
    assert_eq!(reseal(&["one", "two"]).await.unwrap(), 0);
    assert_eq!(reseal(&["two", "one"]).await.unwrap(), 1);
    assert_eq!(reseal(&["two"]).await.unwrap(), 0);
    let key = "two=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    let output = world.run(&create, &[("ALMANAC_IDENTITY_KEYS", key)]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.parts.dids().await.len(), 1);
}
