//! Over HTTP to a PDS, by the publisher itself.

use std::sync::Arc;
use std::time::Duration;

use almanac::identity::Sessions;
use almanac::network::{HostLimits, Network, NetworkOptions};
use almanac::publisher::{PublishOptions, Publisher, PublisherParts, due_now};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::keeper::Tokens;
use crate::support::null_pds::NullPds;
use crate::support::postgres::TestDb;
use crate::support::serve::eventually;
use crate::world::{ANNA, Answer, EVENT, World};

const KEY: &str = "/v1/users/anna/events/meetup";

async fn world(pds: &str) -> (World, Publisher) {
    let wide = HostLimits { concurrency: 64, requests_per_second: 1e6, burst: 1e6 };
    let options = NetworkOptions {
        allow_private: true,
        acting: wide,
        host: wide,
        acting_backoff_max: Duration::from_millis(50),
        backoff_min: Duration::from_millis(10),
        ..NetworkOptions::default()
    };
    let network = Network::new(options).unwrap();
    let db = TestDb::fresh().await;
    let publisher = Publisher::new(PublisherParts {
        pool: db.pool().clone(),
        sessions: Sessions::new(db.pool().clone(), vec![Arc::new(Tokens::new(network.clone()))]),
        network,
        may_write: Arc::new(|_| Ok(())),
        // Long, so that what waits waits until it is told to go on.
        options: PublishOptions { retry_first: Duration::from_secs(600), ..PublishOptions::default() },
    });
    let world = World::with(db, Arc::new(publisher.clone())).await;
    world.user("anna", ANNA, pds).await;
    (world, publisher)
}

fn named(name: &str) -> Value {
    json!({ "name": name, "startsAt": "2026-12-01T18:00:00Z" })
}

/// `DID/collection/rkey` of an answer's record.
fn key(answer: &Answer) -> String {
    answer.body["uri"].as_str().unwrap().strip_prefix("at://").unwrap().to_owned()
}

#[tokio::test]
async fn the_same_request_again_is_the_same_wish() {
    let pds = NullPds::start().await;
    let (world, _) = world(&pds.url).await;
    let first = world.put(KEY, &named("A")).await;
    assert_eq!((first.status, &first.body["state"]), (201, &json!("acknowledged")), "{}", first.body);
    for _ in 0..3 {
        let again = world.put(KEY, &named("A")).await;
        assert_eq!(again.status, 200);
        assert_eq!(
            (&again.body["uri"], &again.body["intent"]["id"]),
            (&first.body["uri"], &first.body["intent"]["id"])
        );
    }
    assert_eq!((pds.commits(), pds.records(ANNA).len()), (1, 1));

    let edited = world.put(KEY, &named("B")).await;
    assert_eq!((edited.status, &edited.body["uri"]), (200, &first.body["uri"]));
    assert_ne!(edited.body["cid"], first.body["cid"]);
    assert_eq!(edited.header("etag"), format!("\"{}\"", edited.body["cid"].as_str().unwrap()));

    let gone = world.ask(Method::DELETE, KEY).await;
    assert_eq!((gone.status, &gone.body["deleted"]), (200, &json!(true)), "{}", gone.body);
    assert_eq!(world.ask(Method::DELETE, KEY).await.status, 200, "gone is gone");
    assert!(pds.records(ANNA).is_empty());
    world.ask(Method::DELETE, "/v1/users/anna/events/never").await.is(404, "RecordNotFound");
}

