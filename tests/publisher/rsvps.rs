//! An RSVP names the version of the event that it answers to.

use almanac::publisher::IntentState;
use serde_json::json;

use crate::stand::{Stand, assert_state, intent, named, options, path, rsvp};
use crate::support::null_pds::NullPds;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";
const SOMEBODY: &str = "did:plc:cccccccccccccccccccccccc";

#[tokio::test]
async fn the_version_is_the_one_that_was_published_or_is_in_the_index() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &pds.url).await;
    stand.link("bob", BOB, &pds.url).await;
    let publisher = stand.publisher();
    let event = publisher.wish(named("alice", "x", "Meetup")).await.unwrap();
    let answer = publisher.wish(rsvp("bob", "x", json!({ "uri": event.uri.to_string() }), "going")).await.unwrap();
    assert_state(&answer, IntentState::Acknowledged);
    let held = &pds.records(BOB)[&path(&answer.uri)].value;
    assert_eq!(held["subject"], json!({ "uri": event.uri.to_string(), "cid": event.cid }));

    let uri = format!("at://{SOMEBODY}/community.lexicon.calendar.event/3kaaaaaaaaaaa");
    let cid = event.cid.as_deref().unwrap();
    sqlx::query("insert into calendar.events (uri, did, rkey, cid, rev, record) values ($1, $2, '3kaaaaaaaaaaa', $3, '3kaaaaaaaaaaa', '{}')")
        .bind(&uri)
        .bind(SOMEBODY)
        .bind(cid)
        .execute(stand.pool())
        .await
        .unwrap();
    let answer = publisher.wish(rsvp("bob", "y", json!({ "uri": uri }), "going")).await.unwrap();
    assert_state(&answer, IntentState::Acknowledged);
    assert_eq!(pds.records(BOB)[&path(&answer.uri)].value["subject"]["cid"], cid);
    // One that the app names is taken as it is.
    let answer = publisher.wish(rsvp("bob", "z", json!({ "uri": uri, "cid": cid }), "notgoing")).await.unwrap();
    assert_state(&answer, IntentState::Acknowledged);
}

#[tokio::test]
async fn an_answer_to_what_is_not_published_yet_waits_for_it() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, "http://127.0.0.1:9").await;
    stand.link("bob", BOB, &pds.url).await;
    let publisher = stand.publisher();
    let event = publisher.wish(named("alice", "x", "Meetup")).await.unwrap();
    let answer = publisher.wish(rsvp("bob", "x", json!({ "uri": event.uri.to_string() }), "going")).await.unwrap();
    assert_state(&answer, IntentState::Wanted);
    assert_eq!(intent(&answer).trouble.as_deref(), Some("subject_unknown"));
    sqlx::query("update identity.account set pds = $1").bind(&pds.url).execute(stand.pool()).await.unwrap();
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    let event = &pds.records(ALICE)[&path(&event.uri)];
    assert_eq!(pds.records(BOB)[&path(&answer.uri)].value["subject"]["cid"], event.cid);
}
