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

#[tokio::test]
async fn records_are_listed_in_pages_with_and_without_what_waits() {
    let world = World::new().await;
    world.there(record(Kind::Event, "a", "3ka", IntentState::Confirmed));
    world.there(record(Kind::Event, "b", "3kb", IntentState::Wanted));
    world.there(record(Kind::Event, "c", "3kc", IntentState::Acknowledged));
    world.there(record(Kind::Rsvp, "r", "3kr", IntentState::Confirmed));
    let names = |list: &Value| -> Vec<String> {
        let records = list["records"].as_array().unwrap().iter();
        records.map(|record| record["client_key"].as_str().unwrap().to_owned()).collect()
    };
    let list = async |query: &str| world.get(&format!("/v1/users/anna/{query}")).await.body;
    assert_eq!(names(&list("events").await), ["a", "b", "c"]);
    assert_eq!(names(&list("events?unconfirmed=true").await), ["a", "b", "c"]);
    assert_eq!(names(&list("events?unconfirmed=false").await), ["a"]);
    assert_eq!(names(&list("rsvps").await), ["r"]);
    let first = list("events?limit=2").await;
    assert_eq!(names(&first), ["a", "b"]);
    let rest = list(&format!("events?limit=2&cursor={}", first["cursor"].as_str().unwrap())).await;
    assert_eq!((names(&rest), rest.get("cursor")), (vec!["c".to_owned()], None));
    for odd in ["limit=0", "limit=x", "cursor=a%20b", "unconfirmed=yes", "q=x"] {
        world.get(&format!("/v1/users/anna/events?{odd}")).await.is(400, "InvalidRequest");
    }
    let one = world.get("/v1/users/anna/events/b").await.body;
    assert_eq!((&one["state"], &one["cid"]), (&json!("wanted"), &Value::Null));
    assert_eq!(world.get("/v1/intents/7").await.body["state"], "confirmed");
}
