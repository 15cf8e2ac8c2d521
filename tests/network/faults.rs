//! Hosts that are broken, slow, endless or not what they should be.

use std::time::{Duration, Instant};

use almanac::event::Nsid;
use almanac::network::{HostError, HostErrorKind, Network, NetworkOptions};
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{Host, PATIENCE, Seen, answer, json_answer, network, options, plc};

const CAR: &str = "application/vnd.ipld.car";

async fn whole_repo(network: &Network, host: &Host, bytes_max: u64) -> Result<u64, HostError> {
    let mut stream = network.repo(&host.url(), &plc(1), bytes_max).await?;
    while stream.next_chunk().await?.is_some() {}
    Ok(stream.bytes())
}

#[tokio::test]
async fn a_web_page_in_place_of_an_answer() {
    let host = Host::start(|_| async { answer(200, "text/html; charset=utf-8", "<html>Welcome</html>") }).await;
    let network = network(&[&host]);
    let (url, did) = (host.url(), plc(1));
    let errors = [
        network.latest_commit(&url, &did).await.unwrap_err(),
        network
            .blocks(&url, &did, &["bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i".parse().unwrap()])
            .await
            .unwrap_err(),
        network.repo(&url, &did, 1_000).await.unwrap_err(),
        network.list_repos(&url, None).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((&error.kind, error.passes()), (&HostErrorKind::NotXrpc, true), "{error}");
    }
    // JSON is no CAR, and a CAR is no JSON.
    let host = Host::start(|seen: Seen| async move {
        if seen.path.ends_with("getRepo") { json_answer(200, json!({})) } else { answer(200, CAR, "x") }
    })
    .await;
    let network = crate::support::network(&[&host]);
    assert_eq!(network.repo(&host.url(), &did, 1_000).await.unwrap_err().kind, HostErrorKind::NotXrpc);
    assert_eq!(network.latest_commit(&host.url(), &did).await.unwrap_err().kind, HostErrorKind::NotXrpc);
}

#[tokio::test]
async fn an_endless_answer_ends_at_its_limit() {
    let host = Host::start(|seen: Seen| async move {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 10_000])));
        let kind = if seen.path.ends_with("getRepo") { CAR } else { "application/json" };
        answer(200, kind, Body::from_stream(endless))
    })
    .await;
    let network = network(&[&host]);
    let read = timeout(PATIENCE, whole_repo(&network, &host, 1_000_000)).await.expect("it does not end");
    let error = read.unwrap_err();
    assert_eq!((&error.kind, error.passes()), (&HostErrorKind::TooLarge, false), "{error}");
    let (url, did) = (host.url(), plc(1));
    let read = timeout(PATIENCE, network.latest_commit(&url, &did)).await.expect("it does not end");
    assert_eq!(read.unwrap_err().kind, HostErrorKind::TooLarge);
    // One that says so beforehand is not even begun.
    let host = Host::start(|_| async { answer(200, CAR, vec![0u8; 2_000]) }).await;
    let network = crate::support::network(&[&host]);
    assert_eq!(network.repo(&host.url(), &plc(1), 1_999).await.unwrap_err().kind, HostErrorKind::TooLarge);
    assert_eq!(whole_repo(&network, &host, 2_000).await, Ok(2_000));
}

#[tokio::test]
async fn compressed_answers_are_measured_unpacked() {
    // 10 MB of blanks in 10 kB, as gzip has them.
    let bomb = include_bytes!("blanks.gz");
    let host = Host::start(|_| async {
        crate::support::with_header(answer(200, "application/json", &bomb[..]), "content-encoding", "gzip")
    })
    .await;
    let network = network(&[&host]);
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::TooLarge, "{error}");
    // The limit of a page of repositories is 2 MB; nothing unpacks the rest.
    let error = network.list_repos(&host.url(), None).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::TooLarge, "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off() {
    for head in ["content-length: 1000\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let host = Host::raw(format!("HTTP/1.1 200 OK\r\ncontent-type: {CAR}\r\n{head}"), false).await;
        let network = network(&[&host]);
        let error = whole_repo(&network, &host, 1_000_000).await.unwrap_err();
        assert_eq!((&error.kind, error.passes()), (&HostErrorKind::CutOff, true), "{error}");
        assert!(error.detail.contains("after 4 bytes"), "{error}");
        let cid = "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i".parse().unwrap();
        let error = network.blocks(&host.url(), &plc(1), &[cid]).await.unwrap_err();
        assert_eq!(error.kind, HostErrorKind::CutOff, "{error}");
    }
}

#[tokio::test]
async fn silence_has_an_end() {
    let patience = Duration::from_millis(200);
    let impatient = |host: &Host| {
        let options = NetworkOptions { answer_timeout: patience, idle_timeout: patience, ..options(&[host]) };
        Network::new(options).unwrap()
    };
    let start = Instant::now();
    // No answer at all.
    let host = Host::raw("", true).await;
    let network = impatient(&host);
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert_eq!((&error.kind, error.passes()), (&HostErrorKind::Timeout, true), "{error}");
    // A head, and no end of the body.
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n";
    let host = Host::raw(format!("{head}content-type: application/json\r\n\r\n{{"), true).await;
    let network = impatient(&host);
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Timeout, "{error}");
    // A repository that stops in its middle.
    let host = Host::raw(format!("{head}content-type: {CAR}\r\n\r\nsome"), true).await;
    let network = impatient(&host);
    let mut stream = network.repo(&host.url(), &plc(1), 1_000_000).await.unwrap();
    assert_eq!(stream.next_chunk().await.unwrap().as_deref(), Some(&b"some"[..]));
    let error = stream.next_chunk().await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Timeout, "{error}");
    assert_eq!(stream.next_chunk().await, Ok(None));
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_slow_repository_may_take_longer_than_a_small_answer() {
    let host = Host::start(|_| async {
        let slow = stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_millis(60)).await;
            (n < 10).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"piece")), n + 1))
        });
        answer(200, CAR, Body::from_stream(slow))
    })
    .await;
    // Ten pieces take 600 ms: more than a small answer may, each of them less than the pause between two.
    let options = NetworkOptions { answer_timeout: Duration::from_millis(400), ..options(&[&host]) };
    assert_eq!(whole_repo(&Network::new(options).unwrap(), &host, 1_000).await, Ok(50));
}

#[tokio::test]
async fn nobody_there() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let host = Host::raw("", false).await;
    let options = NetworkOptions { named: vec![address.to_string().into()], ..options(&[&host]) };
    let network = Network::new(options).unwrap();
    let error = network.latest_commit(&format!("http://{address}"), &plc(1)).await.unwrap_err();
    assert_eq!((&error.kind, error.passes()), (&HostErrorKind::Unreachable, true), "{error}");
    assert!(error.detail.contains("efused"), "{error}");
    // A host that hangs up.
    let network = crate::support::network(&[&host]);
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Unreachable, "{error}");
}

#[tokio::test]
async fn trouble_of_the_host() {
    let host = Host::start(|_| async { json_answer(500, json!({"error": "InternalServerError"})) }).await;
    let network = network(&[&host]);
    let nsid = Nsid::parse("a.b.c").unwrap();
    let error = network.list_records(&host.url(), &plc(1), &nsid, None).await.unwrap_err();
    assert!(matches!(&error.kind, HostErrorKind::Status { code: 500, .. }) && error.passes(), "{error:?}");
    assert_eq!(error.xrpc_name(), Some("InternalServerError"));
    assert!(error.advice().contains("later"));
}
