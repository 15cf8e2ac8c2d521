//! DIDs to documents: who is asked, how often, and what is remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use almanac::event::Did;
use almanac::network::{Freshness, HostErrorKind, HostOverride, IdentityError, Network, NetworkOptions};
use serde_json::json;

use crate::support::{Host, Seen, answer, document, json_answer, network, options, plc, with_header};

/// A directory that knows every DID, and says a new PDS each time it is asked.
async fn directory() -> Host {
    let count = Arc::new(AtomicUsize::new(0));
    Host::start(move |seen: Seen| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let did = seen.path.trim_start_matches('/').to_owned();
            answer(
                200,
                "application/did+ld+json",
                document(&did, "anna.test", &format!("https://pds{n}.example")).to_string(),
            )
        }
    })
    .await
}

async fn pds(network: &Network, did: &Did, freshness: Freshness) -> String {
    network.did_document(did, freshness).await.unwrap().pds.as_deref().unwrap().to_owned()
}

#[tokio::test]
async fn a_document_is_asked_for_once_until_somebody_wants_it_new() {
    let directory = directory().await;
    let network = network(&[&directory]);
    let read = network.did_document(&plc(1), Freshness::Cached).await.unwrap();
    assert_eq!((&read.did, read.handle.as_ref().unwrap().as_str()), (&plc(1), "anna.test"));
    assert!(read.key.is_some());
    for freshness in [Freshness::Cached, Freshness::NotOlderThan(Duration::from_secs(60))] {
        assert_eq!(pds(&network, &plc(1), freshness).await, "https://pds0.example");
    }
    assert_eq!(directory.requests().len(), 1);
    assert_eq!(directory.requests()[0].path, format!("/{}", plc(1)));
    assert_eq!(pds(&network, &plc(1), Freshness::Now).await, "https://pds1.example");
    assert_eq!(pds(&network, &plc(1), Freshness::Cached).await, "https://pds1.example", "the new one is kept");
    assert_eq!(pds(&network, &plc(1), Freshness::NotOlderThan(Duration::ZERO)).await, "https://pds2.example");
    assert_eq!(pds(&network, &plc(2), Freshness::Cached).await, "https://pds3.example");
}

