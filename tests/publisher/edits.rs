//! Others change the same records.

use almanac::publisher::{Acting, IntentState, Wish};
use serde_json::{Value, json};

use crate::stand::{Stand, assert_state, delete, intent, key, named, options, path, put};
use crate::support::null_pds::{NullPds, Records};

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

/// Sets one field of a record, as another client does.
fn set(records: &mut Records, key: &str, field: &str, value: Value) {
    let mut record = records.get(key).unwrap().value.clone();
    record[field] = value;
    records.put(key, record);
}

async fn stand() -> (NullPds, Stand) {
    let (pds, stand) = (NullPds::start().await, Stand::new(options()).await);
    stand.link("alice", ALICE, &pds.url).await;
    (pds, stand)
}

#[tokio::test]
async fn what_another_client_writes_between_reading_and_writing_survives() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    let view = publisher.wish(put("alice", "x", json!({ "name": "One", "description": "ours" }))).await.unwrap();
    let (key, uri) = (key(&view.uri), view.uri);
    pds.change(|records| set(records, &key, "theirs", json!({ "kept": true })));
    let between = key.clone();
    pds.before_next_write(move |records| set(records, &between, "description", json!("theirs")));
    let view = publisher.wish(put("alice", "x", json!({ "name": "Two", "description": "ours" }))).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    let now = pds.records(ALICE)[&path(&uri)].clone();
    assert_eq!(view.cid, Some(now.cid));
    assert_eq!(
        (&now.value["name"], &now.value["description"], &now.value["theirs"]["kept"]),
        (&json!("Two"), &json!("theirs"), &json!(true))
    );
    assert_eq!(pds.count("putRecord"), 3, "made, refused for its version, written");
}

#[tokio::test]
async fn a_record_that_is_written_all_the_time_is_put_off_and_not_fought_over() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    let key = key(&publisher.wish(named("alice", "x", "One")).await.unwrap().uri);
    for round in 0..4 {
        let key = key.clone();
        // Each runs before the next write, and leaves the following one.
        pds.before_next_write(move |records| set(records, &key, "n", json!(round)));
        if round == 0 {
            continue;
        }
    }
    // All four hooks run before the first write: one refusal, then it goes through.
    let view = publisher.wish(named("alice", "x", "Two")).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    // Refused for its version whatever it names: no end in sight.
    for _ in 0..4 {
        pds.refuse_next(ALICE, 400, "InvalidSwap");
    }
    let writes = pds.count("putRecord");
    let view = publisher.wish(named("alice", "x", "Three")).await.unwrap();
    assert_state(&view, IntentState::Wanted);
    assert_eq!(intent(&view).trouble.as_deref(), Some("contended"));
    assert_eq!(pds.count("putRecord") - writes, 4, "bounded");
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    assert_eq!(pds.records(ALICE).into_values().next().unwrap().value["name"], "Three");
}

#[tokio::test]
async fn both_sides_changed_the_same_and_the_pds_s_stays() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    let view = publisher.wish(put("alice", "x", json!({ "name": "One", "mode": "virtual" }))).await.unwrap();
    let key = key(&view.uri);
    pds.change(|records| set(records, &key, "name", json!("Theirs")));
    let before = pds.records(ALICE);
    let wish = put("alice", "x", json!({ "name": "Ours", "mode": "hybrid" }));
    let view = publisher.wish(wish.clone()).await.unwrap();
    assert_state(&view, IntentState::Conflict);
    assert_eq!(intent(&view).conflict, Some(json!([{ "field": "name", "ours": "Ours", "theirs": "Theirs" }])));
    assert_eq!(pds.records(ALICE), before, "nothing of it was written");
    let kept: Value = sqlx::query_scalar("select draft from publish.intent order by id desc limit 1")
        .fetch_one(stand.pool())
        .await
        .unwrap();
    assert_eq!(kept["name"], "Ours", "what lost is kept");
    // Whoever has seen their version may override it.
    let seen = pds.records(ALICE)[&path(&view.uri)].cid.clone();
    let view = publisher.wish(Wish { if_match: Some(seen), ..wish }).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    let now = &pds.records(ALICE)[&path(&view.uri)].value;
    assert_eq!((&now["name"], &now["mode"]), (&json!("Ours"), &json!("community.lexicon.calendar.event#hybrid")));
}

#[tokio::test]
async fn what_was_deleted_elsewhere_is_not_made_again_by_an_edit() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    let view = publisher.wish(named("alice", "x", "One")).await.unwrap();
    let key = key(&view.uri);
    pds.change(|records| records.delete(&key));
    let view = publisher.wish(named("alice", "x", "Two")).await.unwrap();
    assert_state(&view, IntentState::Conflict);
    assert_eq!(intent(&view).trouble.as_deref(), Some("deleted_elsewhere"));
    assert!(pds.records(ALICE).is_empty());
    // The log told it: whoever wishes now knows.
    sqlx::query("update publish.record set deleted = true").execute(stand.pool()).await.unwrap();
    let view = publisher.wish(named("alice", "x", "Three")).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    assert_eq!(pds.records(ALICE)[&path(&view.uri)].value["name"], "Three");
}

#[tokio::test]
async fn a_delete_of_another_version_than_the_one_named_is_a_conflict() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    let view = publisher.wish(named("alice", "x", "One")).await.unwrap();
    let key = key(&view.uri);
    pds.change(|records| set(records, &key, "name", json!("Theirs")));
    let view = publisher.wish(Wish { if_match: view.cid, ..delete("alice", "x") }).await.unwrap();
    assert_state(&view, IntentState::Conflict);
    assert_eq!(intent(&view).conflict.as_ref().unwrap()[0]["theirs"]["name"], "Theirs");
    assert_eq!(pds.records(ALICE).len(), 1);
    let seen = Some(pds.records(ALICE)[&path(&view.uri)].cid.clone());
    let view = publisher.wish(Wish { if_match: seen, ..delete("alice", "x") }).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    assert!(pds.records(ALICE).is_empty());
}

#[tokio::test]
async fn what_somebody_else_wished_is_written_by_his_grant_alone_and_noted() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    publisher.wish(named("alice", "x", "One")).await.unwrap();
    let grant: i64 = sqlx::query_scalar(
        "insert into publish.grant (grantor_did, grantee_user, created_by) values ($1, 'bob', 'test') returning id",
    )
    .bind(ALICE)
    .fetch_one(stand.pool())
    .await
    .unwrap();
    let acting = Some(Acting { user: "bob".to_owned(), grant_id: grant });
    let view = publisher.wish(Wish { acting: acting.clone(), ..named("alice", "x", "Bob's") }).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    sqlx::query("update publish.grant set revoked_at = now()").execute(stand.pool()).await.unwrap();
    let refused = publisher.wish(Wish { acting, ..named("alice", "x", "Bob's again") }).await.unwrap();
    assert_state(&refused, IntentState::Refused);
    assert_eq!(intent(&refused).trouble.as_deref(), Some("no_grant"));
    assert_eq!(pds.records(ALICE)[&path(&view.uri)].value["name"], "Bob's");
    let audit: Vec<(String, Vec<String>, Option<String>)> =
        sqlx::query_as("select outcome, changed, cid from publish.audit order by id")
            .fetch_all(stand.pool())
            .await
            .unwrap();
    let wanted = [("written".to_owned(), vec!["name".to_owned()], view.cid), ("refused".to_owned(), vec![], None)];
    assert_eq!(audit, wanted);
}
