//! How much is asked of one host, and when none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use almanac::network::{HostErrorKind, HostLimits, Network, NetworkOptions};
use serde_json::json;

use crate::support::{Host, Seen, answer, json_answer, network, options, plc, with_header};

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    let slow = |_: Seen| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        json_answer(400, json!({}))
    };
    let (directory, a, b) = (Host::start(slow).await, Host::start(slow).await, Host::start(slow).await);
    let mut options = options(&[&directory, &a, &b]);
    options.host = HostLimits { concurrency: 3, requests_per_second: 1e4, burst: 1e4 };
    let network = Network::new(options).unwrap();
    let urls = [a.url(), b.url()];
    let calls = (0..40).map(|n| {
        let (network, url) = (network.clone(), urls[n % 2].clone());
        async move { network.latest_commit(&url, &plc(n)).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_err));
    for host in [&a, &b] {
        assert_eq!((host.requests().len(), host.peak()), (20, 3));
    }
}

#[tokio::test]
async fn a_repository_that_is_still_read_holds_its_place() {
    let host = Host::start(|_| async { answer(200, "application/vnd.ipld.car", vec![1u8; 3_000_000]) }).await;
    let directory = Host::raw("", false).await;
    let mut options = options(&[&directory, &host]);
    options.host.concurrency = 1;
    let network = Network::new(options).unwrap();
    let stream = network.repo(&host.url(), &plc(1), u64::MAX).await.unwrap();
    let url = host.url();
    let did = plc(2);
    let mut second = Box::pin(network.repo(&url, &did, u64::MAX));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(early.is_err(), "two at once");
    drop(stream);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn a_host_that_limits_us_is_left_alone_for_as_long_as_it_says() {
    let host = Host::start(|_| async {
        with_header(json_answer(429, json!({"error": "RateLimitExceeded"})), "retry-after", "120")
    })
    .await;
    let other = Host::start(|_| async { json_answer(400, json!({})) }).await;
    let network = network(&[&host, &other]);
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert!(matches!(error.kind, HostErrorKind::RateLimited { .. }) && error.passes(), "{error:?}");
    let pause = error.pause();
    assert!(pause > Duration::from_secs(110) && pause <= Duration::from_secs(120), "{pause:?}");
    for n in 0..20 {
        let error = network.latest_commit(&host.url(), &plc(n)).await.unwrap_err();
        assert!(matches!(error.kind, HostErrorKind::RateLimited { .. }) && error.not_before.is_some(), "{error:?}");
    }
    assert_eq!(host.requests().len(), 1);
    let error = network.latest_commit(&other.url(), &plc(1)).await.unwrap_err();
    assert!(matches!(error.kind, HostErrorKind::Status { .. }), "{error:?}");
}

#[tokio::test]
async fn a_short_pause_is_waited_for() {
    let count = Arc::new(AtomicUsize::new(0));
    let host = Host::start(move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                with_header(answer(429, "text/plain", "slow down"), "retry-after", "1")
            } else {
                json_answer(400, json!({"error": "RepoNotFound"}))
            }
        }
    })
    .await;
    let network = network(&[&host]);
    let start = Instant::now();
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert!(matches!(error.kind, HostErrorKind::RateLimited { .. }), "{error:?}");
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert_eq!(error.xrpc_name(), Some("RepoNotFound"));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn the_last_of_an_allowance_is_noticed_before_it_is_overdrawn() {
    let host = Host::start(|_| async {
        let commit =
            json!({"cid": "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i", "rev": "3n2uyhpluwr2l"});
        with_header(with_header(json_answer(200, commit), "ratelimit-remaining", "0"), "ratelimit-reset", "60")
    })
    .await;
    let network = network(&[&host]);
    assert!(network.latest_commit(&host.url(), &plc(1)).await.is_ok());
    let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
    assert!(matches!(error.kind, HostErrorKind::RateLimited { .. }), "{error:?}");
    assert_eq!(host.requests().len(), 1);
}

#[tokio::test]
async fn a_host_that_fails_again_and_again_is_left_alone_for_a_while() {
    let healthy = Arc::new(AtomicUsize::new(0));
    let switch = healthy.clone();
    let host = Host::start(move |_| {
        let healthy = switch.load(Ordering::SeqCst) == 1;
        async move { if healthy { json_answer(400, json!({})) } else { answer(503, "text/html", "<html>") } }
    })
    .await;
    let pause = Duration::from_millis(400);
    let patient =
        NetworkOptions { backoff_min: pause, backoff_max: pause, wait_max: Duration::ZERO, ..options(&[&host]) };
    let network = Network::new(patient).unwrap();
    let mut refused_unasked = 0;
    for _ in 0..20 {
        let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
        assert!(matches!(error.kind, HostErrorKind::Status { code: 503, .. }), "{error:?}");
        refused_unasked += usize::from(error.not_before.is_some());
    }
    assert!(refused_unasked >= 15, "{refused_unasked} of 20");
    assert_eq!(host.requests().len(), 20 - refused_unasked);
    healthy.store(1, Ordering::SeqCst);
    let start = Instant::now();
    loop {
        let error = network.latest_commit(&host.url(), &plc(1)).await.unwrap_err();
        if matches!(error.kind, HostErrorKind::Status { code: 400, .. }) {
            break;
        }
        assert!(start.elapsed() < crate::support::PATIENCE);
        tokio::time::sleep(error.pause()).await;
    }
}

#[tokio::test]
async fn the_pace_is_kept() {
    let host = Host::start(|_| async { json_answer(400, json!({})) }).await;
    let directory = Host::raw("", false).await;
    let mut options = options(&[&directory, &host]);
    options.host = HostLimits { concurrency: 100, requests_per_second: 50.0, burst: 5.0 };
    let network = Network::new(options).unwrap();
    let (url, did) = (host.url(), plc(1));
    let start = Instant::now();
    futures_util::future::join_all((0..25).map(|_| network.latest_commit(&url, &did))).await;
    // 5 at once, then 20 at 50 a second.
    assert!(start.elapsed() >= Duration::from_millis(390), "{:?}", start.elapsed());
}
