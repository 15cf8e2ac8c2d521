//! Who may write in whose name, and what is kept of it.

use almanac::event::Did;
use almanac::publisher::{IntentState, Kind, grants};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{ANNA, World, record, uri};

const GRANTS: &str = "/v1/users/anna/grants";

async fn grant(world: &World, body: Value) -> i64 {
    let request = world.request(Method::POST, GRANTS).bearer_auth(&world.token).json(&body);
    let answer = world.send(request).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["id"].as_i64().unwrap()
}

/// Who, which record, how it ended; the latest first.
async fn audit(world: &World) -> Vec<(String, String, String)> {
    let rows = world.get("/v1/users/anna/audit").await.body;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let row = |row: &Value| (text(row, "acting_user"), text(row, "uri"), text(row, "outcome"));
    rows["writes"].as_array().unwrap().iter().map(row).collect()
}

fn refused(acting: &str, uri: impl ToString) -> (String, String, String) {
    (acting.to_owned(), uri.to_string(), "refused".to_owned())
}

#[tokio::test]
async fn another_writes_only_what_was_granted() {
    let world = World::new().await;
    let (mine, other) = (uri(Kind::Event, "3kmine"), uri(Kind::Event, "3kother"));
    world.there(record(Kind::Event, "mine", "3kmine", IntentState::Confirmed));
    world.there(record(Kind::Event, "other", "3kother", IntentState::Confirmed));
    let body = json!({ "name": "x" });
    let put =
        async |acting: &str, path: &str| world.put_as(acting, &format!("/v1/users/anna/events/{path}"), &body).await;

    put("bert", "mine").await.is(403, "GrantRequired");
    let id = grant(&world, json!({ "grantee_user": "bert", "event_uri": mine.to_string() })).await;
    assert_eq!(put("bert", "mine").await.status, 200);
    let acting = world.wish().unwrap().acting.unwrap();
    assert_eq!((acting.user.as_str(), acting.grant_id), ("bert", id));
    assert_eq!(world.wishes(), 1);
    put("bert", "other").await.is(403, "GrantRequired");
    put("bert", "new").await.is(403, "GrantRequired");
    put("carl", "mine").await.is(403, "GrantRequired");
    // A record that has the name and one that shall have it are two.
    put("bert", &format!("other?adopt={mine}")).await.is(403, "GrantRequired");
    put("bert", &format!("mine?adopt={other}")).await.is(403, "GrantRequired");
    assert_eq!(put("bert", &format!("named?adopt={mine}")).await.status, 200);

    let collection = format!("at://{ANNA}/community.lexicon.calendar.event");
    assert_eq!(
        audit(&world).await,
        [
            refused("bert", &other),
            refused("bert", &other),
            refused("carl", &mine),
            refused("bert", &collection),
            refused("bert", &other),
            refused("bert", &mine),
        ]
    );
    let all = grant(&world, json!({ "grantee_user": "bert" })).await;
    assert_eq!(put("bert", "new").await.status, 201);
    assert_eq!(world.wish().unwrap().acting.unwrap().grant_id, all);
    let request = world.request(Method::DELETE, "/v1/users/anna/events/mine").bearer_auth(&world.token);
    assert_eq!(world.send(request.header("Acting-User", "bert")).await.status, 200);
}

#[tokio::test]
async fn an_rsvp_is_never_anothers() {
    let world = World::new().await;
    grant(&world, json!({ "grantee_user": "bert" })).await;
    let rsvp = json!({ "subject": { "uri": uri(Kind::Event, "3k").to_string() }, "status": "going" });
    let answer = world.put_as("bert", "/v1/users/anna/rsvps/r", &rsvp).await;
    answer.is(403, "GrantRequired");
    assert!(answer.body["message"].as_str().unwrap().contains("RSVP"));
    let collection = format!("at://{ANNA}/community.lexicon.calendar.rsvp");
    assert_eq!(audit(&world).await, [refused("bert", collection)]);
    assert_eq!(world.wishes(), 0);
}

