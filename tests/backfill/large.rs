//! A repository of 300 MB in little memory, from a host of the test's own that also lies on demand.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use almanac::devnet::cbor::{Value as Cbor, cid_of};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::{Repo, Tid, Write, car};
use almanac::event::Cid;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::stream;
use serde_json::{Value, json};

use crate::{EVENT, Index};

const DID: &str = "did:plc:largelargelargelargelarg";

/// What the host serves: one repository, with so many bytes of blocks that nothing leads to.
#[derive(Clone)]
struct Served {
    url: String,
    key: String,
    head: (Cid, String),
    start: Bytes,
    filler_bytes: usize,
    /// The value that listRecords shows under the record's CID.
    listed: Value,
    uri_cid: (String, Cid),
}

fn record() -> Vec<u8> {
    let text = |key: &'static str, value: &str| (key, Cbor::text(value));
    Cbor::map([text("$type", EVENT), text("name", "A party"), text("createdAt", "2026-06-01T10:00:00Z")]).encode()
}

async fn host(filler_bytes: usize, signs: [u8; 32], documents: [u8; 32], listed_name: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64 - 1_000_000;
    let mut repo = Repo::new(DID, SigningKey::from_entropy(Curve::K256, signs));
    let path = format!("{EVENT}/3n2uyhpluwr2l");
    let commit = repo.apply(&[Write::Create { path: path.clone(), record: record() }], Tid::new(micros, 1)).unwrap();
    let head = commit.head.clone();
    let nodes = repo.tree().blocks();
    let mut blocks: Vec<(&Cid, &[u8])> = vec![(&head.cid, &head.block)];
    blocks.extend(nodes.iter().map(|(cid, bytes)| (cid, &bytes[..])));
    blocks.extend(commit.records.iter().map(|(cid, bytes)| (cid, &bytes[..])));
    let served = Served {
        url: url.clone(),
        key: SigningKey::from_entropy(Curve::K256, documents).multikey(),
        head: (head.cid, head.rev.to_string()),
        start: car::write(&head.cid, blocks).into(),
        filler_bytes,
        listed: json!({"$type": EVENT, "name": listed_name, "createdAt": "2026-06-01T10:00:00Z"}),
        uri_cid: (format!("at://{DID}/{path}"), cid_of(&record())),
    };
    let router = Router::new()
        .route("/{did}", get(document))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(latest))
        .route("/xrpc/com.atproto.sync.getRepo", get(whole))
        .route("/xrpc/com.atproto.repo.listRecords", get(list))
        .with_state(Arc::new(served));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn document(State(served): State<Arc<Served>>) -> impl IntoResponse {
    axum::Json(json!({
        "id": DID,
        "verificationMethod": [{"id": "#atproto", "type": "Multikey", "publicKeyMultibase": served.key}],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": served.url}],
    }))
}

async fn latest(State(served): State<Arc<Served>>) -> impl IntoResponse {
    axum::Json(json!({"cid": served.head.0.to_string(), "rev": served.head.1}))
}

async fn list(State(served): State<Arc<Served>>, query: axum::extract::RawQuery) -> impl IntoResponse {
    let (uri, cid) = &served.uri_cid;
    match query.0.unwrap_or_default().contains(EVENT) {
        true => axum::Json(json!({"records": [{"uri": uri, "cid": cid.to_string(), "value": served.listed}]})),
        false => axum::Json(json!({"records": []})),
    }
}

/// The CAR, then blocks of 400 bytes that nothing leads to, all different.
async fn whole(State(served): State<Arc<Served>>) -> impl IntoResponse {
    let chunk = |n: usize| {
        let mut out = Vec::with_capacity(500_000);
        for i in 0..1_000u64 {
            let mut block = vec![0; 400];
            block[..8].copy_from_slice(&(n as u64 * 1_000 + i).to_be_bytes());
            // Under a made-up CID: hashing them would take longer than the rest of the test.
            let mut digest = [0; 32];
            for (at, byte) in digest.iter_mut().enumerate() {
                *byte = (n as u64 * 1_000 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at as u32 * 7) as u8;
            }
            let cid = Cid::new(almanac::event::Codec::DagCbor, digest);
            car::put_block(&mut out, &cid, &block);
        }
        Ok::<_, std::io::Error>(Bytes::from(out))
    };
    let chunks = served.filler_bytes / 438_000;
    let all = std::iter::once(Ok(served.start.clone())).chain((0..chunks).map(chunk));
    ([("content-type", "application/vnd.ipld.car")], Body::from_stream(stream::iter(all)))
}

fn command(index: &Index, url: &str, strategy: &str) -> Command {
    let args = ["backfill", "--json", "--did", DID, "--strategy", strategy, "--plc", url, "--allow-private"];
    let mut command = crate::support::almanac::command(index.db.url().expose(), &args);
    command.arg("--data-dir").arg(index.folder.path());
    command
}

/// Runs it and watches its memory. What it printed, and the most memory that it had, in bytes.
fn watched(mut command: Command, log: &Path) -> (Value, u64) {
    let out = std::fs::File::create(log).unwrap();
    let mut child = command.stdout(out).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        most = most.max(kib.unwrap_or(0) * 1_024);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap(), most)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_300_megabytes_takes_little_memory() {
    let mut most = vec![];
    for filler in [0, 300_000_000] {
        let index = Index::new().await;
        let url = host(filler, [7; 32], [7; 32], "A party").await;
        let (command, log) = (command(&index, &url, "car"), index.folder.path().join("out"));
        let (fetched, memory) = tokio::task::spawn_blocking(move || watched(command, &log)).await.unwrap();
        assert_eq!(crate::sum(&fetched, "car"), 1, "{fetched:#}");
        assert!(crate::sum(&fetched, "bytes") >= filler as i64 * 98 / 100, "{fetched:#}");
        assert_eq!(index.count("select count(*) from calendar.events").await, 1);
        assert_eq!(std::fs::read_dir(index.folder.path().join("spool")).unwrap().count(), 0, "a file is left behind");
        most.push(memory);
    }
    println!("most memory: {} MB for a small repository, {} MB for 300 MB", most[0] / 1_000_000, most[1] / 1_000_000);
    assert!(most[0] > 0 && most[1] < most[0] + 64_000_000, "{most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_key_signed_is_refused() {
    let index = Index::new().await;
    let url = host(0, [7; 32], [8; 32], "A party").await;
    let (code, fetched) = crate::run(command(&index, &url, "car")).await;
    assert_eq!((code, fetched["failures"][0]["outcome"].as_str()), (1, Some("refused")), "{fetched:#}");
    assert_eq!(index.count("select count(*) from log.event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_record_that_is_not_what_its_cid_says_is_refused() {
    for (name, code) in [("A party", 0), ("Another party", 1)] {
        let index = Index::new().await;
        let url = host(0, [7; 32], [7; 32], name).await;
        let (ended, fetched) = crate::run(command(&index, &url, "list")).await;
        assert_eq!(ended, code, "{fetched:#}");
        let listed = "select count(*) from log.event where kind = 'put' and verification = 'listed'";
        assert_eq!(index.count(listed).await, 1 - i64::from(code));
    }
}
