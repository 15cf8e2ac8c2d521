//! What waits anyway goes together.

use serde_json::json;

use crate::stand::{Stand, named, options, put};
use crate::support::null_pds::NullPds;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

async fn stand() -> (NullPds, Stand) {
    let (pds, stand) = (NullPds::start().await, Stand::new(options()).await);
    stand.link("alice", ALICE, &pds.url).await;
    (pds, stand)
}

#[tokio::test]
async fn new_records_of_one_account_share_commits_of_bounded_size() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    let small = (0..130).map(|n| named("alice", &format!("s{n}"), "Small"));
    let long = "x".repeat(20_000);
    let large = (0..20).map(|n| put("alice", &format!("l{n}"), json!({ "name": "Large", "description": long })));
    stand.store_only(&publisher, small.chain(large)).await;
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    assert_eq!((pds.records(ALICE).len(), pds.written().len()), (150, 150));
    assert!(pds.commits() <= 10, "{} commits", pds.commits());
    let largest = pds.largest_body();
    assert!((50_000..=150_000).contains(&largest), "{largest} bytes in one request");
}

#[tokio::test]
async fn a_commit_that_is_refused_as_a_whole_is_tried_one_by_one() {
    let (pds, stand) = stand().await;
    let publisher = stand.publisher();
    stand.store_only(&publisher, (0..20).map(|n| named("alice", &format!("e{n}"), "Meetup"))).await;
    pds.refuse_next(ALICE, 400, "InvalidRequest");
    let drain = stand.drain(&publisher);
    stand.settled().await;
    drain.end().await;
    assert_eq!((pds.count("applyWrites"), pds.count("putRecord")), (1, 20));
    assert_eq!(pds.written().len(), 20);
    let refused: i64 = sqlx::query_scalar("select count(*) from publish.intent where state <> 'acknowledged'")
        .fetch_one(stand.pool())
        .await
        .unwrap();
    assert_eq!(refused, 0);
}
