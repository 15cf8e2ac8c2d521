//! The official PDS has the last word about what it takes.

use std::time::Duration;

use almanac::publisher::{IntentState, Kind, Wish};
use serde_json::json;

use crate::stand::{EVENT, Stand, assert_state, delete, intent, named, network, options, put, rsvp};
use crate::support::lossy::Lossy;
use crate::support::real_parts::RealParts;

#[tokio::test]
async fn records_on_the_official_pds() {
    let parts = RealParts::start().await;
    let lossy = Lossy::before(&parts.pds_url).await;
    let mut patient = options();
    patient.wait = Duration::from_secs(60);
    let stand = Stand::with(network(Some(&parts.plc_url)), patient).await;
    let alice = parts.create_account("alice").await;
    let somebody = parts.create_account("somebody").await;
    stand.link("alice", &alice.did, &lossy.url).await;
    stand.tokens.set(&alice.did, &alice.token);
    let publisher = stand.publisher();

    // Made, and made once though the answer is lost.
    lossy.drop_answer("putRecord", 1);
    publisher.wish(named("alice", "x", "One")).await.unwrap();
    let drain = stand.drain(&publisher);
    stand.settled().await;
    let view = publisher.record("alice", Kind::Event, "x").await.unwrap().unwrap();
    assert_state(&view, IntentState::Acknowledged);
    let held = parts.list_records(&alice.did, EVENT).await;
    assert_eq!(lossy.dropped().len(), 1, "the fault happened");
    assert_eq!((held.len(), view.cid.as_ref()), (1, Some(&held[0].cid)), "{held:?}");

    // Another session on the account adds what we do not know; the edit keeps it.
    let mut theirs = held[0].value.clone();
    theirs["theirs"] = json!({ "kept": true });
    parts.put_record(&alice, view.uri.rkey.as_str(), theirs).await;
    let view = publisher.wish(put("alice", "x", json!({ "name": "Two", "mode": "virtual" }))).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    assert!(view.rev.is_some());
    let held = parts.list_records(&alice.did, EVENT).await;
    let now = &held[0].value;
    assert_eq!(
        (&now["name"], &now["theirs"]["kept"], view.cid.as_ref()),
        (&json!("Two"), &json!(true), Some(&held[0].cid))
    );
    // The same, by an answer that is lost, with another client in between.
    lossy.drop_answer("putRecord", 1);
    publisher.wish(named("alice", "x", "Three")).await.unwrap();
    stand.settled().await;
    let held = parts.list_records(&alice.did, EVENT).await;
    assert_eq!(
        (held.len(), &held[0].value["name"], &held[0].value["theirs"]["kept"]),
        (1, &json!("Three"), &json!(true))
    );

    // Both changed the name: theirs stays.
    let mut theirs = held[0].value.clone();
    theirs["name"] = json!("Theirs");
    let theirs = parts.put_record(&alice, view.uri.rkey.as_str(), theirs).await;
    let view = publisher.wish(named("alice", "x", "Four")).await.unwrap();
    assert_state(&view, IntentState::Conflict);
    assert_eq!(parts.list_records(&alice.did, EVENT).await[0].cid, theirs.cid);
    let view = publisher.wish(Wish { if_match: Some(theirs.cid), ..named("alice", "x", "Four") }).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);

    // An answer to the event of somebody whom only the directory knows.
    let event = json!({ "$type": EVENT, "name": "Theirs", "createdAt": "2026-01-01T00:00:00Z" });
    let event = parts.create_record(&somebody, None, event).await;
    let answer = publisher.wish(rsvp("alice", "a", json!({ "uri": event.uri }), "going")).await.unwrap();
    assert_state(&answer, IntentState::Acknowledged);
    let answers = parts.list_records(&alice.did, "community.lexicon.calendar.rsvp").await;
    assert_eq!(answers[0].value["subject"], event.reference());

    // Switched off and on again: what was wished meanwhile goes on by itself.
    parts.deactivate(&alice).await;
    let view = publisher.wish(named("alice", "y", "Later")).await.unwrap();
    assert_eq!(intent(&view).trouble.as_deref(), Some("deactivated"), "{view:?}");
    parts.activate(&alice).await;
    stand.settled().await;
    assert_eq!(parts.list_records(&alice.did, EVENT).await.len(), 2);

    // Many at once, and a commit whose answer is lost.
    let long = "x".repeat(2_000);
    let wishes = (0..120).map(|n| put("alice", &format!("many{n}"), json!({ "name": "Many", "description": long })));
    drain.end().await;
    stand.store_only(&publisher, wishes).await;
    lossy.drop_answer("applyWrites", 1);
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    assert_eq!(lossy.dropped().len(), 3);
    assert_eq!(parts.list_records(&alice.did, EVENT).await.len(), 122, "each once");
    let done: i64 =
        sqlx::query_scalar("select count(*) from publish.intent where state = 'acknowledged' and cid is not null")
            .fetch_one(stand.pool())
            .await
            .unwrap();
    assert_eq!(done, 4 + 1 + 1 + 120);

    // Gone, and gone twice is gone; the second time there is nothing.
    let view = publisher.wish(delete("alice", "x")).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    parts
        .delete_record(
            &alice,
            EVENT,
            publisher.record("alice", Kind::Event, "y").await.unwrap().unwrap().uri.rkey.as_str(),
        )
        .await;
    let view = publisher.wish(delete("alice", "y")).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    assert_eq!(parts.list_records(&alice.did, EVENT).await.len(), 120);
}
