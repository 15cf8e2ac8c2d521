//! Health, metrics and state.

use serde_json::{Value, json};

use crate::world::{World, event};

#[tokio::test]
async fn readiness_waits_for_every_part_fails_and_recovers() {
    let world = World::new().await;
    let http = &world.http;
    let ready = format!("{}/health/ready", http.admin);
    let failing = |body: &Value| -> Vec<String> {
        let checks = body["checks"].as_array().unwrap().iter();
        checks.filter(|c| c["ok"] == false).map(|c| format!("{}: {}", c["name"], c["reason"])).collect()
    };
    let (status, body) = http.get(&ready).await;
    assert_eq!((status, failing(&body).join("")), (503, "\"projection\": \"has not reported yet\"".into()));
    http.health.set("projection", Ok(()));
    let (status, body) = http.get(&ready).await;
    assert_eq!((status, &body["ready"], body["checks"].as_array().unwrap().len()), (200, &json!(true), 2));
    http.health.set("projection", Err("700 events behind".into()));
    let (status, body) = http.get(&ready).await;
    assert_eq!((status, failing(&body).join("")), (503, "\"projection\": \"700 events behind\"".into()));
    assert_eq!(http.get(&format!("{}/health/live", http.admin)).await.0, 200, "alive all the same");
}

#[tokio::test]
async fn metrics_are_there_from_the_start_and_count() {
    let world = World::new().await;
    let scrape = format!("{}/metrics", world.http.admin);
    let value = async |series: &str| {
        let (status, text) = world.http.get(&scrape).await;
        assert_eq!(status, 200);
        let text = text.as_str().unwrap().to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse::<f64>().unwrap()
    };
    // No test makes these happen.
    assert_eq!(value("almanac_api_requests_total{endpoint=\"home\",outcome=\"failed\"}").await, 0.0);
    assert_eq!(value("almanac_api_requests_total{endpoint=\"getStatus\",outcome=\"not_found\"}").await, 0.0);
    assert_eq!(value("almanac_projection_lag_events").await, 5.0, "brought up to date by the scrape");
    assert!(value("almanac_api_connections").await >= 1.0);
    let series = "almanac_api_requests_total{endpoint=\"getEvent\",outcome=\"not_found\"}";
    let before = value(series).await;
    world.http.xrpc("getEvent", &[("uri", "at://did:plc:a/b.c.d/e")]).await;
    assert!(value(series).await > before);
    assert!(value("almanac_api_request_seconds_bucket{endpoint=\"getEvent\",le=\"+Inf\"}").await >= 1.0);
}

#[tokio::test]
async fn status_tells_how_far_everything_is() {
    let world = World::new().await;
    event("k").insert(&world).await;
    sqlx::raw_sql(
        "update log.head set position = 12; update calendar.checkpoint set position = 9;
        insert into log.cursor values ('relay.test', 'relay', 77, now() - interval '90 seconds', now()),
            ('old.dump', 'dump', 5, null, now() - interval '1 day'),
            ('fast.test', 'pds', 6, now() + interval '1 hour', now() - interval '2 days')",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let body = world.ok("getStatus", &[]).await;
    assert_eq!(body["environment"], "test");
    assert_eq!((&body["logPosition"], &body["projectionPosition"]), (&json!(12), &json!(9)));
    assert_eq!((&body["events"], &body["rsvps"]), (&json!(1), &json!(0)));
    let cursor = &body["cursors"][0];
    assert_eq!((&cursor["upstream"], &cursor["seq"]), (&json!("relay.test"), &json!(77)));
    let lag = cursor["lagSeconds"].as_i64().unwrap();
    assert!((90..150).contains(&lag), "{lag}");
    assert!(body["cursors"][1].get("lagSeconds").is_none(), "an unknown lag is not 0");
    assert_eq!(body["cursors"][2]["lagSeconds"], 0, "a clock that is ahead");
    assert_eq!(body["upstreams"][0]["host"], "relay.test");
    assert!(!body.to_string().contains("secret place"), "errors are the operator's");

    let (status, admin) = world.http.get(&format!("{}/admin/status", world.http.admin)).await;
    assert_eq!(status, 200);
    assert_eq!(admin["upstreams"][0]["lastError"], "secret place");
    assert_eq!(admin["logPosition"], 12);
    assert_eq!(admin["health"]["ready"], false);
}
