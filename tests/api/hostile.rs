//! What strangers send is refused by name, never a fault of ours.

use serde_json::json;

use crate::world::{World, event};

#[tokio::test]
async fn bad_parameters_are_named() {
    let world = World::new().await;
    event("k").insert(&world).await;
    event("l").insert(&world).await;
    let ascending = world.ok("listEvents", &[("limit", "1")]).await["cursor"].as_str().unwrap().to_owned();
    let words = "word ".repeat(2_000);
    let long = "x".repeat(15_000);
    let deep = format!("{}x", "\"-".repeat(140));
    // Query, parameters, what the refusal says.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case] = &[
        ("listEvents", &[("foo", "1")], "\"foo\""),
        ("listEvents", &[("limit", "1"), ("limit", "2")], "more than once"),
        ("listEvents", &[("limit", "0")], "`limit`"),
        ("listEvents", &[("limit", "101")], "`limit`"),
        ("listEvents", &[("limit", "-1")], "`limit`"),
        ("listEvents", &[("limit", "99999999999999999999999")], "`limit`"),
        ("listEvents", &[("limit", "")], "`limit`"),
        ("listEvents", &[("startsAfter", "yesterday")], "`startsAfter`"),
        ("listEvents", &[("startsAfter", "2026-01-01")], "`startsAfter`"),
        ("listEvents", &[("startsBefore", "2026-02-30T00:00:00Z")], "`startsBefore`"),
        ("listEvents", &[("startsBefore", "2026-02-01T00:00:00")], "`startsBefore`"),
        ("listEvents", &[("endsAfter", "+99999-01-01T00:00:00Z")], "`endsAfter`"),
        ("listEvents", &[("endsAfter", "2026-01-01T00:00:00 02:00")], "%2B"),
        ("listEvents", &[("author", "alice")], "`author`"),
        ("listEvents", &[("author", "did:plc:")], "`author`"),
        ("listEvents", &[("author", "handle.invalid")], "`author`"),
        ("listEvents", &[("status", "")], "`status`"),
        ("listEvents", &[("status", "x'; drop table calendar.events; --")], "`status`"),
        ("listEvents", &[("mode", "a b")], "`mode`"),
        ("listEvents", &[("mode", &long)], "`mode`"),
        ("listEvents", &[("q", "")], "`q`"),
        ("listEvents", &[("q", " ")], "`q`"),
        ("listEvents", &[("q", &words)], "`q`"),
        ("listEvents", &[("q", "a\0b")], "NUL"),
        ("listEvents", &[("author", "did:plc:a\0")], "NUL"),
        ("listEvents", &[("sort", "name")], "`sort`"),
        ("listEvents", &[("order", "up")], "`order`"),
        ("listEvents", &[("cursor", "")], "`cursor`"),
        ("listEvents", &[("cursor", "!!!")], "`cursor`"),
        ("listEvents", &[("cursor", &long)], "`cursor`"),
        ("listEvents", &[("cursor", &ascending), ("order", "desc")], "another query"),
        ("listEvents", &[("cursor", &ascending), ("sort", "createdAt")], "another query"),
        ("listRsvps", &[("cursor", &ascending), ("author", "did:plc:a")], "another query"),
        ("listRsvps", &[], "`subject`"),
        ("listRsvps", &[("subject", "at://alice.test/a.b.c/d")], "`subject`"),
        ("listRsvps", &[("author", "did:plc:a"), ("includeSuperseded", "yes")], "`includeSuperseded`"),
        ("getEvent", &[], "`uri`"),
        ("getEvent", &[("uri", "https://a.test")], "`uri`"),
        ("getStatus", &[("verbose", "1")], "\"verbose\""),
    ];
    for &(query, params, says) in cases {
        let (status, body) = world.http.xrpc(query, params).await;
        assert_eq!((status, &body["error"]), (400, &json!("InvalidRequest")), "{query} {params:?}: {body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(says), "{query} {params:?}: {message}");
        assert!(message.len() < 400, "{message}");
    }
    for q in [deep.as_str(), "-", "\"", "or or or", "a:*", "\\", "💥", "'' & ) ("] {
        let (status, body) = world.http.xrpc("listEvents", &[("q", q)]).await;
        assert_eq!(status, 200, "{q:?} is odd but can be looked for: {body}");
    }
    assert_eq!(world.events(&[]).await.len(), 2, "nothing was dropped");
}

#[tokio::test]
async fn bad_addresses_methods_and_bytes() {
    let world = World::new().await;
    let public = &world.http.public;
    let list = format!("{public}/xrpc/events.almanac.listEvents");
    for (url, expected) in [
        (format!("{public}/nothing"), 404),
        (format!("{public}/xrpc/events.almanac.putEvent"), 404),
        // The admin's addresses are not here.
        (format!("{public}/metrics"), 404),
        (format!("{public}/admin/status"), 404),
        (format!("{list}?q=%ff%fe"), 400),
        (format!("{list}?q=%00"), 400),
        (format!("{list}?%00=1"), 400),
        (format!("{list}?q={}", "x".repeat(17_000)), 400),
        (format!("{list}?q={}", "x".repeat(40_000)), 431),
    ] {
        let (status, body) = world.http.get(&url).await;
        assert_eq!(status, expected, "{}: {body}", &url[..url.len().min(120)]);
        if status != 431 {
            assert!(body["error"].is_string() && body["message"].is_string(), "{body}");
        }
    }
    let response = world.http.response(reqwest::Method::POST, &list, &[]).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["error"], "InvalidRequest");
}

#[tokio::test]
async fn any_page_may_read_and_only_read() {
    let world = World::new().await;
    let list = format!("{}/xrpc/events.almanac.listEvents", world.http.public);
    let origin = ("origin", "https://app.test");
    let response = world.http.response(reqwest::Method::GET, &list, &[origin]).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.headers()["cache-control"], "public, max-age=10");
    let refused = world.http.response(reqwest::Method::GET, &format!("{list}?limit=0"), &[origin]).await;
    assert_eq!(refused.headers()["access-control-allow-origin"], "*", "a page must be able to read why");
    assert_eq!(refused.headers()["cache-control"], "no-store");
    let asked = [origin, ("access-control-request-method", "GET")];
    let preflight = world.http.response(reqwest::Method::OPTIONS, &list, &asked).await;
    assert_eq!(preflight.headers()["access-control-allow-methods"], "GET,HEAD");
    let (status, page) = world.http.get(&world.http.public).await;
    assert_eq!(status, 200);
    assert!(page.as_str().unwrap().contains("/xrpc/events.almanac.listEvents"));
    let html = world.http.response(reqwest::Method::GET, &world.http.public, &[("accept", "text/html")]).await;
    assert!(html.text().await.unwrap().contains("<a href=\"/xrpc/events.almanac.getStatus\">"));
}
