//! What is stored of a wish, and when a wish is none.

use std::sync::atomic::Ordering;

use almanac::event::AtUri;
use almanac::publisher::{Acting, Action, IntentState, Kind, Wish, WishError};
use serde_json::json;

use crate::stand::{Stand, assert_state, delete, intent, named, options, path, put};
use crate::support::null_pds::NullPds;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

#[tokio::test]
async fn the_same_wish_again_is_no_second_one() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &pds.url).await;
    let publisher = stand.publisher();
    let first = publisher.wish(named("alice", "meetup", "Meetup")).await.unwrap();
    assert_state(&first, IntentState::Acknowledged);
    let held = &pds.records(ALICE)[&path(&first.uri)];
    assert_eq!((&held.value["name"], &held.value["$type"]), (&json!("Meetup"), &json!(Kind::Event.collection())));
    assert!(held.value["createdAt"].is_string(), "the lexicon wants it: {}", held.value);
    assert_eq!(first.cid.as_ref(), Some(&held.cid));
    assert_eq!(intent(&first).cid.as_ref(), Some(&held.cid));
    assert!(first.rev.is_some());

    let again = publisher.wish(named("alice", "meetup", "Meetup")).await.unwrap();
    assert_eq!(again, first);
    assert_eq!((pds.count("putRecord"), pds.commits()), (1, 1), "nothing was sent");

    let edited = publisher.wish(named("alice", "meetup", "Big meetup")).await.unwrap();
    assert_state(&edited, IntentState::Acknowledged);
    assert_eq!(edited.uri, first.uri);
    let now = &pds.records(ALICE)[&path(&first.uri)].value;
    assert_eq!(now["name"], "Big meetup");
    assert_eq!(now["createdAt"], held.value["createdAt"], "an edit that says nothing of it keeps it");

    let gone = publisher.wish(delete("alice", "meetup")).await.unwrap();
    assert_state(&gone, IntentState::Acknowledged);
    assert!(gone.deleted && gone.cid.is_none() && pds.records(ALICE).is_empty());
    assert_eq!(publisher.wish(delete("alice", "meetup")).await.unwrap(), gone);

    // Wished anew it is made anew, under the key that it had.
    let anew = publisher.wish(named("alice", "meetup", "Big meetup")).await.unwrap();
    assert_state(&anew, IntentState::Acknowledged);
    assert_eq!((anew.uri, anew.deleted, pds.records(ALICE).len()), (first.uri, false, 1));
    assert_eq!(publisher.list("alice", Kind::Event, None, 10).await.unwrap().len(), 1);
    assert!(publisher.record("alice", Kind::Event, "other").await.unwrap().is_none());
}

#[tokio::test]
async fn a_wish_that_cannot_be_is_refused_and_leaves_nothing() {
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, "http://127.0.0.1:9").await;
    let publisher = stand.publisher();
    let adopt = |uri: &str| Wish { adopt: Some(AtUri::parse(uri).unwrap()), ..named("alice", "x", "Meetup") };
    let of = |did: &str, collection: &str| adopt(&format!("at://{did}/{collection}/3kaaaaaaaaaaa"));
    let wishes = [
        (named("nobody", "x", "Meetup"), "no_account"),
        (named("alice", "", "Meetup"), "client_key"),
        (named("alice", "a\nb", "Meetup"), "client_key"),
        (named("alice", &"x".repeat(513), "Meetup"), "client_key"),
        (Wish { draft: None, ..named("alice", "x", "Meetup") }, "draft"),
        (Wish { action: Action::Delete, ..named("alice", "x", "Meetup") }, "draft"),
        (Wish { kind: Kind::Rsvp, ..named("alice", "x", "Meetup") }, "draft"),
        (delete("alice", "never"), "no_record"),
        (of(BOB, Kind::Event.collection()), "not_theirs"),
        (of(ALICE, Kind::Rsvp.collection()), "not_theirs"),
    ];
    for (wish, wanted) in wishes {
        let error = publisher.wish(wish.clone()).await.unwrap_err();
        assert_eq!(error.as_str(), wanted, "{wish:?}: {error}");
    }
    let rows: i64 =
        sqlx::query_scalar("select (select count(*) from publish.record) + (select count(*) from publish.intent)")
            .fetch_one(stand.pool())
            .await
            .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn what_was_never_sent_gives_way_to_a_later_wish() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &pds.url).await;
    stand.may_write.store(false, Ordering::SeqCst);
    let publisher = stand.publisher();
    let first = publisher.wish(named("alice", "meetup", "One")).await.unwrap();
    assert_state(&first, IntentState::Wanted);
    assert_eq!(intent(&first).trouble.as_deref(), Some("not_ours"));
    assert!(intent(&first).advice.as_ref().unwrap().contains("origin.hosts"), "{first:?}");
    let grant: i64 = sqlx::query_scalar(
        "insert into publish.grant (grantor_did, grantee_user, created_by) values ($1, 'bob', 'test') returning id",
    )
    .bind(ALICE)
    .fetch_one(stand.pool())
    .await
    .unwrap();
    let acting = Some(Acting { user: "bob".to_owned(), grant_id: grant });
    publisher.wish(Wish { acting, ..named("alice", "meetup", "Two") }).await.unwrap();
    let last = publisher.wish(named("alice", "meetup", "Three")).await.unwrap();
    assert_eq!((&last.uri, pds.count("")), (&first.uri, 0), "nothing is asked of a PDS that is not ours");
    stand.may_write.store(true, Ordering::SeqCst);
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    let states: Vec<String> =
        sqlx::query_scalar("select state from publish.intent order by id").fetch_all(stand.pool()).await.unwrap();
    assert_eq!(states, ["superseded", "superseded", "acknowledged"]);
    assert_eq!(pds.records(ALICE)[&path(&last.uri)].value["name"], "Three");
    assert_eq!(pds.commits(), 1);
    let audit: Vec<String> =
        sqlx::query_scalar("select outcome from publish.audit").fetch_all(stand.pool()).await.unwrap();
    assert_eq!(audit, ["failed"], "what somebody else wished was not written");
}

