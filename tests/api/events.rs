//! `listEvents` filter by filter, and `getEvent`.

use serde_json::json;

use crate::world::{EVENT, World, event, event_uri};

async fn calendar() -> World {
    let world = World::new().await;
    world.account("did:plc:anna", "Anna.Example.com").await;
    world.account("did:plc:bert", "bert.example.com").await;
    for (key, start, end, created) in [
        ("jan", "2026-01-10T18:00:00Z", "2026-01-10T20:00:00Z", "2025-12-03T00:00:00Z"),
        ("feb", "2026-02-10T18:00:00Z", "2026-02-20T18:00:00Z", "2025-12-02T00:00:00Z"),
        ("mar", "2026-03-10T18:00:00Z", "", "2025-12-01T00:00:00Z"),
    ] {
        let mut row = event(key).set("starts_at", start).set("created_at", created);
        if !end.is_empty() {
            row = row.set("ends_at", end);
        }
        row.insert(&world).await;
    }
    event("apr")
        .by("did:plc:bert")
        .set("starts_at", "2026-04-10T18:00:00Z")
        .set("mode", format!("{EVENT}#virtual"))
        .set("status", format!("{EVENT}#cancelled"))
        .set("name", "Rust evening")
        .set("description", "Talks about borrow checking, with pizza")
        .insert(&world)
        .await;
    event("may")
        .by("did:plc:bert")
        .set("starts_at", "2026-05-10T18:00:00Z")
        .set("mode", "virtual")
        .set("name", "Pizza only")
        .insert(&world)
        .await;
    event("never").insert(&world).await;
    world
}

#[tokio::test]
async fn each_filter_alone_and_together() {
    let world = calendar().await;
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "jan feb mar apr may never"),
        (&[("startsAfter", "2026-02-10T18:00:00Z")], "feb mar apr may"),
        (&[("startsAfter", "2026-02-10T18:00:00.000001Z")], "mar apr may"),
        (&[("startsBefore", "2026-02-10T18:00:00Z")], "jan"),
        (&[("startsBefore", "2026-02-10T20:00:01+02:00")], "jan feb"),
        (&[("startsAfter", "2026-02-01T00:00:00Z"), ("startsBefore", "2026-04-01T00:00:00Z")], "feb mar"),
        // The one of February is under way, the one of March has no end, an undated one is never ahead.
        (&[("endsAfter", "2026-02-15T00:00:00Z")], "feb mar apr may"),
        (&[("endsAfter", "2026-03-10T18:00:00Z")], "mar apr may"),
        (&[("endsAfter", "2026-03-10T18:00:01Z")], "apr may"),
        (&[("author", "did:plc:bert")], "apr may"),
        (&[("author", "anna.example.COM")], "jan feb mar never"),
        (&[("author", "@anna.example.com")], "jan feb mar never"),
        (&[("author", "nobody.example.com")], ""),
        (&[("author", "did:plc:nobody")], ""),
        (&[("status", "cancelled")], "apr"),
        (&[("status", "scheduled")], "jan feb mar may never"),
        (&[("status", "community.lexicon.calendar.event#scheduled")], "jan feb mar may never"),
        (&[("status", "org.example.status#odd")], ""),
        (&[("mode", "virtual")], "apr may"),
        (&[("mode", "community.lexicon.calendar.event#virtual")], "apr may"),
        (&[("mode", "inperson")], "jan feb mar never"),
        (&[("q", "pizza")], "apr may"),
        (&[("q", "PIZZA -rust")], "may"),
        (&[("q", "\"borrow checking\"")], "apr"),
        (&[("q", "rust or \"event jan\"")], "jan apr"),
        (&[("q", "';--")], ""),
        (&[("q", "pizza"), ("mode", "virtual"), ("author", "bert.example.com"), ("status", "scheduled")], "may"),
        (&[("q", "pizza"), ("startsBefore", "2026-05-01T00:00:00Z"), ("endsAfter", "2026-01-01T00:00:00Z")], "apr"),
        (&[("order", "desc")], "may apr mar feb jan never"),
        (&[("sort", "createdAt")], "mar feb jan never apr may"),
        (&[("sort", "createdAt"), ("order", "desc"), ("startsAfter", "2026-02-01T00:00:00Z")], "feb mar may apr"),
        (&[("limit", "2")], "jan feb"),
    ];
    for &(params, expected) in cases {
        assert_eq!(world.events(params).await.join(" "), expected, "{params:?}");
    }
}