#[tokio::test]
async fn documents_get_old() {
    let directory = directory().await;
    let options = NetworkOptions { document_fresh: Duration::from_millis(50), ..options(&[&directory]) };
    let network = Network::new(options).unwrap();
    let first = pds(&network, &plc(1), Freshness::Cached).await;
    let start = std::time::Instant::now();
    while pds(&network, &plc(1), Freshness::Cached).await == first {
        assert!(start.elapsed() < crate::support::PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn those_who_ask_together_share_one_request() {
    let slow = Host::start(|seen: Seen| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        json_answer(200, document(seen.path.trim_start_matches('/'), "anna.test", "https://pds.example"))
    })
    .await;
    let network = network(&[&slow]);
    let did = plc(1);
    let all = futures_util::future::join_all((0..200).map(|_| network.did_document(&did, Freshness::Cached))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(slow.requests().len(), 1);
    // Those who want it new share the next, which is made after all of them asked: at most one is on its way already.
    let all = futures_util::future::join_all((0..200).map(|_| network.did_document(&did, Freshness::Now))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(slow.requests().len() <= 3, "{}", slow.requests().len());
}

#[tokio::test]
async fn a_new_question_is_not_answered_by_an_older_request() {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (counter, door) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    let host = Host::start(move |seen: Seen| {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        started.send(()).unwrap();
        let door = door.clone();
        async move {
            door.acquire().await.unwrap().forget();
            let pds = format!("https://pds{n}.example");
            json_answer(200, document(seen.path.trim_start_matches('/'), "anna.test", &pds))
        }
    })
    .await;
    let network = network(&[&host]);
    let first = tokio::spawn({
        let network = network.clone();
        async move { pds(&network, &plc(1), Freshness::Cached).await }
    });
    starts.recv().await.unwrap();
    // The first request is being answered; who asks for the state of now must not get its answer.
    let second = tokio::spawn({
        let network = network.clone();
        async move { pds(&network, &plc(1), Freshness::Now).await }
    });
    tokio::task::yield_now().await;
    gate.add_permits(2);
    assert_eq!(first.await.unwrap(), "https://pds0.example");
    assert_eq!(second.await.unwrap(), "https://pds1.example");
}

#[tokio::test]
async fn whoever_goes_away_does_not_leave_the_others_waiting() {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let counter = Arc::new(AtomicUsize::new(0));
    let host = Host::start(move |seen: Seen| {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        started.send(()).unwrap();
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            json_answer(200, document(seen.path.trim_start_matches('/'), "anna.test", "https://pds.example"))
        }
    })
    .await;
    let network = network(&[&host]);
    let ask = |network: Network| tokio::spawn(async move { network.did_document(&plc(1), Freshness::Cached).await });
    let leader = ask(network.clone());
    starts.recv().await.unwrap();
    let follower = ask(network);
    tokio::task::yield_now().await;
    leader.abort();
    assert!(tokio::time::timeout(crate::support::PATIENCE, follower).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a_word_that_there_is_none_is_believed_for_a_while() {
    let directory = Host::start(|seen: Seen| async move {
        if seen.path.ends_with(plc(2).as_str()) {
            json_answer(410, json!({"message": "DID not available"}))
        } else {
            json_answer(404, json!({"message": "DID not registered"}))
        }
    })
    .await;
    let network = network(&[&directory]);
    for _ in 0..10 {
        assert_eq!(network.did_document(&plc(1), Freshness::Cached).await, Err(IdentityError::NotFound));
        assert_eq!(network.did_document(&plc(2), Freshness::Cached).await, Err(IdentityError::Tombstoned));
    }
    assert_eq!(directory.requests().len(), 2);
    assert_eq!(network.did_document(&plc(1), Freshness::Now).await, Err(IdentityError::NotFound));
    assert_eq!(directory.requests().len(), 3);
}

#[tokio::test]
async fn a_directory_that_is_away_says_nothing_of_a_did() {
    let away = Arc::new(AtomicUsize::new(1));
    let switch = away.clone();
    let directory = Host::start(move |seen: Seen| {
        let away = switch.load(Ordering::SeqCst) == 1;
        async move {
            if away {
                return answer(503, "text/html", "<html>away</html>");
            }
            json_answer(200, document(seen.path.trim_start_matches('/'), "anna.test", "https://pds.example"))
        }
    })
    .await;
    let options = NetworkOptions {
        unreachable_fresh: Duration::from_millis(50),
        document_fresh: Duration::ZERO,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
        ..options(&[&directory])
    };
    let network = Network::new(options).unwrap();
    let error = network.did_document(&plc(1), Freshness::Cached).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Unreachable(_)) && error.passes(), "{error:?}");
    away.store(0, Ordering::SeqCst);
    let start = std::time::Instant::now();
    while network.did_document(&plc(1), Freshness::Cached).await.is_err() {
        assert!(start.elapsed() < crate::support::PATIENCE, "the failure is remembered for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Away again: what was known stands in for those who do not need it new.
    away.store(1, Ordering::SeqCst);
    assert!(network.did_document(&plc(1), Freshness::Cached).await.is_ok());
    let error = network.did_document(&plc(1), Freshness::Now).await.unwrap_err();
    assert!(matches!(error, IdentityError::Unreachable(_)), "{error:?}");
    assert!(network.did_document(&plc(1), Freshness::Cached).await.is_ok());
}

#[tokio::test]
async fn a_directory_that_is_none_says_nothing_of_a_did_either() {
    for (status, kind, body) in [
        (200, "text/html", "<html>"),
        (200, "application/json", "{\"id\":"),
        (200, "application/json", "[[[["),
        (403, "text/html", "<html>"),
        (302, "", ""),
    ] {
        let directory = Host::start(move |_| async move { answer(status, kind, body) }).await;
        let error = network(&[&directory]).did_document(&plc(1), Freshness::Cached).await.unwrap_err();
        assert!(matches!(error, IdentityError::Unreachable(_)), "{status} {body:?}: {error:?}");
    }
    // A document of another DID, and one that is far too large.
    let directory =
        Host::start(|_| async { json_answer(200, document(plc(2).as_str(), "a.test", "https://p.example")) }).await;
    let error = network(&[&directory]).did_document(&plc(1), Freshness::Cached).await.unwrap_err();
    assert!(matches!(error, IdentityError::Malformed(_)), "{error:?}");
    let directory = Host::start(|_| async { answer(200, "application/json", vec![b' '; 70_000]) }).await;
    let error = network(&[&directory]).did_document(&plc(1), Freshness::Cached).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Unreachable(host) if host.kind == HostErrorKind::TooLarge), "{error:?}");
}

#[tokio::test]
async fn odd_dids_are_refused_without_asking_anybody() {
    let host = Host::start(|_| async { json_answer(404, json!({})) }).await;
    let network = network(&[&host]);
    for odd in [
        "did:key:zQ3shunBKsXixLxKtC5qeSG9E4J5RkGN57im31pcTzbNQnm5w",
        "did:plc:short",
        "did:plc:ABCDEFGHIJKLMNOPQRSTUVWX",
        "did:plc:..",
        "did:web:example.com:user:alice",
        "did:web:example.com%3A8080",
        "did:web:localhost%3A",
        "did:web:localhost%3A99999",
        "did:web:localhost%2Fetc",
        "did:web:127.0.0.1",
        "did:web:intranet",
        "did:web:example.com%40evil.com",
    ] {
        let error = network.did_document(&Did::parse(odd).unwrap(), Freshness::Cached).await.unwrap_err();
        assert!(matches!(error, IdentityError::Unsupported(_)) && !error.passes(), "{odd}: {error:?}");
    }
    assert_eq!(host.requests().len(), 0);
}

#[tokio::test]
async fn did_web_on_localhost_where_that_is_allowed() {
    let host = Host::start(|seen: Seen| async move {
        assert_eq!(seen.path, "/.well-known/did.json");
        let did = format!("did:web:{}", seen.host.replace(':', "%3A"));
        // Static hosts seldom know what it is.
        answer(200, "application/octet-stream", document(&did, "anna.test", "https://pds.example").to_string())
    })
    .await;
    let did = Did::parse(&format!("did:web:localhost%3A{}", host.address.port())).unwrap();
    let strict = Network::new(NetworkOptions::default()).unwrap();
    let error = strict.did_document(&did, Freshness::Cached).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Unreachable(host) if host.kind == HostErrorKind::Guard), "{error:?}");
    assert_eq!(host.requests().len(), 0);
    let open = Network::new(NetworkOptions { allow_private: true, ..NetworkOptions::default() }).unwrap();
    assert_eq!(open.did_document(&did, Freshness::Cached).await.unwrap().did, did);
    // And under a suffix whose place the settings tell.
    let placed = format!("*.web.test={}", host.address);
    let options = NetworkOptions { host_overrides: vec![HostOverride::parse(&placed).unwrap()], ..options(&[]) };
    let did = Did::parse("did:web:anna.web.test").unwrap();
    let read = Network::new(options).unwrap().did_document(&did, Freshness::Cached).await;
    assert_eq!(read.unwrap().did, did);
}

#[tokio::test]
async fn did_web_words_about_nobody() {
    for (status, kind, body, wanted) in [
        (404, "text/html", "<html>", "not_found"),
        (410, "text/html", "<html>", "not_found"),
        (200, "text/html", "<html>", "malformed"),
        (200, "application/json", "{}", "malformed"),
        (500, "text/html", "<html>", "unreachable"),
    ] {
        let host = Host::start(move |_| async move { answer(status, kind, body) }).await;
        let did = Did::parse(&format!("did:web:localhost%3A{}", host.address.port())).unwrap();
        let open = Network::new(NetworkOptions { allow_private: true, ..NetworkOptions::default() }).unwrap();
        let error = open.did_document(&did, Freshness::Cached).await.unwrap_err();
        assert_eq!(error.as_str(), wanted, "{status} {body}: {error:?}");
    }
    // Led away to a private place.
    let host = Host::start(|_| async { with_header(answer(302, "", ""), "location", "http://169.254.169.254/") }).await;
    let did = Did::parse(&format!("did:web:localhost%3A{}", host.address.port())).unwrap();
    let error = network(&[&host]).did_document(&did, Freshness::Cached).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Unreachable(host) if host.kind == HostErrorKind::Guard), "{error:?}");
}
