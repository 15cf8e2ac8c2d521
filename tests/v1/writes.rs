//! What a wish may say, and every way in which it can end.

use almanac::event::AtUri;
use almanac::publisher::{Action, IntentState, Kind, WishError};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{ANNA, CID, EVENT, FORBIDDEN_PDS, World, record, uri};

const KEY: &str = "/v1/users/anna/events/k";

fn event() -> Value {
    json!({ "name": "Meetup", "startsAt": "2026-12-01T18:00:00Z", "mode": "inperson" })
}

#[tokio::test]
async fn a_wish_is_what_was_sent() {
    let world = World::new().await;
    let uri = uri(Kind::Event, "3kadopted");
    let request = world.request(Method::PUT, &format!("/v1/users/anna/events/my%20key%2F%C3%A9?adopt={uri}"));
    let request = request.bearer_auth(&world.token).header("If-Match", format!("\"{CID}\"")).json(&event());
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "what is adopted was there before: {}", answer.body);
    let wish = world.wish().unwrap();
    assert_eq!((wish.user.as_str(), wish.client_key.as_str()), ("anna", "my key/é"));
    assert_eq!((wish.kind, wish.action), (Kind::Event, Action::Put));
    assert_eq!((wish.if_match.as_deref(), wish.adopt), (Some(CID), Some(uri)));
    assert_eq!(wish.draft.unwrap().fields()["mode"], format!("{EVENT}#inperson"));
    assert!(wish.acting.is_none());

    let rsvp =
        json!({ "subject": { "uri": "at://did:plc:bert/community.lexicon.calendar.event/3k" }, "status": "going" });
    assert_eq!(world.put("/v1/users/anna/rsvps/k", &rsvp).await.status, 201);
    assert_eq!(world.wish().unwrap().kind, Kind::Rsvp);

    let request = world.request(Method::DELETE, KEY).bearer_auth(&world.token);
    let answer = world.send(request.header("Acting-User", "anna")).await;
    assert_eq!(answer.status, 200);
    let wish = world.wish().unwrap();
    assert_eq!((wish.action, wish.draft.is_none()), (Action::Delete, true));
    assert!(wish.acting.is_none(), "the owner needs no grant");
}

