//! Users, records and intents, looked at.

use almanac::publisher::{IntentState, Kind};
use serde_json::{Value, json};

use crate::world::{ANNA, FORBIDDEN_PDS, World, record};

#[tokio::test]
async fn trouble_shows_before_there_is_something_to_publish() {
    let world = World::new().await;
    let user = world.get("/v1/users/anna").await.body;
    assert_eq!((&user["user"], &user["did"], &user["health"]), (&json!("anna"), &json!(ANNA), &json!("untried")));
    assert_eq!((&user["custodial"], &user["may_write"]), (&json!(true), &json!(true)));
    sqlx::query(
        "insert into identity.session (did, health, health_detail, health_at) values ($1, 'dead', 'signed out', now())",
    )
    .bind(ANNA)
    .execute(world.pool())
    .await
    .unwrap();
    let user = world.get("/v1/users/anna").await.body;
    assert_eq!((&user["health"], &user["detail"]), (&json!("dead"), &json!("signed out")));
    assert!(user["health_at"].is_string());
    world.user("carl", "did:plc:carl", FORBIDDEN_PDS).await;
    let carl = world.get("/v1/users/carl").await.body;
    assert_eq!(carl["may_write"], false);
    assert!(carl["detail"].as_str().unwrap().contains("declared for"));
    world.get("/v1/users/nobody").await.is(404, "UserNotFound");
}

/// A record of anna's with one wish in this state.
async fn wished(world: &World, kind: Kind, client_key: &str, rkey: &str, state: &str) {
    sqlx::query(
        "with r as (
             insert into publish.record (user_id, did, collection, rkey, client_key) values ('anna', $1, $2, $3, $4) returning id
         )
         insert into publish.intent (record_id, action, draft, digest, state, creates)
         select id, 'put', $5, '', $6, true from r",
    )
    .bind(ANNA)
    .bind(kind.collection())
    .bind(rkey)
    .bind(client_key)
    .bind(json!({ "name": client_key }))
    .bind(state)
    .execute(world.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn an_author_who_asks_sees_what_waits() {
    let world = World::new().await;
    wished(&world, Kind::Event, "a", "3kaaaaaaaaaaa", "wanted").await;
    wished(&world, Kind::Event, "b", "3kbbbbbbbbbbb", "refused").await;
    wished(&world, Kind::Event, "c", "3kccccccccccc", "acknowledged").await;
    wished(&world, Kind::Rsvp, "r", "3krrrrrrrrrrr", "attempted").await;
    let names = |list: &Value| -> Vec<String> {
        let records = list["records"].as_array().unwrap().iter();
        records.map(|record| record["client_key"].as_str().unwrap().to_owned()).collect()
    };
    let list = async |query: &str| world.get(&format!("/v1/users/anna/{query}")).await.body;
    let all = list("events?unconfirmed=true").await;
    assert_eq!(names(&all), ["a", "c"], "what was refused will not be");
    assert_eq!((&all["records"][0]["record"]["name"], &all["records"][0]["state"]), (&json!("a"), &json!("wanted")));
    assert_eq!(names(&list("rsvps?unconfirmed=true").await), ["r"]);
    for query in ["events", "events?unconfirmed=false", "rsvps"] {
        assert_eq!(list(query).await["records"], json!([]), "the log has none of them");
    }
    let first = list("events?unconfirmed=true&limit=1").await;
    assert_eq!(names(&first), ["a"]);
    let cursor = first["cursor"].as_str().unwrap();
    let rest = list(&format!("events?unconfirmed=true&cursor={cursor}")).await;
    assert_eq!((names(&rest), rest.get("cursor")), (vec!["c".to_owned()], None));
    for odd in ["limit=0", "limit=x", "cursor=a%20b", "unconfirmed=yes", "q=x"] {
        world.get(&format!("/v1/users/anna/events?{odd}")).await.is(400, "InvalidRequest");
    }
}

#[tokio::test]
async fn a_record_and_an_intent_say_how_far_they_are() {
    let world = World::new().await;
    world.there(record(Kind::Event, "b", "3kb", IntentState::Wanted));
    let one = world.get("/v1/users/anna/events/b").await.body;
    assert_eq!((&one["state"], &one["cid"]), (&json!("wanted"), &Value::Null));
    world.get("/v1/users/anna/rsvps/b").await.is(404, "RecordNotFound");
    assert_eq!(world.get("/v1/intents/7").await.body["state"], "wanted");
}
