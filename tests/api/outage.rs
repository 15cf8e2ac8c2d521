//! The database goes away, freezes, or works too long: an answer all the same, and soon.

use std::time::{Duration, Instant};

use almanac::api::ServeLimits;
use almanac::db::embedded::{Server, ServerOptions};
use almanac::db::{self, EmbeddedError, Target};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;

use crate::support::postgres::{cache_dir, installed_binaries};
use crate::world::{Listeners, World, event};

async fn server(dir: &std::path::Path) -> Server {
    let mut options = ServerOptions { durable: false, shared_buffers_mib: 16, ..ServerOptions::default() };
    match Server::start(dir, options.clone()).await {
        Err(EmbeddedError::NoBinaries { .. }) => {
            options.search.pg_bin = Some(installed_binaries().await);
            Server::start(dir, options).await.unwrap()
        }
        started => started.unwrap(),
    }
}

fn is_unavailable((status, body): &(u16, Value)) -> bool {
    *status == 503 && body["error"] == "ServiceUnavailable"
}

#[tokio::test]
async fn a_database_that_is_stopped_and_comes_back() {
    std::fs::create_dir_all(cache_dir()).unwrap();
    let dir = tempfile::Builder::new().prefix("api-").tempdir_in(cache_dir()).unwrap();
    let postgres = server(dir.path()).await;
    drop(postgres.connect_or_create("app").await.unwrap());
    let db = db::open(&Target::Url(postgres.url("app")), 4).await.unwrap();
    db.migrate().await.unwrap();
    let http = Listeners::start(db.pool(), ServeLimits::default()).await;
    http.health.set("projection", Ok(()));
    let ready = format!("{}/health/ready", http.admin);
    assert_eq!(http.xrpc("listEvents", &[]).await.0, 200);
    assert_eq!(http.get(&ready).await.0, 200);

    postgres.stop().await;
    for (query, params) in [
        ("listEvents", &[][..]),
        ("getEvent", &[("uri", "at://did:plc:a/b.c.d/e")]),
        ("listRsvps", &[("author", "did:plc:a")]),
    ] {
        let began = Instant::now();
        let answer = http.xrpc(query, params).await;
        assert!(is_unavailable(&answer), "{query}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(6), "{query} took {:?}", began.elapsed());
    }
    assert_eq!(http.xrpc("listEvents", &[("limit", "0")]).await.0, 400, "what needs no database is still judged");
    let (status, body) = http.get(&ready).await;
    assert_eq!((status, &body["checks"][0]["name"]), (503, &json!("database")), "{body}");
    assert_eq!(http.get(&format!("{}/health/live", http.admin)).await.0, 200);
    assert_eq!(http.get(&format!("{}/metrics", http.admin)).await.0, 200);
    assert!(is_unavailable(&http.get(&format!("{}/admin/status", http.admin)).await));

    let postgres = server(dir.path()).await;
    assert_eq!(http.get(&ready).await.0, 200, "ready again");
    assert_eq!(http.xrpc("listEvents", &[]).await.0, 200);
    db.close().await;
    postgres.stop().await;
}

#[tokio::test]
async fn a_database_that_takes_connections_and_says_nothing() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://a:b@{}/c?sslmode=disable", mute.local_addr().unwrap());
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&url).unwrap();
    let http = Listeners::start(&pool, ServeLimits::default()).await;
    let status = http.xrpc("getStatus", &[]);
    let list = http.xrpc("listEvents", &[]);
    let ready = format!("{}/health/ready", http.admin);
    let (status, list, ready) = tokio::join!(status, list, http.get(&ready));
    assert!(is_unavailable(&status) && is_unavailable(&list), "{status:?} {list:?}");
    assert_eq!(ready.0, 503);
    assert!(ready.1["checks"][0]["reason"].as_str().unwrap().contains("2 s"), "{}", ready.1);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_postgres() {
    let world = World::new().await;
    event("k").insert(&world).await;
    let mut lock = world.pool().begin().await.unwrap();
    sqlx::raw_sql("lock table calendar.events in access exclusive mode").execute(&mut *lock).await.unwrap();
    let answer = world.http.xrpc("listEvents", &[]).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(answer.1["message"].as_str().unwrap().contains("took too long"), "{answer:?}");
    let waiting: i64 = sqlx::query_scalar(crate::world::WAITING).fetch_one(&mut *lock).await.unwrap();
    assert_eq!(waiting, 0, "nothing goes on waiting behind the asker's back");
    lock.rollback().await.unwrap();
    assert_eq!(world.events(&[]).await, ["k"]);
}
