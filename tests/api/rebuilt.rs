//! A rebuild exchanges the tables under questions that are being asked.

use std::sync::atomic::{AtomicBool, Ordering};

use almanac::projection::rebuild;

use crate::world::{World, event};

#[tokio::test]
async fn nobody_who_asks_notices_that_the_tables_were_exchanged() {
    let world = World::new().await;
    event("k").insert(&world).await;
    assert_eq!(world.events(&[]).await, ["k"]);
    let over = AtomicBool::new(false);
    let ask = async |query: &str, params: &[(&str, &str)]| {
        let mut asked = 0;
        while !over.load(Ordering::Relaxed) {
            // `ok` fails on every answer but 200.
            world.ok(query, params).await;
            asked += 1;
        }
        asked
    };
    let rebuilds = async {
        let mut exchanged = 0;
        while exchanged < 10 {
            rebuild(world.db.db(), |_| {}).await.unwrap();
            exchanged += 1;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (lists, searches, rsvps, ()) = tokio::join!(
        ask("listEvents", &[("limit", "1")]),
        ask("listEvents", &[("q", "event"), ("author", "anna.example.com")]),
        ask("listRsvps", &[("author", "did:plc:anna")]),
        rebuilds,
    );
    assert!(lists > 0 && searches > 0 && rsvps > 0);
    assert!(world.events(&[]).await.is_empty(), "the log is empty, and so is what was rebuilt from it");
}