#[tokio::test]
async fn a_grant_that_is_over_lets_nobody_write() {
    let world = World::new().await;
    let body = json!({ "name": "x" });
    let put = async || world.put_as("bert", "/v1/users/anna/events/new", &body).await;
    let id = grant(&world, json!({ "grantee_user": "bert", "expires_at": "2999-01-01T00:00:00Z" })).await;
    assert_eq!(put().await.status, 201);
    sqlx::query("update publish.grant set expires_at = now()").execute(world.pool()).await.unwrap();
    put().await.is(403, "GrantRequired");

    let id_2 = grant(&world, json!({ "grantee_user": "bert" })).await;
    assert_ne!(id, id_2);
    assert_eq!(put().await.status, 201);
    let answer = world.ask(Method::DELETE, &format!("{GRANTS}/{id_2}")).await;
    assert_eq!((answer.status, &answer.body["in_force"]), (200, &json!(false)));
    assert_eq!(answer.body["revoked_by"], "token all");
    put().await.is(403, "GrantRequired");
    // Whose grants they are counts.
    world.user("carl", "did:plc:carl", "https://pds.example.org").await;
    world.ask(Method::DELETE, &format!("/v1/users/carl/grants/{id_2}")).await.is(404, "GrantNotFound");
    world.ask(Method::DELETE, &format!("{GRANTS}/999")).await.is(404, "GrantNotFound");
}

#[tokio::test]
async fn a_wish_that_waits_is_asked_about_again() {
    let world = World::new().await;
    let event = uri(Kind::Event, "3k");
    let owner: Did = ANNA.parse().unwrap();
    let id = grant(&world, json!({ "grantee_user": "bert", "event_uri": event.to_string() })).await;
    let mut connection = world.pool().acquire().await.unwrap();
    grants::still(&mut connection, id, "bert", &event).await.unwrap();
    for (grant, user, uri, why) in [
        (id, "carl", event.clone(), "does not cover"),
        (id, "bert", uri(Kind::Event, "3kother"), "does not cover"),
        (id, "bert", uri(Kind::Rsvp, "3k"), "RSVP"),
        (id, "bert", format!("at://did:plc:carl/{}/3k", Kind::Event.collection()).parse().unwrap(), "does not cover"),
        (id + 1, "bert", event.clone(), "does not cover"),
    ] {
        let refused = grants::still(&mut connection, grant, user, &uri).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    sqlx::query("update publish.grant set expires_at = now()").execute(world.pool()).await.unwrap();
    let refused = grants::still(&mut connection, id, "bert", &event).await.unwrap_err();
    assert!(refused.to_string().contains("ended"), "{refused}");
    sqlx::query("update publish.grant set expires_at = null").execute(world.pool()).await.unwrap();
    grants::revoke(world.pool(), id, Some(&owner), "test").await.unwrap().unwrap();
    // Another that would do is not the one under which it was wished.
    grant(&world, json!({ "grantee_user": "bert" })).await;
    let refused = grants::still(&mut connection, id, "bert", &event).await.unwrap_err();
    assert!(refused.to_string().contains("revoked"), "{refused}");
}

#[tokio::test]
async fn grants_that_make_no_sense_are_not_made() {
    let world = World::new().await;
    for (body, status, word) in [
        (
            json!({ "grantee_user": "bert", "event_uri": "at://did:plc:carl/community.lexicon.calendar.event/3k" }),
            422,
            "InvalidGrant",
        ),
        (json!({ "grantee_user": "bert", "event_uri": uri(Kind::Rsvp, "3k").to_string() }), 422, "InvalidGrant"),
        (json!({ "grantee_user": "bert", "expires_at": "2020-01-01T00:00:00Z" }), 422, "InvalidGrant"),
        (json!({ "grantee_user": "" }), 422, "InvalidGrant"),
        (json!({ "grantee_user": "bert", "event_uri": "https://x" }), 400, "InvalidRequest"),
        (json!({ "grantee_user": "bert", "until": "x" }), 400, "InvalidRequest"),
        (json!({}), 400, "InvalidRequest"),
    ] {
        let request = world.request(Method::POST, GRANTS).bearer_auth(&world.token).json(&body);
        world.send(request).await.is(status, word);
    }
    let request = world.request(Method::POST, "/v1/users/nobody/grants").bearer_auth(&world.token);
    world.send(request.json(&json!({ "grantee_user": "bert" }))).await.is(404, "UserNotFound");
    assert_eq!(world.get(GRANTS).await.body["grants"], json!([]));

    let same = grant(&world, json!({ "grantee_user": "bert" })).await;
    assert_eq!(grant(&world, json!({ "grantee_user": "bert" })).await, same, "the same again is no second");
    let second = grant(&world, json!({ "grantee_user": "carl" })).await;
    let page = world.get(&format!("{GRANTS}?limit=1")).await.body;
    assert_eq!(page["grants"][0]["id"], second);
    let cursor = page["cursor"].as_str().unwrap();
    let rest = world.get(&format!("{GRANTS}?limit=1&cursor={cursor}")).await.body;
    assert_eq!((&rest["grants"][0]["id"], rest.get("cursor")), (&json!(same), None));
}
