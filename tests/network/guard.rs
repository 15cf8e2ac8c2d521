//! Whom we do not ask, whoever says that we should.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use almanac::network::{HostErrorKind, Network, NetworkOptions};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Host, NameServer, Says, answer, json_answer, network, options, plc, with_header};

/// Something private that must not be touched: counts who connects.
async fn private_service() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, count)
}

#[track_caller]
fn is_guard<T: std::fmt::Debug>(result: Result<T, almanac::network::HostError>) {
    let error = result.unwrap_err();
    assert_eq!((&error.kind, error.passes()), (&HostErrorKind::Guard, false), "{error}");
    assert!(error.advice().contains("network.allow_private"));
}

#[tokio::test]
async fn endpoints_at_private_addresses_are_not_asked() {
    let (port, touched) = private_service().await;
    let network = Network::new(NetworkOptions::default()).unwrap();
    for endpoint in [
        format!("http://127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("https://localhost:{port}"),
        format!("https://2130706433:{port}"),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        format!("https://user:pw@localhost:{port}"),
        format!("ws://127.0.0.1:{port}"),
        "https://169.254.169.254".to_owned(),
        "https://pds.example/path".to_owned(),
        "https://pds.example?query".to_owned(),
        "file:///etc/passwd".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        is_guard(network.latest_commit(&endpoint, &plc(1)).await);
        is_guard(network.repo(&endpoint, &plc(1), 1_000).await);
    }
    assert_eq!(touched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_followed() {
    let (port, touched) = private_service().await;
    let private: Vec<IpAddr> = ["127.0.0.1", "10.1.2.3", "::1", "::ffff:127.0.0.1", "fd00::1", "64:ff9b::7f00:1"]
        .map(|ip| ip.parse().unwrap())
        .into();
    let names = NameServer::start([
        ("pds.attacker.com", Says::Addresses(private.clone())),
        ("loop.attacker.com", Says::Addresses(vec![private[0]])),
    ])
    .await;
    let strict = NetworkOptions { dns: vec![names.address], ..NetworkOptions::default() };
    let network = Network::new(strict.clone()).unwrap();
    for name in ["pds.attacker.com", "loop.attacker.com"] {
        is_guard(network.latest_commit(&format!("https://{name}:{port}"), &plc(1)).await);
    }
    assert_eq!(touched.load(Ordering::SeqCst), 0);
    assert!(names.asked().contains(&"pds.attacker.com".to_owned()));
    // A name that does not exist is something else.
    let error = network.latest_commit(&format!("https://gone.attacker.com:{port}"), &plc(1)).await.unwrap_err();
    assert_eq!((&error.kind, error.passes()), (&HostErrorKind::NoSuchHost, true), "{error}");
    // And the operator may name it: then the same address is asked.
    let host = Host::start(|_| async { json_answer(400, json!({"error": "RepoNotFound"})) }).await;
    let own = format!("loop.attacker.com:{}", host.address.port());
    let network = Network::new(NetworkOptions { named: vec![own.as_str().into()], ..strict }).unwrap();
    let error = network.latest_commit(&format!("http://{own}"), &plc(1)).await.unwrap_err();
    assert_eq!(error.xrpc_name(), Some("RepoNotFound"));
    assert_eq!(host.requests()[0].host, own);
}

#[tokio::test]
async fn redirects_are_followed_by_the_same_rule() {
    let (port, touched) = private_service().await;
    let targets = [
        format!("http://127.0.0.1:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("https://localhost:{port}/x"),
        "http://pds.example/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "//169.254.169.254/latest".to_owned(),
    ];
    for code in [301, 302, 303, 307, 308] {
        for target in &targets {
            let to = target.clone();
            let host = Host::start(move |_| {
                let to = to.clone();
                async move { with_header(answer(code, "", ""), "location", &to) }
            })
            .await;
            let network = network(&[&host]);
            is_guard(network.latest_commit(&host.url(), &plc(1)).await);
            is_guard(network.repo(&host.url(), &plc(1), 1_000).await);
        }
    }
    assert_eq!(touched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stranger_may_not_lead_us_to_a_host_that_is_trusted_by_name() {
    let own = Host::start(|_| async { json_answer(200, json!({})) }).await;
    let to = own.url();
    let stranger = Host::start(move |_| {
        let to = to.clone();
        async move { with_header(answer(302, "", ""), "location", &to) }
    })
    .await;
    is_guard(network(&[&own, &stranger]).latest_commit(&stranger.url(), &plc(1)).await);
    assert_eq!(own.requests().len(), 0);
    // With private hosts allowed, that trust is not special any more.
    let open = NetworkOptions { allow_private: true, ..options(&[&own]) };
    let error = Network::new(open).unwrap().latest_commit(&stranger.url(), &plc(1)).await.unwrap_err();
    assert_eq!((error.kind, own.requests().len()), (HostErrorKind::Malformed, 1));
}

#[tokio::test]
async fn redirects_end() {
    let commit = json!({"cid": "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i", "rev": "3n2uyhpluwr2l"});
    let host = Host::start(move |seen: crate::support::Seen| {
        let commit = commit.clone();
        async move {
            let step: usize = seen.path.strip_prefix("/step/").map_or(0, |n| n.parse().unwrap());
            let first_of: usize = if seen.query.contains(plc(3).as_str().rsplit(':').next().unwrap()) { 3 } else { 4 };
            let left = if step == 0 { first_of } else { step - 1 };
            if step > 0 && left == 0 {
                return json_answer(200, commit);
            }
            with_header(answer(307, "", ""), "location", &format!("/step/{left}"))
        }
    })
    .await;
    let network = network(&[&host]);
    // The first answer sends to /step/3 or /step/4, and each step one further down to the answer at /step/1.
    assert!(network.latest_commit(&host.url(), &plc(3)).await.is_ok());
    let error = network.latest_commit(&host.url(), &plc(4)).await.unwrap_err();
    assert!(error.detail.contains("more than 3 redirects"), "{error}");
    assert!(!error.passes());
}
