//! The bounds of a listener: heads that never end, answers that nobody reads, a stop in the middle of a request.

use std::time::Duration;

use almanac::api::ServeLimits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::postgres::TestDb;
use crate::world::{Listeners, World, event};

const SOON: Duration = Duration::from_secs(15);

fn limits() -> ServeLimits {
    let short = Duration::from_millis(300);
    ServeLimits { connections: 1, head: short, stall: short, drain: SOON }
}

async fn connect(http: &Listeners) -> TcpStream {
    TcpStream::connect(http.public.strip_prefix("http://").unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_head_that_never_ends_gives_its_place_back() {
    let db = TestDb::fresh().await;
    let http = Listeners::start(db.pool(), limits()).await;
    let mut slow = connect(&http).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
    // There is one place only: this is answered when the slow one has lost it.
    assert_eq!(http.get(&http.public).await.0, 200);
    let mut rest = Vec::new();
    // Closed with or without a last word, and with what was sent left unread.
    let _closed = timeout(SOON, slow.read_to_end(&mut rest)).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_gives_its_place_back() {
    let db = TestDb::fresh().await;
    let world = World { http: Listeners::start(db.pool(), ServeLimits::default()).await, db };
    event("k").set("record", json!({ "text": "x".repeat(1_900_000) })).insert(&world).await;
    let http = Listeners::start(world.pool(), ServeLimits { head: SOON, ..limits() }).await;
    let mut deaf = connect(&http).await;
    // More than the kernel's buffers on both sides hold.
    for _ in 0..20 {
        deaf.write_all(b"GET /xrpc/events.almanac.listEvents HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    }
    assert_eq!(http.get(&http.public).await.0, 200);
    let mut rest = Vec::new();
    let _broken = timeout(SOON, deaf.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 20 * 1_900_000, "cut off before its end");
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_new_ones() {
    let db = TestDb::fresh().await;
    let mut http = Listeners::start(db.pool(), ServeLimits::default()).await;
    let mut lock = db.pool().begin().await.unwrap();
    sqlx::raw_sql("lock table calendar.events in access exclusive mode").execute(&mut *lock).await.unwrap();
    let stop = std::mem::take(&mut http.stop);
    let done = std::mem::take(&mut http.done);
    let under_way = http.xrpc("listEvents", &[]);
    let meanwhile = async {
        let waits = crate::world::WAITING;
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut *lock).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        stop.into_iter().for_each(|sender| sender.send(()).unwrap());
        // Stopped listening, while the request waits for its answer.
        while TcpStream::connect(http.public.strip_prefix("http://").unwrap()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        lock.rollback().await.unwrap();
    };
    let ((status, body), ()) = timeout(SOON, async { tokio::join!(under_way, meanwhile) }).await.unwrap();
    assert_eq!(status, 200, "{body}");
    for task in done {
        timeout(SOON, task).await.unwrap().unwrap();
    }
}