#[tokio::test]
async fn what_others_wrote_is_merged_or_told() {
    let pds = NullPds::start().await;
    let (world, _) = world(&pds.url).await;
    let first = world.put(KEY, &named("A")).await;
    let key = key(&first);
    let theirs = |name: &str| {
        let mut cid = String::new();
        pds.change(|records| {
            let mut value = records.get(&key).unwrap().value.clone();
            (value["name"], value["org.other.field"]) = (name.into(), "kept".into());
            cid = records.put(&key, value);
        });
        cid
    };
    let cid = theirs("Theirs");
    let answer = world.put(KEY, &named("Ours")).await;
    answer.is(409, "Conflict");
    assert_eq!(answer.body["conflict"], json!([{ "field": "name", "ours": "Ours", "theirs": "Theirs" }]));
    assert_eq!(pds.records(ANNA)[&key[ANNA.len() + 1..]].cid, cid, "the PDS's version stays");
    // With the version that was looked at, it is an edit of that one.
    let request = world.request(Method::PUT, KEY).bearer_auth(&world.token).header("If-Match", format!("\"{cid}\""));
    let answer = world.send(request.json(&named("Ours"))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let held = pds.records(ANNA)[&key[ANNA.len() + 1..]].clone();
    assert_eq!((&held.value["name"], &held.value["org.other.field"]), (&json!("Ours"), &json!("kept")));
}

#[tokio::test]
async fn a_pds_that_is_away_leaves_the_work_safe() {
    let (world, _) = world("http://127.0.0.1:1").await;
    let answer = world.put(KEY, &named("A")).await;
    assert_eq!((answer.status, &answer.body["state"]), (202, &json!("wanted")), "{}", answer.body);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.body["intent"]["trouble"], "unreachable");
    assert!(answer.body["intent"]["advice"].is_string());
    let seen = world.get("/v1/users/anna/events?unconfirmed=true").await.body;
    assert_eq!(seen["records"][0]["record"]["name"], "A", "its author sees it");
    let id = answer.body["intent"]["id"].as_i64().unwrap();
    assert_eq!(world.get(&format!("/v1/intents/{id}")).await.body["state"], "wanted");
    assert_eq!(due_now(world.pool(), Some(id)).await.unwrap(), 1);
    let intent = world.get(&format!("/v1/intents/{id}")).await.body;
    let next = chrono::DateTime::parse_from_rfc3339(intent["next_at"].as_str().unwrap()).unwrap();
    assert!(next <= chrono::Utc::now());
    assert_eq!(due_now(world.pool(), Some(id + 1)).await.unwrap(), 0);
}

async fn audit(world: &World) -> Value {
    world.get("/v1/users/anna/audit").await.body["writes"].clone()
}

#[tokio::test]
async fn a_write_in_anothers_name_is_audited_to_its_end() {
    let pds = NullPds::start().await;
    let (world, publisher) = world(&pds.url).await;
    let request = world.request(Method::POST, "/v1/users/anna/grants").bearer_auth(&world.token);
    let grant = world.send(request.json(&json!({ "grantee_user": "bert" }))).await.body["id"].clone();

    let made = world.put_as("bert", KEY, &named("A")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let row = &audit(&world).await[0];
    assert_eq!((&row["acting_user"], &row["outcome"], &row["grant_id"]), (&json!("bert"), &json!("written"), &grant));
    assert_eq!((&row["uri"], &row["cid"]), (&made.body["uri"], &made.body["cid"]));
    let mut edit = named("B");
    edit["startsAt"] = "2026-12-01T18:00:00Z".into();
    world.put_as("bert", KEY, &edit).await;
    assert_eq!(audit(&world).await[0]["changed"], json!(["name"]));
    world.put(KEY, &named("C")).await;
    assert_eq!(audit(&world).await.as_array().unwrap().len(), 2, "the owner's own writes are his own business");

    // While a wish waits its grant is taken back: it is never written.
    pds.refuse_next(ANNA, 503, "Away");
    let waits = world.put_as("bert", "/v1/users/anna/events/late", &named("Late")).await;
    assert_eq!(waits.status, 202, "{}", waits.body);
    let revoked = world.ask(Method::DELETE, &format!("/v1/users/anna/grants/{grant}")).await;
    assert_eq!(revoked.status, 200);
    let (end, ended) = watch::channel(false);
    let drain = tokio::spawn(async move { publisher.run(ended).await });
    let late = eventually("the wish ends", Duration::from_secs(60), async || {
        // The host's own pause may put it off once more.
        due_now(world.pool(), None).await.unwrap();
        let late = world.get("/v1/users/anna/events/late").await.body;
        if late["state"] == "refused" { Ok(late) } else { Err(late.to_string()) }
    })
    .await;
    end.send_replace(true);
    drain.await.unwrap();
    assert_eq!(late["intent"]["trouble"], "no_grant");
    let written = pds.written();
    assert!(!written.iter().any(|key| late["uri"].as_str().unwrap().ends_with(key.as_str())), "{written:?}");
    let row = &audit(&world).await[0];
    assert_eq!((&row["uri"], &row["outcome"], &row["cid"]), (&late["uri"], &json!("refused"), &Value::Null));
    world.put_as("bert", KEY, &named("D")).await.is(403, "GrantRequired");
    assert!(written.iter().all(|key| key.starts_with(&format!("{ANNA}/{EVENT}/"))));
}