#[tokio::test]
async fn one_event_with_all_that_belongs_to_it() {
    let world = World::new().await;
    world.account("did:plc:anna", "anna.example.com").await;
    let record =
        json!({ "$type": EVENT, "name": "Fair", "unknownField": { "$link": "bafy" }, "big": 9007199254740991i64 });
    event("fair")
        .set("starts_at", "2026-01-10T18:00:00.123456Z")
        .set("record", record.clone())
        .set("uris", json!([{ "uri": "https://fair.test", "name": "Site" }]))
        .set("problems", json!([{ "field": "endsAt", "problem": "not a time" }]))
        .insert(&world)
        .await;
    let uri = event_uri("did:plc:anna", "fair");
    sqlx::query(
        "insert into calendar.event_locations (uri, index, kind, name, latitude, longitude, location) values
            ($1, 1, 'geo', null, 0, -0.1275, '{}'), ($1, 0, 'address', 'Hall', null, null, '{}')",
    )
    .bind(&uri)
    .execute(world.pool())
    .await
    .unwrap();
    sqlx::query("insert into calendar.rsvp_counts values ($1, 3, 2, 1, 4)")
        .bind(&uri)
        .execute(world.pool())
        .await
        .unwrap();

    let body = world.ok("getEvent", &[("uri", &uri)]).await;
    let event = &body["event"];
    assert_eq!(event["record"], record);
    assert_eq!(event["author"], json!({ "did": "did:plc:anna", "handle": "anna.example.com" }));
    assert_eq!(event["startsAt"], "2026-01-10T18:00:00.123456Z");
    assert_eq!(event["mode"], "community.lexicon.calendar.event#inperson");
    assert_eq!(event["status"], "community.lexicon.calendar.event#scheduled");
    assert_eq!(event["rsvpCounts"], json!({ "going": 3, "interested": 2, "notgoing": 1, "other": 4 }));
    assert_eq!(event["uris"], json!([{ "uri": "https://fair.test", "name": "Site" }]));
    assert_eq!(event["problems"], json!([{ "field": "endsAt", "problem": "not a time" }]));
    let places = json!([
        { "index": 0, "kind": "address", "name": "Hall" },
        { "index": 1, "kind": "geo", "latitude": "0", "longitude": "-0.1275" },
    ]);
    assert_eq!(event["locations"], places);
    assert!(event.get("endsAt").is_none(), "what is absent is left out: {event}");
    assert_eq!(world.ok("listEvents", &[]).await["events"][0], *event, "a list shows the same");
}

#[tokio::test]
async fn an_event_that_is_not_shown_is_not_found() {
    let world = World::new().await;
    // A hidden account's rows are absent; what remains of it must not show either.
    let uri = event_uri("did:plc:gone", "k");
    sqlx::query("insert into calendar.accounts (did, hidden) values ('did:plc:gone', true)")
        .execute(world.pool())
        .await
        .unwrap();
    sqlx::query("insert into calendar.rsvp_counts values ($1, 1, 0, 0, 0)")
        .bind(&uri)
        .execute(world.pool())
        .await
        .unwrap();
    for uri in [uri.as_str(), "at://did:plc:unknown/community.lexicon.calendar.event/x"] {
        let (status, body) = world.http.xrpc("getEvent", &[("uri", uri)]).await;
        assert_eq!((status, &body["error"]), (404, &json!("RecordNotFound")), "{body}");
    }
}
