//! Several upstreams at once, none at all, and one that ends for good: each has a cursor of its own, what two carry is there
//! once, and one that is gone stops nobody but itself.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod postgres;
    pub mod relay;
    pub mod serve;
}

use std::time::Duration;

use almanac::devnet::{Frame, frames as wire};
use futures_util::{SinkExt, StreamExt};
use support::postgres::TestDb;
use support::relay::Relay;
use support::serve::{Serve, eventually};
use support::{almanac as executable, frames as dump};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const LIMIT: Duration = Duration::from_secs(60);

/// Every frame but those whose place leaves `without` when divided by three: two hosts share a third.
fn all_but(frames: &[Frame], without: usize) -> Vec<Frame> {
    frames.iter().enumerate().filter(|(i, _)| i % 3 != without).map(|(_, frame)| frame.clone()).collect()
}

/// Waits until both hosts' last frames are handled and folded.
async fn caught_up(url: &str, hosts: &[&Relay]) {
    eventually("both upstreams are handled to their ends", LIMIT, async || {
        let status = executable::json(url, &["status", "--json"]);
        let mut cursors: Vec<i64> =
            status["upstreams"].as_array().unwrap().iter().map(|u| u["cursor"].as_i64().unwrap()).collect();
        let mut ends: Vec<i64> = hosts.iter().map(|host| host.last_seq()).collect();
        cursors.sort_unstable();
        ends.sort_unstable();
        let folded = status["log_position"] == status["projection_position"];
        if cursors == ends && folded { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_with_gaps_make_one_whole_and_either_may_go_away() {
    let frames = dump::calendar(11, 1_500);
    let plain = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.frames");
    dump::write(&file, &frames);
    executable::json(plain.url().expose(), &["replay", "--json", file.to_str().unwrap()]);

    let (one, two) = (Relay::start(&all_but(&frames, 1)).await, Relay::start(&all_but(&frames, 2)).await);
    let db = TestDb::fresh().await;
    let url = db.url().expose();
    let serve = Serve::start_with(url, &one.url, folder.path(), &["--relay", &two.url]);
    eventually("both are connected and the process says so", LIMIT, async || {
        let connected = serve.metric("almanac_source_connected_upstreams").await;
        match (connected, serve.ready().await) {
            (Some(2.0), (status, _)) if status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Whoever connects without a cursor hears what happens from then on.
    one.release(one.len() / 2);
    two.release(two.len() / 3);
    eventually("both have a cursor", LIMIT, async || {
        let status = executable::json(url, &["status", "--json"]);
        if status["upstreams"].as_array().unwrap().len() == 2 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    // The first host vanishes for a while; the second goes on and the process stays ready.
    one.cut();
    two.release(two.len());
    eventually("the second host is heard to its end", LIMIT, async || {
        let status = executable::json(url, &["status", "--json"]);
        let heard = status["upstreams"].as_array().unwrap().iter().any(|u| u["cursor"] == two.last_seq());
        if heard { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let (status, failing) = serve.ready().await;
    assert_eq!(status, 200, "{failing:?}");
    one.release(one.len());
    caught_up(url, &[&one, &two]).await;
    assert!(one.connections() >= 2, "the first host was not cut off");
    assert_eq!(executable::checksum(url), executable::checksum(plain.url().expose()));
    let duplicates = serve.metric("almanac_event_log_duplicate_events_total").await.unwrap();
    assert!(duplicates > 100.0, "a third of all frames came twice, but only {duplicates} events were there already");
}

/// Ends a process with SIGTERM, which must be a good end.
fn ends_well(mut serve: Serve) {
    serve.running.terminate();
    let status = serve.running.end(LIMIT);
    assert!(status.success(), "{status}: {}", serve.running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_upstream_it_serves_what_is_there_and_ends_well() {
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    // Several times: the parts of the process end in an order that nothing fixes.
    for _ in 0..6 {
        let serve = Serve::start_with(db.url().expose(), "", folder.path(), &[]);
        eventually("it is ready", LIMIT, async || match serve.ready().await {
            (status, _) if status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert!(serve.all("listEvents", "events", &[]).await.is_empty());
        ends_well(serve);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_calls_our_cursor_a_future_one_is_stopped_and_the_process_serves_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (count, mut connections) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.send_modify(|n| *n += 1);
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            let word = wire::error("FutureCursor", Some("Cursor in the future."));
            socket.send(Message::Binary(word.into())).await.unwrap();
            socket.close(None).await.unwrap();
            while socket.next().await.is_some_and(|message| message.is_ok()) {}
        }
    });
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Serve::start(db.url().expose(), &url, folder.path());
    let failing = eventually("the upstream is stopped and readiness says why", LIMIT, async || {
        let (_, status) = serve.get(&format!("{}/admin/status", serve.admin), &[]).await;
        let (_, failing) = serve.ready().await;
        match failing.get("upstreams") {
            Some(why) if why.contains("future") && status.contains("\"stopped\"") => Ok(why.clone()),
            other => Err(format!("{other:?}, {status}")),
        }
    })
    .await;
    assert!(failing.contains("log.cursor"), "the advice is missing: {failing}");
    assert_eq!(serve.metric("almanac_ingest_host_notices_total{name=\"FutureCursor\"}").await, Some(1.0));
    assert!(serve.running.runs());
    assert_eq!(*connections.borrow_and_update(), 1, "a stopped upstream was dialled again");
    ends_well(serve);
}
