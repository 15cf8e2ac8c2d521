//! Pages show every row exactly once, whatever ties, gaps and newcomers there are.

use std::collections::HashSet;

use serde_json::json;

use crate::world::{World, event, keys, rsvp};

/// Walks a list to its end, calling `between` after each page.
async fn walk(
    world: &World,
    query: &str,
    list: &str,
    params: &[(&str, &str)],
    mut between: impl AsyncFnMut(usize),
) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    for page in 0..1000 {
        let mut params = params.to_vec();
        params.extend(cursor.as_deref().map(|c| ("cursor", c)));
        let body = world.ok(query, &params).await;
        let rows = keys(&body[list]);
        cursor = body["cursor"].as_str().map(str::to_owned);
        assert!(cursor.is_none() || !rows.is_empty(), "an empty page that is not the last");
        seen.extend(rows);
        if cursor.is_none() {
            return seen;
        }
        between(page).await;
    }
    panic!("{query} {params:?} never ends");
}

async fn many() -> World {
    let world = World::new().await;
    for n in 0..24 {
        let mut row = event(&format!("k{n:02}")).by(&format!("did:plc:u{}", n % 3));
        // Eight at one instant, eight at eight instants, eight without a start; as many without creation elsewhere.
        match n % 3 {
            0 => row = row.set("starts_at", "2026-06-01T12:00:00Z"),
            1 => row = row.set("starts_at", format!("2026-05-{:02}T12:00:00Z", n + 1)),
            _ => {}
        }
        if n % 4 != 0 {
            row = row.set("created_at", "2026-01-01T00:00:00Z");
        }
        row.insert(&world).await;
    }
    world
}

#[tokio::test]
async fn every_row_once_in_every_order_and_page_size() {
    let world = many().await;
    let all: HashSet<String> = (0..24).map(|n| format!("k{n:02}")).collect();
    for sort in ["startsAt", "createdAt"] {
        for order in ["asc", "desc"] {
            let whole = world.events(&[("sort", sort), ("order", order)]).await;
            assert_eq!(whole.iter().cloned().collect::<HashSet<_>>(), all);
            for limit in ["1", "3", "7", "8", "16", "23", "24", "25"] {
                let params = [("sort", sort), ("order", order), ("limit", limit)];
                let seen = walk(&world, "listEvents", "events", &params, async |_| {}).await;
                assert_eq!(seen, whole, "{params:?}");
            }
        }
    }
    let undated = ["k02", "k05", "k08", "k11", "k14", "k17", "k20", "k23"];
    let tail = |order| {
        let world = &world;
        async move { world.events(&[("order", order)]).await.split_off(16) }
    };
    let mut last = tail("asc").await;
    assert_eq!(last, undated);
    last.reverse();
    assert_eq!(tail("desc").await, last, "undated rows are last, not first, downwards too");
}

#[tokio::test]
async fn a_range_ends_without_undated_rows() {
    let world = many().await;
    let params = [("startsAfter", "2026-05-01T00:00:00Z"), ("limit", "5")];
    let seen = walk(&world, "listEvents", "events", &params, async |_| {}).await;
    assert_eq!(seen.len(), 16);
}

#[tokio::test]
async fn rows_that_come_in_between_move_nothing() {
    for order in ["asc", "desc"] {
        let world = many().await;
        let before = world.events(&[("order", order)]).await;
        let seen = walk(&world, "listEvents", "events", &[("order", order), ("limit", "1")], async |page| {
            // Newcomers before, among and after the ties, and among the undated.
            for (n, start) in
                ["2026-04-01T00:00:00Z", "2026-06-01T12:00:00Z", "2026-07-01T00:00:00Z", ""].iter().enumerate()
            {
                let mut row = event(&format!("new-{page}-{n}")).by("did:plc:u1");
                if !start.is_empty() {
                    row = row.set("starts_at", *start);
                }
                if page < 20 {
                    row.insert(&world).await;
                }
            }
        })
        .await;
        let unique: HashSet<&String> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "no row twice");
        let old: Vec<&String> = seen.iter().filter(|key| !key.starts_with("new")).collect();
        assert_eq!(old, before.iter().collect::<Vec<_>>(), "every earlier row once and in order");
        assert!(seen.len() > before.len(), "newcomers ahead of the walk are met");
    }
}

#[tokio::test]
async fn huge_records_make_short_pages() {
    let world = World::new().await;
    for n in 0..7 {
        let row = event(&format!("k{n}")).set("record", json!({ "$type": "x", "text": "y".repeat(900_000) }));
        let row = if n < 4 { row.set("starts_at", "2026-06-01T12:00:00Z") } else { row };
        row.insert(&world).await;
    }
    assert_eq!(world.events(&[]).await, ["k0", "k1"], "two fit into two million bytes");
    let seen = walk(&world, "listEvents", "events", &[], async |_| {}).await;
    assert_eq!(seen, ["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    event("big").set("record", json!({ "text": "z".repeat(3_000_000) })).insert(&world).await;
    let seen = walk(&world, "listEvents", "events", &[], async |_| {}).await;
    assert_eq!(seen.len(), 8, "one that is larger than a page is a page");
}

#[tokio::test]
async fn rsvps_in_pages_too() {
    let world = World::new().await;
    let subject = "at://did:plc:anna/community.lexicon.calendar.event/k";
    for n in 0..15 {
        let mut columns = json!({ "subject_uri": subject });
        if n % 3 != 0 {
            columns["decided_at"] = json!(format!("2026-06-0{}T12:00:00Z", n % 2 + 1));
        }
        rsvp(&world, &format!("did:plc:u{n}"), &format!("r{n:02}"), columns).await;
    }
    for order in ["asc", "desc"] {
        let whole = world.rsvps(&[("subject", subject), ("order", order)]).await;
        assert_eq!(whole.len(), 15);
        for limit in ["1", "4", "10"] {
            let params = [("subject", subject), ("order", order), ("limit", limit)];
            assert_eq!(walk(&world, "listRsvps", "rsvps", &params, async |_| {}).await, whole, "{params:?}");
        }
    }
}