#[tokio::test]
async fn another_user_s_name_for_it_and_another_account_are_kept_apart() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &pds.url).await;
    let publisher = stand.publisher();
    let first = publisher.wish(named("alice", "a", "Meetup")).await.unwrap();
    let taken = Wish { adopt: Some(first.uri.clone()), ..named("alice", "b", "Meetup") };
    assert!(matches!(publisher.wish(taken).await, Err(WishError::Taken(uri)) if uri == first.uri));
    // Two first wishes of one name at once are two wishes of one record.
    let (one, two) =
        tokio::join!(publisher.wish(named("alice", "c", "One")), publisher.wish(named("alice", "c", "Two")));
    assert_eq!(one.unwrap().uri, two.unwrap().uri);
    // The account goes to somebody else: what alice wished about it is not carried out any more.
    sqlx::query("update identity.account set user_id = 'carol'").execute(stand.pool()).await.unwrap();
    stand.link("alice", BOB, &pds.url).await;
    let other = publisher.wish(named("alice", "a", "Other")).await;
    assert!(matches!(other, Err(WishError::OtherAccount { uri, .. }) if uri == first.uri));
    assert_eq!(pds.records(ALICE)[&path(&first.uri)].value["name"], "Meetup");
}

#[tokio::test]
async fn a_record_that_was_there_before_is_adopted_and_not_made() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &pds.url).await;
    let publisher = stand.publisher();
    let uri = AtUri::parse(&format!("at://{ALICE}/{}/old", Kind::Event.collection())).unwrap();
    let old =
        json!({ "$type": Kind::Event.collection(), "name": "Old", "createdAt": "2020-01-01T00:00:00Z", "theirs": [1] });
    pds.change(|records| drop(records.put(&crate::stand::key(&uri), old)));
    let adopted = Wish { adopt: Some(uri.clone()), ..put("alice", "x", json!({ "name": "New", "mode": "virtual" })) };
    let view = publisher.wish(adopted).await.unwrap();
    assert_state(&view, IntentState::Acknowledged);
    let now = &pds.records(ALICE)["community.lexicon.calendar.event/old"].value;
    assert_eq!((&now["name"], &now["createdAt"]), (&json!("New"), &json!("2020-01-01T00:00:00Z")));
    assert_eq!(now["theirs"], json!([1]), "what is somebody else's stays");
    // One that is not there is not made either.
    let uri = AtUri::parse(&format!("at://{ALICE}/{}/never", Kind::Event.collection())).unwrap();
    let view = publisher.wish(Wish { adopt: Some(uri), ..named("alice", "y", "New") }).await.unwrap();
    assert_state(&view, IntentState::Conflict);
    assert_eq!(intent(&view).trouble.as_deref(), Some("deleted_elsewhere"));
    assert_eq!(pds.records(ALICE).len(), 1);
}
