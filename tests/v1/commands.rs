//! The same on the command line, beside an `almanac serve` on the same database.

use std::process::Output;

use almanac::api::v1::openapi;
use serde_json::{Value, json};

use crate::support::almanac::{command, json, run};
use crate::support::postgres::TestDb;
use crate::support::serve::Serve;
use crate::world::{ANNA, EVENT};

struct Bench {
    _db: TestDb,
    url: String,
    folder: tempfile::TempDir,
}

impl Bench {
    /// With the user `anna`, whose PDS nobody runs.
    async fn new() -> Self {
        let db = TestDb::fresh().await;
        let url = db.url().expose().to_owned();
        let bench = Bench { _db: db, url, folder: tempfile::tempdir().unwrap() };
        bench.json(&[
            "identity",
            "link",
            "anna",
            ANNA,
            "--pds",
            "http://127.0.0.1:1",
            "--custodial",
            "--no-wait",
            "--json",
        ]);
        bench
    }

    fn json(&self, args: &[&str]) -> Value {
        json(&self.url, args)
    }

    fn run(&self, args: &[&str]) -> Output {
        run(&self.url, args)
    }

    /// The exit code, and the JSON that it prints all the same.
    fn ended(&self, args: &[&str]) -> (i32, Value) {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or(Value::String(text)))
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_counts_until_it_is_revoked() {
    let bench = Bench::new().await;
    let made = bench.run(&["tokens", "create", "app", "--scope", "read,publish", "--expires", "90d"]);
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(token.starts_with("alm_") && token.len() == 47, "{token}");
    assert!(String::from_utf8_lossy(&made.stderr).contains("not shown again"));
    let list = bench.json(&["tokens", "list", "--json"]);
    assert_eq!((&list[0]["name"], &list[0]["scopes"]), (&json!("app"), &json!(["read", "publish"])));
    assert!(!list.to_string().contains(&token[4..]));
    for odd in [["tokens", "create", "b", "--scope", "admin"], ["tokens", "create", "app", "--scope", "read"]] {
        assert!(!bench.run(&odd).status.success(), "{odd:?}");
    }

    let serve = Serve::start(&bench.url, "", bench.folder.path());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let user = format!("{}/v1/users/anna", serve.public);
    let ask = async || http.get(&user).bearer_auth(&token).send().await.unwrap();
    assert_eq!(ask().await.status(), 200);
    let event = json!({ "name": "Meetup" });
    let put = http.put(format!("{user}/events/k")).bearer_auth(&token).json(&event).send().await.unwrap();
    assert_eq!(put.status(), 202, "{}", put.text().await.unwrap());
    let document: Value =
        http.get(format!("{}/v1/openapi.json", serve.public)).send().await.unwrap().json().await.unwrap();
    assert_eq!(document, openapi());
    assert_eq!(document, bench.json(&["openapi"]));
    // Another process sees what this one took, and the series of it is there.
    assert_eq!(bench.json(&["publish", "show", "anna", "k", "--json"])["intent"]["state"], "wanted");
    let series = "almanac_api_requests_total{endpoint=\"v1_record\",outcome=\"accepted\"}";
    assert_eq!(serve.metric(series).await, Some(1.0));

    bench.json(&["tokens", "revoke", "app", "--json"]);
    assert_eq!(ask().await.status(), 401);
    assert!(!bench.run(&["tokens", "revoke", "nobody"]).status.success());
    assert!(!std::fs::read_to_string(bench.folder.path().join("serve.log")).unwrap().contains(&token[4..]));
}

#[tokio::test]
async fn publishing_tells_by_its_exit_code_how_it_went() {
    let bench = Bench::new().await;
    let event = ["publish", "event", "anna", "k", "--name", "Meetup", "--starts", "2026-12-01T18:00:00Z", "--json"];
    let (code, record) = bench.ended(&event);
    assert_eq!((code, &record["intent"]["state"]), (3, &json!("wanted")), "it is safe and waits: {record}");
    assert!(record["intent"]["advice"].is_string());
    let (code, again) = bench.ended(&event);
    assert_eq!((code, &again["intent"]["id"]), (3, &record["intent"]["id"]), "the same again is no second wish");

    let file = bench.folder.path().join("draft.json");
    std::fs::write(&file, json!({ "nmae": "x", "visibility": "unlisted" }).to_string()).unwrap();
    let (code, words) = bench.ended(&["publish", "event", "anna", "l", "--file", file.to_str().unwrap()]);
    let words = words.as_str().unwrap().to_owned();
    assert!(code == 1 && words.contains("nmae") && words.contains("visibility"), "{code}: {words}");
    assert_eq!(bench.ended(&["publish", "event", "nobody", "k", "--name", "x"]).0, 1);
    assert_eq!(bench.ended(&["publish", "delete", "anna", "never"]).0, 1);

    let subject = format!("at://did:plc:bert/{EVENT}/3k");
    let (code, _) = bench.ended(&["publish", "rsvp", "anna", "r", "--event", &subject, "--status", "going"]);
    assert_eq!(code, 3);
    let list = |more: &[&str]| bench.json(&[&["publish", "list", "anna", "--json"], more].concat());
    assert_eq!(
        (list(&[])[0]["client_key"].clone(), list(&["--rsvp"])[0]["client_key"].clone()),
        ("k".into(), "r".into())
    );
    let id = record["intent"]["id"].to_string();
    assert_eq!(bench.json(&["publish", "retry", &id, "--json"])["due"], 1);
    assert_eq!(bench.json(&["publish", "retry", "--all", "--json"])["due"], 2);
    assert_eq!(bench.ended(&["publish", "retry", "999"]).0, 1);
}

#[tokio::test]
async fn grants_let_another_publish_and_the_audit_tells() {
    let bench = Bench::new().await;
    let event = ["publish", "event", "anna", "k", "--name", "x", "--acting", "bert", "--json"];
    let (code, words) = bench.ended(&event);
    assert!(code == 1 && words.as_str().unwrap().contains("no grant"), "{words}");
    let grant = bench.json(&["grants", "create", "--owner", "anna", "--to", "bert", "--expires", "30d", "--json"]);
    assert_eq!((&grant["grantor_did"], &grant["in_force"]), (&json!(ANNA), &json!(true)));
    let (code, record) = bench.ended(&event);
    assert_eq!(code, 3, "{record}");
    let rsvp = ["publish", "rsvp", "anna", "r", "--event", record["uri"].as_str().unwrap(), "--status", "going"];
    assert_eq!(bench.ended(&[&rsvp[..], &["--acting", "bert"]].concat()).0, 1, "an RSVP is its owner's own");
    let audit = bench.json(&["grants", "audit", "--owner", ANNA, "--json"]);
    let outcomes: Vec<_> = audit.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["refused", "allowed", "refused"]);
    let of_record = bench.json(&["grants", "audit", "--uri", record["uri"].as_str().unwrap(), "--json"]);
    assert_eq!(of_record.as_array().unwrap().len(), 1);

    assert_eq!(bench.json(&["grants", "list", "--to", "bert", "--json"])[0]["id"], grant["id"]);
    let id = grant["id"].to_string();
    assert_eq!(bench.json(&["grants", "revoke", &id, "--json"])["in_force"], false);
    assert_eq!(bench.ended(&["publish", "event", "anna", "k2", "--name", "x", "--acting", "bert"]).0, 1);
    let other = ["grants", "create", "--owner", "anna", "--to", "bert", "--event", "at://did:plc:carl/a.b.c/3k"];
    assert!(!bench.run(&other).status.success());
    for shown in
        [vec!["grants", "list"], vec!["grants", "audit"], vec!["tokens", "list"], vec!["publish", "list", "anna"]]
    {
        let output = command(&bench.url, &shown).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{shown:?}");
    }
}
