//! `listRsvps`.

use serde_json::json;

use crate::world::{RSVP, World, event_uri, rsvp};

#[tokio::test]
async fn by_event_by_author_and_by_what_they_say() {
    let world = World::new().await;
    world.account("did:plc:bert", "bert.example.com").await;
    let (one, two) = (event_uri("did:plc:anna", "one"), event_uri("did:plc:anna", "two"));
    let going = format!("{RSVP}#going");
    let first = json!({ "subject_uri": one, "subject_cid": "bafyold", "subject_stale": true, "status": going,
        "decided_at": "2026-01-03T00:00:00Z", "created_at": "2026-01-03T00:00:00Z" });
    rsvp(&world, "did:plc:bert", "first", first).await;
    let old = json!({ "subject_uri": one, "status": going, "effective": false, "decided_at": "2026-01-01T00:00:00Z" });
    rsvp(&world, "did:plc:bert", "old", old).await;
    let bare = json!({ "subject_uri": one, "status": "interested", "decided_at": "2026-01-02T00:00:00Z" });
    rsvp(&world, "did:plc:cora", "bare", bare).await;
    rsvp(&world, "did:plc:bert", "mute", json!({ "subject_uri": two })).await;
    rsvp(&world, "did:plc:dora", "lost", json!({ "problems": [{ "field": "subject", "problem": "missing" }] })).await;

    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("subject", one.as_str())], "first bare"),
        (&[("subject", &one), ("order", "asc")], "bare first"),
        (&[("subject", &one), ("includeSuperseded", "true")], "first bare old"),
        (&[("subject", &one), ("includeSuperseded", "false")], "first bare"),
        (&[("subject", &one), ("status", "going")], "first"),
        (&[("subject", &one), ("status", "community.lexicon.calendar.rsvp#interested")], "bare"),
        (&[("author", "did:plc:bert")], "first mute"),
        (&[("author", "Bert.example.com"), ("status", "going")], "first"),
        (&[("author", "did:plc:bert"), ("subject", &two)], "mute"),
        (&[("author", "did:plc:dora")], "lost"),
        (&[("author", "nobody.example.com")], ""),
    ];
    for &(params, expected) in cases {
        assert_eq!(world.rsvps(params).await.join(" "), expected, "{params:?}");
    }

    let body = world.ok("listRsvps", &[("subject", &one)]).await;
    let view = &body["rsvps"][0];
    assert_eq!(view["subject"], json!({ "uri": one, "cid": "bafyold", "stale": true }));
    assert_eq!(view["author"], json!({ "did": "did:plc:bert", "handle": "bert.example.com" }));
    assert_eq!((&view["status"], &view["effective"]), (&json!(going), &json!(true)));
    let unknown = &world.ok("listRsvps", &[("subject", &two)]).await["rsvps"][0];
    assert_eq!(unknown["subject"], json!({ "uri": two }), "while the event is not known nothing is stale");
    assert!(unknown.get("status").is_none());
}
