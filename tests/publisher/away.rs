//! The PDS is away while much waits for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use almanac::publisher::{IntentState, PublishOptions};

use crate::stand::{Stand, assert_state, named, options};
use crate::support::lossy::Lossy;
use crate::support::null_pds::NullPds;

const ACCOUNTS: usize = 40;
const WISHES: usize = 1_000;
/// So long it is away while two processes want to write.
const AWAY: Duration = Duration::from_secs(4);

fn did(n: usize) -> String {
    format!("did:plc:{:a>24}", char::from(b'a' + (n % 26) as u8).to_string().repeat(1 + n / 26))
}

#[tokio::test]
async fn a_thousand_wishes_arrive_once_when_the_pds_is_back() {
    let pds = NullPds::start().await;
    let lossy = Lossy::before(&pds.url).await;
    let stand = Stand::new(PublishOptions { workers: 8, ..options() }).await;
    for n in 0..ACCOUNTS {
        stand.link(&format!("u{n}"), &did(n), &lossy.url).await;
    }
    lossy.down(true);
    let publisher = stand.publisher();
    let began = Instant::now();
    let mut views = vec![];
    for n in 0..WISHES {
        let (user, key) = (format!("u{}", n % ACCOUNTS), format!("e{}", n / ACCOUNTS));
        views.push(publisher.wish(named(&user, &key, "first")).await.unwrap());
    }
    assert_state(&views[WISHES - 1], IntentState::Wanted);
    // Of every tenth it is not known whether it arrived; a later wish does not take its place but follows it.
    sqlx::query("update publish.intent set state = 'attempted', maybe_written = true where id % 10 = 0")
        .execute(stand.pool())
        .await
        .unwrap();
    let mut later = 0;
    for n in 0..WISHES {
        if views[n].intent.as_ref().unwrap().id % 10 == 0 {
            let (user, key) = (format!("u{}", n % ACCOUNTS), format!("e{}", n / ACCOUNTS));
            publisher.wish(named(&user, &key, "second")).await.unwrap();
            later += 1;
        }
    }
    assert_eq!(later, WISHES / 10);
    let other = stand.publisher();
    let drains = [stand.drain(&publisher), stand.drain(&other)];
    tokio::time::sleep(AWAY).await;
    let attempts: i64 =
        sqlx::query_scalar("select sum(attempts) from publish.intent").fetch_one(stand.pool()).await.unwrap();
    // The second process finds out with all its workers at once, from then on each asks once in a pause of at least 320 ms,
    // once the pauses have grown so far.
    let pauses = began.elapsed().as_millis() as i64 / 320;
    assert!(attempts <= 2 * (8 + 8 + pauses), "{attempts} attempts at a host that is away, in {:?}", began.elapsed());
    assert!(attempts >= 2, "{attempts}");

    lossy.down(false);
    stand.settled().await;
    for drain in drains {
        drain.end().await;
    }
    let mut records = HashMap::new();
    for n in 0..ACCOUNTS {
        records.extend(pds.records(&did(n)).into_iter().map(|(path, held)| (format!("{}/{path}", did(n)), held)));
    }
    assert_eq!(records.len(), WISHES, "none is lost, and none is there twice");
    assert_eq!(pds.written().len(), WISHES + later, "each was written once");
    for view in &views {
        let name = &records[&crate::stand::key(&view.uri)].value["name"];
        let twice = view.intent.as_ref().unwrap().id % 10 == 0;
        assert_eq!(name, if twice { "second" } else { "first" });
    }
    let disordered: i64 = sqlx::query_scalar(
        "select count(*) from publish.intent a join publish.intent b on b.record_id = a.record_id and b.id > a.id
         where b.acknowledged_at <= a.acknowledged_at",
    )
    .fetch_one(stand.pool())
    .await
    .unwrap();
    assert_eq!(disordered, 0, "the wishes of one record are carried out in their order");
}

#[tokio::test]
async fn a_wish_while_the_pds_is_known_to_be_away_is_safe_at_once() {
    let pds = NullPds::start().await;
    let lossy = Lossy::before(&pds.url).await;
    let slow = PublishOptions { retry_first: Duration::from_secs(30), retry_max: Duration::from_secs(30), ..options() };
    let stand = Stand::new(slow).await;
    stand.link("alice", &did(0), &lossy.url).await;
    let publisher = stand.publisher();
    lossy.down(true);
    publisher.wish(named("alice", "a", "first")).await.unwrap();
    lossy.down(false);
    let began = Instant::now();
    let view = publisher.wish(named("alice", "b", "first")).await.unwrap();
    assert_state(&view, IntentState::Wanted);
    let intent = view.intent.unwrap();
    assert_eq!((intent.trouble.as_deref(), intent.attempts), (Some("unreachable"), 0));
    assert!(intent.advice.is_some() && began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(pds.count(""), 0, "nobody asks before the pause is over");
}