#[tokio::test]
async fn the_status_says_how_far_it_is() {
    let world = World::new().await;
    let ended = |state| Ok(record(Kind::Event, "k", "3k", state));
    world.next(ended(IntentState::Acknowledged));
    let answer = world.put(KEY, &event()).await;
    assert_eq!((answer.status, &answer.body["state"]), (201, &json!("acknowledged")));
    assert_eq!(answer.header("etag"), format!("\"{CID}\""));
    assert_eq!(answer.body["intent"]["id"], 7);

    // On the PDS before.
    world.there(record(Kind::Event, "k", "3k", IntentState::Confirmed));
    for state in [IntentState::Acknowledged, IntentState::Confirmed] {
        world.next(ended(state));
        assert_eq!(world.put(KEY, &event()).await.status, 200);
    }
    for state in [IntentState::Wanted, IntentState::Attempted] {
        world.next(ended(state));
        let answer = world.put(KEY, &event()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let wait: i64 = answer.header("retry-after").parse().unwrap();
        assert!((80..=90).contains(&wait), "until the next attempt: {wait}");
    }

    let mut conflict = record(Kind::Event, "k", "3k", IntentState::Conflict);
    conflict.cid = Some(CID.to_owned());
    let intent = conflict.intent.as_mut().unwrap();
    intent.detail = Some("changed here and elsewhere: name".to_owned());
    intent.conflict = Some(json!([{ "field": "name", "ours": "A", "theirs": "B" }]));
    world.next(Ok(conflict));
    let answer = world.put(KEY, &event()).await;
    answer.is(409, "Conflict");
    assert_eq!(answer.body["conflict"], json!([{ "field": "name", "ours": "A", "theirs": "B" }]));
    assert_eq!(answer.body["record"]["cid"], CID, "the version to edit next");
    assert!(answer.body["message"].as_str().unwrap().contains("name"));

    let mut refused = record(Kind::Event, "k", "3k", IntentState::Refused);
    let intent = refused.intent.as_mut().unwrap();
    (intent.trouble, intent.detail) = (Some("invalid".to_owned()), Some("name too long".to_owned()));
    world.next(Ok(refused.clone()));
    let answer = world.put(KEY, &event()).await;
    answer.is(422, "Refused");
    assert!(answer.body["message"].as_str().unwrap().contains("name too long"));
    refused.intent.as_mut().unwrap().trouble = Some("no_grant".to_owned());
    world.next(Ok(refused));
    world.put(KEY, &event()).await.is(403, "GrantRequired");

    world.next(ended(IntentState::Superseded));
    world.put(KEY, &event()).await.is(409, "Superseded");
}

#[tokio::test]
async fn what_is_not_stored_says_why() {
    let world = World::new().await;
    let taken: AtUri = uri(Kind::Event, "3k");
    for (error, status, word) in [
        (WishError::NoAccount("anna".into()), 404, "UserNotFound"),
        (WishError::ClientKey("is odd"), 400, "InvalidRequest"),
        (WishError::Taken(taken.clone()), 409, "ClientKeyTaken"),
        (WishError::OtherAccount { user: "anna".into(), uri: taken.clone() }, 409, "OtherAccount"),
        (WishError::NotTheirs { uri: taken, did: ANNA.into(), collection: EVENT }, 422, "NotTheirs"),
        (WishError::NoRecord { user: "anna".into(), kind: "event", client_key: "k".into() }, 404, "RecordNotFound"),
        (WishError::Database(sqlx::Error::PoolTimedOut), 503, "ServiceUnavailable"),
        (WishError::Database(sqlx::Error::RowNotFound), 500, "InternalServerError"),
    ] {
        world.next(Err(error));
        let answer = world.put(KEY, &event()).await;
        answer.is(status, word);
        if status == 503 {
            assert_eq!(answer.header("retry-after"), "5");
        }
    }
}

#[tokio::test]
async fn faults_are_told_all_at_once_and_nothing_is_stored() {
    let world = World::new().await;
    let bad = json!({ "nmae": "x", "startsAt": "tomorrow", "visibility": "private" });
    let answer = world.put(KEY, &bad).await;
    answer.is(422, "InvalidDraft");
    let faults = answer.body["fields"].as_array().unwrap();
    let fields: Vec<_> = faults.iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    for field in ["name", "nmae", "startsAt", "visibility"] {
        assert!(fields.contains(&field), "{field} is not among {fields:?}");
    }
    let private = faults.iter().find(|fault| fault["field"] == "visibility").unwrap();
    assert!(private["problem"].as_str().unwrap().contains("public"), "{private}");
    assert_eq!(world.wishes(), 0);

    let send = async |path: &str, body: String| {
        world.send(world.request(Method::PUT, path).bearer_auth(&world.token).body(body)).await
    };
    send(KEY, "{".into()).await.is(400, "InvalidRequest");
    send(KEY, String::new()).await.is(400, "InvalidRequest");
    send(KEY, format!("{{\"name\":\"{}\"}}", "x".repeat(256_000))).await.is(413, "PayloadTooLarge");
    send(KEY, format!("{{\"name\":\"{}\"}}", "x".repeat(200_000))).await.is(422, "InvalidDraft");
    send(&format!("{KEY}?adopt=x"), event().to_string()).await.is(400, "InvalidRequest");
    send(&format!("{KEY}?adopted=x"), event().to_string()).await.is(400, "InvalidRequest");
    let long = "x".repeat(257);
    for path in [
        format!("/v1/users/{long}/events/k"),
        format!("/v1/users/anna/events/{long}"),
        "/v1/users/anna/events/a%00b".into(),
        "/v1/users/anna/events/%ff".into(),
        "/v1/users/%20/events/k".into(),
    ] {
        send(&path, event().to_string()).await.is(400, "InvalidRequest");
    }
    for (name, value) in [("If-Match", "W/\"bafy\""), ("If-Match", "*"), ("Acting-User", "%zz"), ("Acting-User", "")] {
        let request = world.request(Method::PUT, KEY).bearer_auth(&world.token).header(name, value).json(&event());
        world.send(request).await.is(400, "InvalidRequest");
    }
    assert_eq!(world.wishes(), 0);
}

#[tokio::test]
async fn strangers_and_pdses_of_others_are_not_written_for() {
    let world = World::new().await;
    world.put("/v1/users/nobody/events/k", &event()).await.is(404, "UserNotFound");
    world.user("carl", "did:plc:carl", FORBIDDEN_PDS).await;
    let answer = world.put("/v1/users/carl/events/k", &event()).await;
    answer.is(403, "NotOurs");
    assert!(answer.body["message"].as_str().unwrap().contains("declared for `other`"));
    assert_eq!(world.wishes(), 0);
}

#[tokio::test]
async fn addresses_that_are_not_there_say_so() {
    let world = World::new().await;
    world.get("/v1/nothing").await.is(404, "NotFound");
    world.get("/v1/users/anna/nothing").await.is(404, "NotFound");
    world.ask(Method::POST, KEY).await.is(405, "InvalidRequest");
    world.get(KEY).await.is(404, "RecordNotFound");
    world.get("/v1/intents/7").await.is(404, "IntentNotFound");
    world.get("/v1/intents/seven").await.is(400, "InvalidRequest");
}
