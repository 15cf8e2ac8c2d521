//! The answer that never came though the write did.

use almanac::publisher::IntentState;
use serde_json::json;

use crate::stand::{Stand, assert_state, delete, intent, key, named, options, path, put};
use crate::support::lossy::Lossy;
use crate::support::null_pds::NullPds;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

async fn stand() -> (NullPds, Lossy, Stand) {
    let pds = NullPds::start().await;
    let lossy = Lossy::before(&pds.url).await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &lossy.url).await;
    (pds, lossy, stand)
}

#[tokio::test]
async fn a_record_whose_making_was_not_heard_of_is_there_once() {
    let (pds, lossy, stand) = stand().await;
    let publisher = stand.publisher();
    lossy.drop_answer("putRecord", 1);
    let view = publisher.wish(named("alice", "x", "Meetup")).await.unwrap();
    assert_eq!(lossy.dropped().len(), 1, "the fault happened");
    assert_state(&view, IntentState::Attempted);
    assert_eq!((intent(&view).trouble.as_deref(), intent(&view).attempts), (Some("unreachable"), 1));
    // Somebody edits it before we look again: that is no reason to write ours over it.
    let key = key(&view.uri);
    pds.change(|records| {
        let mut record = records.get(&key).unwrap().value.clone();
        record["name"] = json!("Theirs");
        records.put(&key, record);
    });
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    let held = pds.records(ALICE);
    assert_eq!((held.len(), pds.written().len()), (1, 1), "{held:?}");
    let view = publisher.record("alice", view_kind(), "x").await.unwrap().unwrap();
    assert_state(&view, IntentState::Acknowledged);
    let held = &held[&path(&view.uri)];
    assert_eq!((view.cid.as_ref(), &held.value["name"]), (Some(&held.cid), &json!("Theirs")));
}

fn view_kind() -> almanac::publisher::Kind {
    almanac::publisher::Kind::Event
}

#[tokio::test]
async fn an_edit_and_a_delete_that_were_not_heard_of_are_done_once() {
    let (pds, lossy, stand) = stand().await;
    let publisher = stand.publisher();
    let drain = stand.drain(&publisher);
    publisher.wish(put("alice", "x", json!({ "name": "One", "mode": "virtual" }))).await.unwrap();
    lossy.drop_answer("putRecord", 1);
    let view = publisher.wish(put("alice", "x", json!({ "name": "Two" }))).await.unwrap();
    stand.settled().await;
    let held = &pds.records(ALICE)[&path(&view.uri)];
    assert_eq!(held.value["name"], "Two");
    assert!(held.value.get("mode").is_none(), "what the app took away is gone");
    let view = publisher.record("alice", view_kind(), "x").await.unwrap().unwrap();
    assert_eq!(view.cid.as_ref(), Some(&held.cid));
    assert_eq!(pds.written().len(), 2, "made and edited, each once");
    lossy.drop_answer("deleteRecord", 1);
    publisher.wish(delete("alice", "x")).await.unwrap();
    stand.settled().await;
    drain.end().await;
    assert_eq!((pds.records(ALICE).len(), lossy.dropped().len()), (0, 2));
    let view = publisher.record("alice", view_kind(), "x").await.unwrap().unwrap();
    assert_state(&view, IntentState::Acknowledged);
    assert!(view.deleted);
}

#[tokio::test]
async fn a_commit_of_many_that_was_not_heard_of_is_settled_record_by_record() {
    let (pds, lossy, stand) = stand().await;
    let publisher = stand.publisher();
    stand.store_only(&publisher, (0..30).map(|n| named("alice", &format!("e{n}"), "Meetup"))).await;
    lossy.drop_answer("applyWrites", 1);
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    assert_eq!(lossy.dropped().len(), 1, "the fault happened");
    assert_eq!((pds.records(ALICE).len(), pds.written().len()), (30, 30), "each once");
    let acknowledged: i64 = sqlx::query_scalar(
        "select count(*) from publish.record r join publish.intent i on i.record_id = r.id and i.cid = r.cid
         where i.state = 'acknowledged'",
    )
    .fetch_one(stand.pool())
    .await
    .unwrap();
    assert_eq!(acknowledged, 30);
}
