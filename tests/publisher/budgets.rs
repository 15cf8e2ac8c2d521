//! No account spends more than it has, however many processes write for it, and what it wants beyond that waits.

use almanac::publisher::{IntentState, PublishOptions};

use crate::stand::{Stand, assert_state, intent, named, options};
use crate::support::null_pds::NullPds;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

#[tokio::test]
async fn beyond_its_budget_an_account_waits_and_nobody_else_does() {
    let pds = NullPds::start().await;
    let stand = Stand::new(PublishOptions { points_per_hour: 30, points_per_day: 45, ..options() }).await;
    stand.link("alice", ALICE, &pds.url).await;
    stand.link("bob", BOB, &pds.url).await;
    let (one, two) = (stand.publisher(), stand.publisher());
    let of = |user: &'static str, count: usize| (0..count).map(move |n| named(user, &format!("e{n}"), "Meetup"));
    stand.store_only(&one, of("alice", 16).chain(of("bob", 10))).await;
    let drains = [stand.drain(&one), stand.drain(&two)];
    stand.until("written", "select count(*) from publish.intent where state = 'acknowledged'", 20).await;
    stand
        .until(
            "waiting",
            "select count(*) from publish.intent where trouble = 'budget' and next_at > now() + interval '50 minutes'",
            6,
        )
        .await;
    assert_eq!((pds.records(ALICE).len(), pds.records(BOB).len()), (10, 10));
    let view = one.wish(named("alice", "one more", "Meetup")).await.unwrap();
    assert_state(&view, IntentState::Wanted);
    assert_eq!((intent(&view).trouble.as_deref(), intent(&view).attempts), (Some("budget"), 0));

    hours_pass(&stand, 2).await;
    stand.until("written", "select count(*) from publish.intent where state = 'acknowledged'", 25).await;
    // Whoever still has the trouble of the hour may be asking right now, and would be put off by what was spent before
    // the next hours pass.
    stand
        .until(
            "waiting for the next day",
            "select count(*) from publish.intent where trouble = 'budget' and next_at > now() + interval '20 hours'",
            2,
        )
        .await;
    assert_eq!(pds.records(ALICE).len(), 15, "45 points a day");
    hours_pass(&stand, 25).await;
    stand.settled().await;
    for drain in drains {
        drain.end().await;
    }
    assert_eq!((pds.records(ALICE).len(), pds.written().len()), (17, 27));
    // What the accounts spent, without what left the window.
    let spent: i64 = sqlx::query_scalar(
        "select sum(points) from publish.spent where did = $1 and minute > now() - interval '2 hours'",
    )
    .bind(ALICE)
    .fetch_one(stand.pool())
    .await
    .unwrap();
    assert_eq!(spent, 6);
}

/// The database's clock cannot be moved; what it noted can.
async fn hours_pass(stand: &Stand, hours: i32) {
    sqlx::query("update publish.spent set minute = minute - make_interval(hours => $1)")
        .bind(hours)
        .execute(stand.pool())
        .await
        .unwrap();
    sqlx::query("update publish.intent set next_at = now() where state = 'wanted'")
        .execute(stand.pool())
        .await
        .unwrap();
}
